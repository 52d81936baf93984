"""What the reloader remembers on disk, and what its steps make of a program's end."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from sidecars.config_reloader.core.messages import Remembered
from sidecars.config_reloader.core.snapshot import Snapshot
from sidecars.config_reloader.core.steps import Render, Validate
from sidecars.config_reloader.metrics import ReloaderMetrics
from sidecars.config_reloader.notifying.notifier import Notifier
from sidecars.config_reloader.notifying.state_file import StateFile
from sidecars.config_reloader.rendering.output import OutputFolder
from sidecars.kit.notify.core.change import Change
from sidecars.kit.notify.core.options import Exec, Signal, StepOptions, Webhook
from sidecars.kit.notify.core.outcome import Outcome, Result
from tests.agents.config_reloader.stage import snapshot
from tests.support.context import condition, context


def state_file(path: Path) -> StateFile:
    ctx = context(name="config-reloader")
    return StateFile(str(path), ctx, ReloaderMetrics(ctx.metrics))


async def test_what_is_remembered_is_read_back_and_keeps_its_names(tmp_path: Path) -> None:
    remembered, path = Remembered("a", "b", "c"), tmp_path / "made" / "state.json"
    await state_file(path).save(remembered)
    assert state_file(path).load() == remembered
    record = json.loads(path.read_text())
    assert record.pop("at")
    assert record == {"hash": "a", "telling": "b", "refused": "c", "version": 1}


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"{", b'{"hash":"x","at":"","version":2}'])
def test_a_state_file_that_cannot_be_used_is_as_none(tmp_path: Path, damage: bytes) -> None:
    path, left = tmp_path / "state.json", tmp_path / ".state.json.4711.tmp"
    for file in (path, left):  # the other by a process that was killed in the middle
        file.write_bytes(damage)
    assert state_file(path).load() == Remembered()
    assert not left.exists()


async def test_a_state_file_that_cannot_be_written_degrades_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ctx = context(name="config-reloader")
    metrics = ReloaderMetrics(ctx.metrics)
    for place, writable in (("file/state", False), ("state", True)):
        await StateFile(str(tmp_path / place), ctx, metrics).save(Remembered("a"))
        assert ("mount a writable volume" in condition(ctx, "state").reason) is not writable
        assert ctx.metrics.registry.get_sample_value("sidecar_config_reloader_state_writable") == writable


async def test_content_that_changed_since_it_was_seen_is_not_rendered(tmp_path: Path) -> None:
    """The app would be notified with the hash of other content than it reads."""
    output = OutputFolder(Render(output=str(tmp_path / "out")), context(name="config-reloader").log)

    async def contents() -> Snapshot:
        return snapshot("newer")

    outcome, folder = await output.render(snapshot("older").hash, contents)
    assert (outcome.result, folder, (tmp_path / "out").exists()) == (Result.UNREACHABLE, "", False)
    assert (await output.render(snapshot("newer").hash, contents))[0].ok


async def act(step: StepOptions) -> Outcome:
    async with asyncio.TaskGroup() as tasks:
        return await Notifier().act(step, Change("0a1b", "/content"), tasks)


VERDICTS: dict[str, tuple[str, Result, str]] = {
    "good": ("exit 0", Result.OK, "exit status 0"),
    "a no": ("exit 3", Result.REJECTED, "exit status 3"),
    "it crashes on the content": ("kill -SEGV $$", Result.REJECTED, "ended by SIGSEGV"),
    "it is killed, as by the OOM killer": ("kill -KILL $$", Result.UNREACHABLE, "ended by SIGKILL"),
    "it cannot say now": ("exit 75", Result.UNREACHABLE, "exit status 75"),
    "it hangs": ("sleep 600", Result.TIMEOUT, "did not end within 0.5 s and was killed"),
}


@pytest.mark.parametrize(("script", "result", "words"), VERDICTS.values(), ids=VERDICTS.keys())
async def test_only_a_validator_that_came_to_its_verdict_rejects(script: str, result: Result, words: str) -> None:
    step = Validate(command=("sh", "-c", script), timeout_seconds=0.5 if result is Result.TIMEOUT else 60.0)
    outcome = await act(step)
    assert (outcome.result, words in outcome.detail) == (result, True), outcome


async def test_a_validator_that_is_missing_or_being_written_rejects_nothing(tmp_path: Path) -> None:
    """An init container, or a person, copies it there: ETXTBSY."""
    program = tmp_path / "true"
    assert (await act(Validate(command=(str(program),)))).result is Result.DENIED
    shutil.copy(shutil.which("true") or "/bin/true", program)
    with program.open("r+b"):
        busy = await act(Validate(command=(str(program),)))
    assert busy == Outcome(Result.UNREACHABLE, f"cannot start {program}: Text file busy")
    assert (await act(Validate(command=(str(program),)))).ok


async def test_a_command_gets_the_content_it_runs_for_and_who_is_not_there_is_not_ready() -> None:
    outcome = await act(Exec(command=("sh", "-c", 'echo "$CONFIG_RELOADER_HASH $CONFIG_RELOADER_CANDIDATE"')))
    assert outcome.detail.endswith("0a1b /content")
    for step in (Signal(process="nobody-is-called-so"), Webhook(url="http://127.0.0.1:1")):
        assert not await Notifier().ready(step)
    assert await Notifier().ready(Exec(command=("x",)))
