"""What the commands share: options, configs and methods made of them, progress and errors.

Starting must be fast: only Typer is imported here; NumPy, Rich and the rest wait inside functions.
"""

from __future__ import annotations

import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from fastaimc.errors import (
    ConfigError,
    FastAIMCError,
    InputError,
    StorageError,
    check_choice,
)

if TYPE_CHECKING:
    from rich.console import Console

    from fastaimc.config import CoreConfig
    from fastaimc.programming import Method

METHODS = (
    *("gdp", "estimate", "ip", "ip-fine", "averaged", "hadamard", "least-squares", "tdp"),
    *("max-fill", "write"),
)
DESCENTS = ("gdp", "estimate")
LINE_EVERY_S = 5.0  # of a log
MOST_LINES, MOST_CHARACTERS = 5, 400  # of an error
PIPE_WIDTH = 160  # of tables that no terminal bounds
_MAX_CONFIG_BYTES = 1 << 20
_USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]  # Typer does not name it

Preset = Annotated[
    str | None,
    typer.Option(
        help="hermes, hermes-calibrated, hermes-statistics, hermes-one-device, pcm-joshi, "
        "pcm-nandakumar, reram-wan, reram-wan-day or ideal; `fastaimc presets` says what each "
        "models.",
        show_default="hermes",
        rich_help_panel="Core",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.json",
        help="A config instead of a preset, as `fastaimc presets NAME --json` writes it.",
        rich_help_panel="Core",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change one value of the config, such as adc.bits=6 or drift=null; repeatable.",
        rich_help_panel="Core",
    ),
]
Iterations = Annotated[
    int | None,
    typer.Option(help="Rounds of the method.", show_default="tuned", rich_help_panel="Method"),
]
Batch = Annotated[
    int | None,
    typer.Option(
        help="MVMs in each iteration of gdp.", show_default="tuned", rich_help_panel="Method"
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(help="Threads; no result depends on it.", show_default="all cores"),
]
EngineName = Annotated[
    str, typer.Option(help="numba, or reference for the specification in NumPy.")
]

Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="Where the result goes.")
]
Weights = Annotated[
    Path | None, typer.Argument(metavar="WEIGHTS", help="A .npy, .npz or .safetensors file.")
]
MethodName = Annotated[
    str | None,
    typer.Option(
        help="gdp (gradient descent on the MVM error), estimate (gdp guided by an estimate of each "
        "cell's error), ip (iterative program-and-verify), "
        "ip-fine (ip in the ADC's cell range), averaged (ip, each row read twice), hadamard (ip by "
        "encoded reads), least-squares (ip by regression on random MVMs), tdp (ip of single "
        "devices beside SET ones that were read), max-fill (beside nominal ones) or write "
        "(published statistics).",
        show_default="gdp; write where the device is given by its statistics",
        rich_help_panel="Method",
    ),
]
InputRange = Annotated[
    float, typer.Option(help="The |x| at the DAC's full scale.", rich_help_panel="Core")
]
Seed = Annotated[int, typer.Option(help="Of devices, noise and method.")]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Where the state is kept meanwhile, for --resume.",
        show_default="FILE of -o with .checkpoint, removed at the end",
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(metavar="CHECKPOINT", help="Go on with a program that was interrupted."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]


class Group(TyperGroup):
    """Commands whose errors are a few lines and exit code 2, and never a traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what stands before the command."""
        with plain_errors():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Parse the command's own arguments and run it."""
        with plain_errors():
            return super().invoke(ctx)


@contextmanager
def plain_errors() -> Iterator[None]:
    """End with exit code 2 for what the user gave, with 130 for Ctrl-C."""
    try:
        yield
    except FastAIMCError as error:
        say(f"Error: {error}")
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        say("Interrupted.")
        raise typer.Exit(130) from None
    except _USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        ctx = getattr(error, "ctx", None)
        text = f"Error: {error.format_message()}"  # type: ignore[attr-defined]
        say(text + (f"\nTry '{ctx.command_path} --help'." if ctx is not None else ""))
        raise typer.Exit(2) from None


def say(text: str) -> None:
    """Write a message of bounded length to stderr."""
    if len(text) > MOST_CHARACTERS:
        half = MOST_CHARACTERS // 2
        text = f"{text[:half]} ... {text[-half:]}"
    lines = ["".join(c if c.isprintable() else "?" for c in line) for line in text.splitlines()]
    typer.echo("\n".join(line for line in lines[:MOST_LINES] if line.strip()), err=True)


