"""Each image as it runs: without rights, within its bars, asked by its own `sidecar-probe`. Figures are printed, and
kept for the README.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.pods.images.conftest import Figure, Lab
from tests.pods.images.rows import ROWS, Folders, Row
from tests.support.engine import HARDENED, Container, docker, image, run_docker

COSTS, PROBING = "images: start-up CPU, and memory when idle", "images: one look by sidecar-probe"
ATTEMPTS = 3
PROBE = "/usr/bin/sidecar-probe"
# In the container, since its like runs there: CPU and most memory of one look, without a module that costs either.
WEIGH = f"""
import posix
pid = posix.posix_spawn("{PROBE}", ["{PROBE}"], posix.environ)
used = posix.wait4(pid, 0)
print(used[1], used[2].ru_utime + used[2].ru_stime, used[2].ru_maxrss)
"""
Table = Callable[[str, str], None]
Working = tuple[Row, Container, Folders]


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Row:
    found: Row = request.param
    return found


@pytest.fixture(scope="module")
def working(row: Row, lab: Lab) -> Iterator[Working]:
    """A sidecar of this image that has started, and has done some work if it serves."""
    container, folders = lab.sidecar(row)
    container.until(lambda: row.started(container), "its start")
    if row.port:
        row.works(folders, container)
    yield row, container, folders
    container.remove()


def test_it_runs_without_rights_and_without_a_network(row: Row, lab: Lab) -> None:
    """Nobody answers it, and it starts all the same; the probe follows the variable that moves the port."""
    moved = [f"--env={row.runs[0].prefix}ADMIN_PORT=9555"] if row.port else []
    container, _ = lab.sidecar(row, "--network=none", *moved)
    try:
        container.until(
            lambda: not row.port or container.execute("sidecar-probe").returncode == 0, "the start-up probe"
        )
        container.until(lambda: row.port or row.started(container), "its start")
        if row.port:
            assert container.execute("sidecar-probe", "startupz", str(row.port)).returncode == 1
        container.until(lambda: row.port or row.started(container), "its start")
        lines = container.read("/proc/1/status").splitlines()
        seen = {key: text.strip() for key, _, text in (line.partition(":") for line in lines)}
        assert (seen["Uid"].split()[0], seen["Gid"].split()[0], seen["NoNewPrivs"]) == ("65532", "65532", "1")
        assert {int(seen[key], 16) for key in ("CapPrm", "CapEff", "CapBnd")} == {0}
        for folder, status in (("/usr", 1), ("/tmp", 0)):
            assert container.execute("/usr/bin/python3", "-IS", "-c", f"open('{folder}/x', 'w')").returncode == status
    finally:
        container.remove()


def test_a_step_that_needs_a_shell_says_what_is_missing(lab: Lab) -> None:
    row = next(row for row in ROWS if row.name == "config-reloader")
    steps = '[{"exec": {"command": ["sh", "-c", "true"]}}]'
    container, folders = lab.sidecar(row, f"--env=CONFIG_RELOADER_STEPS={steps}", "--network=none")
    try:
        container.until(lambda: container.execute("sidecar-probe").returncode == 0, "the start-up probe")
        (folders.config / "app.yaml").write_text("changed", encoding="ascii")
        container.until(lambda: "step.denied" in container.log, "its complaint")
        assert "cannot exec: cannot start sh: No such file or directory; is it" in container.log
    finally:
        container.remove()


def test_the_start_costs_no_more_cpu_than_its_bar(row: Row, lab: Lab, table: Table, figure: Figure) -> None:
    """The least of some starts: what others do on the machine makes CPU time longer (shared caches), never shorter."""

    def start_cpu_seconds() -> float:
        container, _ = lab.sidecar(row)
        try:
            container.until(lambda: row.started(container), "its start")
            return container.usage()[0]
        finally:
            container.remove()

    least = min(start_cpu_seconds() for _ in range(ATTEMPTS))
    table(COSTS, f"{row.name:16} start {least:.3f} s of CPU, bar {row.bars.start_cpu_seconds}")
    figure(row.name, "start_cpu_seconds", least)
    assert least <= row.bars.start_cpu_seconds


def test_the_memory_when_idle_fits_into_the_usual_request(working: Working, table: Table, figure: Figure) -> None:
    """The working set is what the kubelet goes by: pages of the image's files are shared with others and count only in
    part. 50Mi is what sidecars usually request.
    """
    row, container, _ = working
    resident_mib, (_, working_set_mib, _) = container.resident_mib(), container.usage()
    megabytes = int(docker("image", "inspect", image(row.name), "--format", "{{.Size}}")) / 1e6
    parts = f"{resident_mib:.1f} MiB resident, {working_set_mib:.1f} MiB working set, {megabytes:.1f} MB"
    table(COSTS, f"{row.name:16} {parts}")
    for what, value in (("idle_rss_mib", resident_mib), ("working_set_mib", working_set_mib), ("size_mb", megabytes)):
        figure(row.name, what, value)
    assert working_set_mib <= 50
    assert megabytes <= row.bars.image_mb


def test_the_state_folder_of_the_image_can_be_written_where_a_volume_is_mounted(working: Working) -> None:
    """The volume takes owner and mode from the image: nobody needs to be root to prepare it."""
    row, container, _ = working
    if any(declared.name == "log-shipper" for declared in row.runs):
        container.until(lambda: container.metric("sidecar_log_shipper_checkpoint_writable") == 1, "a checkpoint")
        assert "checkpoint.failed" not in container.log


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ((), 0, "startupz: 200 started\n"),
        (("livez",), 0, "livez: 200 ok"),
        (("readyz",), 0, 'readyz: 200 {"ready":true'),
        (("livez", "1"), 1, "cannot ask 127.0.0.1 or ::1, port 1, for /livez: nobody listens there\n"),
        (("livez", "70000"), 2, "usage: sidecar-probe [livez|readyz|startupz] [PORT]"),
    ],
)
def test_the_probe_asks_the_port_of_the_image(working: Working, words: tuple[str, ...], status: int, said: str) -> None:
    row, container, _ = working
    if row.port:
        done = container.execute("sidecar-probe", *words)
        assert (done.returncode, done.stdout[: len(said)]) == (status, said)


def test_the_probe_costs_next_to_nothing(working: Working, table: Table, figure: Figure) -> None:
    """Health checks come each second or two, and in compose there is nobody else who could ask. A container of its own
    beside the sidecar, in its network, may have 32 MiB.
    """
    row, container, _ = working
    if not row.port:
        return
    looks = [container.execute("/usr/bin/python3", "-IS", "-c", WEIGH).stdout.split()[-3:] for _ in range(3)]
    assert {look[0] for look in looks} == {"0"}
    cpu_ms, most_mib = min(float(look[1]) for look in looks) * 1000, float(looks[0][2]) / 1024
    table(PROBING, f"{row.name:16} {cpu_ms:.0f} ms of CPU, at most {most_mib:.1f} MiB resident")
    figure(row.name, "probe_cpu_ms", cpu_ms)
    figure(row.name, "probe_rss_mib", most_mib)
    assert (cpu_ms <= 30, most_mib <= 12) == (True, True)
    limits = ("--memory=32m", "--memory-swap=32m", f"--network=container:{container.id}")
    done = run_docker("run", "--rm", *HARDENED, *limits, f"--entrypoint={PROBE}", image(row.name))
    assert (done.returncode, done.stdout) == (0, "startupz: 200 started\n"), done.stderr
