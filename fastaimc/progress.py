"""Progress of long work: nothing, a bar, or the caller's own function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fastaimc.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

Report = Callable[[int, int, str], None]
Progress = bool | Report | None


@contextmanager
def reporter(progress: Progress) -> Iterator[Report | None]:
    """Yield a function ``f(done, total, text)``, or None for silence.

    Raises
    ------
    InputError
        For something that is neither None, a bool nor callable.
    """
    if progress is None or progress is False:
        yield None
        return
    if callable(progress):
        yield progress
        return
    if progress is not True:
        raise InputError(
            f"progress must be None, True or a function f(done, total, text), got {progress!r}"
        )
    with bar("programming") as report:
        yield report


@contextmanager
def bar(label: str, console: Console | None = None) -> Iterator[Report]:
    """Yield a report that draws a bar on `console` (None: stdout); a given one is left clean."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=console is not None) as drawn:
        task = drawn.add_task(label, total=None, text="")
        yield lambda done, total, text: drawn.update(task, completed=done, total=total, text=text)
