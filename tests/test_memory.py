"""What memory is left, by files made for it, and the refusal of what does not fit."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import subprocesses
from hypothesis import given
from hypothesis import strategies as st

from fastaimc import memory
from fastaimc.errors import InputError
from fastaimc.memory import available_bytes, check_fits

pytestmark = pytest.mark.nojit

MB, GB = 10**6, 10**9
KIB = 1024
MEMINFO = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n"
FREE = 8_000_000 * KIB
GARBLED = ["", "max", "-1", "1.5", "0x10", "many\n", "9" * 5000, "\0", "\n\n", "²", "12k"]
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


class Machine:
    """A folder that looks like /proc and /sys/fs/cgroup."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, name: str, content: str | bytes) -> "Machine":
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self

    def v2(self, group: str, limit: str | int, used: str | int, stat: str = "") -> "Machine":
        return (
            self.has(f"cgroup{group}/memory.max", f"{limit}\n")
            .has(f"cgroup{group}/memory.current", f"{used}\n")
            .has(f"cgroup{group}/memory.stat", stat)
        )

    def v1(self, group: str, limit: str | int, used: str | int, stat: str = "") -> "Machine":
        return (
            self.has(f"cgroup/memory{group}/memory.limit_in_bytes", f"{limit}\n")
            .has(f"cgroup/memory{group}/memory.usage_in_bytes", f"{used}\n")
            .has(f"cgroup/memory{group}/memory.stat", stat)
        )

    def available(self) -> int | None:
        return available_bytes(self.folder / "proc", self.folder / "cgroup")


