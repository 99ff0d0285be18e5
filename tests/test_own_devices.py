"""A user's own device: tables of measured pulses, and classes in NumPy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupts import GDP, IP
from strategies import TWINS
from test_counted import WEIGHTS, core
from test_engine_increments import Cells

import fastaimc as fa
from fastaimc.config import PulseTable, PythonDevice, SoftBounds, from_json, to_json
from fastaimc.engine import Engine

CSV = """conductance_us,pulse,mean_us,std_us
0.5,1,0.4,0.1
5,1,0.2,0.1
10,1,0.0,0.05
0.5,-1,0.0,0.05
5,-1,-0.2,0.1
10,-1,-0.4,0.1
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "pulses.csv"
    path.write_text(text, encoding="utf-8")
    return path


@dataclass
class Linear:
    """Soft bounds as a user would write them, for comparison with the built-in ones."""

    low_us: float = 0.1
    high_us: float = 20.0
    step: float = 0.01
    jitter: float = 0.3
    spread: float = 0.1

    def pulse(
        self, conductance: np.ndarray, up: np.ndarray, spread: np.ndarray, noise: np.ndarray
    ) -> np.ndarray:
        u = (conductance - self.low_us) / (self.high_us - self.low_us)
        own = np.maximum(1 + self.spread * spread[0], 0)
        change = 2 * self.step * np.where(up, 1 - u, -u) * own * (1 + self.jitter * noise)
        return self.low_us + np.clip(u + change, 0, 1) * (self.high_us - self.low_us)


TWIN = SoftBounds(step=0.01, jitter=0.3, step_spread=0.1, asymmetry_spread=0, bound_spread=0)


# --- tables ---------------------------------------------------------------------------------------


def test_a_table_is_read(tmp_path: Path) -> None:
    device = PulseTable.from_csv(written(tmp_path, CSV), step_spread=0.1)
    assert device.conductance_us == (0.5, 5.0, 10.0)
    assert device.up_mean_us == (0.4, 0.2, 0.0)
    assert device.down_std_us == (0.05, 0.1, 0.1)
    assert (device.low_us, device.high_us, device.step_spread) == (0.5, 10.0, 0.1)
    assert from_json(to_json(core(device))).device == device


def test_a_table_without_a_way_back(tmp_path: Path) -> None:
    rows = [line for line in CSV.splitlines() if ",-1," not in line]
    device = PulseTable.from_csv(written(tmp_path, "\n\n".join(rows)))
    assert device.down_mean_us == (0.0, 0.0, 0.0)
    matrix = fa.program(WEIGHTS, core(device), IP, seed=1)
    assert fa.weight_error(matrix) < 0.3


@TWINS
def test_steps_between_rows(engine: Engine, tmp_path: Path) -> None:
    """Linear in between: 0.3 ± 0.1 µS at 2.75 µS."""
    cells = Cells(engine, PulseTable.from_csv(written(tmp_path, CSV)), 2.75)
    change = cells.pulse(1) - 2.75
    assert abs(change.mean() - 0.3) < 4 * 0.1 / 200
    assert abs(change.std() - 0.1) < 4 * 0.1 / 200


@pytest.mark.parametrize(
    ("edit", "error", "text"),
    [
        (lambda t: t.replace("0.5,-1,0.0,0.05\n", ""), fa.InputError, "holes.*0.5 and pulse -1"),
        (lambda t: t.replace("5,1,0.2,0.1", "5,1,,0.1"), fa.InputError, "line 3: must hold 4"),
        (lambda t: t.replace("5,1,0.2,0.1", "5,1,nan,0.1"), fa.InputError, "line 3: .* finite"),
        (lambda t: t.replace("10,1,", "10,2,"), fa.InputError, "line 4: pulse must be 1 or -1"),
        (lambda t: t + "10,1,0.1,0.1\n", fa.InputError, "line 8: must not repeat"),
        (lambda t: t.replace("conductance_us", "g"), fa.InputError, "must begin with the line"),
        (lambda t: "", fa.InputError, "an empty file"),
        (lambda t: t.replace("0.2,0.1", "0.2,-0.1", 1), fa.ConfigError, "up_std_us must be >= 0"),
        (lambda t: t.replace("0.5,", "-0.5,"), fa.ConfigError, "conductance_us must be >= 0"),
        (lambda t: t.replace(",-0.4,", ",0.4,"), fa.ConfigError, "down_mean_us nowhere"),
    ],
)
def test_bad_tables(edit: Any, error: type[Exception], text: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=text):
        PulseTable.from_csv(written(tmp_path, edit(CSV)))


