"""A reload counts when the app shows that it took the content; if it does not, the last good content is put back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.config_stage import ConfigStage
from tests.support.reload_app import CUTS, HANGS, OK, Answer, App, Asked
from tests.support.sidecars import ReloaderProcess


class Model(App):
    """Takes content that says `good` when it is told, and goes on with what it has when it says anything else: 200 in
    any case. It shows how often it took some, and the hash of what it runs on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads: Path | None = None
        self.took = 0
        self.runs_on = ""
        self.answers["/a"] = self._take
        self.answers["/metrics"] = lambda _: Answer(body=f'up 1\ntaken_total{{app="x"}} {self.took}.0\n')
        self.answers["/json"] = lambda _: Answer(
            body=json.dumps({"config": [{"version": self.took, "hash": self.runs_on}]})
        )
        self.answers["/text"] = lambda _: Answer(body=f"runs since {self.took} o'clock\n")

    def _take(self, asked: Asked) -> Answer:
        assert self.reads
        if "good" in self.reads.read_text():
            self.took += 1
            self.runs_on = asked.body
        return OK

    def confirm(self, **options: object) -> dict[str, dict[str, object]]:
        """By its metric, unless told otherwise; each look within little time."""
        how = {"url": f"{self.url}/metrics", "metric": "taken_total"}
        return {"confirm": {"timeout_seconds": 0.8, "interval_seconds": 0.05, **how, **options}}


@pytest.fixture
def app(stage: ConfigStage) -> Iterator[Model]:
    """The app that is told, and asked; it reads the volume."""
    with Model() as one:
        one.reads = stage.config.folder / "app.yaml"
        yield one


def write(stage: ConfigStage, text: str) -> None:
    stage.config.write({"app.yaml": text.encode()})


def attempts(reloader: ReloaderProcess, outcome: str) -> float:
    return reloader.metric(f'attempts_total{{outcome="{outcome}",step="confirm"}}')


def unconfirmed(reloader: ReloaderProcess) -> str:
    """The reason, once the newest content is given up and, if so configured, the former one is back."""
    shown: dict[str, Any] = {}

    def over() -> bool:
        status = reloader.status()
        shown.update(status["refused"] or {})
        return bool(shown) and status["pending"] is None

    reloader.until(over, "the last attempt")
    assert shown["verdict"] == "unconfirmed"
    return str(shown["reason"])


WAYS: dict[str, dict[str, object]] = {
    "metric": {"metric": 'taken_total{app="x"}'},
    "json": {"url": "/json", "metric": "", "json": "config[0].version"},
    "text": {"url": "/text", "metric": "", "text": r"since (\d+)"},
    "equals": {"url": "/json", "metric": "", "json": "config[0].hash", "equals": "{hash}"},
}


def by(app: Model, way: str) -> dict[str, dict[str, object]]:
    return app.confirm(**{"timeout_seconds": 30, **WAYS[way], "url": app.url + str(WAYS[way].get("url", "/metrics"))})


@pytest.mark.parametrize("way", WAYS)
def test_what_advances_is_applied_and_told_once(stage: ConfigStage, app: Model, way: str) -> None:
    reloader = stage.reloader().steps(app.webhook("/a"), by(app, way))
    stage.begin(reloader)
    for count in (1, 2):
        write(stage, f"good {count}")
        app.wait_for("/a", count)
        reloader.until_settled()
        assert app.bodies("/a")[count - 1 :] == [reloader.applied]
    assert attempts(reloader, "ok") == 2
    assert reloader.metric('reloads_total{result="applied"}') == 2


@pytest.mark.parametrize("way", WAYS)
def test_an_app_that_says_yes_and_does_nothing_is_told_again_and_then_given_up(
    stage: ConfigStage, app: Model, way: str
) -> None:
    step = by(app, way)
    step["confirm"]["timeout_seconds"] = 0.4
    reloader = stage.reloader().steps(app.webhook("/a"), step)
    first = stage.begin(reloader)
    write(stage, "bad")
    reason = unconfirmed(reloader)
    assert f"{'did not become' if way == 'equals' else 'did not advance'}" in reason
    assert len(app.asked("/a")) == 3
    assert reloader.metric('rejections_total{reason="unconfirmed"}') == 1
    assert reloader.metric('reloads_total{result="unconfirmed"}') == 1
    assert reloader.metric("last_reload_successful") == 0
    assert reloader.applied == first
    stage.tells_nothing(reloader, stage.config.rewrite)
    assert len(app.asked("/a")) == 3
    write(stage, "good")
    app.wait_for("/a", 4)
    reloader.until_settled()
    assert reloader.applied == app.bodies("/a")[-1]
    assert reloader.status()["refused"] is None


