"""The table of what is measured and checked; each row is a goal, or a baseline beside the engine.

`bench/README.md` says what each row means.  A case builds its works at its own size to be timed,
and at a small one to be checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import probes
from baseline_gdp import NumpyGDP
from baseline_gdp_torch import TorchGDP
from baseline_others import AihwkitCrossbar, CrossSimCrossbar, outputs_hold
from baselines import NumpyCrossbar, TorchCrossbar, crossbar_agrees
from works import (
    Bench,
    Builder,
    after_product,
    against_reference,
    convolution,
    counted,
    four_phases,
    gdp_baseline,
    gdp_phase,
    memory,
    mvm,
    mvm_baseline,
    probe,
    pulses,
    start_up,
    tiles,
    unpulsed,
    wires,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One row: what, at which shape and batch, and its goal.

    Attributes
    ----------
    key, title, unit : str
        For `-k`; what is measured; what the figure is in.
    builder : callable
        Builds the works for `n` rows and a batch.
    n, batch : int or None
        Rows and columns, and vectors of a call; for tiles, the rows of one.
    goal : float or None
        The most that is allowed, with `at_least` the least; None: a baseline, for comparison.
    small : dict
        Size at which it is checked.
    checked_at_size : bool
        Checked at its own size, too, before it is timed.
    """

    key: str
    title: str
    unit: str
    goal: float | None
    builder: Builder
    n: int | None = None
    batch: int | None = None
    at_least: bool = False
    small: dict[str, int] = field(default_factory=dict)
    checked_at_size: bool = False

    @property
    def id(self) -> str:
        """Name of the case in pytest."""
        size = "" if self.n is None else f"-n{self.n}"
        return self.key + size + ("" if self.batch is None else f"-b{self.batch}")

    @property
    def group(self) -> str:
        """What, shape and batch."""
        shape = "" if self.n is None else f" {self.n}×{self.n}"
        return self.title + shape + ("" if self.batch is None else f" batch {self.batch}")

    def met(self, value: float) -> bool | None:
        """Whether a figure reaches the goal; None where there is none."""
        if self.goal is None:
            return None
        return value >= self.goal if self.at_least else value <= self.goal

    def shrunk(self) -> Case:
        """Return the case at the size of its check."""
        return replace(self, **self.small)  # type: ignore[arg-type]

    def build(self) -> Bench:
        """Build the works at this case's size."""
        return self.builder(*self.size())

    def size(self) -> tuple[int, int]:
        """Return rows and batch."""
        return self.n or 1, self.batch or 1


# --- the table ------------------------------------------------------------------------------------

LITTLE = {"n": 160}  # more than one block of columns, the last one partial
PRODUCTS = "× its two products"
REFERENCE = "× as fast as the reference"
FASTER = "× as fast"

MVM = Case("mvm", "noisy MVM", PRODUCTS, 1.2, mvm, small=LITTLE)
PHASE = Case("gdp", "GDP phase", "× its four products", 1.4, gdp_phase, batch=256, small=LITTLE)
AFTER = Case("mvm_after", "MVM after a product", "× both alone", 1.5, after_product, batch=32)
CONV = Case("conv", "noisy convolution", PRODUCTS, None, convolution, small={"n": 27, "batch": 3})
FOUR = Case("mvm_four", "MVM in four phases", "× in one", None, four_phases, small=LITTLE)
NUMPY = Case(
    key="numpy_mvm",
    title="noisy MVM in NumPy",
    unit=FASTER,
    goal=None,
    builder=mvm_baseline(NumpyCrossbar, crossbar_agrees),
    small=LITTLE,
    checked_at_size=True,
)
TORCH = replace(
    NUMPY,
    key="torch_mvm",
    title="noisy MVM in PyTorch",
    builder=mvm_baseline(TorchCrossbar, crossbar_agrees),
)
AIHWKIT = replace(
    NUMPY,
    key="aihwkit_mvm",
    title="MVM of aihwkit, noisy outputs",
    builder=mvm_baseline(AihwkitCrossbar, outputs_hold),
)
CROSSSIM = replace(
    NUMPY,
    key="crosssim_mvm",
    title="MVM of CrossSim, noisy devices",
    builder=mvm_baseline(CrossSimCrossbar, outputs_hold),
)
NUMPY_GDP = Case("numpy_gdp", "GDP in NumPy", FASTER, None, gdp_baseline(NumpyGDP), batch=256)
TORCH_GDP = Case("torch_gdp", "GDP in PyTorch", FASTER, None, gdp_baseline(TorchGDP), batch=256)
WHOLE = Case("gdp_reference", "GDP, reference engine", REFERENCE, 8.0, against_reference)

