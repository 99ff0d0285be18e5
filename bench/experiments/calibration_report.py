"""Tables and plot of a calibration: measured on seeds and sizes that no search has seen."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from calibration_ip import FIRST_STEPS, SIZE, WAITS, core, ip, programmed, tuned
from matplotlib.figure import Figure
from rich.progress import track
from spread import CENTRES, DEVICE_US, READ_AT_S, error_us, published, spread_us
from tables import mean_and_error, table

import fastaimc as fa
from fastaimc.config import Drift, MeltQuench

REPORT_SEEDS = range(5)
REPORT_SIZE = 256
BUDGET_SEEDS = range(3)
SHOWN = slice(0, None, 2)  # bins in the table of contributions: 0.1, 0.3, ... 0.9
WITHIN = {1: 0.15, 2: 0.25}  # of the published curves: what was aimed at

Case = dict[str, Any]


def spreads(case: Case, devices: int) -> np.ndarray:
    """Return the spread of cells that a case leaves, (seed, bin), µS."""
    config = core(devices, REPORT_SIZE, case["parameters"], case["slow"])
    method = ip(case["steps"][str(devices)], WAITS[case["waits"]])
    return np.array([spread_us(programmed(config, method, seed)) for seed in REPORT_SEEDS])


def largest(found: np.ndarray, devices: int) -> float:
    """Return the largest relative deviation of mean spreads from the published ones."""
    return float(np.abs(found.mean(axis=0) / published(devices) - 1).max())


OFF: dict[str, dict[str, Any]] = {
    "nothing": {},
    "scatter of pulses as a current": {"device.jitter_ua": 0.0},
    "scatter of pulses as a conductance": {"device.floor_us": 0.0},
    "spread of SET conductances": {"device.g_set_spread": 0.0},
    "spread of centres and widths": {"device.centre_spread": 0.0, "device.width_spread": 0.0},
    "spread of drift": {"drift.std": {"kind": "StateFit"}},
    "drift": {"drift": None},
    "slow read noise": {"read_noise.slow": False},
    "read noise": {"read_noise": None},
    "steps of the ADC": {"adc.bits": None},
    "nothing, and the ADCs' spreads on": {"adc.gain_std": 0.03, "adc.offset_std": 0.005}
    | {"adc.inl_std": 0.01},
}


def budget(case: Case) -> str:
    """Return what the terms contribute at one device, IP's step tuned again without each."""
    waits, step = WAITS[case["waits"]], case["steps"]["1"]
    small, full = (core(1, n, case["parameters"], case["slow"]) for n in (SIZE, REPORT_SIZE))
    lines = []
    for name, changes in track(OFF.items(), description="contributions"):
        if name == "slow read noise" and not case["slow"]:
            continue
        own = step
        if changes:
            trials, rng = FIRST_STEPS // 2, np.random.default_rng(3)
            own, _ = tuned(fa.override(small, changes), step, waits, trials, rng)
        config = fa.override(full, changes)
        matrices = [programmed(config, ip(own, waits), seed) for seed in BUDGET_SEEDS]
        spread = np.mean([spread_us(matrix) for matrix in matrices], axis=0)
        error = np.mean([error_us(matrix) for matrix in matrices])
        lines.append([name, *(f"{value:.3f}" for value in spread[SHOWN]), f"{error:.3f}"])
    return table(["off", *(f"x = {x:.1f}" for x in CENTRES[SHOWN]), "rms error"], lines)


def generic() -> dict[str, Case]:
    """Return the device of the assumed defaults in both loops, IP's steps tuned to it."""
    device, drift = MeltQuench(), Drift()
    parameters = {"jitter_ua": device.jitter_ua, "g_set_spread": device.g_set_spread}
    parameters |= {"t_on_s": drift.t_on_s, "floor_us": device.floor_us}
    cases: dict[str, Case] = {}
    for loop, waits in WAITS.items():
        case = {"waits": loop, "slow": False, "floor": False, "parameters": parameters}
        rng = np.random.default_rng(2)
        steps = {
            str(n): tuned(core(n, SIZE, parameters, False), default_step(), waits, FIRST_STEPS, rng)
            for n in (1, 2)
        }
        case["steps"] = {name: step for name, (step, _) in steps.items()}
        cases[f"{loop}, nothing fitted"] = case | {"trials": []}
    return cases


def default_step() -> dict[str, float]:
    """Return the step that IP has by default."""
    return asdict(fa.IterativeProgramming().step)


def gain_of_tuning(case: Case) -> str:
    """Return IP's error with the default step, and with the one tuned to this device."""
    lines = []
    for devices in (1, 2):
        config = core(devices, REPORT_SIZE, case["parameters"], case["slow"])
        cells = []
        for step in (default_step(), case["steps"][str(devices)]):
            method = ip(step, WAITS[case["waits"]])
            errors = [error_us(programmed(config, method, seed)) for seed in REPORT_SEEDS]
            cells.append(mean_and_error(errors))
        lines.append([str(devices), *cells])
    return table(["devices", "IP's default step [µS]", "step tuned to this device [µS]"], lines)