@pytest.mark.parametrize("right", [True, False])
def test_the_hash_that_the_app_must_show_decides_alone(stage: ConfigStage, app: Model, right: bool) -> None:
    """Neither must it change (the app may have seen the file by itself), nor is any change enough."""
    step = by(app, "equals")
    step["confirm"].update(timeout_seconds=30 if right else 0.4, retries=0)
    reloader = stage.reloader().steps(app.webhook("/a"), step)
    stage.begin(reloader)
    write(stage, "good")
    reloader.until(lambda: reloader.metric("changes_total"), "the change to be seen")
    reloader.until_settled()
    app.runs_on = reloader.applied
    take = app.answers["/a"]

    def told(asked: Asked) -> Answer:
        answer = take(asked) if callable(take) else take
        app.runs_on = asked.body if right else "another"
        return answer

    app.answers["/a"] = told
    assert reloader.ask("/reload", "POST")[0] == (200 if right else 500)
    assert (reloader.status()["refused"] is None) is right


def test_an_app_that_takes_it_when_it_is_told_again_has_taken_it(stage: ConfigStage, app: Model) -> None:
    reloader = stage.reloader().steps(app.webhook("/a"), app.confirm())
    stage.begin(reloader)
    take = app.answers["/a"]
    app.answers["/a"] = lambda asked: take(asked) if callable(take) and len(app.asked("/a")) > 1 else OK
    write(stage, "good")
    app.wait_for("/a", 2)
    reloader.until_settled()
    assert reloader.status()["refused"] is None
    assert app.bodies("/a") == [reloader.applied] * 2
    assert (attempts(reloader, "unconfirmed"), attempts(reloader, "ok")) == (1, 1)


def test_an_app_that_takes_its_time_is_told_once(stage: ConfigStage, app: Model) -> None:
    reloader = stage.reloader().steps(app.webhook("/a"), app.confirm(timeout_seconds=60))
    stage.begin(reloader)
    app.answers["/a"] = OK
    write(stage, "good")
    app.wait_for("/a")
    looks = len(app.asked("/metrics"))
    app.wait_for("/metrics", looks + 4)
    assert reloader.status()["pending"]
    assert reloader.metric('attempts_total{outcome="ok",step="webhook"}') == 1
    app.took += 1
    reloader.until_settled()
    assert app.bodies("/a") == [reloader.applied]


@pytest.mark.parametrize("trouble", [CUTS, HANGS, Answer(500), Answer(302), Answer(body="no such metric")])
def test_a_status_page_that_is_of_no_use_confirms_nothing(stage: ConfigStage, app: Model, trouble: Answer) -> None:
    reloader = stage.reloader().steps(app.webhook("/a"), app.confirm(retries=0))
    first = stage.begin(reloader)

    def told(_asked: Asked) -> Answer:
        app.answers["/metrics"] = trouble
        return OK

    app.answers["/a"] = told
    write(stage, "good")
    assert "did not advance" in unconfirmed(reloader)
    assert (reloader.applied, len(app.asked("/a"))) == (first, 1)


def test_newer_content_is_told_while_the_one_before_waits_to_be_confirmed(stage: ConfigStage, app: Model) -> None:
    reloader = stage.reloader().steps(app.webhook("/a"), app.confirm(timeout_seconds=600))
    stage.begin(reloader)
    write(stage, "bad")
    app.wait_for("/a")
    app.wait_for("/metrics", 3)
    write(stage, "good")
    reloader.until_settled()
    assert app.bodies("/a")[1:] == [reloader.applied]
    assert reloader.metric('reloads_total{result="superseded"}') == 1
    assert reloader.metric("rejections_total") == 0


def rolling_back(stage: ConfigStage, app: Model, initial: str = "none") -> ReloaderProcess:
    """The app reads what is rendered."""
    output = stage.folder / "out"
    app.reads = output / "app.yaml"
    reloader = stage.reloader(render=json.dumps({"output": str(output)}), initial=initial)
    return reloader.steps(app.webhook("/a"), app.confirm(rollback=True))


def reads(app: Model) -> str:
    assert app.reads
    return app.reads.read_text()


