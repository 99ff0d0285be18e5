"""Configs as JSON, and changed by dotted paths."""

import json
import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fastaimc as fa
from fastaimc.config import (
    ADC,
    DAC,
    Circuit,
    CoreConfig,
    Drift,
    Faults,
    MeltQuench,
    ProgrammedState,
    ReadNoise,
    StateFit,
    Wires,
    presets,
)
from fastaimc.errors import ConfigError

pytestmark = pytest.mark.nojit

HERMES = presets.hermes()


# --- JSON -----------------------------------------------------------------------------------------


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False)


def fits(of_log: bool = False) -> st.SearchStrategy[StateFit]:
    any_number = floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-30)
    return st.builds(
        StateFit,
        split=any_number,
        slope=any_number,
        offset=any_number,
        low=floats(-10, -1),
        high=floats(-1, 10).filter(lambda v: v == 0 or abs(v) > 1e-30),
        cubic=st.tuples(*[any_number] * 4),
        of_log=st.booleans() if of_log else st.just(False),
    )


bits = st.none() | st.integers(1, 16)
share = floats(1e-6, 0.15) | st.just(0.0)
plus = floats(1e-6, 1e6)
melt_quenches = st.builds(
    MeltQuench,
    g_set_us=floats(10, 100),
    decades=floats(0.1, 10),
    centre_ua=plus,
    width_ua=plus,
    g_set_spread=share,
    centre_spread=share,
    width_spread=share,
    jitter_ua=plus,
    floor_us=plus,
    current_min_ua=floats(1, 200),
    current_max_ua=floats(201, 1000),
    decades_spread=share,
    jitter_spread=share,
    floor_spread=share,
    compliance_ua=st.none() | floats(1e7, 1e8),
)
states = st.builds(
    ProgrammedState,
    g_scale_us=plus,
    std_us=st.lists(floats(1, 50) | floats(-50, -1), min_size=1, max_size=5).map(tuple),
)
core_configs = st.builds(
    CoreConfig,
    rows=st.integers(1, 65536),
    columns=st.integers(1, 65536),
    devices_per_polarity=st.integers(1, 4),
    g_max_us=floats(0.1, 10),
    weight_quantile=floats(0.01, 1),
    device=melt_quenches | states,
    drift=st.none()
    | st.builds(
        Drift,
        mean=fits(),
        std=fits(),
        t_ref_s=plus,
        t_on_s=plus,
        t_on_spread=share,
        redraw=st.booleans(),
    ),
    read_noise=st.none()
    | st.builds(
        ReadNoise,
        q=fits(of_log=True),
        t_read_s=floats(1e-9, 1e-6),
        window_s=floats(1e-5, 1),
        slow=st.booleans(),
        floor_us=share,
        spread=share,
    ),
    faults=st.none() | st.builds(Faults, set_rate=share, reset_rate=share, anywhere_rate=share),
    state_scale_us=plus,
    dac=st.builds(DAC, bits=bits, phases=st.sampled_from([1, 2, 4])),
    adc=st.builds(
        ADC,
        bits=bits,
        programming_bits=bits,
        cell_lsb_us=st.none() | plus,
        full_scale_sigmas=plus,
        gain_std=share,
        offset_std=share,
        inl_std=share,
        range=st.sampled_from(["core", "column", "calibrated", "calibrated_column"]) | plus,
        range_quantile=floats(0.5, 1),
        noise_std=share,
        dead_time=share,
        dead_time_std=share,
    ),
    circuit=st.builds(
        Circuit, t_mvm_s=plus, parallel_pulses=st.integers(1, 65536), t_read_s=st.none() | plus
    ),
    wires=st.none()
    | st.builds(
        Wires,
        row_ohm=share,
        column_ohm=plus,
        solver=st.sampled_from(["iterative", "estimate", "exact"]),
    ),
    compensation=st.sampled_from(["global", "column", "affine", "none"]),
    t_eval_s=plus,
)


