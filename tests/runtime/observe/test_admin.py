"""The admin endpoint of a real process, and several sidecars in one."""

import asyncio
import contextlib
import json
import secrets
import socket
import subprocess
import sys

import pytest

from sidecars.runtime import Health, SettingsError, Stop
from sidecars.runtime.clock import monotonic
from sidecars.runtime.life.loop import THREADS_SECONDS
from sidecars.runtime.observe import admin
from sidecars.runtime.observe.admin import Admin, AdminServer, is_loopback
from sidecars.runtime.observe.metrics import new_registry
from tests.runtime.conftest import Start
from tests.support.names import LOCALHOST
from tests.support.processes import ROOT
from tests.support.waiting import until


class Peer:
    """A transport that knows its peer's address."""

    def __init__(self, address: object) -> None:
        self._address = address

    def get_extra_info(self, name: str) -> object:
        return self._address if name == "peername" else None


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        (("127.0.0.1", 1), True),
        (("127.9.9.9", 1), True),
        (("::1", 1, 0, 0), True),
        (("::ffff:127.0.0.1", 1, 0, 0), True),
        (("::ffff:10.0.0.1", 1, 0, 0), False),
        (("10.0.0.1", 1), False),
        (("fe80::1%eth0", 1, 0, 2), False),
        ("", False),
        (None, False),
    ],
)
def test_triggers_know_loopback(address: object, loopback: bool) -> None:
    assert is_loopback(Peer(address)) is loopback  # type: ignore[arg-type]


def test_the_pages_answer_as_probes_and_people_expect(start: Start) -> None:
    run = start("idle").started()
    assert run.ask("/livez") == (200, "ok\n")
    assert run.ask("/livez", "HEAD") == (200, "")
    status, body = run.ask("/readyz")
    (condition,) = json.loads(body)["conditions"]
    assert (status, json.loads(body)["ready"]) == (200, True)
    assert {**condition, "since": ""} == {"name": "remote", "state": "degraded", "reason": "a bit slow", "since": ""}
    shown = json.loads(run.ask("/status")[1])
    assert (shown["mode"], shown["name"], shown["stop"]["requested"]) == ("safe", "idle", False)
    assert 'sidecar_idle_pulls_total{how="other"} 0.0' in run.ask("/metrics")[1]
    assert run.ask("/metrics", headers={"Accept": "application/openmetrics-text"})[1].endswith("# EOF\n")
    assert run.ask("/nowhere")[0] == 404
    assert [run.ask("/livez", "POST")[0], run.ask("/pull")[0], run.ask("/quit")[0]] == [405, 405, 405]
    assert run.ask("/pull", "POST") == (200, '{"pulled":"idle"}\n')
    assert 'how="post"} 1.0' in run.ask("/metrics")[1]


def test_not_started_is_503_and_says_so(start: Start) -> None:
    run = start("asleep")
    assert run.ask("/startupz")[0] == 503
    assert run.ask("/livez")[0] == 200
    status, body = run.ask("/readyz")
    assert (status, json.loads(body)["conditions"][0]["reason"]) == (503, "not started yet")
    assert run.stop() == 0


def test_the_endpoint_stays_up_while_draining_and_readyz_says_stopping(start: Start) -> None:
    run = start("slow", "--grace-seconds", "1h").started()
    assert run.ask("/quit", "POST")[0] == 200
    status, body = run.ask("/readyz")
    assert status == 503
    assert json.loads(body)["conditions"][-1]["reason"] == "stopping: POST /quit"
    assert run.ask("/livez")[0] == 200


def test_two_sidecars_share_one_process_and_stop_in_reverse_order(start: Start) -> None:
    run = start("idle", "talk").started()
    body = json.loads(run.ask("/readyz")[1])
    assert [condition["name"] for condition in body["conditions"]] == ["idle/main", "idle/remote", "talk/main"]
    assert run.ask("/pull", "POST")[0] == 404
    assert run.ask("/idle/pull", "POST") == (200, '{"pulled":"idle"}\n')
    assert json.loads(run.ask("/status")[1])["sidecars"]["idle"] == {"mode": "safe"}
    metrics = run.ask("/metrics")[1]
    assert 'sidecar="idle"' in metrics
    assert 'sidecar="talk"' in metrics
    assert run.stop() == 0
    assert "stop.overrun" not in run.actions()


