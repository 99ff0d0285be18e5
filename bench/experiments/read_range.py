"""GDP against IP, by the range in which the ADC reads a single cell.

Matrices of 256×256 on `presets.hermes()` (or on `hermes_calibrated()`, which has slow noise, with
methods tuned to it), five seeds, six families of weights; GDP spends no more
MVM-equivalents than IP, its start included; IP's calibration of its offsets, where it does one,
comes on top.  Ratios are paired by seed.  Both are evaluated 200 s
after programming with one global compensation.

    python bench/experiments/read_range.py             # some minutes; writes bench/results
    python bench/experiments/read_range.py --seeds 1   # a look
    python bench/experiments/read_range.py --preset hermes_calibrated   # with methods tuned to it
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

import numpy as np
import tuned
from rich.progress import track
from tables import RESULTS, mean_and_error, table, write_excerpt

import fastaimc as fa
from fastaimc.circuit.ranges import full_scales
from fastaimc.config import ADC, CoreConfig
from fastaimc.mapping import to_tiles

SIZE = 256
BITS = (4, 6, 8)
RANGES = ("fs", "fs/2", "fs/4", "0.129 µS")
IN_USE_BITS = 8
DARK = "IP, dark reading"

Rows = list[dict[str, Any]]


def families(seed: int) -> dict[str, np.ndarray]:
    """Return the weight matrices that are reported."""
    rng = np.random.default_rng(seed)
    shape = (SIZE, SIZE)
    return {
        "Gaussian": rng.standard_normal(shape),
        "Laplace": rng.laplace(size=shape),
        "uniform": rng.uniform(-1, 1, shape),
        "30 % sparse": rng.standard_normal(shape) * (rng.random(shape) >= 0.3),
        "low-rank": rng.standard_normal((SIZE, 16)) @ rng.standard_normal((16, SIZE)),
        "Student-t(3)": rng.standard_t(3, shape),
    }


def methods(preset: str) -> tuple[Any, Any, Any]:
    """Return IP in the cell range, textbook IP and GDP, all tuned on a preset."""
    textbook = tuned.iterative("textbook", preset)
    if preset == "hermes":
        return fa.IterativeProgramming(fine=True), textbook, fa.GradientDescentProgramming()
    return tuned.iterative("ip", preset), textbook, tuned.gradient_descent(preset)


def cell_range(weights: np.ndarray, config: CoreConfig, bits: int, name: str) -> CoreConfig:
    """Return `config` programmed through `bits` bits, its cells read in the named range."""
    config = fa.override(config, {"adc.programming_bits": bits})
    if name == "fs":
        return fa.override(config, {"adc.cell_lsb_us": None})
    if name.startswith("fs/"):
        mapping, targets = to_tiles(weights, config)
        full_scale = float(full_scales(targets, mapping.extents, config)[0])
        lsb = full_scale / int(name[3:]) / config.adc.half_codes(programming=True)
        return fa.override(config, {"adc.cell_lsb_us": lsb})
    return config


def without_circuit_errors(config: CoreConfig) -> CoreConfig:
    """Return `config` with ideal converters: the negative control."""
    return dataclasses.replace(config, adc=ADC(bits=None, gain_std=0, offset_std=0, inl_std=0))


def measure(weights: np.ndarray, config: CoreConfig, method: Any, seed: int) -> dict[str, Any]:
    """Program once and return errors and cost."""
    matrix = fa.program(weights, config, method, seed=seed)
    error = dataclasses.asdict(fa.mvm_error(matrix, seed=seed + 1))
    cost = matrix.cost
    pulses = (cost.pulses_set + cost.pulses_reset) / weights.size
    return {
        "seed": seed,
        **error,
        "mvm_equivalents": cost.mvm_equivalents,
        "pulses_per_cell": pulses,
        "latency_s": cost.latency_s,
    }


def run(seeds: int, preset: str) -> Rows:
    """Return all measurements."""
    hermes = getattr(fa.presets, preset)()
    fine, textbook, gdp = methods(preset)
    ip = dataclasses.replace(fine, fine=False)
    plain = dataclasses.replace(gdp, affine_every=0)
    dark = {"fs": dataclasses.replace(ip, calibrate=False)}
    dark |= dict.fromkeys(("fs/2", "fs/4"), dataclasses.replace(fine, calibrate=False))
    rows: Rows = []
    for seed in track(range(seeds), description="seeds"):
        for family, weights in families(seed).items():

            def add(
                config: CoreConfig,
                method: Any,
                name: str,
                bits: int | None,
                where: str,
                weights: np.ndarray = weights,
                labels: tuple[str, int] = (family, seed),
            ) -> None:
                row = measure(weights, config, method, labels[1])
                head = {"family": labels[0], "method": name, "bits": bits, "range": where}
                rows.append(head | row)

            for bits in BITS:
                config = cell_range(weights, hermes, bits, "fs")
                add(config, gdp, "GDP", bits, "MVM")
                add(config, dataclasses.replace(textbook, fine=False), "textbook IP", bits, "fs")
                for where in RANGES:
                    method = ip if where == "fs" else fine
                    add(cell_range(weights, hermes, bits, where), method, "IP", bits, where)
            for where, method in dark.items():
                add(cell_range(weights, hermes, 8, where), method, DARK, 8, where)
            add(cell_range(weights, hermes, 8, "fs"), plain, "GDP without affine", 8, "MVM")
            add(hermes, textbook, "textbook IP", 8, "0.129 µS")
            add(fa.presets.hermes_statistics(), fa.DirectWrite(), "published statistics", 8, "none")
            control = without_circuit_errors(hermes)
            add(control, ip, "IP", None, "ideal")
            add(control, gdp, "GDP", None, "ideal")
    return rows


def select(rows: Rows, **labels: Any) -> Rows:
    """Return the rows with the given labels."""
    return [row for row in rows if all(row[name] == value for name, value in labels.items())]


def ratios(above: Rows, below: Rows, name: str) -> list[float]:
    """Return ratios of an error, paired by seed."""
    other = {row["seed"]: row[name] for row in below}
    return [row[name] / other[row["seed"]] for row in above]


def report(rows: Rows) -> str:
    """Return the tables as Markdown."""
    names = list(dict.fromkeys(row["family"] for row in rows))
    text = []
    for error in ("residual", "total"):
        lines = []
        for bits in BITS:
            for family in names:
                gdp = select(rows, family=family, method="GDP", bits=bits)
                cells = [
                    mean_and_error(
                        ratios(
                            gdp,
                            select(rows, family=family, method="IP", bits=bits, range=where),
                            error,
                        )
                    )
                    for where in RANGES
                ]
                lines.append([str(bits), family, *cells])
        text.append(f"GDP/IP in {error} error, programmed through an ADC of so many bits and ")
        text.append(f"evaluated at {IN_USE_BITS}, by the range in which IP reads a cell:\n")
        text.append(table(["bits", "weights", *RANGES], lines))
    text.append("GDP/IP in residual error at 8 bits, where IP takes its offsets from one dark ")
    text.append("reading, which a step of the ADC rounds, instead of calibrating them:\n")
    lines = []
    for family in names:
        gdp = select(rows, family=family, method="GDP", bits=8)
        below = {where: select(rows, family=family, method=DARK, range=where) for where in RANGES}
        cells = [mean_and_error(ratios(gdp, below[where], "residual")) for where in RANGES[:3]]
        lines.append([family, *cells])
    text.append(table(["weights", *RANGES[:3]], lines))
    text.append(absolute(rows, names))
    text.append(claims(rows, names))
    return "\n".join(text)


def absolute(rows: Rows, names: list[str]) -> str:
    """Return errors and costs at 8 bits, and the rows to compare with."""
    lines = []
    kinds = [
        ("GDP", "GDP", "MVM", 8),
        ("GDP without its affine correction", "GDP without affine", "MVM", 8),
        ("GDP, 6 bits while programming", "GDP", "MVM", 6),
        *((f"IP, cells in {where}", "IP", where, 8) for where in RANGES),
        *((f"IP from a dark reading, cells in {where}", DARK, where, 8) for where in RANGES[:3]),
        ("textbook IP, cells in fs", "textbook IP", "fs", 8),
        ("textbook IP, 0.129 µS", "textbook IP", "0.129 µS", 8),
        ("published statistics (HERMES, two devices)", "published statistics", "none", 8),
    ]
    for family in names:
        for label, method, where, bits in kinds:
            found = select(rows, family=family, method=method, range=where, bits=bits)
            costs = [
                f"{np.mean([row[name] for row in found]):.{digits}f}"
                for name, digits in (
                    ("mvm_equivalents", 0),
                    ("pulses_per_cell", 1),
                    ("latency_s", 1),
                )
            ]
            errors = [
                mean_and_error([row[name] for row in found]) for name in ("residual", "total")
            ]
            lines.append([family, label, *errors, *costs])
        exact = select(rows, family=family, method="GDP", range="MVM", bits=8)
        floors = [mean_and_error([row[name] for row in exact]) for name in ("floor", "exact")]
        lines.append([family, "exact write", *floors, "", "", ""])
    header = ["weights", "method", "residual", "total", "MVM-equivalents", "pulses a cell"]
    return "Errors and costs at 8 bits:\n\n" + table([*header, "latency [s]"], lines)


def claims(rows: Rows, names: list[str]) -> str:
    """Return the negative control and the claim of coarse programming."""
    lines = []
    for family in names:
        control = ratios(
            select(rows, family=family, method="GDP", range="ideal"),
            select(rows, family=family, method="IP", range="ideal"),
            "residual",
        )
        ordinary = select(rows, family=family, method="IP", bits=8, range="fs")
        coarse = ratios(select(rows, family=family, method="GDP", bits=6), ordinary, "residual")
        lines.append([family, mean_and_error(control), mean_and_error(coarse)])
    header = ["weights", "control: ideal converters", "GDP at 6 bits / IP at 8 bits, cells in fs"]
    return "GDP/IP in residual error:\n\n" + table(header, lines)


def provenance(preset: str) -> dict[str, Any]:
    """Return versions, config and methods of the measurement."""
    config, (fine, _, gdp) = getattr(fa.presets, preset)(), methods(preset)
    matrix = fa.program(np.eye(8), config, gdp, seed=0)
    ip = fa.program(np.eye(8), config, dataclasses.replace(fine, fine=False), seed=0)
    return {**matrix.provenance, "ip": ip.provenance["method"]}


def excerpt(name: str, rows: Rows) -> None:
    """Write the README's table between its two markers."""
    lines = []
    for family in dict.fromkeys(row["family"] for row in rows):
        gdp = select(rows, family=family, method="GDP", bits=8, range="MVM")
        cells = []
        for method, where in ((DARK, "fs"), ("IP", "fs"), ("IP", "fs/2"), ("IP", "0.129 µS")):
            below = select(rows, family=family, method=method, bits=8, range=where)
            cells.append(mean_and_error(ratios(gdp, below, "residual")))
        lines.append([family, *cells])
    ranges = [
        "the MVM's range, offsets from one reading",
        "the MVM's range, offsets calibrated",
        "half of it",
        "0.129 µS a count",
    ]
    header = ["weights", *(f"cells read in {name}" for name in ranges)]
    write_excerpt(name, table(header, lines))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--preset", choices=("hermes", "hermes_calibrated"), default="hermes")
    arguments = parser.parse_args()
    rows = run(arguments.seeds, arguments.preset)
    text = report(rows)
    print(text)
    if arguments.seeds >= 5:
        RESULTS.mkdir(parents=True, exist_ok=True)
        usual = arguments.preset == "hermes"
        name = "read_range" if usual else f"read_range_{arguments.preset.removeprefix('hermes_')}"
        (RESULTS / f"{name}.md").write_text(text)
        document = {"provenance": provenance(arguments.preset), "rows": rows}
        (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
        excerpt(name, rows)


if __name__ == "__main__":
    main()
