"""Apps that refuse, hang, hang up, redirect, or are not there: each hears the newest content, none delays another."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.app_process import AppProcess
from tests.support.config_stage import ConfigStage
from tests.support.kubelet import Volume
from tests.support.reload_app import CUTS, HANGS, OK, Answer, App, Asked
from tests.support.sidecars import ReloaderProcess

PATIENCE_SECONDS = 60.0


@pytest.fixture
def app() -> Iterator[App]:
    """The app that is told."""
    with App() as one:
        yield one


@pytest.fixture
def absent() -> Iterator[App]:
    """An app that does not listen yet."""
    with App(listening=False) as one:
        yield one


def write(volume: Volume, text: str) -> None:
    volume.write({"app.yaml": text.encode()})


def attempts(reloader: ReloaderProcess, outcome: str, step: str = "webhook") -> float:
    return reloader.metric(f'attempts_total{{outcome="{outcome}",step="{step}"}}')


def reload_by_hand(reloader: ReloaderProcess) -> tuple[int, dict[str, str]]:
    status, body = reloader.ask("/reload", "POST")
    return status, json.loads(body)


def test_a_fix_is_told_while_the_bad_content_waits_to_be_tried_again(
    stage: ConfigStage, app: App, table: Callable[[str, str], None]
) -> None:
    app.answers["/a"] = lambda asked: Answer(500 if asked.body == app.requests[0].body else 200)
    reloader = stage.reloader().steps(app.webhook("/a"))
    stage.begin(reloader)
    write(stage.config, "bad")
    app.wait_for("/a", 5)
    written = time.monotonic()
    write(stage.config, "fixed")
    reloader.until(lambda: len({*app.bodies("/a")}) > 1, "the fix to be told")
    reloader.until_settled()
    bad, *more, fixed = bodies = app.bodies("/a")
    assert {*more} == {bad}
    assert fixed == reloader.applied
    assert attempts(reloader, "failed") == len(bodies) - 1
    assert reloader.metric('reloads_total{result="superseded"}') == 1
    assert reloader.status()["refused"] is None
    seconds = app.requests[-1].at - written
    table(
        "config reloader", f"a fix while bad content waits to be tried again: told within {seconds:.2f} s (quiet 0.1)"
    )


def test_a_target_that_hangs_delays_no_other(stage: ConfigStage, app: App) -> None:
    app.answers["/a"] = HANGS
    reloader = stage.reloader().steps(app.webhook("/a", timeout_seconds=0.5), app.webhook("/b"))
    stage.begin(reloader)
    for version in (1, 2):
        write(stage.config, f"{version}")
        app.wait_for("/b", version)
        timeouts = attempts(reloader, "timeout")
        reloader.until(lambda t=timeouts: attempts(reloader, "timeout") > t, "it to be tried again")  # type: ignore[misc]
        assert len(app.asked("/b")) == version
        assert "/a did not answer within 0.5 s" in reloader.status()["pending"]["waiting_for"]
    app.answers["/a"] = OK
    reloader.until_settled()
    assert app.bodies("/b")[-1] == app.bodies("/a")[-1] == reloader.applied
    assert len(app.asked("/b")) == 2
    assert attempts(reloader, "timeout") == len(app.asked("/a")) - 1


def test_what_changes_while_a_target_hangs_is_told_as_one_and_the_others_hear_each(
    stage: ConfigStage, app: App
) -> None:
    app.answers["/a"] = HANGS
    reloader = stage.reloader(quiet_seconds=0).steps(app.webhook("/a", timeout_seconds=600), app.webhook("/b"))
    stage.begin(reloader)
    for version in range(1, 7):
        write(stage.config, f"{version}")
        app.wait_for("/b", version)
        app.wait_for("/a")
    app.answers["/a"] = OK
    written = time.monotonic()
    write(stage.config, "last")
    app.wait_for("/b", 7)
    reloader.until_settled()
    assert app.bodies("/a")[-1] == app.bodies("/b")[-1] == reloader.applied
    assert app.requests[-1].at - written < PATIENCE_SECONDS, "not the 600 seconds of its time-out"
    assert len(app.asked("/b")) == 7
    assert attempts(reloader, "superseded") == len(app.asked("/a")) - 1
    assert reloader.metric('reloads_total{result="superseded"}') == 6
    stage_ends(reloader, app, told=len(app.asked("/a")))


def test_a_fix_takes_the_place_of_a_request_that_hangs(
    stage: ConfigStage, app: App, table: Callable[[str, str], None]
) -> None:
    app.answers["/a"] = lambda asked: HANGS if asked.body == "bad" else OK
    reloader = stage.reloader().steps(app.webhook("/a", body_file="{candidate}/app.yaml"))
    stage.begin(reloader)
    write(stage.config, "bad")
    app.wait_for("/a")
    write(stage.config, "fixed")
    written = time.monotonic()
    app.wait_for("/a", 2)
    reloader.until_settled()
    assert app.bodies("/a") == ["bad", "fixed"]
    seconds = app.requests[-1].at - written
    assert seconds < 9, "the time-out is 10 s"
    table("config reloader", f"a fix while a request hangs: told within {seconds:.2f} s (a request hangs after 2 s)")


def test_a_target_that_comes_up_later_is_told_once(stage: ConfigStage, absent: App) -> None:
    reloader = stage.reloader().steps(absent.webhook("/a"))
    stage.begin(reloader)
    write(stage.config, "1")
    reloader.until(lambda: attempts(reloader, "unreachable") >= 3, "it to be tried in vain")
    assert f"cannot reach {absent.url}/a: Connection refused" in reloader.status()["pending"]["waiting_for"]
    absent.listen()
    reloader.until_settled()
    assert absent.bodies("/a") == [reloader.applied]
    assert attempts(reloader, "ok") == 1
    stage_ends(reloader, absent, told=1)


def stage_ends(reloader: ReloaderProcess, app: App, told: int) -> None:
    """The reload by hand is the next thing that the app hears."""
    assert reload_by_hand(reloader)[0] == 200
    assert len(app.asked("/a")) == told + 1


@pytest.mark.parametrize("remembers", [True, False])
def test_what_was_published_and_not_told_is_told_after_a_kill(stage: ConfigStage, absent: App, remembers: bool) -> None:
    """The app may run on with what it read before; without a state file the output tells that it was not told."""
    reloader = stage.reloader(render=json.dumps({"output": str(stage.folder / "out")})).steps(absent.webhook("/a"))
    if not remembers:
        reloader.settings["state_file"] = ""
    stage.begin(reloader)
    write(stage.config, "1")
    for _ in range(2):
        reloader.until(lambda: attempts(reloader, "unreachable"), "it to be tried in vain")
        assert (stage.folder / "out" / "app.yaml").read_text() == "1"
        reloader.kill()
        reloader.start()
    absent.listen()
    absent.wait_for("/a")
    reloader.until_settled()
    assert absent.bodies("/a") == [reloader.applied]
    reloader.kill()
    stage.begin(reloader)
    stage_ends(reloader, absent, told=1)


REFUSALS = {
    "redirect": (Answer(302, headers={"Location": "/elsewhere"}), "failed", "answered 302, expected 2xx"),
    "hangs up": (CUTS, "unreachable", "closed the connection before it answered"),
    "not allowed": (Answer(405), "failed", "answered 405"),
}


@pytest.mark.parametrize("how", REFUSALS)
def test_it_is_told_again_until_it_says_yes(stage: ConfigStage, app: App, how: str) -> None:
    refusal, outcome, words = REFUSALS[how]
    app.answers["/a"] = refusal
    reloader = stage.reloader().steps(app.webhook("/a", method="PUT"))
    stage.begin(reloader)
    write(stage.config, "1")
    app.wait_for("/a", 3)
    waiting = reloader.status()["pending"]["waiting_for"]
    assert words in waiting
    assert reloader.metric("last_reload_success_timestamp_seconds") < reloader.metric("pending_since_timestamp_seconds")
    app.answers["/a"] = OK
    reloader.until_settled()
    asked = app.asked("/a")
    assert {one.body for one in asked} == {reloader.applied}
    assert attempts(reloader, outcome) == len(asked) - 1, "each attempt is one request"
    assert app.asked("/elsewhere") == []
    stage_ends(reloader, app, told=len(asked))


@pytest.mark.parametrize("on_failure", ["stop", "continue"])
def test_who_comes_after_a_failed_step_waits_for_it_or_does_not(stage: ConfigStage, app: App, on_failure: str) -> None:
    app.answers["/a"] = Answer(503)
    reloader = stage.reloader().steps(app.webhook("/a", on_failure=on_failure), app.webhook("/b"))
    stage.begin(reloader)
    write(stage.config, "1")
    app.wait_for("/a", 3)
    assert len(app.asked("/b")) == (on_failure == "continue")
    app.answers["/a"] = OK
    reloader.until_settled()
    assert app.bodies("/b") == [reloader.applied]
    last = [asked.path for asked in app.requests][-1]
    assert last == ("/b" if on_failure == "stop" else "/a")


def test_all_kinds_of_steps_are_done_in_their_order(stage: ConfigStage, app: App) -> None:
    """Each says what it finds done before it."""
    journal = stage.folder / "journal"
    log = ["sh", "-c", f'echo "$1 {{hash}}" >> {journal}', "sh"]
    with AppProcess("orderly-app") as process:

        def called(asked: Asked) -> Answer:
            with journal.open("a") as file:
                print(asked.path, [line.split()[1] for line in process.received()], asked.body, file=file)
            return OK

        app.answers.update({"/a": called, "/b": called})
        reloader = stage.reloader().steps(
            {"validate": {"command": [*log, "validate"]}},
            {"exec": {"command": [*log, "exec"]}},
            app.webhook("/a"),
            {"signal": {"process": "orderly-app"}},
            app.webhook("/b"),
        )
        first = stage.begin(reloader)
        assert journal.read_text() == f"validate {first}\n", "at the start it is only validated"
        journal.unlink()
        write(stage.config, "1")
        app.wait_for("/b")
        reloader.until_settled()
        new = reloader.applied
        assert journal.read_text().splitlines() == [f"validate {new}", f"exec {new}", f"/a [] {new}", f"/b ['1'] {new}"]


def test_after_the_last_attempt_nothing_is_tried_until_the_content_changes(stage: ConfigStage, app: App) -> None:
    app.answers["/a"] = Answer(500)
    reloader = stage.reloader().steps(app.webhook("/a", retries=1), app.webhook("/b", retries=0))
    first = stage.begin(reloader)
    write(stage.config, "1")
    reloader.until(lambda: reloader.status()["refused"], "the end of the attempts")
    refused = reloader.status()["refused"]
    assert (refused["verdict"], reloader.applied) == ("failed", first)
    assert "/a answered 500" in refused["reason"]
    assert reloader.metric('reloads_total{result="failed"}') == 1
    assert reloader.metric("last_reload_successful") == 0
    stage.config.rewrite()
    status, answer = reload_by_hand(reloader)
    assert (status, answer["error"][:8]) == (500, "failed: ")
    assert (len(app.asked("/a")), len(app.asked("/b"))) == (4, 2)
    app.answers["/a"] = OK
    write(stage.config, "2")
    app.wait_for("/b", 3)
    reloader.until_settled()
    assert reloader.status()["refused"] is None
    assert reloader.metric("last_reload_successful") == 1
    assert len(app.asked("/a")) == 5


def test_a_reload_by_hand_says_what_became_of_it(stage: ConfigStage, app: App) -> None:
    valid = stage.folder / "valid"
    valid.touch()
    reloader = stage.reloader().steps({"validate": {"command": ["test", "-e", str(valid)]}}, app.webhook("/a"))
    digest = stage.begin(reloader)
    assert reload_by_hand(reloader) == (200, {"hash": digest, "result": "applied"})
    assert app.bodies("/a") == [digest]
    valid.unlink()
    status, answer = reload_by_hand(reloader)
    assert status == 500
    assert answer["error"].startswith("rejected: validate: test: exit status 1")
    valid.touch()
    app.answers["/a"] = Answer(500)
    status, answer = reload_by_hand(reloader)  # this one takes 10 s
    assert status == 503
    assert answer["error"].startswith(f"still pending: webhook: {app.url}/a answered 500")
    assert reloader.status()["pending"]["hash"] == digest
    app.answers["/a"] = OK
    reloader.until_settled()
    assert reload_by_hand(reloader)[0] == 200


def test_reloads_by_hand_at_once_share_one_outcome(stage: ConfigStage, app: App) -> None:
    def slowly(_asked: Asked) -> Answer:
        app.over.wait(2)
        return OK

    reloader = stage.reloader().steps(app.webhook("/a"))
    digest = stage.begin(reloader)
    app.answers["/a"] = slowly
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: reload_by_hand(reloader), range(30)))
    assert answers == [(200, {"hash": digest, "result": "applied"})] * 30
    assert len(app.asked("/a")) <= 2  # the second, if some of the requests came late


def test_a_reload_by_hand_is_taken_from_this_pod_only(stage: ConfigStage, app: App) -> None:
    address = own_address()
    reloader = stage.reloader(admin_host="0.0.0.0").steps(app.webhook("/a"))
    stage.begin(reloader)
    port = int(reloader.logged("admin.listening")[0]["port"])
    for host, expected in ((address, 403), ("127.0.0.1", 200)):
        connection = http.client.HTTPConnection(host, port, timeout=60)
        connection.request("POST", "/reload", headers={"X-Forwarded-For": "127.0.0.1"})
        assert connection.getresponse().status == expected
        connection.close()
        assert len(app.asked("/a")) == (expected == 200)


def own_address() -> str:
    """An address of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        try:
            found.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(found.getsockname()[0])
