"""Configs: every field has its rule, a message that names it, and a source for its default."""

import ast
import dataclasses
import io
import math
import re
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastaimc as fa
from fastaimc import config as configs
from fastaimc.config import (
    ADC,
    DAC,
    AccumulativeSet,
    Circuit,
    CoreConfig,
    Drift,
    ExponentialStep,
    Faults,
    MeltQuench,
    ProgrammedState,
    PulseTable,
    PythonDevice,
    ReadNoise,
    SoftBounds,
    StateFit,
    Wires,
    presets,
)
from fastaimc.errors import ConfigError

pytestmark = pytest.mark.nojit

HERMES = dataclasses.replace(presets.hermes(), wires=Wires())
PARTS = (
    ADC,
    DAC,
    AccumulativeSet,
    Circuit,
    CoreConfig,
    Drift,
    ExponentialStep,
    Faults,
    MeltQuench,
    ProgrammedState,
    PulseTable,
    PythonDevice,
    ReadNoise,
    SoftBounds,
    StateFit,
    Wires,
)
PAIR = (0.0, 1.0)
NEEDED: dict[type, dict[str, Any]] = {
    PulseTable: dict(
        conductance_us=PAIR,
        **{f"up_{name}_us": PAIR for name in ("mean", "std")},
        **{f"down_{name}_us": (0.0, 0.0) for name in ("mean", "std")},
    ),
    PythonDevice: dict(model="a:name"),
}
FOLDER = Path(str(configs.__file__)).parent
SOURCE = re.compile(r"assumption|HERMES|aihwkit|et al\.|derived")

POSITIVE = (
    *("g_max_us", "weight_quantile", "state_scale_us", "adc.cell_lsb_us", "adc.full_scale_sigmas"),
    "adc.range_quantile",
    *("device.g_set_us", "device.decades", "device.centre_ua", "device.width_ua"),
    *("device.current_min_ua", "drift.t_ref_s", "drift.t_on_s", "read_noise.t_read_s"),
)
NOT_NEGATIVE = (
    *("t_eval_s", "adc.gain_std", "adc.offset_std", "adc.inl_std", "circuit.t_mvm_s"),
    *("adc.noise_std", "adc.dead_time", "adc.dead_time_std", "circuit.t_phase_s"),
    *("circuit.energy_mvm_j", "circuit.energy_phase_j", "circuit.t_pulse_s"),
    *("circuit.t_read_s", "circuit.energy_read_j"),
    "circuit.energy_set_j",
    *("circuit.energy_reset_j", "device.g_set_spread", "device.centre_spread"),
    *("device.width_spread", "device.jitter_ua", "device.floor_us"),
    *("device.decades_spread", "device.jitter_spread", "device.floor_spread"),
    *("drift.t_on_spread", "read_noise.spread", "read_noise.floor_us"),
    *("wires.row_ohm", "wires.column_ohm"),
)
OTHER_NUMBERS = (
    *("device.current_max_ua", "device.compliance_ua", "read_noise.window_s"),
    *(f"{fit}.{name}" for fit in ("drift.mean", "drift.std", "read_noise.q") for name in
      ("split", "slope", "offset", "low", "high")),
)  # fmt: skip
NUMBERS = (*POSITIVE, *NOT_NEGATIVE, *OTHER_NUMBERS)
INTEGERS = {
    "rows": (1, 65536),
    "columns": (1, 65536),
    "devices_per_polarity": (1, 8),
    "dac.bits": (1, 16),
    "dac.phases": (1, 4),
    "adc.bits": (1, 16),
    "adc.programming_bits": (1, 16),
    "circuit.parallel_pulses": (1, 65536),
}
MOST = {
    "weight_quantile": 1,
    "adc.gain_std": 0.15,
    "adc.offset_std": 0.15,
    "adc.inl_std": 0.15,
    "adc.range_quantile": 1,
    "adc.noise_std": 1,
    "adc.dead_time": 10,
    "adc.dead_time_std": 1,
    "device.g_set_spread": 1,
    "device.centre_spread": 0.15,
    "device.width_spread": 0.15,
    "device.decades_spread": 0.15,
    "device.jitter_spread": 1,
    "device.floor_spread": 1,
    "drift.t_on_spread": 3,
    "read_noise.spread": 1,
}
BITS = ("dac.bits", "adc.bits", "adc.programming_bits")
TUPLES = ("drift.mean.cubic", "drift.std.cubic", "read_noise.q.cubic")
FACTORS = "significance"
TYPES = {
    "device": "MeltQuench or ProgrammedState",
    "drift": "Drift or None",
    "read_noise": "ReadNoise or None",
    "faults": "Faults or None",
    "dac": "DAC",
    "adc": "ADC",
    "circuit": "Circuit",
    "wires": "Wires or None",
    "drift.mean": "StateFit",
    "drift.std": "StateFit",
    "read_noise.q": "StateFit",
    "read_noise.slow": "bool",
    "drift.redraw": "bool",
    **{f"{fit}.of_log": "bool" for fit in ("drift.mean", "drift.std", "read_noise.q")},
}


