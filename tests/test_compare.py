"""A comparison of methods, its tables, its words, its JSON and its figure."""

import dataclasses
import io
import json

import numpy as np
import pytest
from rich.console import Console

import fastaimc as fa
from fastaimc import plots, report
from fastaimc.candidates import ALL, DEFAULT, METHODS, candidates
from fastaimc.compare import EXACT, WHOLE, Comparison, compare
from fastaimc.network.perceptron import Network

SEEDS = 2


@pytest.fixture(scope="module")
def network() -> Network:
    """A network of two layers."""
    rng = np.random.default_rng(0)
    weights = {
        "hidden": rng.standard_normal((24, 32)).astype(np.float32),
        "output": rng.standard_normal((10, 24)).astype(np.float32),
    }
    return Network(
        names=("hidden", "output"),
        weights=weights,
        biases={name: np.zeros(len(value), np.float32) for name, value in weights.items()},
        input_ranges={"hidden": 1.0, "output": 20.0},
        accuracy=0.0,
    )


@pytest.fixture(scope="module")
def comparison(network: Network) -> Comparison:
    """All methods on it, labelled by the network itself."""
    images = np.random.default_rng(1).uniform(0, 1, (50, 32)).astype(np.float32)
    hidden = np.maximum(images @ network.weights["hidden"].T, 0)
    labels = np.argmax(hidden @ network.weights["output"].T, axis=1)
    ways = candidates(fa.presets.hermes(), DEFAULT, iterations=6, batch=64)
    return compare(
        network.weights,
        ways,
        SEEDS,
        network=network,
        images=(images, labels),
        threads=1,
        samples=50,
    )


def test_every_candidate_has_a_row_for_every_layer_and_seed(comparison: Comparison) -> None:
    assert comparison.labels == [EXACT, "IP", "fine IP", "GDP", "statistics"]
    assert comparison.layers == ["hidden", "output", WHOLE]
    for label in comparison.labels:
        for layer in comparison.layers:
            assert len(comparison.values(label, layer, "total")) == SEEDS


def test_the_whole_adds_costs_and_weighs_errors(comparison: Comparison) -> None:
    cells = np.array([24 * 32, 10 * 24])
    for label in comparison.labels:
        for field in ("pulses", "mvms", "row_reads", "mvm_equivalents", "energy_j", "cells"):
            parts = [comparison.values(label, name, field) for name in ("hidden", "output")]
            whole = comparison.values(label, WHOLE, field)
            np.testing.assert_allclose(whole, parts[0] + parts[1])
        parts = np.array([comparison.values(label, name, "total") for name in ("hidden", "output")])
        expected = np.sqrt((parts**2 * cells[:, None]).sum(axis=0) / cells.sum())
        np.testing.assert_allclose(comparison.values(label, WHOLE, "total"), expected)


def test_the_exact_write_is_free_and_holds_its_targets(comparison: Comparison) -> None:
    assert (comparison.values(EXACT, WHOLE, "mvm_equivalents") == 0).all()
    assert (comparison.values(EXACT, WHOLE, "weight_error") == 0).all()
    assert (comparison.values(EXACT, WHOLE, "outside") == 0).all()
    for label in ("IP", "GDP"):
        exact = comparison.values(EXACT, WHOLE, "residual")
        assert (comparison.values(label, WHOLE, "residual") > exact).all()


def test_digital_accuracy_is_that_of_the_labels(comparison: Comparison) -> None:
    found = report.accuracies(comparison)
    assert found["digital"] == [1.0]
    assert list(found) == ["digital", *comparison.labels]
    assert all(len(found[label]) == SEEDS for label in comparison.labels)


def test_histories_and_maps_are_of_the_first_seed(comparison: Comparison) -> None:
    for label in ("IP", "fine IP", "GDP"):
        history = comparison.histories[label]
        assert len(history["iteration"]) == (2 if label == "GDP" else 6)
        assert np.isfinite(history["mvm_error"]).all()
        assert comparison.maps[label].shape == (32, 24)
    assert len(comparison.histories["statistics"]["pulses"]) == 0


def test_pulses_of_the_first_seed_are_those_of_all_cells(comparison: Comparison) -> None:
    assert list(comparison.pulses) == ["IP", "fine IP", "GDP", "statistics"]
    for label, pulses in comparison.pulses.items():
        assert pulses.dtype == np.uint16
        assert pulses.shape == (24 * 32 + 10 * 24,)
        assert pulses.sum() == comparison.values(label, WHOLE, "pulses")[0]
    assert (comparison.pulses["statistics"] == 2).all()  # a write of each polarity


