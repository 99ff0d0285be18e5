"""AnalogMatrix: products, the stream of noise, time, copies and threads."""

import copy
import pickle
import threading
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

import fastaimc as fa
from fastaimc import vectors
from fastaimc.errors import ConfigError, InputError

pytestmark = pytest.mark.nojit

HERMES = fa.presets.hermes()
GDP = fa.GradientDescentProgramming(
    iterations=5, batch=32, final_passes=1, start_from="single_shot", affine_every=0
)
# Small work on a busy machine: waiting for a second thread costs more than it saves.
program = partial(fa.program, threads=1)
OUT, IN = 10, 12
YEAR = 3.15e7


@cache
def programmed() -> fa.AnalogMatrix:
    weights = np.random.default_rng(0).standard_normal((OUT, IN))
    config = fa.override(HERMES, {"rows": 8, "columns": 8})
    rest = {"seed": 1, "input_range": 2.0, "record_every": 5}
    return program(weights, config, GDP, **rest)  # type: ignore[no-any-return]


@pytest.fixture
def matrix() -> fa.AnalogMatrix:
    return programmed().copy()


def inputs(*batch: int) -> np.ndarray:
    return np.random.default_rng(len(batch)).uniform(-2, 2, (*batch, IN)).astype(np.float32)


# --- products -------------------------------------------------------------------------------------


def test_what_it_is(matrix: fa.AnalogMatrix) -> None:
    assert matrix.shape == (OUT, IN)
    assert (matrix.ndim, matrix.dtype, matrix.input_range) == (2, np.float32, 2.0)
    assert matrix.time_s == HERMES.t_eval_s
    assert (matrix.saturated, matrix.clipped) == (0, 0)
    assert matrix.weights().shape == (OUT, IN)
    assert not hasattr(matrix, "rmvm")  # reserved
    assert repr(matrix) == (
        f"AnalogMatrix(shape=({OUT}, {IN}), tiles=4, method=GradientDescentProgramming, time_s=200)"
    )


@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3), (2, 1, 3), (0,), (2, 0)])
def test_shapes_of_products(matrix: fa.AnalogMatrix, batch: tuple[int, ...]) -> None:
    y = matrix.mvm(inputs(*batch))
    assert y.shape == (*batch, OUT)
    assert y.dtype == np.float32
    assert matrix.number == int(np.prod(batch))


def test_products_are_near_those_of_the_weights(matrix: fa.AnalogMatrix) -> None:
    x = inputs(200)
    wanted = x @ matrix.target_weights().T
    error = np.linalg.norm(matrix.mvm(x) - wanted) / np.linalg.norm(wanted)
    assert 0.01 < error < 0.2


def test_a_matmul_means_what_it_means_for_arrays(matrix: fa.AnalogMatrix) -> None:
    x = inputs(5)
    assert (matrix @ x[0] == matrix.mvm(x[0], draw=0)).all()
    assert matrix.number == 1
    y = matrix @ x.T
    assert y.shape == (OUT, 5)
    assert (y == matrix.mvm(x, draw=1).T).all()
    assert matrix.number == 6
    assert (matrix @ x[0].tolist()).shape == (OUT,)


@pytest.mark.parametrize(
    "left", [np.ones((3, OUT)), np.ones(OUT), [1.0] * OUT, np.float64(2), 2], ids=str
)
def test_a_matrix_on_the_right_is_a_type_error(matrix: fa.AnalogMatrix, left: Any) -> None:
    with pytest.raises(TypeError):
        left @ matrix
    with pytest.raises(TypeError):
        left * matrix
    assert matrix.number == 0


@pytest.mark.parametrize("shape", [(), (IN + 1,), (5, IN), (IN, 2, 2), (0,)])
def test_a_matmul_of_the_wrong_shape(matrix: fa.AnalogMatrix, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=rf"x must be \({IN},\) or \({IN}, batch\).*got shape \("):
        matrix @ np.ones(shape)


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "float64": lambda x: x.astype(np.float64),
    "reversed": lambda x: x[::-1].copy()[::-1],
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "fortran": np.asfortranarray,
    "big endian": lambda x: x.astype(">f4"),
    "list": lambda x: x.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_any_layout_gives_the_same(matrix: fa.AnalogMatrix, layout: Any) -> None:
    x = inputs(4)
    assert (matrix.mvm(layout(x), draw=0) == matrix.mvm(x, draw=0)).all()


