"""A real nginx: told by SIGHUP, asked by `nginx -t`. It keeps the last good configuration, also after a crash."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import GiveUp
from tests.support.kubelet import Volume
from tests.support.nginx import Nginx, Pod, pod, program
from tests.support.sidecars import ReloaderProcess

MASTER = {"signal": {"signal": "SIGHUP", "process": "nginx: master"}}


class Scene:
    """An nginx in a pod with a volume, and the reloaders beside it."""

    def __init__(self, folder: Path, program: str, around: Pod) -> None:
        self._folder = folder
        self.nginx = Nginx(program, around)
        self.validator = {"validate": {"command": [program, "-t", "-c", "{candidate}/nginx.conf"]}}
        self.volume = Volume(self.nginx.folder / "volume")
        self.output = self.nginx.folder / "output"
        self.volume.write(self.nginx.configuration("first"))
        self._pod = around

    def reloader(self, **settings: object) -> ReloaderProcess:
        """Not started yet."""
        state = self.nginx.folder / "state.json"  # the pod's user must be able to write it
        given = {"watch": self.volume.folder, "resync_seconds": 3600, "state_file": state, **settings}
        return ReloaderProcess(self._folder, given, prefix=self._pod.prefix)

    def rendering(self) -> ReloaderProcess:
        """A started one that makes nginx's folder, after asking nginx."""
        render = json.dumps({"output": str(self.output)})
        return self.reloader(render=render).steps(self.validator, MASTER).start()

    def rendered(self) -> dict[str, bytes]:
        """What a start of nginx would read."""
        return {name: (self.output / name).read_bytes() for name in ("nginx.conf", "site.conf")}


@pytest.fixture
def scene(tmp_path: Path, without_server: GiveUp) -> Iterator[Scene]:
    """With the first configuration in the volume; nginx is not started yet."""
    found = program()
    if found is None:
        without_server("nginx", "the program is not there; install the package nginx")
    with pod() as around:
        made = Scene(tmp_path, found, around)
        yield made
        made.nginx.discard()


def test_a_new_configuration_is_served_after_one_signal_to_the_master(scene: Scene) -> None:
    reloader, nginx = scene.rendering(), scene.nginx
    nginx.start(scene.output)
    assert nginx.serves() == "first"
    hangups = []
    for word in ("second", "third"):
        master, workers = nginx.master, nginx.workers()
        assert len(workers) == 2
        scene.volume.write(nginx.configuration(word))
        nginx.until_it_serves(word)
        reloader.until_settled()
        reloader.until(lambda old=workers: not nginx.workers() & old, "the old workers to end")  # type: ignore[misc]
        assert nginx.answer()[1] in nginx.workers()
        assert len(nginx.workers()) == 2
        assert nginx.master == master
        hangups.append(master)
        assert nginx.hangups == hangups


def test_without_render_nginx_reads_the_volume_itself_and_is_told_by_the_simple_settings(scene: Scene) -> None:
    nginx = scene.nginx
    nginx.start(scene.volume.folder)
    reloader = scene.reloader(signal="SIGHUP", process="nginx")
    reloader.start().until_begun()
    for word in ("second", "third"):
        scene.volume.write(nginx.configuration(word))
        nginx.until_it_serves(word)
        reloader.until_settled()
    assert nginx.hangups == [nginx.master] * 2


def test_a_broken_configuration_never_reaches_nginx_not_even_after_a_crash(scene: Scene) -> None:
    reloader, nginx = scene.rendering(), scene.nginx
    nginx.start(scene.output)
    good = scene.rendered()
    scene.volume.write(nginx.broken("second"))
    reloader.until(lambda: reloader.metric("content_rejected") == 1, "the refusal")
    assert 'unknown directive "lisssten"' in reloader.status()["refused"]["reason"]
    assert scene.rendered() == good
    assert nginx.serves() == "first"
    nginx.kill()
    nginx.start(scene.output)
    assert nginx.serves() == "first"
    assert nginx.hangups == []
    scene.volume.write(nginx.configuration("third"))
    nginx.until_it_serves("third")
    reloader.until(lambda: reloader.metric("content_rejected") == 0, "the end of the refusal")
    assert nginx.hangups == [nginx.master]
    assert scene.rendered() == nginx.configuration("third")


def test_a_configuration_that_came_while_nginx_was_down_is_read_at_its_start(scene: Scene) -> None:
    """Nobody is there to be signalled: it stays pending, and the nginx that comes is told."""
    reloader, nginx = scene.rendering(), scene.nginx
    reloader.until_begun()
    scene.volume.write(nginx.configuration("second"))
    reloader.until(lambda: scene.rendered() == nginx.configuration("second"), "the output")
    reloader.until(lambda: reloader.metric('attempts_total{outcome="unreachable",step="signal"}') > 0, "a try")
    nginx.start(scene.output)
    assert nginx.serves() == "second"
    reloader.until_settled()
    assert nginx.hangups == [nginx.master]