def test_tables_and_words_fit_eighty_columns(comparison: Comparison) -> None:
    printed = io.StringIO()
    report.show(comparison, Console(file=printed, width=80), layers=True)
    text = printed.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    for word in ("Errors of hidden", "Cost of all layers", "Accuracy", "GDP leaves", "paired"):
        assert word in text


def test_the_closing_words_name_what_gdp_spent(comparison: Comparison) -> None:
    spent, other = (
        comparison.values(label, WHOLE, "mvm_equivalents").mean() for label in ("GDP", "IP")
    )
    words = report.closing(comparison)
    assert f"with {spent / other:.2f} times its MVM-equivalents" in words


def test_json_holds_everything(comparison: Comparison) -> None:
    document = json.loads(report.to_json(comparison))
    assert len(document["rows"]) == len(comparison.rows)
    assert document["provenance"]["config"]["config"]["kind"] == "CoreConfig"
    assert set(document["histories"]) == {"IP", "fine IP", "GDP", "statistics"}
    assert set(document["pulses_per_cell"]) == set(comparison.pulses)
    for label, counts in document["pulses_per_cell"].items():
        cells, pulses = np.array(counts), comparison.pulses[label]
        assert cells.sum() == len(pulses)
        assert len(cells) == pulses.max() + 1
        assert cells @ np.arange(len(cells)) == pulses.sum()


def test_a_written_device_has_one_way() -> None:
    assert [way.label for way in candidates(fa.presets.ideal())] == ["write"]


@pytest.mark.parametrize(
    ("names", "message"), [([], "at least one"), (["gpd"], "did you mean 'gdp'")]
)
def test_unknown_methods(names: list[str], message: str) -> None:
    with pytest.raises(fa.InputError, match=message):
        candidates(fa.presets.hermes(), names)


def only(comparison: Comparison, *labels: str) -> Comparison:
    """The same as if these candidates alone had been compared."""
    parts = {
        name: {label: getattr(comparison, name)[label] for label in labels}
        for name in ("histories", "maps", "pulses")
    }
    return dataclasses.replace(comparison, **parts)


@pytest.mark.parametrize(
    ("labels", "curves"),
    [
        (("IP", "fine IP", "GDP", "statistics"), 3),
        (("IP", "GDP"), 2),
        (("GDP",), 1),
        (("GDP", "statistics"), 1),
        (("statistics", "IP", "fine IP", "GDP"), 3),
        (("statistics",), 0),
    ],
    ids=["all", "two", "GDP", "GDP and statistics", "statistics first", "statistics"],
)
def test_no_panel_of_the_figure_is_empty(
    comparison: Comparison, labels: tuple[str, ...], curves: int
) -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    drawn = plots.figure(only(comparison, *labels))
    errors = [axis for axis in drawn.axes if axis.lines]
    histograms = [axis for axis in drawn.axes if axis.get_ylabel() == "cells"]
    maps = [axis for axis in drawn.axes if axis.images]
    assert [len(axis.lines) for axis in errors] == ([curves] * 4 if curves else [])
    assert [len(axis.patches) for axis in histograms] == ([curves] if curves else [])
    assert [axis.get_title().split(":")[0] for axis in maps] == (
        ["IP", "fine IP", "GDP"] if len(labels) > 3 else list(labels)
    )
    others = [axis for axis in drawn.axes if axis not in errors + histograms + maps]
    assert [axis.get_ylabel() for axis in others] == ["µS"]


