"""Every method on a fake chip of counted pulses, whose law is none of the package's."""

from typing import Any

import numpy as np
import pytest
from fake_chip import IP_STEP, NONE, WAITS, FakeChip, begin, gdp, ip, program, wanted

from fastaimc.nominal import Nominal
from fastaimc.programming import AveragedReadProgramming, LeastSquaresReadProgramming

TOP_US, UP_US, DOWN_US, JITTER = 12.0, 0.08, 0.05, 0.3  # hard bounds, even steps
FULL_RESET = -128


class CountedChip(FakeChip):
    """Devices that take even steps between hard bounds."""

    def nominal(self) -> Nominal:
        g = np.linspace(TOP_US, 0, 256)
        change = np.array([UP_US, JITTER * UP_US, DOWN_US, JITTER * DOWN_US])
        return Nominal(
            conductance_us=g.astype(np.float32),
            slope_us=np.full(256, TOP_US / 255, np.float32),
            scatter_us=np.full(256, JITTER * UP_US, np.float32),
            drift_exponent=np.zeros(256),
            t_on_s=1e-3,
            set_spread_us=0.0,
            change_us=np.repeat(change[:, None], 256, axis=1).astype(np.float32),
            pulses=np.rint(g / UP_US).astype(np.int64),
        )

    def pulse(self, device: np.ndarray, code: np.ndarray) -> None:
        assert device.shape == code.shape == self.targets.shape
        assert device.dtype == code.dtype == np.uint8
        assert ((device < self.devices) | (device == NONE)).all()
        self.order.append("pulse")
        self.pulses.append((device.copy(), code.copy()))
        count = code.view(np.int8).astype(float)
        size = np.where(count > 0, UP_US, DOWN_US)
        for d in range(self.devices):
            scatter = JITTER * np.sqrt(np.abs(count)) * self.random.normal(size=count.shape)
            after = self.conductance[:, d] + self.gain[:, d] * size * (count + scatter)
            after = np.where(count == FULL_RESET, 0, np.clip(after, 0, TOP_US))
            hit = device == d
            self.conductance[:, d][hit] = after[hit]


METHODS = {
    "ip": ip(),
    "ip max_fill": ip(allocation="max_fill"),
    **{f"gdp {start}": gdp(start_from=start) for start in ("single_shot", "ip", "reset")},
    "gdp affine": gdp(affine_every=5),
    "averaged": AveragedReadProgramming(iterations=25, step=IP_STEP, **WAITS),
    "least squares": LeastSquaresReadProgramming(iterations=25, step=IP_STEP, **WAITS),
}


@pytest.mark.parametrize("devices", [2, 4, 8])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_programs_it(method: Any, devices: int) -> None:
    """To within one step."""
    targets = wanted() * np.float32(0.5)
    chip = CountedChip(targets, devices=devices, spread=2)
    state, start = program(method, chip)
    assert chip.rms() < min(start, UP_US)
    np.testing.assert_array_equal(chip.targets, targets)
    assert ((state["device"] < devices) | (state["device"] == NONE)).all()


def test_a_start_counts_beyond_what_a_code_can_say() -> None:
    """150 pulses to the top take two codes; all devices of both polarities begin in RESET."""
    chip = CountedChip(np.full((1, 3, 4), TOP_US, np.float32), devices=2, spread=0)
    begin(ip(iterations=1), chip)
    codes = [int(code.view(np.int8)[0, 0, 0]) for _, code in chip.pulses]
    assert codes == [FULL_RESET, FULL_RESET, 127, 23]