def paths(node: Any, prefix: str = "") -> list[str]:
    found = []
    for item in dataclasses.fields(node):
        found.append(prefix + item.name)
        child = getattr(node, item.name)
        if dataclasses.is_dataclass(child):
            found += paths(child, f"{prefix}{item.name}.")
    return found


def named(path: str) -> str:
    """What a message calls the field at a path: fits do not know whose they are."""
    parts = path.split(".")
    return f"fit.{parts[-1]}" if len(parts) == 3 else path


def refused(path: str, value: Any, rule: str, given: str | None = None) -> None:
    """Expect a message that names the argument, the rule and what was given."""
    with pytest.raises(ConfigError) as caught:
        fa.override(HERMES, {path: value})
    message = str(caught.value)
    assert message.startswith(f"{named(path)} must "), message
    assert rule in message
    assert message.endswith(f"got {given or repr(value)}"), message


# --- rules ----------------------------------------------------------------------------------------


def test_every_field_is_tried_below() -> None:
    tried = {
        *NUMBERS,
        *INTEGERS,
        *TUPLES,
        *TYPES,
        FACTORS,
        "compensation",
        "wires.solver",
        "adc.range",
    }
    assert tried == set(paths(HERMES))


@pytest.mark.parametrize("path", NUMBERS)
def test_numbers_are_numbers_that_engines_can_hold(path: str) -> None:
    for value in ("8", True, [1.0], 1j, ProgrammedState()):
        refused(path, value, "be a number")
    for value in (math.nan, math.inf, -math.inf):
        refused(path, value, "be finite")
    refused(path, 10**400, "be finite", "inf")
    for value in (1e300, -1e39, 1e-300):
        refused(path, value, "fit into float32")


@pytest.mark.parametrize("path", POSITIVE)
def test_positive_numbers(path: str) -> None:
    for value in (0.0, -1.0):
        refused(path, value, "be > 0")


@pytest.mark.parametrize("path", NOT_NEGATIVE)
def test_numbers_from_zero(path: str) -> None:
    refused(path, -1e-6, "be >= 0")
    other = fa.override(HERMES, {path: 0.01})
    assert fa.override(other, {path: 0.0}) != other


@pytest.mark.parametrize("path", MOST)
def test_numbers_with_a_largest(path: str) -> None:
    refused(path, MOST[path] * 1.01, f"be <= {MOST[path]:g}")
    fa.override(HERMES, {path: MOST[path]})


@pytest.mark.parametrize("path", INTEGERS)
def test_integers(path: str) -> None:
    low, high = INTEGERS[path]
    for value in (2.0, "2", True, [2]):
        refused(path, value, "be an integer")
    for value in (low - 1, high + 1, -(10**30)):
        refused(path, value, f"be from {low} to {high}")
    small = {"g_max_us": 1.0} if path == "devices_per_polarity" else {}
    for value in (low, high, np.int16(min(high, 4))):
        fa.override(HERMES, {path: value} | small)


@pytest.mark.parametrize("bits", [0, -1, 17, 40])
@pytest.mark.parametrize("path", BITS)
def test_bits_that_no_converter_has(path: str, bits: int) -> None:
    refused(path, bits, "be from 1 to 16")


@pytest.mark.parametrize("path", [*BITS, "drift", "circuit.t_read_s", "circuit.energy_read_j"])
def test_none_switches_off(path: str) -> None:
    fa.override(HERMES, {path: None})


@pytest.mark.parametrize("path", TYPES)
def test_parts_are_of_their_type(path: str) -> None:
    refused(path, 3, f"be of type {TYPES[path]}")
    refused(path, StateFit if "." in path else CoreConfig, "be of type")


@pytest.mark.parametrize("path", TUPLES)
def test_fits_have_four_coefficients(path: str) -> None:
    for value in ((1.0, 2.0, 3.0), [1.0, 2.0, 3.0, 4.0], 1.0, None):
        refused(path, value, "be a tuple of 4 numbers")
    refused(path, (0.0, 0.0, 0.0, "0"), "be a number", "'0'")
    refused(path, (0.0, 0.0, math.inf, 0.0), "be finite", "inf")