def test_the_last_good_content_is_put_back_and_the_app_told_once(stage: ConfigStage, app: Model) -> None:
    write(stage, "good 0")
    reloader = rolling_back(stage, app)
    stage.begin(reloader)
    write(stage, "good 1")
    app.wait_for("/a")
    reloader.until_settled()
    good = reloader.applied
    write(stage, "bad")
    assert unconfirmed(reloader).endswith("the last good generation is back")
    assert reads(app) == "good 1"
    assert len(app.asked("/a")) == 3, "told of the bad one, and of the one before"
    assert (reloader.metric("rollbacks_total"), reloader.applied) == (1, good)
    assert reloader.metric('rejections_total{reason="unconfirmed"}') == 1
    assert reloader.ask("/readyz")[0] == 200
    stage.tells_nothing(reloader, stage.config.rewrite)
    write(stage, "good 1")
    reloader.until(lambda: not reloader.status()["refused"], "the refusal to be over")
    assert len(app.asked("/a")) == 3, "the app runs on it already"
    write(stage, "good 2")
    app.wait_for("/a", 4)
    reloader.until_settled()
    assert reads(app) == "good 2"
    assert reloader.metric("rollbacks_total") == 1


@pytest.mark.parametrize("remembers", [True, False])
def test_a_restart_keeps_what_was_put_back(stage: ConfigStage, app: Model, remembers: bool) -> None:
    """With a state file what was given up is not tried again; without one it is, once, and given up again."""
    write(stage, "good")
    reloader = rolling_back(stage, app)
    if not remembers:
        reloader.settings["state_file"] = ""
    stage.begin(reloader)
    write(stage, "bad")
    unconfirmed(reloader)
    for end in (reloader.terminate, reloader.kill):
        told = len(app.asked("/a"))
        end()
        reloader.start()
        assert "the last good generation is" in unconfirmed(reloader)
        assert reads(app) == "good"
        more = 0 if remembers else 2  # of the bad one, and that the good one is back
        assert len(app.asked("/a")) == told + more
    told = len(app.asked("/a"))
    write(stage, "good 1")
    app.wait_for("/a", told + 1)
    reloader.until_settled()
    assert reads(app) == "good 1"
    assert app.bodies("/a")[told:] == [reloader.applied]


def test_without_a_good_content_there_is_nothing_to_put_back(stage: ConfigStage, app: Model) -> None:
    stage.config.remove()
    stage.config.folder.mkdir()
    reloader = rolling_back(stage, app, initial="always")
    write(stage, "bad")
    reloader.start()
    assert unconfirmed(reloader).endswith("there is no last good generation to put back")
    assert reloader.metric("rollbacks_total") == 0
    assert len(app.asked("/a")) == 1


class Echo(Model):
    """Shows the hash that it was told last, as an app does that takes it from a header, and goes on with its last good
    files; but it shows none while its files are bad.
    """

    def _take(self, asked: Asked) -> Answer:
        assert self.reads
        good = "good" in self.reads.read_text()
        self.runs_on = asked.headers["x-config-hash"] if good else self.runs_on
        return OK


@pytest.mark.parametrize("restarted", [False, True])
def test_who_has_its_last_good_content_back_is_told_the_hash_of_that(stage: ConfigStage, restarted: bool) -> None:
    """Told the hash of what was refused, it would show that, and the next try would pass for a success."""
    output, environment = stage.folder / "out", stage.folder / "environment"
    with Echo() as app:
        app.reads = output / "app.yaml"
        reloader = stage.reloader(render=json.dumps({"output": str(output)}))
        if restarted:
            reloader.settings["state_file"] = ""
        reloader.steps(
            {"webhook": {"url": f"{app.url}/a", "headers": {"X-Config-Hash": "{hash}"}}},
            {"exec": {"command": ["sh", "-c", f'echo "$CONFIG_RELOADER_HASH" >> {environment}']}},
            app.confirm(url=f"{app.url}/json", metric="", json="config[0].hash", equals="{hash}", rollback=True),
        )
        write(stage, "good")
        good = stage.begin(reloader)
        if restarted:
            reloader.kill()
            reloader.start()
        write(stage, "bad")
        assert unconfirmed(reloader).endswith("the last good generation is back")
        told = [asked.headers["x-config-hash"] for asked in app.asked("/a")]
        assert told[-1] == good != told[0]
        assert environment.read_text().split() == told
        assert app.runs_on == good == reloader.applied
        status, text = reloader.ask("/reload", "POST")
        assert (status, "unconfirmed" in text) == (500, True)
        assert app.reads.read_text() == "good"
        assert app.runs_on == good == reloader.applied
        assert reloader.metric("rollbacks_total") == 2
