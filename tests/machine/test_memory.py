"""Free memory: what the machine, control groups and limits of the process leave."""

import pytest

from fastmlp.machine import cores, memory
from fastmlp.machine.memory import free_memory, number_after


def test_there_is_some_and_a_number_behind_a_label_is_found(tmp_path):
    assert free_memory() > 0
    (tmp_path / "status").write_text("VmSize:   12 kB\nVmData: many\n")
    assert number_after("VmSize:", tmp_path / "status") == 12
    assert number_after("VmData:", tmp_path / "status") is None
    assert number_after("VmSwap:", tmp_path / "status") is None
    assert number_after("VmSize:", tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("membership", "folder", "files"),
    [
        ("0::/service/mine\n", "service/mine", ("memory.max", "memory.current")),
        ("0::/service/mine\n", "service", ("memory.max", "memory.current")),
        ("0::/\n", ".", ("memory.max", "memory.current")),
        ("9:memory:/mine\n8:cpu:/other\n", "memory/mine", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    ],
)
def test_a_control_group_bounds_it_wherever_it_lies(tmp_path, monkeypatch, membership, folder, files):
    """What it uses for files that were read is as good as free."""
    monkeypatch.setattr(cores, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(cores, "MEMBERSHIP", tmp_path / "membership")
    (tmp_path / "membership").write_text(membership)
    unbounded = free_memory()
    group = tmp_path / "groups" / folder
    group.mkdir(parents=True)
    (group / files[0]).write_text("3000000\n")
    (group / files[1]).write_text("2000000\n")
    assert unbounded > 1_000_000 == free_memory()
    (group / "memory.stat").write_text("active_file 1\ninactive_file 500000\n")
    assert free_memory() == 1_500_000
    (group / files[0]).write_text("max\n")
    assert free_memory() > 1_500_000


def test_a_limit_of_the_process_bounds_it(monkeypatch):
    if not memory.MEMORY_LIMITS or number_after("VmSize:", "/proc/self/status") is None:
        pytest.skip("the system tells of no limits of memory")
    taken = 1024 * number_after("VmSize:", "/proc/self/status")
    monkeypatch.setattr(
        memory.resource,
        "getrlimit",
        lambda kind: (
            (taken + (20 << 20), -1) if kind == memory.MEMORY_LIMITS[0][0] else (memory.resource.RLIM_INFINITY, -1)
        ),
    )
    assert 0 < free_memory() <= 21 << 20