def test_rows_must_rise() -> None:
    with pytest.raises(fa.ConfigError, match="must rise from row to row"):
        PulseTable(
            **{
                "conductance_us": (1.0, 1.0),
                **dict.fromkeys(("up_mean_us", "up_std_us", "down_std_us"), (0.0, 0.1)),
                "down_mean_us": (0.0, 0.0),
            }
        )


# --- classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [IP, GDP], ids=["ip", "gdp"])
@pytest.mark.parametrize("engine", ["numba", "reference"])
def test_a_class_does_as_the_built_in_device(engine: str, method: Any) -> None:
    """The same law on the same random numbers: within 2 % of its error, as twins are."""
    errors = [
        fa.mvm_error(
            fa.program(WEIGHTS, core(device), method, seed=3, engine=engine), samples=200
        ).total
        for device in (TWIN, PythonDevice(model=Linear()))
    ]
    assert abs(errors[0] / errors[1] - 1) < 0.02


def test_its_nominal_steps() -> None:
    """By quadrature over the noise; clipping at a bound takes a part."""
    built_in, own = TWIN.steps(), PythonDevice(model=Linear()).steps()
    inner = slice(20, -20)
    np.testing.assert_allclose(own[:, inner], built_in[:, inner], atol=1e-5)


def test_a_saved_matrix_knows_the_name_alone(tmp_path: Path) -> None:
    matrix = fa.program(WEIGHTS, core(PythonDevice(model=Linear())), IP, seed=1)
    fa.save(tmp_path / "matrix.npz", matrix)
    loaded = fa.load(tmp_path / "matrix.npz")
    x = np.ones(WEIGHTS.shape[1])
    np.testing.assert_array_equal(loaded.mvm(x, draw=0), matrix.mvm(x, draw=0))
    device = loaded.core.config.device
    assert isinstance(device, PythonDevice)
    assert device.name.endswith(":Linear")
    with pytest.raises(fa.ConfigError, match="must be an object to be programmed, got the name"):
        fa.program(WEIGHTS, loaded.core.config)


class Broken(Linear):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def pulse(
        self, conductance: np.ndarray, up: np.ndarray, spread: np.ndarray, noise: np.ndarray
    ) -> np.ndarray:
        return np.asarray(self.answer(conductance))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda g: g * np.nan, "must return finite conductances, got nan after 0.1 µS"),
        (lambda g: g[:-1], r"must return real numbers of shape \(257,\), got float64 of shape"),
        (lambda g: g + 1j, "must return real numbers .* got complex128"),
    ],
)
def test_what_a_class_may_not_return(answer: Any, text: str) -> None:
    with pytest.raises(fa.InputError, match=text):
        fa.program(WEIGHTS, core(PythonDevice(model=Broken(answer))), IP)


@pytest.mark.parametrize("model", [3, Linear, object()])
def test_what_is_no_model(model: Any) -> None:
    with pytest.raises(fa.ConfigError, match="must be an object with low_us, high_us and"):
        PythonDevice(model=model)


def test_a_range_that_is_none() -> None:
    with pytest.raises(fa.ConfigError, match=r"device\.model\.high_us must be > 0\.1"):
        PythonDevice(model=Linear(high_us=0.1))
