"""A test that hangs fails by its name within its time limit, whatever it hangs in, and the tests after it run."""

import re
import sys
from pathlib import Path

from tests.support.processes import run

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


def test_a_test_that_hangs_fails_by_its_name_and_the_next_one_runs(tmp_path: Path) -> None:
    texts = (
        f"async def test_{what}():\n    {body}\n\ndef test_after_{what}():\n    pass\n"
        for what, body in HANGING.items()
    )
    file = tmp_path / "test_it.py"
    file.write_text("\n".join([HEAD, *texts]))
    options = ["-p", "tests.support.time_limit", "--rootdir", str(tmp_path), "--asyncio-mode=auto", "-v", "--color=no"]
    ended = run(sys.executable, "-m", "pytest", *options, file, env=None, timeout=300)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    for what in HANGING:
        assert re.search(rf"(FAILED|ERROR).*::test_{what}\b", ended.stdout), ended.stdout
        assert re.search(rf"::test_after_{what} PASSED", ended.stdout), ended.stdout
    assert ended.stdout.count("it hangs: not done within its 1 s") >= len(HANGING)
