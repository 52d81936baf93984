"""Secrets lie in memory that never reaches a disk, or the start is refused."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecars.secret_sync.publishing.volumes import Machine, refused
from sidecars.secret_sync.settings import SecretSyncSettings

MOUNTS = """
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:30 / /secrets rw,nosuid - tmpfs tmpfs rw,size=4096k
24 22 0:31 / /safe rw,nosuid - tmpfs tmpfs rw,size=4096k,noswap
25 22 0:32 / /ram rw - ramfs none rw
"""
SWAP = "Filename Type Size Used Priority\n"
NONE, SOME = SWAP, SWAP + "/dev/sda2 partition 1 0 -2\n"


@pytest.mark.parametrize(
    ("settings", "swap", "most", "wrong"),
    [
        ({"targets": [{"path": "/secrets"}]}, NONE, None, []),
        ({"targets": [{"path": "/secrets"}]}, SOME, None, ["targets[0].path"]),
        ({"targets": [{"path": "/secrets"}]}, SOME, "max", ["targets[0].path"]),
        ({"targets": [{"path": "/secrets"}]}, SOME, "0", []),
        ({"targets": [{"path": "/secrets", "allow_disk": True}]}, SOME, None, []),
        ({"targets": [{"path": "/safe"}, {"path": "/ram"}]}, SOME, None, []),
        ({"targets": [{"path": "/var/lib"}]}, NONE, None, ["targets[0].path"]),
        ({"target": "/var/lib"}, NONE, None, ["target"]),
        ({"target": "/secrets", "handover_file": "/secrets/.leases"}, NONE, None, []),
        ({"target": "/secrets", "handover_file": "/var/leases"}, NONE, None, ["handover_file"]),
    ],
    ids=str,
)
def test_a_place_that_may_reach_a_disk_is_refused(
    tmp_path: Path, settings: dict[str, Any], swap: str, most: str | None, wrong: list[str]
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text(MOUNTS.strip())
    (tmp_path / "swaps").write_text(swap)
    if most is not None:
        (tmp_path / "memory.swap.max").write_text(f"{most}\n")
    machine = Machine(str(tmp_path), str(tmp_path))
    found = list(refused(msgspec.convert(settings, SecretSyncSettings), machine))
    assert [problem.field for problem in found] == wrong
    assert all(problem.remedy for problem in found)
