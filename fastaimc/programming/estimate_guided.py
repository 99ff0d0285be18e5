"""GDP guided by a running estimate of every cell's error: a scalar Kalman filter for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastaimc.engine import INPUT_KINDS, NO_PATTERN, Engine
from fastaimc.errors import ConfigError, check_choice, check_integer, check_number
from fastaimc.parameters import F32, BeliefParameters
from fastaimc.programming.counted import prepare_counted
from fastaimc.programming.encoded import encoded_set_values
from fastaimc.programming.gradient_descent import correct_columns
from fastaimc.programming.method import State
from fastaimc.programming.plan import Step, check_schedule, fire, parts
from fastaimc.programming.start import allocate, first_pulse
from fastaimc.terminals import Terminals

MOST_LOOKS = 256  # ages that are told apart, in batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What a cell's estimate holds for likely, in standard deviations of a pulse's scatter.

    Parameters
    ----------
    share : float
        Part of a batch's squared error, by column, that is noise of the estimates; the rest is
        what other cells are off, of which orthogonal inputs let through nothing.
    first : float
        What cells are off after the start.
    spread : float
        What a pulse leaves.
    miss : float
        What it leaves of the error that called for it, beside that, as a fraction of this error.
    walk : float
        Change from one batch to the next, by drift and slow noise.
    """

    share: float
    first: float
    spread: float
    miss: float
    walk: float

    def __post_init__(self) -> None:
        check_number("belief.share", self.share, above=0, most=1)
        for name in ("first", "spread", "miss", "walk"):
            check_number(f"belief.{name}", getattr(self, name), least=0, most=1000)

    def arguments(self) -> BeliefParameters:
        """Return what the engine takes."""
        return BeliefParameters(*map(F32, (self.share, self.spread, self.miss, self.walk)))