@given(config=core_configs)
@example(config=presets.hermes())
@example(config=presets.ideal())
def test_json_keeps_every_config(config: CoreConfig) -> None:
    text = fa.to_json(config)
    again = fa.from_json(text)
    assert again == config
    assert fa.to_json(again) == text
    assert hash(again) == hash(config)


def test_a_config_from_before_there_were_wires_has_none() -> None:
    document = json.loads(fa.to_json(HERMES))
    del document["config"]["wires"]
    assert fa.from_json(json.dumps(document)) == HERMES


def test_a_part_that_is_missing_is_given_as_json_writes_it() -> None:
    changes = {"wires": {"kind": "Wires", "column_ohm": 1.0}, "wires.row_ohm": 2}
    assert fa.override(HERMES, changes).wires == Wires(row_ohm=2, column_ohm=1.0)
    with pytest.raises(ConfigError, match=r"wires.ohm is no field of Wires"):
        fa.override(HERMES, {"wires": {"kind": "Wires", "ohm": 1.0}})
    with pytest.raises(ConfigError, match=r"wires must be of type Wires or None, got \{\}"):
        fa.override(HERMES, {"wires": {}})


def test_json_has_a_schema_and_plain_numbers() -> None:
    numbers = {"rows": np.int64(5), "g_max_us": np.float32(2.5), "t_eval_s": Fraction(1, 4)}
    config = fa.override(HERMES, numbers | {"state_scale_us": np.longdouble(2.5)})
    assert fa.from_json(fa.to_json(config)) == config
    document = json.loads(fa.to_json(config))
    assert document["schema"] == 1
    assert document["config"]["rows"] == 5
    assert document["config"]["g_max_us"] == 2.5
    with pytest.raises(ConfigError, match=r"config must be of type CoreConfig, got ADC\("):
        fa.to_json(ADC())  # type: ignore[arg-type]


def edited(**changes: Any) -> str:
    document = json.loads(fa.to_json(HERMES))
    document["config"].update(changes)
    return json.dumps(document)


