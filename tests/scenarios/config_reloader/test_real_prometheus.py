"""A real Prometheus: told by its reload URL, believed only when its own metric says that it took the configuration."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import GiveUp
from tests.support.kubelet import Volume
from tests.support.prometheus import SUCCESS_AT, Prometheus, broken, configuration, program
from tests.support.sidecars import ReloaderProcess

SUCCESSFUL = "prometheus_config_last_reload_successful"


class Scene:
    """A Prometheus with a volume, and the reloaders beside it."""

    def __init__(self, folder: Path, program: str) -> None:
        self._folder = folder
        self.prometheus = Prometheus(program, folder / "prometheus")
        self.volume = Volume(folder / "volume")
        self.output = folder / "output"
        self.volume.write(configuration("first"))
        self.webhook = {"url": f"{self.prometheus.url}/-/reload"}
        self.confirm = {"url": f"{self.prometheus.url}/metrics", "metric": SUCCESS_AT}

    def reloader(self, **settings: object) -> ReloaderProcess:
        """Not started yet; it tells, and confirms."""
        reloader = ReloaderProcess(
            self._folder, {"watch": self.volume.folder, "resync_seconds": 3600, "quiet_seconds": 0.05, **settings}
        )
        return reloader.steps({"webhook": self.webhook}, {"confirm": self.confirm})

    def careful(self, tells: Mapping[str, Any]) -> ReloaderProcess:
        """One that makes Prometheus's folder, and goes back when Prometheus did not take what is new."""
        reloader = self.reloader(render=json.dumps({"output": str(self.output)}))
        return reloader.steps(tells, {"confirm": {**self.confirm, "rollback": True, "timeout_seconds": 1}})


@pytest.fixture
def scene(tmp_path: Path, without_server: GiveUp) -> Iterator[Scene]:
    """With the first configuration in the volume; Prometheus is not started yet."""
    found = program()
    if found is None:
        without_server("prometheus", "the program is not there; install the package prometheus")
    made = Scene(tmp_path, found)
    yield made
    made.prometheus.stop()


def test_a_new_configuration_is_in_force_when_it_counts_as_applied(scene: Scene) -> None:
    """Also one that came before Prometheus did."""
    prometheus, reloader = scene.prometheus, scene.reloader()
    first = reloader.start().until_begun()
    scene.volume.write(configuration("second"))
    tries = 'attempts_total{outcome="unreachable",step="webhook"}'
    reloader.until(lambda: reloader.metric(tries) > 1, "tries in vain")
    assert reloader.applied == first
    prometheus.start(scene.volume.folder, wait=False)
    reloader.until_settled()
    assert (reloader.applied != first, prometheus.word, prometheus.reloads(200)) == (True, "second", 1)
    for count, word in enumerate(("third", "fourth"), start=2):
        before, at = reloader.applied, prometheus.metrics()[SUCCESS_AT]
        scene.volume.write(configuration(word))
        reloader.until(lambda old=before: reloader.applied != old, "the change to be applied")  # type: ignore[misc]
        assert prometheus.word == word
        assert prometheus.metrics()[SUCCESS_AT] > at
        assert prometheus.reloads(200) == count
        assert reloader.metric('attempts_total{outcome="ok",step="confirm"}') == count


def test_what_prometheus_refuses_stays_pending_until_the_fix(scene: Scene) -> None:
    prometheus = scene.prometheus
    prometheus.start(scene.volume.folder)
    reloader = scene.reloader()
    first = reloader.start().until_begun()
    scene.volume.write(broken("second"))
    reloader.until(lambda: prometheus.reloads(500) >= 2, "a second try")
    assert reloader.status()["pending"]["waiting_for"].endswith("/-/reload answered 500, expected 2xx")
    assert reloader.applied == first
    assert prometheus.word == "first"
    assert prometheus.metrics()[SUCCESSFUL] == 0
    scene.volume.write(configuration("third"))
    reloader.until_settled()
    assert prometheus.word == "third"
    assert prometheus.metrics()[SUCCESSFUL] == 1
    assert prometheus.reloads(200) in {1, 2}, "a try of the second may meet the third before that was seen"
    assert reloader.applied != first


@pytest.mark.parametrize("by", ["webhook", "signal"])
def test_what_prometheus_does_not_take_is_taken_back(scene: Scene, by: str) -> None:
    """Its file is the last good one again, so also its next start is good."""
    prometheus = scene.prometheus
    signal = {"signal": "SIGHUP", "comm": "prometheus", "argv": str(prometheus.data)}
    tells = {"webhook": {**scene.webhook, "retries": 1}} if by == "webhook" else {"signal": signal}
    reloader = scene.careful(tells).start()
    prometheus.start(scene.output)
    first = reloader.until_begun()
    scene.volume.write(broken("second"))
    reloader.until(lambda: reloader.metric("rollbacks_total") == 1, "the last good one to be put back")
    reloader.until(lambda: reloader.metric('rejections_total{reason="unconfirmed"}') == 1, "the end of it")
    assert (scene.output / "prometheus.yml").read_bytes() == configuration("first")["prometheus.yml"]
    reloader.until(lambda: prometheus.metrics()[SUCCESSFUL] == 1, "Prometheus to be told so")
    assert prometheus.word == "first"
    assert reloader.applied == first
    prometheus.stop()
    prometheus.start(scene.output)
    assert prometheus.word == "first"
    scene.volume.write(configuration("third"))
    reloader.until(lambda: prometheus.word == "third", "the fix to be in force")
    reloader.until_settled()
    assert reloader.applied not in {"", first}
    assert reloader.metric("rollbacks_total") == 1
