"""What needs no PyTorch: input ranges from what layers get, and the message without it."""

import numpy as np
import pytest
import subprocesses

import fastaimc as fa
from fastaimc.errors import InputError
from fastaimc.network.calibration import Magnitudes, Recorder, range_is_free


@pytest.mark.parametrize("fraction", [1.0, 0.999, 0.9, 0.5, 1e-9])
def test_quantiles_of_what_was_seen(fraction: float) -> None:
    """At most 1/128 above the value of that rank, over any number of parts."""
    x = np.random.default_rng(0).standard_normal(5001).astype(np.float32)
    seen = Magnitudes()
    for part in np.array_split(x, 7):
        seen.add(part)
    seen.add(x[:0])
    rank = max(1, int(np.ceil(fraction * len(x))))
    wanted = float(np.sort(np.abs(x))[rank - 1])
    assert wanted <= seen.quantile(fraction) <= wanted * (1 + 2**-7)
    assert seen.quantile(1.0) == np.abs(x).max()
    assert seen.counts.sum() == len(x)


def test_a_recorder_multiplies() -> None:
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    recorder = Recorder("fc", weights)
    x = np.ones((4, 3), dtype=np.float32)
    np.testing.assert_array_equal(recorder.mvm(x), x @ weights.T)
    assert recorder.input_range(0.5) == 1.0
    for match, wrong in (("got shape", x[:, :2]), ("NaN or inf in 'fc'", x * np.float32("inf"))):
        with pytest.raises(InputError, match=match):
            recorder.mvm(wrong)


def test_a_range_is_free_on_ideal_converters_alone() -> None:
    ideal = fa.presets.ideal()
    assert range_is_free(ideal)
    for path, value in (("dac.bits", 8), ("adc.bits", 8), ("adc.noise_std", 0.01)):
        assert not range_is_free(fa.override(ideal, {path: value}))


def test_without_torch() -> None:
    """A message names the extra; importing works."""
    told = subprocesses.run("""
        import json, sys, importlib.util as util
        found = util.find_spec
        util.find_spec = lambda name, *more: None if name == "torch" else found(name, *more)
        import fastaimc as fa
        try:
            fa.convert(None)
        except fa.InputError as error:
            print(json.dumps([str(error), "torch" in sys.modules]))
    """)
    assert told == ["fastaimc.convert needs PyTorch: pip install 'fastaimc[torch]'", False]