PULSE = Case(
    key="pulse",
    title="every device pulsed",
    unit="ns a device",
    goal=6.0,
    builder=pulses(mixed=False),
    n=1024,
    small={"n": 64},
)

CASES: tuple[Case, ...] = (
    *(replace(MVM, goal=1.5, n=n, batch=b) for n in (256, 512) for b in (32, 256)),
    *(replace(MVM, n=n, batch=b) for n in (1024, 2048, 4096) for b in (32, 256)),
    *(
        replace(MVM, goal=goal, n=n, batch=batch)
        for n in (1024, 4096)
        for batch, goal in ((1, 1.2), (4, 0.9), (8, 1.1))
    ),
    *(replace(AFTER, n=n, small=LITTLE) for n in (256, 1024)),
    *(replace(CONV, n=n, batch=b) for n, b in ((252, 8), (1008, 2))),
    *(replace(FOUR, n=n, batch=b) for n in (256, 1024) for b in (1, 32, 256)),
    replace(PHASE, n=256, goal=1.7),
    *(replace(PHASE, n=n) for n in (512, 1024, 2048, 4096)),
    PULSE,
    replace(PULSE, key="pulse_any", title="any one pulsed", goal=None, builder=pulses(mixed=True)),
    *(
        Case(key, f"ten pulses, {name}", "ns a pulse", None, counted(kind), n=1024, small={"n": 64})
        for key, name, kind in (
            ("accumulate", "accumulative SET", "AccumulativeSet"),
            ("soft_bounds", "soft bounds", "SoftBounds"),
        )
    ),
    *(
        Case(f"wires_{kind}", f"IR drop, {kind}", "ns a cell", None, wires(kind), n=n, small=LITTLE)
        for kind in ("estimate", "iterative")
        for n in (256, 512)
    ),
    Case("unpulsed", "no device pulsed", "× a copy", 1.5, unpulsed, n=4096, small={"n": 64}),
    Case(
        key="tiles",
        title="GDP of 64 tiles of 256², two threads",
        unit="× as fast as one",
        goal=1.85,
        builder=tiles,
        n=2048,
        batch=256,  # of a tile, and its rows
        at_least=True,
        small={"n": 64, "batch": 32},
    ),
    *(replace(WHOLE, n=n, batch=256, at_least=True, small=LITTLE) for n in (256, 1024)),
    Case("memory", "peak of programming", "bytes a cell", 40.0, memory, n=4096, small={"n": 512}),
    Case("import", "import and engine", "ms over numba, scipy", 60.0, start_up),
    Case(
        key="first_matrix",
        title="first 256² matrix by GDP, warm cache",
        unit="s",
        goal=1.5,
        builder=probe(probes.first_matrix, probes.FIRST_MATRIX),
    ),
    Case(
        key="cold_compile",
        title="cold compile for compare",
        unit="s",
        goal=30.0,
        builder=probe(probes.cold_compile, probes.COMPARE),
    ),
    *(
        replace(case, n=n, batch=batch)
        for case in (NUMPY, TORCH, AIHWKIT)
        for n, batch in ((256, 32), (256, 256), (1024, 256))
    ),
    replace(CROSSSIM, n=256, batch=32),  # at 1024 and 256 its copies would take 2 GB each
    *(
        replace(case, n=n, small={"n": 64, "batch": 64})
        for case in (NUMPY_GDP, TORCH_GDP)
        for n in (256, 1024)
    ),
)
