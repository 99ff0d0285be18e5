"""Interrupted programs go on bitwise as if nothing had happened."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import subprocesses
from interrupts import CONFIG, GDP, IP, ROUNDS, WEIGHTS, Presser, digest, interrupted, program

import fastaimc as fa
from fastaimc import checkpoint, storage
from fastaimc.core import Core

METHODS: dict[str, Any] = {
    "ip": IP,
    "ip device": fa.IterativeProgramming(iterations=ROUNDS, final_passes=2, verify="device"),
    "ip fine": fa.IterativeProgramming(iterations=ROUNDS, final_passes=2, fine=True),
    "gdp": GDP,
    "gdp affine": fa.GradientDescentProgramming(
        iterations=ROUNDS, batch=32, affine_every=4, start_from="single_shot", final_passes=2
    ),
    "gdp from ip": fa.GradientDescentProgramming(
        iterations=ROUNDS, batch=32, start_from="ip", start_rounds=2, final_passes=2
    ),
}
METHODS["estimate"] = fa.EstimateGuidedProgramming(
    iterations=ROUNDS, batch=32, affine_every=3, final_passes=2
)
METHODS["averaged"] = fa.AveragedReadProgramming(iterations=ROUNDS)
METHODS["hadamard"] = fa.HadamardVerifyProgramming(iterations=ROUNDS)
METHODS["least squares"] = fa.LeastSquaresReadProgramming(iterations=ROUNDS)
METHODS["two device"] = fa.TwoDeviceProgramming(iterations=ROUNDS)
LAYERS = {
    "one": WEIGHTS,
    "two": WEIGHTS[:7, :9],
}


# --- bitwise as if nothing had happened -----------------------------------------------------------


@pytest.mark.parametrize("name", ["ip", "gdp", "estimate"])
def test_slow_noise_goes_on_as_it_was(name: str, tmp_path: Path) -> None:
    """What has passed since devices were last seen is drawn as one: that is kept, too."""
    method, path = METHODS[name], tmp_path / "slow.npz"
    config = fa.override(CONFIG, {"read_noise.slow": True})
    whole = digest(program(method=method, config=config))
    interrupted(path, 5, method=method, config=config)
    assert digest(fa.resume(path, threads=1)) == whole
    assert whole != digest(program(method=method))


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_program_is_the_same(name: str, tmp_path: Path) -> None:
    """Interrupted after its start, in the middle and at its end, and twice in a row."""
    method = METHODS[name]
    whole = digest(program(method=method))
    for at in (0, 5, ROUNDS - 1, ROUNDS):
        path = tmp_path / f"{at}.npz"
        interrupted(path, at, method=method)
        assert digest(fa.resume(path, threads=1)) == whole, at
    path = tmp_path / "twice.npz"
    interrupted(path, 3, method=method)
    with pytest.raises(KeyboardInterrupt):
        fa.resume(path, threads=1, progress=Presser(8))  # saves to the same file
    later = Presser(-1)
    assert digest(fa.resume(path, threads=1, progress=later)) == whole
    assert later.seen == list(range(9, ROUNDS + 1))


@pytest.mark.parametrize("method", [IP, GDP], ids=["ip", "gdp"])
def test_layers_are_resumed(method: Any, tmp_path: Path) -> None:
    """With ranges of inputs of their own, and an observer."""
    rest: dict[str, Any] = {"input_range": {"one": 1.0, "two": 3.0}, "record_every": 3}
    whole = program(LAYERS, method, **rest)
    path = tmp_path / "layers.npz"
    interrupted(path, 7, LAYERS, method, **rest)
    resumed = fa.resume(path, threads=1)
    assert list(resumed) == ["one", "two"]
    assert digest(resumed) == digest(whole)
    for name in LAYERS:
        assert resumed[name].input_range == rest["input_range"][name]
        pulses = resumed[name].cell_pulses
        np.testing.assert_array_equal(pulses, whole[name].cell_pulses, strict=True)
        assert pulses.sum() == whole[name].history["pulses"][-1]
        seen = ~np.isnan(resumed[name].history["mvm_error"])
        np.testing.assert_array_equal(np.flatnonzero(seen) + 1, [3, 6, 9, 12])
        mine, other = dict(resumed[name].provenance), dict(whole[name].provenance)
        assert mine | {"date": ""} == other | {"date": ""}


@pytest.mark.nojit
@pytest.mark.parametrize("engine", ["numba", "reference"])
def test_resume_keeps_the_engine(engine: str, tmp_path: Path) -> None:
    small = WEIGHTS[:5, :6]
    method = fa.IterativeProgramming(iterations=4, final_passes=1)
    whole = program(small, method, engine=engine)
    path = tmp_path / "small.npz"
    interrupted(path, 2, small, method, engine=engine)
    resumed = fa.resume(path, threads=1)
    assert resumed.provenance["engine"] == engine
    assert digest(resumed) == digest(whole)


def test_direct_write_is_resumed(tmp_path: Path) -> None:
    config = fa.presets.ideal()
    whole = fa.program(WEIGHTS, config, seed=3)
    path = tmp_path / "written.npz"
    with pytest.raises(KeyboardInterrupt):
        fa.program(WEIGHTS, config, seed=3, checkpoint=path, progress=Presser(0))
    assert digest(fa.resume(path)) == digest(whole)


# --- a real Ctrl-C --------------------------------------------------------------------------------

SETUP = """
import json, signal, sys, threading, time
import numpy as np
import fastaimc as fa
from fastaimc import checkpoint
config = fa.override(fa.presets.hermes(), {"rows": 16, "columns": 12})
weights = np.random.default_rng(0).normal(size=(20, 24))
"""


def test_ctrl_c_at_ten_random_iterations(tmp_path: Path) -> None:
    """In a process of its own, from outside, at ten iterations of IP and GDP in turn."""
    at = [int(i) for i in np.random.default_rng(11).integers(0, 30, 10)]
    found = subprocesses.run(
        SETUP
        + f"""