def test_inputs_are_never_changed(matrix: fa.AnalogMatrix) -> None:
    x = inputs(4) * 3
    before = x.copy()
    x.flags.writeable = False
    matrix.mvm(x)
    matrix @ x.T
    assert (x == before).all()
    weights = np.random.default_rng(0).standard_normal((4, 5))
    before = weights.copy()
    weights.flags.writeable = False
    program(weights, HERMES, GDP)
    assert (weights == before).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, bool, np.float16])
def test_whole_numbers(matrix: fa.AnalogMatrix, dtype: Any) -> None:
    x = np.random.default_rng(1).integers(0, 2, (3, IN))
    assert (matrix.mvm(x.astype(dtype), draw=0) == matrix.mvm(x.astype(float), draw=0)).all()


def test_what_is_beyond_the_range_saturates_and_is_counted(matrix: fa.AnalogMatrix) -> None:
    """Nothing is rescaled: the rest of the vector stays what it was."""
    x = inputs(3)
    beyond = x.copy()
    x[0, :2], x[1, 5], x[2, 3] = (2.0, -2.0), 2.0, -2.0
    beyond[0, :2], beyond[1, 5], beyond[2, 3] = (2.1, -50.0), np.inf, -2.0
    assert (matrix.mvm(x) == matrix.mvm(beyond, draw=0)).all()
    assert matrix.saturated == 0
    matrix.mvm(beyond)
    assert matrix.saturated == 3
    matrix.mvm(np.full(IN, 1e300))
    assert matrix.saturated == 3 + IN


