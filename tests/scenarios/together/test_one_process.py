"""The log shipper and the config reloader in one process: both work, are seen at one place, and stop in order."""

import random
import socket

import pytest

from tests.scenarios.together.pair import NAMES, PairStage
from tests.support.processes import Done, sidecar


def test_both_work_are_seen_on_one_endpoint_and_stop_in_order(stage: PairStage) -> None:
    """The reloader stops first and the shipper last. A trigger is below the name of its sidecar."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    pair = stage.begun(stage.pair({"admin_port": port}).start())
    assert [line["port"] for line in pair.logged("admin.listening")] == [port], "named first, so it decides"
    for _ in range(2):
        stage.ships(pair)
        stage.changes(pair)
    assert pair.ask("/startupz")[0] == pair.ask("/readyz")[0] == 200
    assert {name.partition("/")[0] for name in pair.conditions()} == set(NAMES)
    assert pair.whole()["log-shipper"]["files"][0]["path"] == str(stage.writer.path)
    assert pair.whole()["config-reloader"]["watch"][0]["path"] == str(stage.reload.config.folder)
    series = pair.series()
    for name in NAMES:
        assert any(f'sidecar="{name}"' in one for one in series if one.startswith("sidecar_build_info"))
        assert sum(one.startswith(f"sidecar_{name.replace('-', '_')}_") for one in series) > 10
    assert pair.ask("/reload", "POST")[0] == 404
    assert pair.ask("/config-reloader/reload", "POST")[0] == 200
    assert len(stage.reload.told) == 3
    stage.writer.write(5000)
    assert pair.ask("/quit", "POST")[0] == 200
    assert pair.wait() == 0
    assert [line["sidecar"] for line in pair.logged("sidecar.starting")] == list(NAMES)
    assert [line["sidecar"] for line in pair.logged("sidecar.stopped")] == list(reversed(NAMES))
    (drained,) = pair.logged("stop.drained")
    assert pair.logs.index(drained) > pair.logs.index(pair.logged("sidecar.stopped")[0])
    stage.shipping.assert_balanced(stage.writer.written)


def test_kills_lose_no_line_and_no_change(stage: PairStage, rng: random.Random) -> None:
    """At any moment: while it starts, ships, tells, or has nothing to do."""
    pair = stage.pair()
    stage.begun(pair.start())
    for _ in range(3):
        pair.kill()
        pair.start(wait=False)
        for _ in range(rng.randint(1, 20)):
            stage.writer.write(rng.randint(1, 50))
            if rng.random() < 0.3:
                stage.change()
        documents = rng.randint(0, len(stage.writer.written) // 50)
        stage.shipping.until_documents(pair, documents)
    pair.kill()
    stage.change()
    stage.begun(pair.start())
    stage.shipping.expect(pair, stage.writer.written)
    assert stage.reload.told
    once = stage.pair(state_file=stage.folder / "other.json")  # what a fresh one says the content is
    assert stage.begun(once.start()).whole()["config-reloader"]["applied"]["hash"] == stage.reload.told[-1]


def test_each_has_a_log_level_of_its_own(stage: PairStage) -> None:
    pair = stage.begun(stage.pair({"log_level": "debug"}, log_level="error").start())
    stage.changes(pair)
    assert pair.terminate() == 0
    assert {line["sidecar"] for line in pair.logs} == {"log-shipper", "log-shipper+config-reloader"}


def test_what_is_wrong_with_both_is_said_at_once() -> None:
    done = run(LOG_SHIPPER_REQUESTS="0", CONFIG_RELOADER_STATE_FILE="/x/y", CONFIG_RELOADER_WATCH="/x")
    assert done.returncode == 2
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        'cannot use log-shipper/requests="0" (from LOG_SHIPPER_REQUESTS)',
        "cannot use log-shipper/paths",
        "cannot use config-reloader/steps",
        "cannot use config-reloader/state_file (from CONFIG_RELOADER_STATE_FILE)",
    ]


@pytest.mark.parametrize("names", [("log-shipper", "wait-for"), ("wait-for", "config-reloader")])
def test_what_runs_once_is_refused_among_others(names: tuple[str, ...]) -> None:
    done = run(*names)
    assert done.returncode == 2
    first, *rest = done.stderr.splitlines()
    assert first == (
        f"cannot use the command line: wait-for runs once and ends, so it cannot share a process ({', '.join(names)}); "
        "run wait-for in a container of its own"
    )
    assert not [line for line in rest if "wait-for" in line or "targets" in line]


def run(*names: str, **variables: str) -> Done:
    """`python -m sidecars NAMES`, which ends by itself."""
    return sidecar(*(names or NAMES), variables=variables)