def test_the_first_is_not_asked_to_stop_before_the_last_has_ended(start: Start) -> None:
    run = start("idle", "slow", environ={"SLOW_GRACE_SECONDS": "300ms"}).started()
    assert run.stop() == 0
    actions = run.actions()
    assert actions.index("stop.overrun") < actions.index("toy.drained")


def test_a_crashed_one_is_started_again_without_taking_the_other(start: Start) -> None:
    run = start("idle", "crash")
    until(lambda: "task.restarted" in run.actions("crash"), "the restart")
    assert run.running
    ready, body = run.ask("/readyz")
    assert ready == 503
    assert any(c["name"] == "crash/main" for c in json.loads(body)["conditions"])
    assert run.stop() == 0
    assert "toy.drained" in run.actions("idle")


@pytest.mark.parametrize(
    "request_head",
    [b"POST /work HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /work HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"],
    ids=["whole", "body missing"],
)
async def test_a_trigger_at_work_holds_up_the_exit_for_leave_seconds_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, request_head: bytes
) -> None:
    assert admin.LEAVE_SECONDS + THREADS_SECONDS < 1
    monkeypatch.setattr(admin, "LEAVE_SECONDS", 2.0)  # so long that a busy machine makes no difference
    working = asyncio.Event()

    async def work() -> None:
        working.set()
        await asyncio.Event().wait()

    toy = Admin("toy", Health(monotonic))
    toy.trigger("work", work)
    server = AdminServer([toy], new_registry(["toy"]), Stop())
    _, writer = await asyncio.open_connection("127.0.0.1", await server.start("127.0.0.1", 0))
    writer.write(request_head)
    async with asyncio.timeout(30):
        await working.wait()
    began = monotonic()
    await server.close()
    assert monotonic() - began < 3
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("::", {"127.0.0.1", "::1"}),
        ("", {"127.0.0.1", "::1"}),
        ("[::]", {"127.0.0.1", "::1"}),
        ("0.0.0.0", {"127.0.0.1"}),
        ("127.0.0.1", {"127.0.0.1"}),
        ("::1", {"::1"}),
        ("[::1]", {"::1"}),
    ],
)
async def test_everywhere_is_ipv6_and_ipv4_and_everything_else_is_what_it_says(host: str, addresses: set[str]) -> None:
    name = secrets.token_hex(8)  # somebody else may have the same port of the other family
    server = AdminServer([Admin(name, Health(monotonic))], new_registry([name]), Stop())
    port = await server.start(host, 0)
    reached = set()
    for address in ("127.0.0.1", "::1"):
        with contextlib.suppress(ConnectionError):
            reader, writer = await asyncio.open_connection(address, port)
            writer.write(b"GET /startupz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            reached |= {address} if name.encode() in await reader.read() else set()
            writer.close()
            await writer.wait_closed()
    await server.close()
    assert reached == addresses


WITHOUT_IPV6 = """
import errno, sys

def audit(event, arguments):
    if event == "socket.__new__" and arguments[1] == 10:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

sys.addaudithook(audit)
from tests.support.toy_process import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("host", ["::", pytest.param("localhost", marks=LOCALHOST)])
def test_a_kernel_without_ipv6_is_served_on_ipv4(host: str) -> None:
    """As with `ipv6.disable=1`; the /etc/hosts of many a machine still has ::1 for localhost."""
    command = [sys.executable, "-c", WITHOUT_IPV6, "idle", "--admin-host", host]
    environ = {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT, env=environ) as process:
        try:
            assert process.stderr is not None
            listening = json.loads(process.stderr.readline())
            assert listening["action"] == "admin.listening", listening
            socket.create_connection(("127.0.0.1", listening["port"]), timeout=30).close()
        finally:
            process.terminate()
    assert process.returncode == 0


async def test_a_port_that_is_taken_on_one_family_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = AdminServer([Admin("toy", Health(monotonic))], new_registry(["toy"]), Stop())
        with pytest.raises(
            SettingsError, match=r"cannot use admin_port=.*: cannot listen there: Address already in use"
        ):
            await server.start("::", taken.getsockname()[1])
