"""Scenarios of what a node gives: memory volumes, memory limits."""

import contextlib

from tests.support.podlab.building import LOGS, PROGRAMS, PYTHON, STATE, app, log_shipper, mount, pod, writer
from tests.support.podlab.lab import Unable
from tests.support.podlab.stage import Stage, assert_exits

SECRETS = {"name": "secrets", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}


def a_memory_volume_is_a_tmpfs_of_its_size(stage: Stage) -> None:
    """What lies in it never reaches a disk, and more than its limit does not fit."""
    looker = app("looker")
    looker["volumeMounts"].append(mount("secrets", "/run/secrets/app"))
    name = stage.start(pod(stage.name(), [looker], volumes=[SECRETS]))
    stage.until(name, "it is ready", lambda seen: seen.ready)
    mounts = stage.lab.run(name, "app", [*PYTHON, "-c", "print(open('/proc/mounts').read())"])
    kind = next(line.split()[2] for line in mounts.splitlines() if line.split()[1:2] == ["/run/secrets/app"])
    assert kind == "tmpfs"
    size = "import os; s = os.statvfs('/run/secrets/app'); print(s.f_blocks * s.f_frsize)"
    assert int(stage.lab.run(name, "app", [*PYTHON, "-c", size])) == 2**20
    write = "open('/run/secrets/app/token', 'w').write('x'); print(open('/run/secrets/app/token').read())"
    assert stage.lab.run(name, "app", [*PYTHON, "-c", write]).strip() == "x"


def a_sidecar_that_ran_out_of_memory_comes_back_and_nothing_is_lost(stage: Stage) -> None:
    """In a pod that restarts nothing else; the app does not notice, and not a line is missing or doubled."""
    scratch = {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "200Mi"}}
    mounts = [mount("scratch", "/scratch"), mount("programs", PROGRAMS, read_only=True)]
    shipper = log_shipper(stage.url, stage.name(), volumeMounts=mounts)
    volumes = [LOGS, STATE, scratch]
    app = writer(LAST_WORDS_SECONDS=0.5)
    name = stage.start(pod(stage.name(), [app], [shipper], volumes=volumes, restartPolicy="Never"))
    stage.until_arrived(stage.name(), 100)
    with contextlib.suppress(Unable):  # it goes down with the container
        stage.lab.run(name, "log-shipper", [*PYTHON, f"{PROGRAMS}/filler.py", "/scratch", "150"])
    seen = stage.until(name, "the sidecar is back", lambda seen: seen["log-shipper"].restarts and seen.ready)
    before = seen["log-shipper"].ended_before
    assert before is not None, f"it never ended: {seen}"
    assert (before.exit_code, before.reason) == (137, "OOMKilled")
    assert seen["log-shipper"].restarts == 1
    assert seen["app"].restarts == 0
    stage.until_arrived(stage.name(), len(stage.arrived(stage.name())) + 100)
    end = stage.delete(name)
    assert_exits(end, app=0, log_shipper=0)
    stage.assert_all_arrived(end, stage.name())
