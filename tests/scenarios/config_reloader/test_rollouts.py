"""Rollouts as whole processes, over SIGKILL: what the app and its files are given, and what /status and /metrics say.

When what is decided is a table in tests/core/config_reloader/test_rollout.py.
"""

import json
import random
import time

import pytest

from tests.support.app_process import AppProcess
from tests.support.config_stage import ConfigStage, hash_by_itself
from tests.support.reload_app import OK, Answer, App, Asked
from tests.support.scale import scaled

SECRET = "hidden-word"


def test_all_kinds_of_steps_are_done_in_their_order(stage: ConfigStage) -> None:
    """Each says what it finds done before it."""
    app, journal = stage.target, stage.folder / "journal"
    log = ["sh", "-c", f'echo "$1 {{hash}} $CONFIG_RELOADER_HASH" >> {journal}', "sh"]
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
        assert journal.read_text() == f"validate {first} {first}\n", "at the start it is only validated"
        journal.unlink()
        stage.write("1")
        app.wait_for("/b")
        reloader.until_settled()
        new = reloader.applied
        assert journal.read_text().splitlines() == [
            f"validate {new} {new}", f"exec {new} {new}", f"/a [] {new}", f"/b ['1'] {new}"
        ]  # fmt: skip


def test_rejected_content_never_reaches_the_app_also_after_a_kill(stage: ConfigStage) -> None:
    """The app may be started again at any time: it finds the last good content."""
    output = stage.folder / "out"
    reloader = stage.reloader(render=json.dumps({"output": str(output), "templates": ["app.*"]}))
    reloader.steps({"validate": {"command": ["grep", "-q", "good", "{candidate}/app.yaml"]}}, stage.reload)
    stage.write("good {{ 1 }}")
    first = stage.begin(reloader)
    for text, reason, verdict in (
        ("bad", "validate", "validate: grep: exit status 1"),
        (f"{{% if {SECRET}", "render", "render: cannot render 'app.yaml' line 1: it is not valid Jinja2"),
    ):
        stage.write(text)
        for restarted in (False, True):
            if restarted:
                reloader.kill()
                reloader.start()
            reloader.until(lambda r=reason: reloader.metric(f'rejections_total{{reason="{r}"}}') == 1, "a no")  # type: ignore[misc]
            refused = reloader.status()["refused"]
            assert (refused["verdict"], refused["reason"].startswith(verdict)) == ("rejected", True)
            assert (reloader.metric("content_rejected"), reloader.ask("/readyz")[0]) == (1, 200)
            assert SECRET not in reloader.stderr + reloader.ask("/status")[1] + reloader.ask("/metrics")[1]
            assert ((output / "app.yaml").read_bytes(), stage.told, reloader.applied) == (b"good 1", [], first)
    status, answer = reloader.ask("/reload", "POST")
    assert (status, json.loads(answer)["error"][:24]) == (500, "rejected: render: cannot")
    told = stage.tells(reloader, lambda: stage.write("good 2"))
    assert (output / "app.yaml").read_bytes() == b"good 2"
    assert json.loads(reloader.ask("/reload", "POST")[1]) == {"hash": told, "result": "applied"}
    assert reloader.metric("content_rejected") == 0


@pytest.mark.parametrize("restarted", [False, True])
def test_who_has_its_last_good_content_back_is_told_the_hash_of_that(stage: ConfigStage, restarted: bool) -> None:
    """The app shows the hash that it was told last, as from a header, but not while its files are bad. Told the hash of
    what was refused, it would show that, and the next try would pass for a success.
    """
    output, environment = stage.folder / "out", stage.folder / "environment"
    runs_on = ""

    def take(asked: Asked) -> Answer:
        nonlocal runs_on
        runs_on = asked.headers["x-config-hash"] if "good" in (output / "app.yaml").read_text() else runs_on
        return OK

    with App() as app:
        app.answers["/a"] = take
        app.answers["/json"] = lambda _: Answer(body=json.dumps({"config": [{"hash": runs_on}]}))
        state = "" if restarted else str(stage.folder / "state.json")
        reloader = stage.reloader(render=json.dumps({"output": str(output)}), state_file=state)
        confirm = {"url": f"{app.url}/json", "json": "config[0].hash", "equals": "{hash}", "rollback": True}
        reloader.steps(
            {"webhook": {"url": f"{app.url}/a", "headers": {"X-Config-Hash": "{hash}"}}},
            {"exec": {"command": ["sh", "-c", f'echo "$CONFIG_RELOADER_HASH" >> {environment}']}},
            {"confirm": {**confirm, "timeout_seconds": 0.8, "interval_seconds": 0.05}},
        )
        stage.write("good")
        good = stage.begin(reloader)
        if restarted:
            reloader.kill()
            reloader.start()
        stage.write("bad")
        reloader.until(lambda: reloader.metric("rollbacks_total") == 1, "the last good generation to be put back")
        reloader.until_settled()
        told = [asked.headers["x-config-hash"] for asked in app.asked("/a")]
        assert told[-1] == good != told[0]
        assert environment.read_text().split() == told
        assert runs_on == good == reloader.applied
        status, text = reloader.ask("/reload", "POST")
        assert (status, "unconfirmed" in text) == (500, True)
        assert (output / "app.yaml").read_text() == "good"
        assert runs_on == good == reloader.applied
        assert reloader.metric("rollbacks_total") == 2


def test_a_change_is_told_however_soon_after_it_the_sidecar_is_killed(stage: ConfigStage, rng: random.Random) -> None:
    reloader = stage.reloader(quiet_seconds=0.05)
    stage.begin(reloader)
    after_the_start = 0
    for version in range(scaled(4, 60)):
        stage.write(f"version {version}")
        moment = time.monotonic() + rng.uniform(0, 0.1)
        while time.monotonic() < moment:
            time.sleep(0.001)
        reloader.kill()
        before = len(stage.told)
        stage.begin(reloader)
        assert stage.told, "it was not told"
        assert stage.told[-1] == reloader.applied
        after_the_start += len(stage.told) > before
    assert after_the_start, "it was always told before the end"
    assert reloader.applied == hash_by_itself(stage.folder / "once", stage.config.folder)
    told = list(stage.told)
    reloader.kill()
    stage.config.rewrite()
    stage.begin(reloader)
    assert stage.told == told, "nothing is told twice"
    stage.ends(reloader, told=len(told))
