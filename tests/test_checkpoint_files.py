"""Files of interrupted programs: when they are written, and where they cannot be."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupts import GDP, ROUNDS, Presser, digest, interrupted, program

import fastaimc as fa
from fastaimc import checkpoint, storage
from fastaimc.programming import loop

# --- files ----------------------------------------------------------------------------------------


def test_saves_every_so_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file alone is enough, should the process die; a minute apart if nothing is changed."""
    assert loop.CHECKPOINT_EVERY_S == 60
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", -1.0)
    path = tmp_path / "often.npz"
    kept: dict[int, bytes] = {}

    def keep(done: int, total: int, text: str) -> None:
        if path.exists():  # that of the iteration before
            kept[storage.read(path, "checkpoint")[1]["index"]] = path.read_bytes()

    whole = digest(program(method=GDP, checkpoint=path, progress=keep))
    assert sorted(kept) == list(range(ROUNDS))
    assert path.read_bytes() == kept[ROUNDS - 1]  # nothing to go on with after the last
    for index in (0, 6, ROUNDS - 1):
        path.write_bytes(kept[index])
        assert digest(fa.resume(path, threads=1)) == whole


def test_the_period_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of our own: an iteration takes 25 s."""
    seconds = itertools.count(0, 25)
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(seconds)))
    saved = []
    monkeypatch.setattr(checkpoint, "save", lambda path, job, every: saved.append(job.run.index))
    program(checkpoint=tmp_path / "period.npz")
    assert saved
    assert 2 <= min(np.diff(saved)) <= max(np.diff(saved)) <= 3
    assert saved[-1] < ROUNDS


def test_a_half_written_file_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second Ctrl-C, or a full disk, in the middle of writing."""
    path = tmp_path / "whole.npz"
    interrupted(path, 4)
    before = path.read_bytes()
    real = storage.npy.write_array
    for error in (KeyboardInterrupt, OSError(28, "No space left on device")):
        written = itertools.count()

        def fail(*args: Any, error: Any = error, written: Any = written, **rest: Any) -> None:
            if next(written) == 3:
                raise error
            real(*args, **rest)

        monkeypatch.setattr(storage.npy, "write_array", fail)
        with pytest.raises((KeyboardInterrupt, fa.StorageError)):
            fa.resume(path, threads=1, progress=Presser(8))
        assert path.read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["whole.npz"]
    monkeypatch.undo()
    assert digest(fa.resume(path, threads=1)) == digest(program())


IMPOSSIBLE = {
    "folder": "",
    "no folder": "none/here.npz",
    "slash": "new/",
    "a file as a folder": "file/here.npz",
    "nul": "a\0b.npz",
    "link into nowhere": "link.npz",
}


def impossible(tmp_path: Path, name: str) -> str:
    (tmp_path / "file").write_text("")
    if not (tmp_path / "link.npz").is_symlink():
        (tmp_path / "link.npz").symlink_to(tmp_path / "gone" / "away.npz")
    return f"{tmp_path}/{IMPOSSIBLE[name]}"


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_path_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    presser = Presser(-1)
    path = impossible(tmp_path, name)
    with pytest.raises(fa.StorageError, match="must"):
        program(checkpoint=path, progress=presser)
    assert presser.seen == []
    whole = tmp_path / "whole.npz"
    interrupted(whole, 2)
    with pytest.raises(fa.StorageError, match="must"):
        fa.resume(whole, checkpoint=path, progress=presser)
    assert presser.seen == []


def test_asking_whether_a_path_will_do_writes_nothing(tmp_path: Path) -> None:
    path, link = tmp_path / "whole.npz", tmp_path / "link.npz"
    path.write_bytes(b"mine")
    link.symlink_to(path)
    for target in (path, link, tmp_path / "new.npz", str(tmp_path / "new.npz")):
        checkpoint.check_target(target, fa.IterativeProgramming())
    assert path.read_bytes() == b"mine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link.npz", "whole.npz"]


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    with pytest.raises(fa.StorageError, match="No such file"):
        fa.resume(path)
    fa.save(path, program())
    with pytest.raises(fa.StorageError, match="must hold a 'checkpoint', got a 'matrix'"):
        fa.resume(path)
    interrupted(path, 2)
    with pytest.raises(fa.StorageError, match="must hold a 'matrix', got a 'checkpoint'"):
        fa.load(path)
    whole = path.read_bytes()
    for content in (b"", b"garbage" * 99, pickle.dumps(1), whole[:-100], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(fa.StorageError):
            fa.resume(path)
    np.savez(path, conductance=np.zeros(3))
    with pytest.raises(fa.StorageError, match="without meta"):
        fa.resume(path)


LIES: dict[str, Any] = {
    "no state": ("state.level", None),
    "state of another type": ("state.level", lambda a: a.astype(np.float64)),
    "state of one cell": ("state.device", lambda a: a[:1, :1, :1]),
    "state of one tile": ("state.pooled", lambda a: a[:1]),
    "state of one column": ("state.dark", lambda a: a[:, :1]),
    "pulses of the cells of one tile": ("cell_pulses", lambda a: a[:1]),
    "pulses of another type": ("cell_pulses", lambda a: a.astype(np.int32)),
    "few records": ("records.pulses", lambda a: a[:1]),
    "no records": ("records.latency_s", None),
    "targets of one tile": ("targets", lambda a: a[:1]),
    "other tiles": ("layer.0.row_edges", lambda a: a[[0, -1]]),
    "iterations to come": ("index", lambda index: 1000),
    "no start": ("index", lambda index: -1),
    "another method": ("method", lambda method: {"kind": "Iterative"}),
    "a method of another kind": ("method", lambda method: {"kind": "DirectWrite"}),
    "an impossible method": ("method", lambda method: method | {"iterations": 0}),
    "another engine": ("engine", lambda name: "cupy"),
    "no seed": ("seed", None),
    "a seed below zero": ("seed", lambda seed: -1),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lying_checkpoint(name: str, tmp_path: Path) -> None:
    """Kernels check no bounds: what they are given must be what they were promised."""
    path = tmp_path / "lie.npz"
    interrupted(path, 3, record_every=1)
    arrays, meta = storage.read(path, "checkpoint")
    meta = {key: value for key, value in meta.items() if key not in ("format", "schema", "kind")}
    key, change = LIES[name]
    where: Any = arrays if key in arrays else meta
    changed = None if change is None else change(where[key])
    del where[key]
    if changed is not None:
        where[key] = changed
    storage.write(path, "checkpoint", arrays, meta)
    with pytest.raises(fa.StorageError, match=r"lie\.npz' must"):
        fa.resume(path, threads=1)