import hashlib, os
methods = [
    fa.IterativeProgramming(iterations=30),
    fa.GradientDescentProgramming(iterations=30, batch=32, affine_every=7),
]
def digest(m):
    arrays = [m.core.conductance, m.core.last_s, m.mvm(np.eye(24)), *m.history.values()]
    text = json.dumps(m.cost.as_dict()).encode()
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays) + text).hexdigest()
whole = [digest(fa.program(weights, config, m, seed=3, threads=1)) for m in methods]
found = []
for turn, at in enumerate({at}):
    path = {str(tmp_path)!r} + f"/{{turn}}.npz"
    done_at = []
    def press(done, total, text):
        done_at.append(done)
        if done == at:
            os.kill(os.getpid(), signal.SIGINT)
    try:
        fa.program(weights, config, methods[turn % 2], seed=3, threads=1, checkpoint=path,
                   progress=press)
        interrupted = False
    except KeyboardInterrupt:
        interrupted = True
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    same = digest(fa.resume(path, threads=1)) == whole[turn % 2]
    found.append([interrupted, default, same, done_at[-1]])
print(json.dumps(found))
"""
    )
    # The signal arrives at the latest one iteration later.
    for (stopped, default, same, last), pressed in zip(found, at, strict=True):
        assert stopped
        assert default
        assert same
        assert last in (pressed, pressed + 1)


def test_ctrl_c_from_outside(tmp_path: Path) -> None:
    """Python's own exit by KeyboardInterrupt, and a file that is gone on with here."""
    path = tmp_path / "outside.npz"
    code = (
        SETUP
        + f"""
def progress(done, total, text):
    print(done, flush=True)
    time.sleep(0.02)
fa.program(weights, config, fa.IterativeProgramming(iterations=200), seed=3, threads=1,
           checkpoint={str(path)!r}, progress=progress)
"""
    )
    environment = os.environ | {"PYTHONPATH": str(subprocesses.tested_package())}
    command = [sys.executable, "-P", "-W", "error", "-c", code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 3:
                process.send_signal(signal.SIGINT)
                break
        _, error = process.communicate(timeout=120)
    assert process.returncode != 0
    assert error.splitlines()[-1] == "KeyboardInterrupt"
    method = fa.IterativeProgramming(iterations=200)
    assert digest(fa.resume(path, threads=1)) == digest(program(method=method))


# --- Ctrl-C, once and twice -----------------------------------------------------------------------


class Start:
    """A method that presses Ctrl-C in the middle of its start or of an iteration."""

    def __init__(self, where: str, times: int = 1) -> None:
        self.where, self.times, self.done = where, times, list[str]()

    iterations = 3

    def _here(self, where: str) -> None:
        self.done.append(f"{where} begins")
        if where == self.where:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)
        self.done.append(f"{where} ends")

    def start(self, terminals: Any, engine: Any, key: Any) -> dict[str, Any]:
        self._here("start")
        return {}

    def iterate(self, terminals: Any, engine: Any, key: Any, state: Any, index: int) -> None:
        self._here(f"iteration {index}")