def test_the_histogram_shows_how_many_cells_got_how_many_pulses(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    axis = next(axis for axis in plots.figure(comparison).axes if axis.get_ylabel() == "cells")
    assert axis.get_yscale() == "log"
    for label, stairs in zip(("IP", "fine IP", "GDP"), axis.patches, strict=True):
        cells, edges, _ = stairs.get_data()
        pulses = comparison.pulses[label]
        assert (cells == np.bincount(pulses)).all()
        assert (edges == np.arange(len(cells) + 1) - 0.5).all()
        assert stairs.get_label() == f"{label}: {pulses.mean():.1f}"


def test_curves_are_over_what_programming_cost(comparison: Comparison) -> None:
    """Their last points: the whole cost of the first seed, as the tables have it."""
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    axes = [axis for axis in plots.figure(comparison).axes if axis.lines]
    for axis, field in zip(
        axes, ("mvm_equivalents", "pulses", "energy_j", "latency_s"), strict=True
    ):
        for line in axis.lines:
            cost = comparison.values(line.get_label(), WHOLE, field)[0]
            scale = {"energy_j": 1e6, "pulses": 1 / (24 * 32 + 10 * 24)}.get(field, 1)
            assert line.get_xdata()[-1] == pytest.approx(scale * cost, rel=1e-9)
    assert [axis.get_xlabel() for axis in axes] == list(plots.COSTS)


def test_every_curve_has_its_name_and_a_look_of_its_own(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    last = [axis for axis in plots.figure(comparison).axes if axis.lines][-1]
    assert [text.get_text() for text in last.texts] == ["IP", "fine IP", "GDP"]
    labels = {way.label for way in candidates(fa.presets.hermes(), METHODS)}
    assert set(plots.STYLES) == labels - {"statistics"}
    assert len(set(plots.STYLES.values())) == len(plots.STYLES)
    assert plots.OTHER not in plots.STYLES.values()


@pytest.mark.parametrize(
    "heights", [[0.5], [0.5, 0.5, 0.5], [0.9, 0.1, 0.88, 0.12], 5 * [0.1]], ids=str
)
def test_names_do_not_lie_on_each_other(heights: list[float]) -> None:
    before = np.array(heights)
    after = plots._apart(before)
    assert (np.diff(np.sort(after)) >= plots.LABEL_GAP - 1e-12).all()
    assert after.min() >= 0
    assert after.mean() == pytest.approx(max(before.mean(), after.mean() - after.min()))
    assert (np.diff(after[np.argsort(before, kind="stable")]) > 0).all()


def test_an_mvm_of_several_phases_counts_as_several() -> None:
    config = fa.override(fa.presets.hermes(), {"dac.phases": 4})
    weights = {"w": np.random.default_rng(0).standard_normal((5, 4))}
    found = compare(weights, candidates(config, ["gdp"], 2, 4), 1, threads=1, samples=20)
    spent = found.values("GDP", WHOLE, "mvm_equivalents")[0]
    assert found.histories["GDP"]["mvm_equivalents"][-1] == spent


@pytest.mark.parametrize("shape", [(5, 3), (1, 1)], ids=str)
def test_the_figure_of_a_small_matrix(shape: tuple[int, int], tmp_path) -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    weights = {"w": np.random.default_rng(0).standard_normal(shape)}
    ways = candidates(fa.presets.hermes(), ["gdp"], iterations=1, batch=16)
    plots.save(compare(weights, ways, 1, threads=1, samples=20), tmp_path / "small.png")
    assert (tmp_path / "small.png").exists()


def test_the_figure_is_written_whole(comparison: Comparison, tmp_path) -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    path = tmp_path / "figure.png"
    plots.save(comparison, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(fa.InputError, match=r"plot must end as one of .*\.png.*figure.nonsense"):
        plots.save(comparison, tmp_path / "figure.nonsense")
    with pytest.raises(fa.StorageError, match="cannot be written"):
        plots.save(comparison, tmp_path / "nowhere" / "figure.png")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["figure.png"]


@pytest.mark.parametrize("rounds", [1, 2, 6, 25])
@pytest.mark.parametrize("rows", [1, 5, 40, 64])
@pytest.mark.parametrize("batch", [None, 8])
@pytest.mark.parametrize("name", ["gdp", "estimate"])
def test_descents_cost_what_ip_does(name: str, rows: int, rounds: int, batch: int | None) -> None:
    """GDP spends no more MVM-equivalents than IP, but for a batch that it needs at least, and no
    whole batch less; all wait as long."""
    ways = candidates(fa.presets.hermes(), ["ip-fine", name], rounds, batch)
    weights = np.random.default_rng(0).standard_normal((3, rows))
    ip, gdp = (
        fa.program(weights, way.config, way.method_for(rows), threads=1).cost for way in ways
    )
    lines = 2 ** int(np.ceil(np.log2(rows)))
    own, start = batch or lines, lines if name == "estimate" else 0
    assert (gdp.mvms - start) % own == 0
    if gdp.mvms - start > own:
        assert 0 <= ip.mvm_equivalents - gdp.mvm_equivalents < own
    assert ip.wait_s == pytest.approx(gdp.wait_s, rel=1e-9) == pytest.approx(200)


@pytest.mark.parametrize("rounds", [1, 2, 25])
@pytest.mark.parametrize("rows", [5, 40, 64])
@pytest.mark.parametrize(
    "name", ["max-fill", "tdp", "ip-dark", "ip", "averaged", "hadamard", "least-squares"]
)
def test_all_that_verify_cost_what_ip_does(name: str, rows: int, rounds: int) -> None:
    """No more, but for a round that they need at least, and no whole round less."""
    fine, way = candidates(fa.presets.hermes(), ["ip-fine", name], rounds)
    weights = np.random.default_rng(0).standard_normal((3, rows))
    one, several = (
        fa.program(weights, way.config, method, threads=1).cost
        for method in (
            dataclasses.replace(way.method_for(rows), iterations=1, final_passes=0),
            dataclasses.replace(way.method_for(rows), iterations=2, final_passes=0),
        )
    )
    each = several.mvm_equivalents - one.mvm_equivalents
    ip = fa.program(weights, fine.config, fine.method_for(rows), threads=1).cost
    cost = fa.program(weights, way.config, way.method_for(rows), threads=1).cost
    started = one.mvm_equivalents - each
    left = rounds * rows - (cost.mvm_equivalents - started)
    assert 0 <= left < each or way.method_for(rows).iterations == 1
    assert cost.wait_s == pytest.approx(ip.wait_s, rel=1e-9) == pytest.approx(200)


def test_all_are_all() -> None:
    everything = candidates(fa.presets.hermes(), [ALL])
    assert len(everything) == len(METHODS)
    assert everything == candidates(fa.presets.hermes(), METHODS)
    assert everything == candidates(fa.presets.hermes(), ["gdp", ALL])
    assert len({way.label for way in everything}) == len(METHODS)


def test_the_budget_is_spent_in_rounds_of_each_method() -> None:
    """25 rounds of IP on 200 rows: Hadamard verify drives 256 lines, others what they ask for."""
    names = ["ip", "averaged", "hadamard", "least-squares", "tdp"]
    ways = dict(zip(names, candidates(fa.presets.hermes(), names), strict=True))
    rounds = {name: way.method_for(200).iterations for name, way in ways.items()}
    per_round = ways["least-squares"].method.batch(200)
    assert rounds == {
        "ip": 25,
        "averaged": 12,
        "hadamard": 5000 // 256,
        "least-squares": 5000 // per_round,
        "tdp": 25,
    }


def test_layers_of_other_heights_get_other_batches(comparison: Comparison) -> None:
    """Tiles of 32 and 24 rows; histories go on where a layer is done before the others."""
    gdp = comparison.methods["GDP"]
    assert {name: method["batch"] for name, method in gdp.items()} == {"hidden": 64, "output": 64}
    ways = candidates(fa.presets.hermes(), ["gdp"], iterations=6)
    assert [ways[0].method_for(rows).batch for rows in (24, 32, 33, 256)] == [32, 32, 64, 256]
    lengths = [method["iterations"] for method in gdp.values()]
    assert len(set(lengths)) == 2
    history = comparison.histories["GDP"]
    assert {len(values) for values in history.values()} == {max(lengths)}
    total = comparison.values("GDP", WHOLE, "mvms")[0]
    assert history["mvms"][-1] == total


@pytest.mark.parametrize(("calls", "seeds"), [(1, 0), (3, 1), (4, 2)])
def test_an_interrupted_comparison_keeps_whole_seeds(
    calls: int, seeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two candidates: after one program no seed is whole, after three the first one is."""
    weights = {"w": np.random.default_rng(0).standard_normal((5, 4))}
    ways = candidates(fa.presets.hermes(), ["ip", "gdp"], iterations=2)
    made = []

    def program(*args, **options):
        if len(made) == calls:
            raise KeyboardInterrupt
        made.append(args)
        return fa.program(*args, **options)

    monkeypatch.setattr("fastaimc.compare.program", program)
    if seeds == 0:
        with pytest.raises(KeyboardInterrupt):
            compare(weights, ways, 3, threads=1, samples=20)
        return
    found = compare(weights, ways, 3, threads=1, samples=20)
    assert found.seeds == seeds
    for label in (EXACT, "IP", "GDP"):
        assert len(found.values(label, "w", "total")) == seeds