# The best of 200 trials of `tools/tune.py` for 20 rounds of IP, as are the defaults of
# `EstimateGuidedProgramming` (bench/results/tuning_estimate_20.json); its iterations and waits make
# its budget that of 25 rounds of IP and its start.
DEFAULT_STEP = Step(
    margin=0.431, margin_end=1.09, kappa=1.43, gain=1.6, gain_end=0.393, max_step=0.0241
)
DEFAULT_BELIEF = Belief(share=0.759, first=17.7, spread=1.21, miss=2.50, walk=0.0568)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateGuidedProgramming:
    """Drive random inputs, correct an estimate of each cell's error, pulse by the estimates.

    GDP (`GradientDescentProgramming`) whose cells keep an estimate d of their error, with its
    variance p.  Of a batch the innovation ``E = core(X) - X @ (targets + D)`` is formed: what is
    known is taken off, so that cells known to be off disturb the others no more.  Its gradient
    over the inputs' power is an unbiased look at what d lacks, of variance v, and d takes the part
    ``p / (p + v)`` of it.  Cells with ``|d| > max(margin * scatter, kappa * sqrt(p))`` are pulsed,
    and begin anew.  The method is this project's own; so are its parameters.

    The start is "max_fill_read" of `IterativeProgramming`, but that SET devices are read by
    Hadamard-encoded MVMs, more precisely than one by one in the ADC's MVM range.

    A cell is held to what it must show at its age, counted from its last pulse, so that drift
    takes it to its target; GDP and IP allow for one typical age.

    Parameters
    ----------
    iterations, batch, inputs, amplitude, step, affine_every
        As for `GradientDescentProgramming`.
    belief : Belief
        What the estimates hold for likely.
    verify_delay, final_passes, final_delay
        As for `IterativeProgramming`.

    Raises
    ------
    ConfigError
        For a value outside its range.
    """

    iterations: int = 26
    batch: int = 256
    inputs: str = "hadamard"
    amplitude: float = 0.520
    step: Step = DEFAULT_STEP
    belief: Belief = DEFAULT_BELIEF
    affine_every: int = 3
    verify_delay: float = 0.0394
    final_passes: int = 6
    final_delay: float = 0.0287

    def __post_init__(self) -> None:
        check_integer("iterations", self.iterations, 1, 100_000)
        check_integer("batch", self.batch, 1, 65_536)
        check_choice("inputs", self.inputs, INPUT_KINDS)
        check_number("amplitude", self.amplitude, above=0, most=1)
        check_integer("affine_every", self.affine_every, 0, 100_000)
        check_schedule(self)
        if not isinstance(self.belief, Belief):
            raise ConfigError(f"belief must be a Belief, got {self.belief!r}")

    def start(self, terminals: Terminals, engine: Engine, key: np.ndarray) -> State:
        """SET, read and allocate the devices; pulse the analog ones once; nothing else is known."""
        if terminals.nominal.counted:
            state = prepare_counted(terminals, shoot=True)
        else:
            values = encoded_set_values(terminals, engine, key, self.verify_delay)
            state, surplus = allocate(terminals, engine, values)
            del values  # eight bytes a cell
            state = first_pulse(terminals, state, surplus, shoot=True)
        tiles, _, columns = terminals.shape
        if self.affine_every:
            state["scale"] = np.ones((tiles, columns), dtype=np.float32)
            state["offset"] = np.zeros((tiles, columns), dtype=np.float32)
        state["error"] = np.zeros(terminals.shape, dtype=np.float32)
        state["age"] = np.zeros(terminals.shape, dtype=np.uint8)
        state["variance"] = np.empty(terminals.shape, dtype=np.float32)
        for part in parts(terminals.shape):
            scale = terminals.nominal.scatter_us[state["aim"][part]]
            if terminals.significance.size:
                device = np.minimum(state["device"][part], terminals.devices - 1)
                scale = scale * terminals.significance[device]
            state["variance"][part] = np.square(F32(self.belief.first) * scale)
        return state

    def iterate(
        self, terminals: Terminals, engine: Engine, key: np.ndarray, state: State, index: int
    ) -> None:
        """Measure one batch, correct the estimates, and pulse the cells that are off."""
        gain, ahead = self._wait(terminals, index)
        rows = terminals.shape[1]
        x = engine.inputs(INPUT_KINDS[self.inputs], key, index, self.batch, rows)
        x *= F32(self.amplitude)
        pattern = NO_PATTERN
        if self.inputs == "hadamard":
            pattern = engine.pattern(key, index, self.batch, rows)
        y = terminals.mvm(x, pattern)
        if self.affine_every:

            def wanted() -> np.ndarray:
                losses = (gain, ahead.ravel(), _place(state))
                known = (*losses, state["device"], terminals.significance)
                return engine.wanted_outputs(x, pattern, terminals.targets, *known)

            correct_columns(self, state, index, wanted, y)
        curve, scatter, significance, change, step = self.step.arguments(
            terminals, index, self.iterations
        )
        sums = engine.estimate_pulses(
            x[None],
            np.zeros(terminals.shape[0], dtype=np.int32),
            pattern,
            y,
            terminals.targets,
            gain,
            ahead,
            state["error"],
            state["age"],
            state["variance"],
            state["device"],
            state["filled"],
            state["level"],
            state["swing"],
            state["aim"],
            *(curve, scatter, significance, change),
            self.belief.arguments(),
            step,
            state["fire"],
            state["code"],
        )
        norm = np.where(sums[:, 1] > 0, sums[:, 1], np.nan)  # of no weights there is no error
        state["batch_error"] = np.sqrt(sums[:, 0] / norm)
        fire(terminals, state)

    def _wait(self, terminals: Terminals, index: int) -> tuple[np.float32, np.ndarray]:
        """Wait before a batch; return what cells are to show on top of their targets, by age.

        That is what the nominal device will lose by the evaluation: a SET one, as old as the
        program, by the factor `gain`; an analog one, pulsed so many batches ago, `ahead` µS more.

        Returns
        -------
        tuple
            `gain` and `ahead` (looks, 256) as for the engine's `estimate_pulses`.
        """
        nominal, until = terminals.nominal, terminals.t_eval_s
        usual = self.iterations - self.final_passes
        delays = np.full(self.iterations, self.verify_delay)
        delays[max(usual, 0) :] = self.final_delay
        terminals.wait(float(delays[index]) * until)
        rest = until * (1 + float(delays[index + 1 :].sum()))
        ages = until * np.cumsum(delays[index::-1])
        # SET devices were read before the first batch, after a wait of their own.
        gain = nominal.fading(float(ages[-1]) + until * self.verify_delay, rest)[0]
        losses = np.array([nominal.fading(float(age), rest) for age in ages[:MOST_LOOKS]]) - gain
        ahead = nominal.conductance_us * losses
        if nominal.counted:  # all devices of a polarity hold their shares of the target
            ahead = ahead * F32(terminals.devices // 2)
        return F32(gain), np.asarray(ahead, F32)


def _place(state: State) -> np.ndarray:
    """Return where each cell's age and aim are in a flat table of what it will lose, uint16."""
    place = state["age"].astype(np.uint16)
    place *= np.uint16(256)
    place += state["aim"]
    return place
