"""The command line: `fastaimc program`, `info`, `presets` and `compare`.

Commands import what they need when they run, so that `--help` is fast.  Only results go to
stdout; progress, notices and errors go to stderr.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastaimc import cli_compare
from fastaimc import cli_options as options
from fastaimc.errors import InputError, StorageError

if TYPE_CHECKING:
    from fastaimc.matrix import AnalogMatrix

WITH_RESUME = {"output", "force", "threads", "checkpoint", "resume"}

app = typer.Typer(
    name="fastaimc",
    cls=options.Group,
    help="Simulate analog in-memory computing cores and the programming of weights onto them.",
    epilog="Examples:\n\n"
    "  fastaimc program model.safetensors -o model.npz --method gdp\n\n"
    "  fastaimc info model.npz\n\n"
    "  fastaimc presets hermes",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line."""
    app(prog_name="fastaimc")


def _show_versions(wanted: bool) -> None:
    if not wanted:
        return
    from fastaimc import engine as engines
    from fastaimc.provenance import versions

    threading = engines.load("numba").threading_info()
    found = versions()
    ordered = {"fastaimc": found.pop("fastaimc")} | found
    names = {"blas": "BLAS", "threading_layer": "threading layer", "threads": "threads"}
    ordered |= {title: str(threading[name]) for name, title in names.items()}
    width = max(map(len, ordered))
    for name, value in ordered.items():
        typer.echo(f"{name:{width}}  {value}")
    raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_versions,
            is_eager=True,
            help="Show versions, BLAS and threading layer.",
        ),
    ] = False,
) -> None:
    """Simulate analog in-memory computing cores and the programming of weights onto them."""


@app.command(
    epilog="Examples:\n\n"
    "  fastaimc program model.safetensors -o model.npz\n\n"
    "  fastaimc program w.npy -o w.npz --method ip --set adc.bits=6 --set drift=null\n\n"
    "  fastaimc program --resume model.checkpoint.npz -o model.npz\n\n"
    "Several matrices become one file each: model.npz becomes model.fc1.npz, model.fc2.npz, ...",
)
def program(
    ctx: typer.Context,
    output: options.Output,
    weights: options.Weights = None,
    method: options.MethodName = None,
    iterations: options.Iterations = None,
    batch: options.Batch = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    sets: options.Sets = None,
    input_range: options.InputRange = 1.0,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    engine: options.EngineName = "numba",
    checkpoint: options.Checkpoint = None,
    resume: options.Resume = None,
    force: options.Force = False,
) -> None:
    """Program every weight matrix of a file onto cores and save them."""
    if not output.name:
        raise StorageError(f"-o {str(output)!r} must be a file, got a folder")
    own = output.with_name(f"{output.stem}.checkpoint.npz")
    state = checkpoint or resume or own
    if weights is not None and resume is None:
        chosen = options.make_config(preset, config, sets)
        how = options.make_method(method, chosen, iterations, batch)
        matrices = _read(weights)
        names = list(matrices)
        settings = {"seed": seed, "input_range": input_range, "engine": engine}
        job = partial(_program, matrices, chosen, how, **settings)
    elif resume is not None and weights is None:
        _refuse_with_resume(ctx)
        names = _layers_of(resume)
        job = partial(_resume, resume)
    else:
        raise InputError("program needs either WEIGHTS or --resume CHECKPOINT, and not both")
    files = _targets(output, names)
    _check_free([*files.values()], state, force)
    if state != resume:
        _check_checkpoint(state, force)
    results = _run(partial(job, threads=threads, checkpoint=state), state, output)
    _save(results, files)
    if state == own:
        state.unlink(missing_ok=True)
    _report(results, files)


def _read(file: Path) -> dict[str, Any]:
    """Return the matrices of a file, and say what was flattened or skipped."""
    from fastaimc.weights import read_weights

    matrices, notices = read_weights(file)
    for notice in notices:
        options.say(f"Note: {notice}")
    return matrices


def _program(*given: Any, **settings: Any) -> Any:
    from fastaimc import api

    return api.program(*given, **settings)


def _resume(path: Path, **settings: Any) -> Any:
    from fastaimc import api

    return api.resume(path, **settings)


def _layers_of(path: Path) -> list[str]:
    """Return the layers of a checkpoint."""
    from fastaimc import checkpoint as checkpoints

    return [layer.name or "" for layer in checkpoints.load(path)[0].layers]


def _refuse_with_resume(ctx: typer.Context) -> None:
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in WITH_RESUME:
            option = "--" + {"sets": "set"}.get(name, name).replace("_", "-")
            raise InputError(f"{option} cannot be given with --resume: the checkpoint has it")


