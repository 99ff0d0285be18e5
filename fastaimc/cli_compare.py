"""The command `fastaimc compare`: which method programs my network better."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastaimc import cli_options as options
from fastaimc.errors import InputError, StorageError, check_integer

if TYPE_CHECKING:
    from fastaimc.compare import Comparison
    from fastaimc.network.perceptron import Network

Ways = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "--methods",
        help="ip (cells read in the range of MVMs), ip-dark (the same, offsets not calibrated), "
        "ip-fine (in the ADC's cell range), averaged (ip, each row read twice), tdp (ip of single "
        "devices beside SET ones that were read), max-fill (beside nominal ones), hadamard (ip by "
        "encoded reads), least-squares (ip by regression on random MVMs), gdp, estimate (gdp "
        "guided by estimates of cells), statistics (as published), or all; repeatable.",
        show_default="ip, ip-fine, gdp and statistics",
        rich_help_panel="Method",
    ),
]
Rounds = Annotated[
    int | None,
    typer.Option(
        "--iterations",
        help="Rounds of ip; others get iterations for as many MVM-equivalents.",
        show_default="25",
        rich_help_panel="Method",
    ),
]
Seeds = Annotated[int, typer.Option(help="Programs of every method, each with a seed of its own.")]
Bits = Annotated[
    int | None,
    typer.Option(help="Bits of the ADC; short for --set adc.bits=.", rich_help_panel="Core"),
]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="All measurements as JSON.")
]
Plot = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.png",
        help="Error over its costs, pulses per cell, and maps of the cells' errors.",
    ),
]
Layers = Annotated[bool, typer.Option("--layers", help="A table of errors for every layer, too.")]

EPILOG = (
    "Examples:\n\n"
    "  fastaimc compare\n\n"
    "  fastaimc compare model.safetensors --seeds 3 --plot errors.png\n\n"
    "  fastaimc compare --methods all --seeds 1 --plot methods.png\n\n"
    "  fastaimc compare --adc-bits 6 --method gdp --method ip --json out.json"
)


def compare(
    weights: options.Weights = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    sets: options.Sets = None,
    adc_bits: Bits = None,
    methods: Ways = None,
    iterations: Rounds = None,
    batch: options.Batch = None,
    seeds: Seeds = 5,
    threads: options.Threads = None,
    engine: options.EngineName = "numba",
    json_file: Json = None,
    plot: Plot = None,
    layers: Layers = False,
    force: options.Force = False,
) -> None:
    """Program the same weights by every method and show errors, costs and accuracy.

    Without WEIGHTS it takes the network that comes with fastaimc: a perceptron for Fashion-MNIST,
    with 2,000 labelled test images.
    """
    from fastaimc.candidates import DEFAULT, candidates
    from fastaimc.report import show, to_json

    check_integer("--seeds", seeds, 1, 1000)
    changes = list(sets or ()) + ([] if adc_bits is None else [f"adc.bits={adc_bits}"])
    core = options.make_config(preset, config, changes)
    ways = candidates(core, methods or DEFAULT, iterations, batch)
    _check_outputs((json_file, plot), force)
    if plot is not None:
        from fastaimc.plots import check

        check(plot)
    matrices, network = _weights(weights)
    result = _run(matrices, ways, seeds, network, engine, threads)
    show(result, options.output(), layers)
    if json_file is not None:
        _write(json_file, to_json(result))
    if plot is not None:
        from fastaimc.plots import save

        save(result, plot)
    if result.seeds < seeds:
        options.say(f"Interrupted: this is of {result.seeds} of {seeds} seeds.")
        raise typer.Exit(130)


def _check_outputs(paths: tuple[Path | None, ...], force: bool) -> None:
    """Refuse before any work what could not be written after it."""
    for path in paths:
        if path is None:
            continue
        if path.exists() and not force:
            raise StorageError(f"{str(path)!r} exists: choose another file, or give --force")
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise StorageError(f"{str(path)!r} must be a file in a folder that exists")


def _weights(path: Path | None) -> tuple[dict[str, Any], Network | None]:
    if path is None:
        from fastaimc.network.perceptron import default_network

        network = default_network()
        return network.weights, network
    from fastaimc.weights import read_weights

    matrices, notices = read_weights(path)
    for notice in notices:
        options.say(notice)
    return matrices, None


def _run(
    matrices: dict[str, Any],
    ways: list[Any],
    seeds: int,
    network: Network | None,
    engine: str,
    threads: int | None,
) -> Comparison:
    from fastaimc.compare import compare as measure
    from fastaimc.network.perceptron import default_images

    if not matrices:
        raise InputError("WEIGHTS must hold at least one matrix")
    with options.progress("comparing") as report:
        return measure(
            matrices,
            ways,
            seeds,
            network=network,
            images=default_images() if network is not None else None,
            engine=engine,
            threads=threads,
            progress=report,
        )


def _write(path: Path, text: str) -> None:
    """Write a text file beside its place and rename it."""
    beside = path.with_name(f".{path.name}.tmp")
    try:
        beside.write_text(text)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StorageError(f"{str(path)!r} cannot be written: {error.strerror}") from None
