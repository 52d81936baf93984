"""`sidecar-probe`, the health check for engines that have to run a command: right, clear, and cheap."""

from collections.abc import Callable, Iterator

import pytest

from tests.pods.images.conftest import Figure, Lab
from tests.pods.images.rows import SERVING, Row
from tests.support.engine import HARDENED, Container, image, run_docker

TITLE = "images: one look by sidecar-probe"
PROBE = "/usr/bin/sidecar-probe"
# In the container, since its like runs there: CPU and most memory of one look, without a module that costs either.
WEIGH = f"""
import posix
pid = posix.posix_spawn("{PROBE}", ["{PROBE}"], posix.environ)
used = posix.wait4(pid, 0)
print(used[1], used[2].ru_utime + used[2].ru_stime, used[2].ru_maxrss)
"""
Table = Callable[[str, str], None]


@pytest.fixture(scope="module", params=SERVING, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Row:
    found: Row = request.param
    return found


@pytest.fixture(scope="module")
def started(row: Row, lab: Lab) -> Iterator[Container]:
    """A sidecar of this image that has started."""
    container, _ = lab.sidecar(row)
    container.until(lambda: row.started(container), "its start")
    yield container
    container.remove()


def test_it_asks_for_the_start_at_the_port_of_the_image(started: Container) -> None:
    done = started.execute("sidecar-probe")
    assert (done.returncode, done.stdout) == (0, "startupz: 200 started\n")


@pytest.mark.parametrize(("page", "text"), [("livez", "200 ok"), ("readyz", '200 {"ready":true')])
def test_it_asks_for_the_page_it_is_told(started: Container, page: str, text: str) -> None:
    done = started.execute("sidecar-probe", page)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(f"{page}: {text}")


def test_nobody_there_is_status_1_with_the_reason(started: Container) -> None:
    done = started.execute("sidecar-probe", "livez", "1")
    assert (done.returncode, done.stdout) == (
        1,
        "cannot ask 127.0.0.1 or ::1, port 1, for /livez: nobody listens there\n",
    )


@pytest.mark.parametrize("words", [("metrics",), ("livez", "70000"), ("livez", "9101", "x")])
def test_words_that_make_no_sense_are_status_2_and_get_the_usage(started: Container, words: tuple[str, ...]) -> None:
    done = started.execute("sidecar-probe", *words)
    assert done.returncode == 2
    assert done.stdout.startswith("usage: sidecar-probe [livez|readyz|startupz] [PORT]")


def test_it_follows_the_variable_that_moves_the_port(row: Row, lab: Lab) -> None:
    variable = f"{row.runs[0].prefix}ADMIN_PORT"
    container, _ = lab.sidecar(row, f"--env={variable}=9555", "--network=none")
    try:
        container.until(lambda: container.execute("sidecar-probe").returncode == 0, "the probe to pass")
        assert container.execute("sidecar-probe", "startupz", str(row.port)).returncode == 1
    finally:
        container.remove()


def test_it_costs_next_to_nothing(row: Row, started: Container, table: Table, figure: Figure) -> None:
    """Health checks come each second or two, and in compose there is nobody else who could ask."""
    looks = [started.execute("/usr/bin/python3", "-IS", "-c", WEIGH).stdout.split()[-3:] for _ in range(3)]
    assert {look[0] for look in looks} == {"0"}
    cpu_ms, most_mib = min(float(look[1]) for look in looks) * 1000, float(looks[0][2]) / 1024
    table(TITLE, f"{row.name:16} {cpu_ms:.0f} ms of CPU, at most {most_mib:.1f} MiB resident")
    figure(row.name, "probe_cpu_ms", cpu_ms)
    figure(row.name, "probe_rss_mib", most_mib)
    assert cpu_ms <= 30
    assert most_mib <= 12


def test_it_works_within_32_mib(row: Row, started: Container) -> None:
    """Beside the sidecar, in its network, with a limit of its own."""
    limits = ("--memory=32m", "--memory-swap=32m", f"--network=container:{started.id}")
    done = run_docker("run", "--rm", *HARDENED, *limits, f"--entrypoint={PROBE}", image(row.name))
    assert (done.returncode, done.stdout) == (0, "startupz: 200 started\n"), done.stderr