def _targets(output: Path, names: list[str]) -> dict[str, Path]:
    """Return one file for each layer: `output`, or with the layer's name before its suffix."""
    if len(names) == 1:
        return {names[0]: output}
    files: dict[str, Path] = {}
    taken = {"checkpoint"}  # the name of the state beside the result
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:100] or "_"
        label, number = plain, 2
        while label.lower() in taken:  # on some systems a.npz and A.npz are one file
            label, number = f"{plain}-{number}", number + 1
        taken.add(label.lower())
        files[name] = output.with_name(f"{output.stem}.{label}{output.suffix}")
    return files


def _check_free(files: list[Path], state: Path, force: bool) -> None:
    """Raise before a long run for what could not be written after it."""
    if state in files:
        raise InputError(f"-o {str(state)!r} must be another file than the checkpoint")
    for file in files:
        try:
            if file.is_dir():
                raise StorageError(f"-o {str(file)!r} must be a file, got a folder")
            if not file.parent.is_dir():
                raise StorageError(f"-o {str(file)!r} must lie in a folder that exists")
            if not os.access(file.parent, os.W_OK):
                raise StorageError(f"-o {str(file)!r} must lie in a folder that can be written")
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"-o {str(file)!r} must be a path: {error.strerror}") from None
        if os.path.lexists(file) and not force:
            raise StorageError(f"-o {str(file)!r} exists: choose another or give --force")


def _check_checkpoint(state: Path, force: bool) -> None:
    if os.path.lexists(state) and not force:
        raise StorageError(
            f"{str(state)!r} exists, perhaps of a program that was interrupted: go on with "
            "--resume, choose another --checkpoint, or give --force"
        )


def _run(job: Any, state: Path, output: Path) -> dict[str, AnalogMatrix]:
    """Program; on Ctrl-C say how to go on."""
    before = _stamp(state)
    try:
        with options.progress() as report:
            results = job(progress=report)
    except KeyboardInterrupt:
        if _stamp(state) is None:
            options.say("Interrupted before there was anything to save: start again.")
        else:
            kept = "Interrupted" if _stamp(state) == before else "Interrupted and saved"
            options.say(f"{kept}. Go on with: fastaimc program --resume {state} -o {output}")
        raise typer.Exit(130) from None
    return results if isinstance(results, dict) else {"": results}


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _save(results: Mapping[str, AnalogMatrix], files: Mapping[str, Path]) -> None:
    from fastaimc.files import save

    for name, matrix in results.items():
        save(files[name], matrix)


def _report(results: Mapping[str, AnalogMatrix], files: Mapping[str, Path]) -> None:
    """Show what was programmed, how well and at which cost."""
    from rich.table import Table
    from rich.text import Text

    from fastaimc.metrics import mvm_error
    from fastaimc.weights import shown

    table = Table()
    for title in ("layer", "file"):
        table.add_column(title, overflow="fold")
    for title in ("shape", "tiles", "residual", "total", "MVM-equiv.", "pulses"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, matrix in results.items():
        error, cost = mvm_error(matrix), matrix.cost
        table.add_row(
            Text(shown(name)),
            Text(shown(files[name].name)),
            "×".join(map(str, matrix.shape)),
            str(matrix.programmed.mapping.tiles),
            f"{error.residual:.2%}",
            f"{error.total:.2%}",
            f"{cost.mvm_equivalents:,}",
            f"{cost.pulses_set + cost.pulses_reset:,}",
        )
    options.output().print(table)


@app.command(
    epilog="Examples:\n\n  fastaimc info model.npz\n\n  fastaimc info model.npz --json > model.json"
)
def info(
    file: Annotated[Path, typer.Argument(help="What `program` saved, or a checkpoint of it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    threads: options.Threads = None,
) -> None:
    """Show what a matrix or a checkpoint file holds."""
    from fastaimc.cli_info import describe_file, facts_table

    described = describe_file(file, threads)
    if as_json:
        typer.echo(json.dumps(_finite(described), indent=2, allow_nan=False))
    else:
        options.output().print(facts_table(described))


def _finite(value: Any) -> Any:
    """Return a value with None for the numbers that JSON does not know."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@app.command(
    epilog="Examples:\n\n  fastaimc presets\n\n  fastaimc presets hermes\n\n"
    "  fastaimc presets hermes --json > my.json"
)
def presets(
    name: Annotated[str | None, typer.Argument(help="Every number of this one.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="As a config for --config; needs NAME.")
    ] = False,
) -> None:
    """Say what the presets model, from which sources, and what is assumed."""
    from fastaimc.cli_info import preset_details, preset_summaries
    from fastaimc.config import to_json
    from fastaimc.errors import check_choice

    known = options.presets()
    if name is None:
        if as_json:
            raise InputError("--json needs the NAME of a preset")
        options.output().print(preset_summaries(known))
        return
    check_choice("NAME", name, known)
    if as_json:
        typer.echo(to_json(known[name]()))
    else:
        options.output().print(preset_details(name, known[name]))


app.command("compare", epilog=cli_compare.EPILOG)(cli_compare.compare)
