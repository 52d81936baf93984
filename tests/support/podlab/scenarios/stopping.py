"""Scenarios of the end: nothing is lost when a pod goes, and nobody waits for a sidecar."""

import json
from collections.abc import Iterator
from datetime import datetime

from tests.support.podlab.building import (
    LOGS,
    PYTHON,
    STATE,
    app,
    config_map,
    config_reloader,
    config_volume,
    container,
    log_shipper,
    pod,
    writer,
)
from tests.support.podlab.lab import PodSeen
from tests.support.podlab.stage import Stage, assert_exits
from tests.support.scale import scaled

AT_ONCE = 4
JOB_TRIES = 3
"""The best of them counts, against a bar far below any grace: how quick it is on a quiet machine, is printed."""
JOB_SECONDS = 3.0
VOLUMES = [LOGS, STATE]


def pods_deleted_under_load_lose_no_line(stage: Stage) -> None:
    """The app writes on for a second after TERM, to its last instant; and so does another sidecar when its turn comes.
    The shipper, listed before both, is told to stop after both.
    """
    runs = scaled(AT_ONCE, 20)
    lines = 0
    for first in range(0, runs, AT_ONCE):
        for name, end in deleted_together(stage, range(first, first + AT_ONCE)):
            assert_exits(end, app=0, second=0, log_shipper=0)
            ends = [end.end(one).ended_at for one in ("app", "second", "log-shipper")]
            assert ends == sorted(ends), f"the last listed did not stop first: {end}"
            lines += stage.assert_all_arrived(end, name, "app", "second")
    stage.figure(f"{runs} pods deleted under load: {lines} lines written, each stored once")


def deleted_together(stage: Stage, numbers: range) -> Iterator[tuple[str, PodSeen]]:
    """Pods that are started together and deleted one after the other while they write; how each ended."""
    names = [stage.name(str(number)) for number in numbers]
    for name in names:
        second = {**writer("second", LAST_WORDS_SECONDS=1), "restartPolicy": "Always"}
        app = writer(LINES_PER_SECOND=1000, LAST_WORDS_SECONDS=1)
        stage.start(pod(name, [app], [log_shipper(stage.url, name), second], volumes=VOLUMES))
    for name in names:
        stage.until_arrived(name, 500)
        stage.lab.delete(name)
    for name in names:
        yield name, stage.until(name, "it is gone", lambda seen: seen.gone)


def a_job_ends_soon_after_its_main_container(stage: Stage) -> None:
    """What a Job's pod does, which is restartPolicy Never: its main container ends, the sidecars are stopped."""
    stage.lab.apply(config_map(stage.name("config"), {"app.json": "{}"}))
    tries = [seconds_after_main(stage, number) for number in range(JOB_TRIES)]
    assert min(tries) <= JOB_SECONDS, tries


def seconds_after_main(stage: Stage, number: int) -> float:
    """One such pod, with nothing lost: how long after its main container the last sidecar ended."""
    name = stage.name(str(number))
    init = [log_shipper(stage.url, name), config_reloader()]
    volumes = [*VOLUMES, config_volume(stage.name("config"))]
    end = stage.until_over(stage.start(pod(name, [writer(LINES=400)], init, volumes=volumes, restartPolicy="Never")))
    assert end.phase == "Succeeded"
    assert_exits(end, app=0, config_reloader=0, log_shipper=0)
    assert stage.assert_all_arrived(end, name) == 401
    took_seconds = end.end("log-shipper").ended_at - end.end("app").ended_at
    own = {one: seconds_to_stop(stage.lab.log(name, one)) for one in ("config-reloader", "log-shipper")}
    stage.figure(
        f"a Job's sidecars were gone {took_seconds:.2f} s after its main container; from TERM to the end: {own}"
    )
    return took_seconds


def seconds_to_stop(log: str) -> float:
    """From the TERM to the last line, by the log of a sidecar."""
    at = {line["action"]: datetime.fromisoformat(line["time"]) for line in map(json.loads, log.splitlines())}
    return (at["sidecar.ended"] - at["stop.requested"]).total_seconds()


def an_ordinary_sidecar_stays_until_the_app_is_gone(stage: Stage) -> None:
    """Listed among the containers it gets TERM together with the app, which writes on for two seconds."""
    ordinary = log_shipper(stage.url, stage.name(), restart=False, env={"LOG_SHIPPER_LIFECYCLE": "ordinary"})
    name = stage.start(pod(stage.name(), [writer(LAST_WORDS_SECONDS=2), ordinary], volumes=VOLUMES))
    stage.until_arrived(stage.name(), 100)
    end = stage.delete(name)
    assert_exits(end, app=0, log_shipper=0)
    assert end.end("log-shipper").ended_at >= end.end("app").ended_at
    stage.assert_all_arrived(end, stage.name())


def an_app_that_eats_up_the_grace_leaves_the_sidecar_its_two_seconds(stage: Stage) -> None:
    """The app never ends; at the end of the grace it is killed, and the sidecar told to stop, which it does in time."""
    shipper = log_shipper(stage.url, stage.name())
    name = stage.start(
        pod(stage.name(), [writer(LAST_WORDS_SECONDS=600)], [shipper], volumes=VOLUMES, terminationGracePeriodSeconds=3)
    )
    stage.until_arrived(stage.name(), 100)
    end = stage.delete(name)
    assert_exits(end, app=137, log_shipper=0)
    assert end.end("log-shipper").ended_at - end.end("app").ended_at <= 2.0 + (0.0 if stage.lab.precise else 1.0)


def a_shipper_without_a_backend_stops_within_its_two_seconds(stage: Stage) -> None:
    """Nobody answers at the address, and the app leaves nothing of the grace: it gives up in time and exits with 0."""
    shipper = log_shipper("http://127.0.0.1:9", stage.name(), env={"LOG_SHIPPER_GRACE_SECONDS": "1"})
    name = stage.start(pod(stage.name(), [writer(LAST_WORDS_SECONDS=600)], [shipper], volumes=VOLUMES))
    stage.until(name, "the app runs", lambda seen: seen["app"].running)
    stage.until_said(name, "log-shipper", "delivery.failed")
    assert_exits(stage.delete(name, 1), app=137, log_shipper=0)


def what_sidecars_say_at_the_end_is_not_the_pods_result(stage: Stage) -> None:
    """It ends with 3 when it is told to stop; the pod has succeeded all the same."""
    bad = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)); signal.pause()"
    sidecar = container("bad", "devstack", command=[*PYTHON, "-c", bad], restartPolicy="Always")
    main = container("app", "devstack", command=[*PYTHON, "-c", "import time; time.sleep(1)"])
    end = stage.until_over(stage.start(pod(stage.name(), [main], [sidecar], restartPolicy="Never")))
    assert_exits(end, app=0, bad=3)
    assert end.phase == "Succeeded"


def every_pre_stop_is_called_at_once(stage: Stage) -> None:
    """Both hooks take four seconds; the sidecar's is over when its turn comes, since the grace is shared."""
    hook = {"preStop": {"exec": {"command": [*PYTHON, "-c", "import time; time.sleep(4)"]}}}
    sidecar = app("looker", name="sidecar", restartPolicy="Always", lifecycle=hook)
    name = stage.start(pod(stage.name(), [app("looker", lifecycle=hook)], [sidecar]))
    stage.until(name, "it is ready", lambda seen: seen.ready)
    end = stage.delete(name)
    assert_exits(end, app=0, sidecar=0)
    assert end.end("sidecar").ended_at - end.end("app").ended_at < 3.0, end
