"""A test that hangs fails by its name within its time limit, whatever it hangs in, and the tests after it run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HANGING = {
    "a_wait": "await asyncio.Event().wait()",
    "a_loop_that_spins": "while True: await asyncio.sleep(0)",
    "a_callback_that_calls_itself": "again()\n    await asyncio.Event().wait()",
    "a_lock": "threading.Barrier(2).wait()",
    "a_stubborn_task_left_over": "tasks.append(asyncio.create_task(stubborn()))\n    await asyncio.sleep(0)",
}
HEAD = """
import asyncio, threading, pytest
pytestmark = [pytest.mark.time_limit(0.5)]
tasks = []

def again():
    asyncio.get_running_loop().call_soon(again)

async def stubborn():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
"""


@pytest.mark.parametrize("what", HANGING)
def test_a_test_that_hangs_fails_by_its_name_and_the_next_one_runs(what: str, tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(f"{HEAD}\nasync def test_{what}():\n    {HANGING[what]}\n\ndef test_the_next_one():\n    pass\n")
    options = ["-p", "tests.support.time_limit", "--rootdir", str(tmp_path), "--asyncio-mode=auto", "-v", "--color=no"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(file)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert re.search(rf"(FAILED|ERROR).*::test_{what}", ended.stdout), ended.stdout
    assert "it hangs: not done within its 1 s" in ended.stdout
    assert re.search("test_the_next_one PASSED", ended.stdout), ended.stdout