def limit_address_space(monkeypatch: pytest.MonkeyPatch, limit: int | None) -> None:
    """Let this process have a limit of its address space, or none."""
    if importlib.util.find_spec("resource") is not None:
        resource: Any = importlib.import_module("resource")
        soft = resource.RLIM_INFINITY if limit is None else limit
        monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, resource.RLIM_INFINITY))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that says nothing, and no limit of this process."""
    limit_address_space(monkeypatch, None)
    monkeypatch.setattr("os.sysconf", lambda name: -1, raising=False)
    return Machine(tmp_path)


# --- what is available ----------------------------------------------------------------------------


def test_nothing_is_known(machine: Machine) -> None:
    assert machine.available() is None


def test_meminfo(machine: Machine) -> None:
    assert machine.has("proc/meminfo", MEMINFO).available() == FREE


@pytest.mark.parametrize("value", GARBLED)
def test_garbled_meminfo(machine: Machine, value: str) -> None:
    machine.has("proc/meminfo", f"MemTotal: 1 kB\nMemAvailable: {value}")
    assert machine.available() is None


def test_without_meminfo_all_memory_counts(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", pages.__getitem__, raising=False)
    assert machine.available() == 4_096_000
    assert machine.has("proc/meminfo", MEMINFO).available() == FREE


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_a_system_that_does_not_know_its_pages(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def sysconf(name: str) -> int:
        raise error(name)

    monkeypatch.setattr("os.sysconf", sysconf, raising=False)
    assert machine.available() is None
    monkeypatch.delattr("os.sysconf")
    assert machine.available() is None


@pytest.mark.parametrize(
    ("version", "cache"), [("v1", "total_inactive_file"), ("v2", "inactive_file")]
)
def test_room_of_a_group(machine: Machine, version: str, cache: str) -> None:
    """The files that are cached count as used and are not: they make way."""
    line = {"v1": "5:cpu,memory:/jobs/7", "v2": "0::/jobs/7"}[version]
    machine.has("proc/meminfo", MEMINFO).has("proc/self/cgroup", f"9:pids:/x\n{line}\n")
    group = getattr(machine, version)
    group("/jobs/7", 2 * GB, 500 * MB)
    assert machine.available() == 1500 * MB
    group("/jobs/7", 2 * GB, 500 * MB, f"anon 9\nactive_file 7\n{cache} {100 * MB}\n")
    assert machine.available() == 1600 * MB
    group("/jobs", 1 * GB, 800 * MB)  # the limit around it is nearer
    assert machine.available() == 200 * MB
    group("", 1 * GB, 1100 * MB)  # of the whole container, and passed already
    assert machine.available() == 0


@pytest.mark.parametrize(
    ("line", "version"), [("4:memory:/docker/0a1b", "v1"), ("0::/docker/0a1b", "v2")]
)
def test_a_container_has_only_its_own_group(machine: Machine, line: str, version: str) -> None:
    machine.has("proc/self/cgroup", f"{line}\n")
    getattr(machine, version)("", 3 * GB, 1 * GB)
    assert machine.available() == 2 * GB


def test_unlimited_groups(machine: Machine) -> None:
    machine.has("proc/self/cgroup", "0::/a\n4:memory:/b\n")
    machine.v2("/a", "max", 500 * MB).v2("", "max", GB)
    machine.v1("/b", 9223372036854771712, 500 * MB)
    assert machine.available() is None
    assert machine.has("proc/meminfo", MEMINFO).available() == FREE


def test_both_versions_at_once(machine: Machine) -> None:
    machine.has("proc/self/cgroup", "0::/a\n4:memory:/b\n").v2("/a", 5 * GB, 0).v1("/b", 4 * GB, 0)
    assert machine.available() == 4 * GB


def test_other_controllers_do_not_count(machine: Machine) -> None:
    machine.has("proc/self/cgroup", "3:cpuset:/a\n2:memoryless:/a\n1:name=systemd:/a\n:\n")
    machine.v1("/a", 1 * GB, 0).v2("/a", 1 * GB, 0).v2("", 1 * GB, 0)
    assert machine.available() is None


def test_groups_outside_of_the_namespace_do_not_count(machine: Machine) -> None:
    machine.has("proc/self/cgroup", "0::/../cgroup/a\n").v2("/a", 1 * GB, 0)
    assert machine.available() is None
    assert machine.v2("", 2 * GB, 0).available() == 2 * GB


def test_a_group_of_any_name(machine: Machine) -> None:
    machine.has("proc/self/cgroup", b"0::/\xff:b\n").v2("", 2 * GB, 0)
    assert machine.available() == 2 * GB
    if sys.platform.startswith("linux"):
        assert machine.v2("/\udcff:b", 1 * GB, 0).available() == 1 * GB


@pytest.mark.parametrize("value", GARBLED)
def test_garbled_figures_of_a_group(machine: Machine, value: str) -> None:
    machine.has("proc/self/cgroup", "0::/a\n")
    assert machine.v2("/a", value, 0).available() is None
    assert machine.v2("/a", 2 * GB, value).available() is None
    machine.v2("/a", 2 * GB, 500 * MB, f"inactive_file\ninactive_file {value}\n")
    assert machine.available() == 1500 * MB


@pytest.mark.parametrize(
    "line",
    ["", ":", "::", "0", "0:", "0::", "0::\0", "memory", "4:memory", "x:y:z", "0::" + "/a" * 2100],
)
def test_garbled_list_of_groups(machine: Machine, line: str) -> None:
    machine.has("proc/meminfo", MEMINFO).has("proc/self/cgroup", line)
    assert machine.available() == FREE


@given(meminfo=st.binary(max_size=60), cgroup=st.binary(max_size=60), figure=st.binary(max_size=30))
def test_garbled_files_never_raise(
    tmp_path_factory: pytest.TempPathFactory, meminfo: bytes, cgroup: bytes, figure: bytes
) -> None:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.has("proc/meminfo", b"MemAvailable: " + meminfo).has("proc/self/status", figure)
    machine.has("proc/self/cgroup", b"0::/\n" + cgroup)
    machine.has("cgroup/memory.max", figure).has("cgroup/memory.current", "1")
    found = machine.available()
    assert found is None or found >= 0


@given(limit=st.integers(0, 2**50), used=st.integers(0, 2**50), cache=st.integers(0, 2**50))
def test_room_is_within_the_limit(
    tmp_path_factory: pytest.TempPathFactory, limit: int, used: int, cache: int
) -> None:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.has("proc/meminfo", f"MemAvailable: {2**50} kB\n").has("proc/self/cgroup", "0::/\n")
    found = machine.v2("", limit, used, f"inactive_file {cache}\n").available()
    assert found is not None
    assert 0 <= found <= limit
    if cache <= used <= limit:
        assert found == limit - used + cache


@on_linux
def test_limit_of_the_address_space(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has("proc/meminfo", MEMINFO)
    limit_address_space(monkeypatch, 3 * GB)
    assert machine.available() == FREE  # what is used of it is not known
    machine.has("proc/self/status", "Name:\tpython\nVmPeak:\t 9 kB\nVmSize:\t 1000000 kB\n")
    assert machine.available() == 3 * GB - 10**6 * KIB
    limit_address_space(monkeypatch, 1 * GB)
    assert machine.available() == 0


def test_a_system_without_limits_of_processes(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert machine.has("proc/meminfo", MEMINFO).available() == FREE


def test_this_machine() -> None:
    found = available_bytes()
    assert found is None or found > 0


@on_linux
def test_what_is_available_can_be_had_and_no_more() -> None:
    """Under a real limit: half of the room can be allocated, and twice of it cannot."""
    found = subprocesses.run("""
        import json, resource
        from fastaimc.memory import available_bytes
        limit = 2**29
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        room = available_bytes()
        bytearray(room // 2)
        try:
            bytearray(room * 2)
        except MemoryError:
            print(json.dumps(room < limit))
    """)
    assert found is True


# --- the refusal ----------------------------------------------------------------------------------


def available(monkeypatch: pytest.MonkeyPatch, count: int | None) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: count)


def test_message(monkeypatch: pytest.MonkeyPatch) -> None:
    available(monkeypatch, 7_950_000_000)
    cells = 16384**2
    with pytest.raises(InputError) as caught:
        check_fits(42.0 * cells, "weights (16384×16384 cells, 42 bytes each)")
    assert str(caught.value) == (
        "weights (16384×16384 cells, 42 bytes each) need 11.3 GB of memory, and 7.9 GB are "
        "available: program fewer layers at a time, or free some memory"
    )


def test_message_with_a_fix_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    available(monkeypatch, 999_999_999)
    with pytest.raises(InputError) as caught:
        check_fits(1e9, "samples (9)", fix="use fewer samples")
    assert str(caught.value) == (
        "samples (9) need 1.0 GB of memory, and 999 MB are available: use fewer samples"
    )


def test_what_fits_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    available(monkeypatch, 1000)
    check_fits(1000, "weights")
    check_fits(0, "weights")
    with pytest.raises(InputError, match="weights need 1 MB of memory, and 0 MB are available"):
        check_fits(1000.5, "weights")


def test_the_unknown_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    available(monkeypatch, None)
    check_fits(1e30, "weights")


@given(left=st.integers(0, 2**60), more=st.floats(0.0, 1e18))
def test_figures_tell_why(left: int, more: float) -> None:
    """What is needed reads as more than what is available, however close they are."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        available(monkeypatch, left)
        needed = float(left) + more
        if needed <= left:
            check_fits(needed, "weights")
            return
        with pytest.raises(InputError) as caught:
            check_fits(needed, "weights")
    units = {"MB": MB, "GB": GB}
    shown = [
        float(figure) * units[unit]
        for figure, unit in re.findall(r"([\d.]+) ([MG]B)", str(caught.value))
    ]
    assert len(shown) == 2
    assert shown[0] > shown[1]
    assert shown[0] == pytest.approx(needed, rel=0.1, abs=MB)
    assert shown[1] == pytest.approx(left, rel=0.1, abs=MB)