@pytest.mark.parametrize("where", ["start", "iteration 1"])
@pytest.mark.parametrize("saved", [True, False])
def test_an_iteration_that_is_saved_is_whole_before_it_stops(
    where: str, saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is kept it stops at once."""
    monkeypatch.setattr(checkpoint, "is_built_in", lambda method: True)
    monkeypatch.setattr(checkpoint, "save", lambda *_: None)
    method = Start(where)
    with pytest.raises(KeyboardInterrupt):
        program(method=method, checkpoint=tmp_path / "kept.npz" if saved else None)
    assert method.done[-1] == f"{where} {'ends' if saved else 'begins'}"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_method_that_resume_could_not_find_again_gets_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(fa.ConfigError, match="got Start: leave checkpoint=None"):
        program(method=Start("nowhere"), checkpoint=tmp_path / "none.npz")


@pytest.mark.parametrize("where", ["start", "iteration 1"])
def test_a_second_ctrl_c_acts_at_once(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "is_built_in", lambda method: True)
    method = Start(where, times=2)
    path = tmp_path / "none.npz"
    with pytest.raises(KeyboardInterrupt):
        program(method=method, checkpoint=path)
    assert method.done[-1] == f"{where} begins"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert list(tmp_path.iterdir()) == []


def test_interrupt_in_a_real_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """During a pulse of it: the start is finished, saved, and not made again."""
    whole = digest(program())
    pulses = itertools.count()
    pulse = Core.pulse

    def press(core: Any, device: Any, code: Any) -> None:
        if next(pulses) == 2:
            signal.raise_signal(signal.SIGINT)
        pulse(core, device, code)

    monkeypatch.setattr(Core, "pulse", press)
    path = tmp_path / "start.npz"
    with pytest.raises(KeyboardInterrupt):
        program(checkpoint=path)
    assert storage.read(path, "checkpoint")[1]["index"] == 0
    first = Presser(-1)
    assert digest(fa.resume(path, threads=1, progress=first)) == whole
    assert first.seen[0] == 1


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        program(progress=Presser(2))
    assert list(tmp_path.iterdir()) == []


def test_an_uninterrupted_program_leaves_no_file(tmp_path: Path) -> None:
    program(checkpoint=tmp_path / "unused.npz")
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_handler_of_the_caller_stays() -> None:
    """Who handles Ctrl-C himself goes on doing so, and nothing is interrupted."""
    heard = []

    def mine(signum: int, frame: object) -> None:
        heard.append(signum)

    before = signal.signal(signal.SIGINT, mine)
    try:
        matrix = program(progress=Presser(2))
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]
    assert digest(matrix) == digest(program())


def test_the_handler_is_restored_after_an_error() -> None:
    def fail(done: int, total: int, text: str) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        program(progress=fail)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread(tmp_path: Path) -> None:
    """Where no signal can be handled, all else is the same."""
    found: list[str] = []
    path = tmp_path / "thread.npz"
    thread = threading.Thread(target=lambda: found.append(digest(program(checkpoint=path))))
    thread.start()
    thread.join()
    assert found == [digest(program())]
