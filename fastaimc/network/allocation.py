"""Tiles onto physical cores: packed side by side, and in rounds where there are too few cores.

Tiles of any layers share a crossbar as rectangles that do not overlap.  An MVM drives the rows of
one of them and reads its columns: others in these columns get no input, what others in these rows
give is not read.  So a core computes its tiles in turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.table import Table

from fastaimc.cost import cost_of
from fastaimc.errors import InputError, check_integer
from fastaimc.matrix import AnalogMatrix

MOST_CORES = 2**20


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a matrix that is programmed onto one crossbar.

    Attributes
    ----------
    layer, matrix : str
        What it belongs to.
    number : int
        Among the tiles of its matrix.
    rows, columns : int
        Its inputs and outputs.
    energy_j, latency_s, wait_s : float
        Of programming it; the wait is part of the latency.
    """

    layer: str
    matrix: str
    number: int
    rows: int
    columns: int
    energy_j: float = 0.0
    latency_s: float = 0.0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile is: round, core, and its first row and column there."""

    tile: Tile
    round: int
    core: int
    row: int
    column: int


@dataclass(frozen=True, slots=True)
class Load:
    """What one core holds in one round.

    Attributes
    ----------
    round, core, tiles : int
        Which one; how many tiles are on it.
    layers : tuple of str
        Whose they are.
    utilisation : float
        Cells in use over the cells of the crossbar.
    energy_j, time_s : float
        Of programming it: tiles take pulses and reads in turn and wait together.
    """

    round: int
    core: int
    tiles: int
    layers: tuple[str, ...]
    utilisation: float
    energy_j: float
    time_s: float


@dataclass(frozen=True, slots=True)
class Allocation:
    """The tiles of a network on physical cores.

    Attributes
    ----------
    rows, columns : int
        Of a core.
    cores : int
        How many are used.
    places : tuple of Place
        By round; with more than one, a batch of inputs goes through the layers of a round before
        the cores are programmed with those of the next.
    """

    rows: int
    columns: int
    cores: int
    places: tuple[Place, ...]

    @property
    def rounds(self) -> int:
        """How many times all cores are programmed for a batch."""
        return 1 + max(place.round for place in self.places)

    @property
    def time_s(self) -> float:
        """Time of programming, one round after the other, its cores side by side."""
        loads = self.loads()
        return sum(
            max(load.time_s for load in loads if load.round == index)
            for index in range(self.rounds)
        )

    def loads(self) -> tuple[Load, ...]:
        """Return what each core holds in each round."""
        held: dict[tuple[int, int], list[Tile]] = {}
        for place in self.places:
            held.setdefault((place.round, place.core), []).append(place.tile)
        return tuple(
            Load(
                round=key[0],
                core=key[1],
                tiles=len(tiles),
                layers=tuple(dict.fromkeys(tile.layer for tile in tiles)),
                utilisation=sum(t.rows * t.columns for t in tiles) / (self.rows * self.columns),
                energy_j=sum(tile.energy_j for tile in tiles),
                time_s=max(tile.wait_s for tile in tiles)
                + sum(tile.latency_s - tile.wait_s for tile in tiles),
            )
            for key, tiles in sorted(held.items())
        )

    def as_dict(self) -> dict[str, Any]:
        """Return places and loads as dictionaries and lists that JSON can write."""
        loads = [asdict(load) | {"layers": [*load.layers]} for load in self.loads()]
        more = {"rounds": self.rounds, "time_s": self.time_s, "loads": loads}
        return asdict(self) | {"places": [asdict(place) for place in self.places]} | more

    def __rich__(self) -> Table:
        """Return the table that ``rich.print`` shows."""
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
        for name in ("round", "core", "tiles", "used \\[%]", "\\[µJ]", "\\[s]"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("layers")
        loads = self.loads()
        for load in loads:
            used, energy = f"{100 * load.utilisation:.1f}", f"{1e6 * load.energy_j:.0f}"
            figures = (str(load.tiles), used, energy, f"{load.time_s:.1f}")
            table.add_row(str(load.round), str(load.core), *figures, ", ".join(load.layers))
        used = f"{100 * sum(load.utilisation for load in loads) / len(loads):.1f}"
        energy = f"{1e6 * sum(load.energy_j for load in loads):.0f}"
        whole = (str(self.rounds), str(self.cores), str(len(self.places)), used, energy)
        table.add_section()
        table.add_row(*whole, f"{self.time_s:.1f}", "all")
        return table


@dataclass(slots=True)
class _Shelf:
    """A band of rows of a core, as high as its first tile, filled from the left."""

    core: int
    row: int
    column: int = 0


def pack(
    tiles: Iterable[Tile], rows: int, columns: int, cores: int | None = None, turn: int = 0
) -> list[Place] | None:
    """Return the places of tiles in one round, or None if so many cores do not hold them.

    Hybrid first fit: the highest tiles first, each on the first shelf that has room, each shelf on
    the first core that has (Chung, Garey and Johnson, SIAM J. Algebr. Discrete Methods 3, 66, 1982:
    at most 2.125 times the fewest cores, and a constant).
    """
    shelves: list[_Shelf] = []
    filled: list[int] = []  # rows of each core
    places = []
    for tile in sorted(tiles, key=lambda tile: (-tile.rows, -tile.columns)):
        # Every shelf is high enough: tiles come in the order of their heights.
        shelf = next((one for one in shelves if one.column + tile.columns <= columns), None)
        if shelf is None:
            fitting = (i for i, height in enumerate(filled) if height + tile.rows <= rows)
            core = next(fitting, len(filled))
            if core == len(filled):
                if core == cores:
                    return None
                filled.append(0)
            shelf = _Shelf(core, filled[core])
            shelves.append(shelf)
            filled[core] += tile.rows
        places.append(Place(tile, turn, shelf.core, shelf.row, shelf.column))
        shelf.column += tile.columns
    return places


def allocate_layers(
    layers: Sequence[Sequence[Tile]], rows: int, columns: int, cores: int | None
) -> Allocation:
    """Return the allocation of layers, from the first to the last, to cores of that size.

    With a number of cores, as many layers as fit make a round; one that is larger than all cores
    goes over several, whose partial sums add up in digital.
    """
    if cores is not None:
        check_integer("cores", cores, 1, MOST_CORES)
    rounds: list[list[Tile]] = [[]]
    for tiles in layers:
        if pack([*rounds[-1], *tiles], rows, columns, cores) is not None:
            rounds[-1] += tiles
            continue
        if rounds[-1]:
            rounds.append([])
        for tile in tiles:
            if pack([*rounds[-1], tile], rows, columns, cores) is None:
                rounds.append([])
            rounds[-1].append(tile)
    places: list[Place] = []
    for turn, held in enumerate(rounds):
        places += pack(held, rows, columns, cores, turn) or []
    used = 1 + max(place.core for place in places)
    return Allocation(rows, columns, used, tuple(places))


def tiles_of(layer: str, name: str, matrix: AnalogMatrix) -> list[Tile]:
    """Return the tiles of a programmed matrix, with what each cost."""
    core = matrix.core
    tiles = []
    for index, (rows, columns) in enumerate(matrix.programmed.mapping.extents.tolist()):
        part = slice(index, index + 1)
        counters = {key: values[part] for key, values in core.counters.items()}
        cost = cost_of(counters, core.clock_s[part], core.extents[part], core.config)
        spent = (cost.energy_j, cost.latency_s, cost.wait_s)
        tiles.append(Tile(layer, name, index, rows, columns, *spent))
    return tiles


def figure(allocation: Allocation) -> Any:
    """See `fastaimc.network.picture`."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
    except ImportError:
        raise InputError("picture needs matplotlib: pip install 'fastaimc[plot]'") from None
    across, down = allocation.cores, allocation.rounds
    drawn = Figure(figsize=(2 * across + 1, 2 * down + 1), layout="constrained")
    names = list(dict.fromkeys(place.tile.layer for place in allocation.places))
    parts = drawn.subplots(down, across, squeeze=False)
    for turn in range(down):
        for core in range(across):
            part = parts[turn, core]
            part.set(xlim=(0, allocation.columns), ylim=(allocation.rows, 0), aspect="equal")
            part.set(xticks=[], yticks=[], title=f"round {turn}, core {core}")
    for place in allocation.places:
        tile, part = place.tile, parts[place.round, place.core]
        colour = f"C{names.index(tile.layer) % 10}"
        corner = (place.column, place.row)
        part.add_patch(
            Rectangle(corner, tile.columns, tile.rows, facecolor=colour, edgecolor="white")
        )
        middle = (place.column + tile.columns / 2, place.row + tile.rows / 2)
        part.text(*middle, f"{tile.layer}\n{tile.number}", size=6, ha="center", va="center")
    return drawn