def overview(cases: dict[str, Case], found: dict[str, dict[int, np.ndarray]]) -> str:
    """Return parameters and deviations of all cases."""
    lines = []
    for name, case in cases.items():
        numbers = {"floor_us": 0.05} | case["parameters"]
        shown = [f"{numbers[key]:.3g}" for key in ("jitter_ua", "g_set_spread", "t_on_s")]
        floor = f"{numbers['floor_us']:.3g}" + ("" if case["floor"] else " (given)")
        shown.insert(0, str(len(case["trials"])))
        off = [f"{100 * largest(found[name][devices], devices):.0f}" for devices in (1, 2)]
        lines.append([name, *shown, floor, *off])
    header = ["case", "trials", "σ_I [µA]", "spread of G_set", "t_on [s]", "floor [µS]"]
    return table([*header, "one device [%]", "two devices, predicted [%]"], lines)


def comparison(found: np.ndarray, devices: int) -> str:
    """Return published and simulated spreads, bin by bin."""
    target = published(devices)
    columns = zip(CENTRES, target, found.T, strict=True)
    lines = [
        [f"{x:.1f}", f"{us:.3f}", mean_and_error(values), mean_and_error(values / us)]
        for x, us, values in columns
    ]
    return table(["x", "published [µS]", "simulated [µS]", "ratio"], lines)


def chosen(cases: dict[str, Case], found: dict[str, dict[int, np.ndarray]]) -> tuple[str, str]:
    """Return the near enough case with the least scatter of pulses, or the nearest; and why.

    What waits take from drift, scatter can give back: the curves do not tell the loops apart, so
    the device decides that is least unlike what was assumed.  The floor is an extra.
    """
    given = [name for name, case in cases.items() if not case["floor"]]
    near = [n for n in given if all(largest(found[n][d], d) <= WITHIN[d] for d in WITHIN)]
    if near:
        goals = " and ".join(f"{100 * within:.0f} %" for within in WITHIN.values())
        best = min(near, key=lambda name: cases[name]["parameters"]["jitter_ua"])
        return best, f"Of those within {goals}, “{best}” has the least scatter of pulses."
    best = min(given, key=lambda name: largest(found[name][1], 1))
    return best, f"“{best}” is nearest at one device."


def write(path: Path) -> None:
    """Measure what a calibration found, and write tables and plot beside it."""
    document = json.loads(path.read_text())
    cases: dict[str, Case] = document["cases"]
    shown = cases | generic()
    found = {
        name: {devices: spreads(case, devices) for devices in (1, 2)}
        for name, case in track(shown.items(), description="reporting")
    }
    best, reason = chosen(cases, found)
    text = "Largest relative deviation of the cells' spread from the published one, x from 0.1 to "
    text += f"0.9, in all cases; mean of {len(REPORT_SEEDS)} seeds of {REPORT_SIZE}²:\n\n"
    text += overview(shown, found)
    text += f"\n{reason} What waits take "
    text += "from drift, scatter can give back, so the curves do not tell the loops apart.\n\n"
    for devices, words in ((1, "One device, fitted"), (2, "Two devices, predicted")):
        text += f"{words}; {READ_AT_S[devices]:.0f} s after programming, x = g / "
        text += f"{devices * DEVICE_US:.2f} µS, mean ± standard error:\n\n"
        text += comparison(found[best][devices], devices) + "\n"
    text += "What each term contributes at one device: the spread in µS with one off at a time, "
    text += "IP's step tuned again:\n\n" + budget(cases[best])
    text += "\nRoot mean square error of the cells, one scale for all:\n\n"
    text += gain_of_tuning(cases[best])
    path.with_suffix(".md").write_text(text)
    print(text)
    document["reported"] = {
        "seeds": list(REPORT_SEEDS),
        "size": REPORT_SIZE,
        "chosen": best,
        "spread_us": {
            name: {str(n): np.round(values, 4).tolist() for n, values in both.items()}
            for name, both in found.items()
        },
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    draw(found[best], path.with_suffix(".png"))


def draw(found: dict[int, np.ndarray], path: Path) -> None:
    """Draw the published curves and what was found."""
    figure = Figure(figsize=(7.0, 2.9), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    x = np.linspace(0.0, 1.0, 201)
    for axis, (devices, title) in zip(
        axes, ((1, "one device: fitted"), (2, "two devices: predicted")), strict=True
    ):
        curve, within = published(devices, x), WITHIN[devices]
        axis.fill_between(
            x,
            (1 - within) * curve,
            (1 + within) * curve,
            color="0.88",
            linewidth=0,
            label=f"± {100 * within:.0f} %",
        )
        axis.plot(x, curve, color="0.25", linewidth=1.4, label="published")
        mean = found[devices].mean(axis=0)
        error = found[devices].std(axis=0, ddof=1) / np.sqrt(len(found[devices]))
        axis.errorbar(
            CENTRES,
            mean,
            error,
            fmt="o",
            markersize=4,
            capsize=2,
            color="#2166ac",
            label="fastaimc",
        )
        axis.set(title=title, xlabel=f"g / {devices * DEVICE_US:.2f} µS", xlim=(0, 1))
        axis.set_xticks(np.linspace(0.0, 0.8, 5))
        axis.grid(visible=True, alpha=0.25)
        axis.legend(frameon=False, loc="lower right", fontsize="small")
    axes[0].set_ylabel("σ of programmed cells [µS]")
    axes[0].set_ylim(0, None)
    figure.savefig(path, dpi=200)