CORE = '{"kind": "CoreConfig"}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "config must be JSON, got: Expecting value"),
        ("{", "config must be JSON, got: "),
        (b"\xff\xfe\x00", "config must be JSON, got: "),
        (None, "config must be JSON, got: the JSON object must be str"),
        ("[" * 100_000, "config must be JSON, got: .*recursion"),
        ("1" * 5000, "config must be JSON, got: Exceeds the limit"),
        ("3", "must be a JSON object of a 'schema' and a 'config', got 3"),
        ("{}", "must be a JSON object of a 'schema' and a 'config', got {}"),
        (f'{{"config": {CORE}}}', "of a 'schema' and a 'config'"),
        ('{"schema": 1}', r"alone, got \['schema'\]"),
        (f'{{"schema": 1, "a": 0, "config": {CORE}}}', r"alone, got \['a', 'config', 'schema'\]"),
        (
            f'{{"schema": 2, "new": 0, "config": {CORE}}}',
            "has schema 2, this version reads up to 1",
        ),
        (f'{{"schema": 0, "config": {CORE}}}', "config.schema must be from 1"),
        (f'{{"schema": true, "config": {CORE}}}', "config.schema must be an integer, got True"),
        (f'{{"schema": "1", "config": {CORE}}}', "config.schema must be an integer, got '1'"),
        ('{"schema": 1, "config": null}', "must describe a CoreConfig, got NoneType"),
        ('{"schema": 1, "config": {"kind": "ADC"}}', "must describe a CoreConfig, got ADC"),
        ('{"schema": 1, "config": {}}', "config.kind is unknown: None"),
        (edited(kind="CoreConfg"), r"unknown: 'CoreConfg' \(did you mean 'CoreConfig'\?\)"),
        (edited(kind=["CoreConfig"]), "config.kind is unknown"),
        (edited(row=3), r"config\.row is no field of CoreConfig \(did you mean 'rows'\?\)"),
        (edited(adc={"kind": "ADC", "bit": 3}), r"config\.adc\.bit is no field of ADC \(did you"),
        (edited(adc={"kind": "DAC", "bits": 3}), r"adc must be of type ADC, got DAC\("),
        (edited(adc=None), "adc must be of type ADC, got None"),
        (edited(rows=[256]), "config.rows must not be a list"),
        (edited(rows=256.0), r"rows must be an integer, got 256\.0"),
        (edited(rows="256"), "rows must be an integer, got '256'"),
        (edited(g_max_us=math.nan), "g_max_us must be finite, got nan"),
        (
            edited(device={"kind": "ProgrammedState", "std_us": 1.0}),
            "device.std_us must be a tuple",
        ),
        (edited(dac={"kind": "DAC", "bits": 40}), "dac.bits must be from 1 to 16, got 40"),
    ],
)
def test_json_that_is_no_config(text: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fa.from_json(text)


def test_a_config_of_before_the_converters_had_more_to_choose() -> None:
    """What it does not name is as it was: off."""
    document = json.loads(fa.to_json(HERMES))
    more = {
        "adc": ("range", "range_quantile", "noise_std", "dead_time", "dead_time_std"),
        "dac": ("phases",),
        "circuit": ("t_phase_s", "energy_phase_j"),
    }
    for part, names in more.items():
        for name in names:
            del document["config"][part][name]
    old = fa.from_json(json.dumps(document))
    assert old == HERMES
    assert old.plain_columns


# --- override -------------------------------------------------------------------------------------


def test_override_replaces_at_any_depth_and_nothing_else() -> None:
    changed = fa.override(HERMES, {"adc.bits": 6, "drift.mean.low": 0.01, "rows": 64})
    assert (changed.adc.bits, changed.rows) == (6, 64)
    assert changed.drift is not None
    assert changed.drift.mean.low == 0.01
    assert fa.override(changed, {"adc.bits": 8, "drift.mean.low": 0.072, "rows": 256}) == HERMES
    assert presets.hermes() == HERMES
    assert fa.override(HERMES, {}) == HERMES


@pytest.mark.parametrize(
    "changes",
    [
        {"g_max_us": 40.0, "device.g_set_us": 30.0},
        {"device.current_min_ua": 600.0, "device.current_max_ua": 900.0},
        {"device": ProgrammedState(), "device.std_us": (0.5,), "device.g_scale_us": 3.0},
        {"drift": Drift(), "drift.mean": StateFit(low=-1.0), "drift.mean.high": 0.5},
    ],
)
def test_the_order_of_changes_does_not_matter(changes: dict[str, Any]) -> None:
    """Each alone, or in this order one by one, may be impossible: they count together."""
    changed = fa.override(HERMES, changes)
    assert fa.override(HERMES, dict(reversed(changes.items()))) == changed
    for path, value in changes.items():
        found: Any = changed
        for name in path.split("."):
            found = getattr(found, name)
        assert found == value or any(other.startswith(f"{path}.") for other in changes)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("adc.bit", "'adc.bit' is no field of the config (did you mean 'adc.bits'?)"),
        ("adcbits", "'adcbits' is no field of the config (did you mean 'adc.bits'?)"),
        ("dac.bits.x", "'dac.bits.x' is no field of the config (did you mean 'dac.bits'?)"),
        ("drift.maen.low", "(did you mean 'drift.mean.low'?)"),
        ("device.std_us", "'device.std_us' is no field of the config"),
        ("", "'' is no field of the config"),
        (".", "'.' is no field of the config"),
        ("adc.", "'adc.' is no field of the config"),
        ("qqqqqqqq", "'qqqqqqqq' is no field of the config"),
    ],
)
def test_override_names_the_nearest_path(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        fa.override(HERMES, {path: 1})


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (presets.ideal(), {"drift.t_on_s": 1.0}, "no field of the config: drift is None"),
        (HERMES, {3: 1}, "path must be of type str, got 3"),
        (HERMES, [("rows", 1)], r"changes must be of type Mapping, got \[\('rows', 1\)\]"),
        ("hermes", {"rows": 1}, "config must be of type CoreConfig, got 'hermes'"),
        (HERMES, {"adc.bits": 0}, "adc.bits must be from 1 to 16, got 0"),
    ],
)
def test_override_of_what_cannot_be(config: Any, changes: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fa.override(config, changes)