@pytest.mark.parametrize("most", [1, 4 * IN, 10**6])
def test_windows_are_vectors_written_out(
    matrix: fa.AnalogMatrix, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """The same bits, numbers and counts, in however many parts they are multiplied."""
    monkeypatch.setattr(vectors, "PATCH_VALUES", most)
    random = np.random.default_rng(5)
    images = random.normal(0, 1.5, (3, 6 * IN)).astype(np.float32)
    assert (np.abs(images) > 2).any()
    bases, offsets = np.array([0, 7, 2 * IN, 2 * IN + 1, 30]), random.permutation(2 * IN)[:IN]
    other = matrix.copy()
    found = matrix.windows(images, bases, offsets)
    wanted = other.mvm(images[:, bases[:, None] + offsets])
    np.testing.assert_array_equal(found, wanted.reshape(found.shape))
    assert (matrix.number, matrix.saturated) == (other.number, other.saturated)
    assert matrix.windows(images[:0], bases, offsets).shape == (0, wanted.shape[-1])
    images[1, 2] = np.nan
    with pytest.raises(InputError, match="x must not hold NaN, got 1"):
        matrix.windows(images, bases, offsets)


# --- the stream of noise --------------------------------------------------------------------------


def test_a_batch_and_single_calls_use_the_same_draws(matrix: fa.AnalogMatrix) -> None:
    x = inputs(6)
    whole = matrix.copy().mvm(x)
    assert (np.stack([matrix.mvm(vector) for vector in x]) == whole).all()
    halves = [matrix.mvm(x[:2], draw=0), matrix.mvm(x[2:], draw=2)]
    assert (np.concatenate(halves) == whole).all()


def test_draws_leave_the_counter_alone(matrix: fa.AnalogMatrix) -> None:
    x = inputs(3)
    first = matrix.mvm(x, draw=np.int64(7))
    assert (matrix.number, matrix.saturated) == (0, 0)
    assert (matrix.mvm(x, draw=7) == first).all()
    assert (matrix.mvm(x, draw=8) != first).any()
    matrix.mvm(inputs(7))
    assert (matrix.mvm(x) == first).all()
    assert matrix.number == 10


@pytest.mark.parametrize("draw", [-1, 1 << 45, 1.5, True, "0"])
def test_draws_that_are_none(matrix: fa.AnalogMatrix, draw: Any) -> None:
    with pytest.raises(InputError, match=r"draw must be (from 0 to \d+|an integer), got "):
        matrix.mvm(inputs(), draw=draw)


def test_noise_is_new_in_every_vector(matrix: fa.AnalogMatrix) -> None:
    same = np.tile(inputs(), (50, 1))
    y = matrix.mvm(same)
    assert len(np.unique(y, axis=0)) > 10
    assert (y.std(axis=0) > 0).any()


def test_threads_take_each_number_once(matrix: fa.AnalogMatrix) -> None:
    x = inputs(40)
    wanted = {matrix.mvm(x[0], draw=k).tobytes() for k in range(160)}
    found: list[bytes] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        for _ in range(40):
            found.append(matrix.mvm(x[0]).tobytes())  # noqa: PERF401  one number a call

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert matrix.number == 160
    assert len(found) == 160
    assert sorted(found) == sorted(matrix.mvm(x[0], draw=k).tobytes() for k in range(160))
    assert set(found) == wanted


# --- time -----------------------------------------------------------------------------------------


def test_at_is_a_new_matrix_at_an_absolute_time(matrix: fa.AnalogMatrix) -> None:
    matrix.mvm(inputs(3))
    before = matrix.weights()
    later = matrix.at(YEAR)
    assert (later.time_s, later.number) == (YEAR, 3)
    assert matrix.time_s == 200.0
    assert (matrix.weights() == before).all()
    assert (later.at(200.0).weights() == before).all()
    assert later.core is matrix.core  # drift is evaluated, never written into cells


def test_drift_lowers_conductances(matrix: fa.AnalogMatrix) -> None:
    large = np.abs(matrix.target_weights()) > 1
    sizes = [np.abs(matrix.at(time).weights()[large]).mean() for time in (1.0, 1e3, 1e6, YEAR)]
    assert (np.diff(sizes) < 0).all()
    assert sizes[-1] < 0.85 * sizes[0]


def test_advance_moves_this_clock(matrix: fa.AnalogMatrix) -> None:
    other = matrix.copy()
    matrix.advance(3600.0)
    matrix.advance(0)
    assert (matrix.time_s, other.time_s) == (3800.0, 200.0)
    assert (matrix.weights() == other.at(3800.0).weights()).all()
    assert (matrix.mvm(inputs(3)) == other.at(3800.0).mvm(inputs(3))).all()
    for seconds, rule in ((-1, ">= 0"), (np.nan, "finite"), ("1", "a number"), (1e39, "fit into")):
        with pytest.raises(ConfigError, match=f"seconds must (be )?{rule}"):
            matrix.advance(seconds)
    with pytest.raises(ConfigError, match=r"time_s must be >= 0, got -1\.0"):
        matrix.at(-1)
    assert matrix.time_s == 3800.0


def test_the_global_compensation_takes_drift_away_and_none_leaves_it() -> None:
    weights = np.random.default_rng(0).standard_normal((OUT, IN))
    x = inputs(300) / 2
    gains = {}
    for kind in ("global", "none"):
        config = fa.override(HERMES, {"compensation": kind})
        later = program(weights, config, GDP, seed=1).at(YEAR)
        wanted = x @ weights.T
        y = later.mvm(x)
        gains[kind] = float(np.vdot(y, wanted) / np.vdot(wanted, wanted))
        assert np.abs(later.weights()).mean() < 0.85 * np.abs(weights).mean()
    assert abs(gains["global"] - 1) < 0.05
    assert gains["none"] < 0.85


# --- copies ---------------------------------------------------------------------------------------

COPIES: dict[str, Callable[[fa.AnalogMatrix], fa.AnalogMatrix]] = {
    "copy()": lambda m: m.copy(),
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "at": lambda m: m.at(m.time_s),
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_copies_are_equal_and_apart(matrix: fa.AnalogMatrix, duplicate: Any) -> None:
    matrix.mvm(inputs(4) * 1.5)
    matrix.advance(50.0)
    other = duplicate(matrix)
    names = ("shape", "time_s", "number", "saturated", "input_range", "cost", "provenance")
    for name in names:
        assert getattr(other, name) == getattr(matrix, name)
    assert matrix.saturated > 0
    np.testing.assert_array_equal(other.cell_pulses, matrix.cell_pulses, strict=True)
    assert all((other.history[key] == matrix.history[key]).all() for key in ("pulses", "mvms"))
    x = inputs(5)
    assert (other.mvm(x) == matrix.mvm(x)).all()
    other.mvm(x)
    other.advance(1.0)
    assert (matrix.number, matrix.time_s) == (9, 250.0)
    assert (other.at(1e6).weights() == matrix.at(1e6).weights()).all()


def test_other_conductances_leave_what_was_programmed(matrix: fa.AnalogMatrix) -> None:
    other = matrix.with_conductances(((matrix.targets, np.zeros_like(matrix.targets)),))
    np.testing.assert_array_equal(other.cell_pulses, matrix.cell_pulses, strict=True)
    assert other.cost == matrix.cost


def test_a_pickle_keeps_the_engine() -> None:
    weights = np.ones((3, 4))
    for engine in ("numba", "reference"):
        matrix = program(weights, fa.presets.ideal(), engine=engine)
        again = pickle.loads(pickle.dumps(matrix))
        assert again.core.engine is matrix.core.engine
        assert fa.mvm_error(again, samples=50) == fa.mvm_error(matrix, samples=50)