def output() -> Console:
    """Return a console for results, as wide as the terminal or wide enough for a pipe."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    return console


@contextmanager
def progress(label: str = "programming") -> Iterator[Callable[[int, int, str], None]]:
    """Yield ``f(done, total, text)``: a bar on a terminal, plain lines in a log; all on stderr."""
    if not sys.stderr.isatty():
        yield _lines(label)
        return
    from rich.console import Console

    from fastaimc.progress import bar

    with bar(label, Console(stderr=True)) as report:
        yield report


def _lines(label: str) -> Callable[[int, int, str], None]:
    """Return a report that writes the first and the last line, and few between."""
    last = [-LINE_EVERY_S]

    def report(done: int, total: int, text: str) -> None:
        now = time.monotonic()
        if done == total or now - last[0] >= LINE_EVERY_S:
            last[0] = now
            typer.echo(f"{label}: {done}/{total} {text}", err=True)

    return report


def presets() -> dict[str, Callable[[], CoreConfig]]:
    """Return the presets by the names that options use."""
    from fastaimc.config import presets as module

    found = inspect.getmembers(module, inspect.isfunction)
    found = [
        (name, make)
        for name, make in found
        if make.__module__ == module.__name__ and not name.startswith("_")
    ]
    ordered = sorted(found, key=lambda item: inspect.getsourcelines(item[1])[1])
    return {name.replace("_", "-"): make for name, make in ordered}


def make_config(preset: str | None, file: Path | None, sets: Sequence[str] | None) -> CoreConfig:
    """Return the config that --preset or --config, and --set, describe.

    Raises
    ------
    InputError, ConfigError, StorageError
        Naming the option or the file.
    """
    from fastaimc.config import override

    if preset is not None and file is not None:
        raise InputError("--preset and --config exclude each other: give one of them")
    if file is not None:
        config = _read_config(file)
    else:
        known = presets()
        preset = preset or "hermes"
        check_choice("--preset", preset, known)
        config = known[preset]()
    changes = dict(_change(text) for text in sets or ())
    try:
        return override(config, changes)
    except ConfigError as error:
        raise ConfigError(f"--set: {error}" if changes else str(error)) from None


def _read_config(file: Path) -> CoreConfig:
    from fastaimc.config import from_json

    try:
        if file.exists() and not file.is_file():
            raise StorageError(f"--config {str(file)!r} must be a file, got a folder or a device")
        with file.open("rb") as opened:
            data = opened.read(_MAX_CONFIG_BYTES + 1)
        if len(data) > _MAX_CONFIG_BYTES:
            raise StorageError(f"--config {str(file)!r} must have at most {_MAX_CONFIG_BYTES} B")
        return from_json(data.decode("utf-8"))
    except StorageError:
        raise
    except ConfigError as error:
        raise ConfigError(f"--config {str(file)!r}: {error}") from None
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        raise StorageError(f"--config {str(file)!r} must be readable JSON, got: {cause}") from None


def _change(text: str) -> tuple[str, Any]:
    """Split PATH=VALUE; a value that is no JSON is text."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise InputError(f"--set must be PATH=VALUE, such as adc.bits=6, got {text!r}")
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        parsed = value.strip()
    return path.strip(), tuple(parsed) if isinstance(parsed, list) else parsed


def make_method(
    name: str | None, config: CoreConfig, iterations: int | None, batch: int | None
) -> Method:
    """Return the method that --method, --iterations and --batch describe.

    Raises
    ------
    InputError, ConfigError
        Naming the option.
    """
    from fastaimc.config import ProgrammedState
    from fastaimc.programming import DirectWrite

    statistics = isinstance(config.device, ProgrammedState)
    name = name or ("write" if statistics else "gdp")
    check_choice("--method", name, METHODS)
    if statistics and name != "write":
        raise ConfigError(
            f"--method {name} needs a device that answers pulses, such as that of --preset hermes; "
            "this core's is known by its statistics alone: use --method write"
        )
    if name == "write" and not statistics:
        raise ConfigError(
            "--method write needs a device given by its statistics, such as that of --preset "
            "hermes-statistics or ideal; this core's must be iterated: use gdp, ip or ip-fine"
        )
    if batch is not None and name not in DESCENTS:
        raise InputError(
            f"--batch is an option of --method gdp or estimate alone, got --method {name}"
        )
    if name == "write":
        if iterations is not None:
            raise InputError("--iterations is no option of --method write, which writes once")
        return DirectWrite()
    given: dict[str, Any] = {} if iterations is None else {"iterations": iterations}
    given |= {} if batch is None else {"batch": batch}
    try:
        return _iterated(name, given)
    except ConfigError as error:
        raise ConfigError(f"--{error}") from None


def _iterated(name: str, given: dict[str, Any]) -> Method:
    """Return the method of a name, with its defaults for what is not given."""
    from fastaimc import programming

    kinds: dict[str, tuple[Callable[..., Method], dict[str, Any]]] = {
        "gdp": (programming.GradientDescentProgramming, {}),
        "estimate": (programming.EstimateGuidedProgramming, {}),
        "ip": (programming.IterativeProgramming, {}),
        "ip-fine": (programming.IterativeProgramming, {"fine": True}),
        "averaged": (programming.AveragedReadProgramming, {}),
        "hadamard": (programming.HadamardVerifyProgramming, {}),
        "least-squares": (programming.LeastSquaresReadProgramming, {}),
        "tdp": (programming.TwoDeviceProgramming, {}),
        "max-fill": (programming.TwoDeviceProgramming, {"allocation": "max_fill"}),
    }
    kind, own = kinds[name]
    return kind(**own, **given)