def test_significance_has_a_factor_for_each_device() -> None:
    for value in ((), (1.0,), (1.0, 2.0, 3.0), [4.0, 1.0], 1.0, "41"):
        refused(FACTORS, value, "be a tuple of 2 numbers (devices_per_polarity) or None")
    for value in (0.0, -1.0):
        refused(FACTORS, (4.0, value), "be > 0", repr(value))
    refused(FACTORS, (4.0, math.inf), "be finite", "inf")
    refused(FACTORS, (4.0, "1"), "be a number", "'1'")
    small = {FACTORS: (0.5, 0.25), "g_max_us": 10.0}
    assert fa.override(HERMES, small).whole_significance == 0.75
    with pytest.raises(ConfigError, match=r"<= sum\(significance\) \* device.g_set_us \(10.5\)"):
        fa.override(HERMES, small | {"g_max_us": 11.0})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((), "device.std_us must be a tuple of 1 to 5 numbers, got ()"),
        ([0.1], "device.std_us must be a tuple of 1 to 5 numbers, got [0.1]"),
        ((1.0,) * 6, f"device.std_us must be a tuple of 1 to 5 numbers, got {(1.0,) * 6}"),
        (("a",), "device.std_us must be a number, got 'a'"),
        ((math.nan,), "device.std_us must be finite, got nan"),
    ],
)
def test_programmed_states_have_coefficients(value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        ProgrammedState(std_us=value)
    with pytest.raises(ConfigError, match=re.escape("device.g_scale_us must be > 0, got 0.0")):
        ProgrammedState(g_scale_us=0.0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("g_max_us", 29.0, "must be <= devices_per_polarity * device.g_set_us (28), got 29"),
        ("device.g_set_us", 9.0, "must be <= devices_per_polarity * device.g_set_us (18), got 20"),
        ("device.current_min_ua", 600.0, "device.current_max_ua must be > 600, got 500.0"),
        ("device.current_max_ua", 100.0, "device.current_max_ua must be > 100, got 100.0"),
        ("device.compliance_ua", 152.0, "device.compliance_ua must be > 152, got 152.0"),
        ("device.compliance_ua", -1.0, "device.compliance_ua must be > 152, got -1.0"),
        ("read_noise.window_s", 5e-7, "read_noise.window_s must be >= 5.12e-07, got 5e-07"),
        ("drift.mean.low", 1.0, "fit.low must be <= fit.high (0.13), got 1.0"),
        ("wires.solver", "iterativ", "(did you mean 'iterative'?)"),
        ("compensation", "globl", "(did you mean 'global'?)"),
        ("compensation", None, "must be one of 'global', 'column', 'affine', 'none', got None"),
        ("compensation", [], "must be one of 'global', 'column', 'affine', 'none', got []"),
        ("dac.phases", 3, "dac.phases must be one of 1, 2, 4, got 3"),
        ("adc.range", 0, "adc.range must be > 0, got 0"),
        ("adc.range", -5.0, "adc.range must be > 0, got -5.0"),
        ("adc.range", math.inf, "adc.range must be finite, got inf"),
        ("adc.range", "colunm", "(did you mean 'column'?)"),
        (
            *("adc.range", None),
            "must be a number of µS > 0, or one of 'core', 'column', 'calibrated', 'calibrated_col",
        ),
    ],
)
def test_impossible_ranges_and_choices(path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        fa.override(HERMES, {path: value})


def test_wires_without_any_resistance() -> None:
    for name in ("row_ohm", "column_ohm"):
        assert getattr(Wires(**{name: 0}), name) == 0  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"must be > 0, got 0 for both: wires=None is a core"):
        Wires(row_ohm=0, column_ohm=0)


# --- what they are --------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_parts_are_frozen_slotted_and_keyword_only(part: type) -> None:
    instance = part(**NEEDED.get(part, {}))
    name = dataclasses.fields(part)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(instance, name, 1)
    assert not hasattr(instance, "__dict__")
    with pytest.raises(TypeError):
        part(1)
    assert hash(instance) == hash(part(**NEEDED.get(part, {})))


def test_the_presets_say_what_they_are() -> None:
    found = {name: value for name, value in vars(presets).items() if callable(value)}
    made = {
        name: f
        for name, f in found.items()
        if getattr(f, "__module__", "") == presets.__name__ and not name.startswith("_")
    }
    assert set(made) >= {"hermes", "ideal"}
    for preset in made.values():
        assert isinstance(preset(), CoreConfig)
        assert len(str(preset.__doc__)) > 50
    assert (HERMES.rows, HERMES.columns, HERMES.devices) == (256, 256, 4)
    assert (HERMES.adc.bits, HERMES.dac.bits, HERMES.adc.cell_lsb_us) == (8, 8, 0.129)
    ideal = presets.ideal()
    assert (ideal.drift, ideal.read_noise, ideal.adc.bits, ideal.dac.bits) == (None,) * 4
    assert "et al." in str(presets.hermes.__doc__) or "JSSC" in str(presets.hermes.__doc__)


def defaults() -> list[tuple[str, str, bool]]:
    """Name, comments and compositeness of every field of the dataclasses in config/."""
    found = []
    for path in sorted(FOLDER.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments = {t.start[0]: t.string for t in tokens if t.type == tokenize.COMMENT}
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ClassDef) or not node.decorator_list:
                continue
            for item in node.body:
                if isinstance(item, ast.AnnAssign) and item.value is not None:
                    lines = range(item.lineno, (item.end_lineno or item.lineno) + 1)
                    comment = " ".join(comments.get(line, "") for line in lines)
                    composed = item.value is not None and "factory" in ast.unparse(item.value)
                    found.append((f"{node.name}.{ast.unparse(item.target)}", comment, composed))
    return found


def test_every_default_has_a_source_or_is_an_assumption() -> None:
    """But for parts, whose own fields have theirs."""
    fields = defaults()
    optional = [
        field
        for part in PARTS
        for field in dataclasses.fields(part)
        if not (field.default is field.default_factory is dataclasses.MISSING)
    ]
    assert len(fields) == len(optional)
    missing = [name for name, comment, part in fields if not part and not SOURCE.search(comment)]
    assert not missing
