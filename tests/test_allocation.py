"""Tiles on physical cores: nothing overlaps, nothing is lost, rounds follow the layers."""

import io
import itertools
import json
import sys
from typing import Any

import numpy as np
import pytest
from extras import torch_or_skip
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import fastaimc as fa
from fastaimc.errors import InputError
from fastaimc.network.allocation import Allocation, Tile, allocate_layers, pack, tiles_of

ROWS, COLUMNS = 16, 12
SIZES = st.tuples(st.integers(1, ROWS), st.integers(1, COLUMNS))
LAYERS = st.lists(st.lists(SIZES, min_size=1, max_size=6), min_size=1, max_size=8)


def named(layers: list[list[tuple[int, int]]]) -> list[list[Tile]]:
    return [
        [Tile(f"l{i}", f"l{i}", j, *size) for j, size in enumerate(sizes)]
        for i, sizes in enumerate(layers)
    ]


@given(LAYERS, st.none() | st.integers(1, 4))
def test_every_tile_has_cells_of_its_own(
    sizes: list[list[tuple[int, int]]], cores: int | None
) -> None:
    layers = named(sizes)
    found = allocate_layers(layers, ROWS, COLUMNS, cores)
    taken = np.zeros((found.rounds, found.cores, ROWS, COLUMNS), dtype=int)
    for place in found.places:
        rows = slice(place.row, place.row + place.tile.rows)
        columns = slice(place.column, place.column + place.tile.columns)
        cells = taken[place.round, place.core, rows, columns]
        assert cells.shape == (place.tile.rows, place.tile.columns)
        cells += 1
    assert taken.max() == 1
    whole = [tile for tiles in layers for tile in tiles]
    assert len(found.places) == len(whole)
    assert {place.tile for place in found.places} == set(whole)
    assert cores is None or found.cores <= cores
    loads = found.loads()
    assert sum(load.tiles for load in loads) == len(whole)
    assert sum(load.utilisation for load in loads) == pytest.approx(taken.sum() / ROWS / COLUMNS)


@given(LAYERS, st.integers(1, 4))
def test_rounds_follow_the_layers(sizes: list[list[tuple[int, int]]], cores: int) -> None:
    """A later layer is in no earlier round, and a round that ends could hold no more."""
    layers = named(sizes)
    found = allocate_layers(layers, ROWS, COLUMNS, cores)
    turns = [
        {place.round for place in found.places if place.tile.layer == tiles[0].layer}
        for tiles in layers
    ]
    for before, after in itertools.pairwise(turns):
        assert max(before) <= min(after)
    assert {turn for one in turns for turn in one} == set(range(found.rounds))
    if pack([tile for tiles in layers for tile in tiles], ROWS, COLUMNS, cores) is not None:
        assert found.rounds == 1


def test_quarters_fill_a_core() -> None:
    layers = named([[(8, 6), (8, 6)], [(8, 6)], [(8, 6)], [(16, 12)]])
    assert allocate_layers(layers, ROWS, COLUMNS, None).cores == 2
    one = allocate_layers(layers, ROWS, COLUMNS, 1)
    assert (one.cores, one.rounds) == (1, 2)
    assert [load.utilisation for load in one.loads()] == [1.0, 1.0]
    assert one.loads()[0].layers == ("l0", "l1", "l2")


def test_time_and_energy_add_up() -> None:
    """Cores work side by side, tiles of a core in turn, and they wait together."""
    tiles = [Tile("a", "a", i, 8, 12, 2.0, 10.0 + i, 7.0) for i in range(3)]
    found = allocate_layers([tiles], ROWS, COLUMNS, None)
    first, second = found.loads()
    assert (first.energy_j, first.time_s) == (4.0, 7.0 + 3.0 + 4.0)
    assert (second.energy_j, second.time_s) == (2.0, 12.0)
    assert found.time_s == 14.0
    assert allocate_layers([tiles], ROWS, COLUMNS, 1).time_s == 14.0 + 12.0


def test_tiles_of_a_matrix_cost_what_it_cost() -> None:
    config = fa.override(fa.presets.hermes(), {"rows": 16, "columns": 16})
    method = fa.GradientDescentProgramming(iterations=2, batch=16, final_passes=1)
    weights = np.random.default_rng(0).standard_normal((20, 30))
    matrix = fa.program(weights, config, method, engine="reference", threads=1)
    tiles = tiles_of("fc", "fc", matrix)
    assert [(tile.rows, tile.columns) for tile in tiles] == [(15, 10)] * 4
    assert sum(tile.energy_j for tile in tiles) == pytest.approx(matrix.cost.energy_j)
    assert max(tile.latency_s for tile in tiles) == matrix.cost.latency_s


def shown(allocation: Allocation) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(allocation)
    return out.getvalue()


def converted() -> Any:
    torch = torch_or_skip()
    first, last = torch.nn.Linear(20, 20), torch.nn.Linear(20, 4)
    model = torch.nn.Sequential(first, first, last).eval()
    config = fa.override(fa.presets.ideal(), {"rows": ROWS, "columns": COLUMNS})
    return fa.convert(model, config, engine="reference", threads=1)


def test_a_converted_model() -> None:
    model = converted()
    found = fa.network.allocate(model)
    assert len(found.places) == 4 + 2  # what is shared counts once
    two = fa.network.allocate(model, cores=2)
    assert two.cores == 2
    assert two.rounds > 1
    whole = json.loads(json.dumps(two.as_dict()))
    assert whole["rounds"] == two.rounds
    assert len(whole["places"]) == 6
    assert whole["loads"][0]["layers"] == ["0"]
    assert {"round", "core", "layers", "all"} <= set(shown(two).split())
    with pytest.raises(fa.ConfigError, match="cores must be from 1"):
        fa.network.allocate(model, cores=0)


def test_a_picture_shows_every_tile() -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    found = allocate_layers(named([[(8, 6), (8, 6)], [(16, 12)]]), ROWS, COLUMNS, 1)
    drawn = fa.network.picture(found)
    assert [len(part.patches) for part in drawn.axes] == [2, 1]
    assert [part.get_title() for part in drawn.axes] == ["round 0, core 0", "round 1, core 0"]
    drawn.savefig(io.BytesIO(), format="png")


def test_a_picture_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    found = allocate_layers(named([[(8, 6)]]), ROWS, COLUMNS, None)
    with pytest.raises(InputError, match="picture needs matplotlib"):
        fa.network.picture(found)
