"""Each image under the restrictions that the manifests put on it: read-only root, no capabilities, no new privileges,
the image's own numbered user, and where possible no network.
"""

import pytest

from tests.pods.images.conftest import Lab
from tests.pods.images.rows import ROWS, SERVING, Row
from tests.support.engine import Container, image, run_docker

each = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def status(container: Container) -> dict[str, str]:
    """/proc/1/status, by key."""
    lines = container.read("/proc/1/status").splitlines()
    return {key: text.strip() for key, _, text in (line.partition(":") for line in lines)}


@each
def test_it_runs_without_rights_and_without_a_network(row: Row, lab: Lab) -> None:
    """Nobody answers it, and it starts all the same: the start depends on what is in the pod only."""
    container, _ = lab.sidecar(row, "--network=none")
    try:
        if row.port:
            container.until(lambda: container.execute("sidecar-probe").returncode == 0, "the start-up probe")
        else:
            container.until(lambda: row.started(container), "its start")
        seen = status(container)
        assert (seen["Uid"].split()[0], seen["Gid"].split()[0], seen["NoNewPrivs"]) == ("65532", "65532", "1")
        assert {int(seen[key], 16) for key in ("CapPrm", "CapEff", "CapBnd")} == {0}
        assert container.execute("/usr/bin/python3", "-IS", "-c", "open('/usr/x', 'w')").returncode == 1
        assert container.execute("/usr/bin/python3", "-IS", "-c", "open('/tmp/x', 'w')").returncode == 0
    finally:
        container.remove()


@each
@pytest.mark.parametrize("shell", ["sh", "/bin/sh", "bash", "busybox"])
def test_no_shell_can_be_started_in_it(row: Row, shell: str, lab: Lab) -> None:
    done = run_docker("run", "--rm", "--network=none", f"--entrypoint={shell}", image(row.name))
    assert done.returncode == 127, done.stderr


@pytest.mark.parametrize("name", ["log-shipper", "sidecar"])
def test_the_state_folder_of_the_image_can_be_written_where_a_volume_is_mounted(name: str, lab: Lab) -> None:
    """Which takes owner and mode from the image: nobody needs to be root to prepare it."""
    row = next(row for row in SERVING if row.name == name)
    container, folders = lab.sidecar(row)
    try:
        container.until(lambda: row.started(container), "its start")
        row.works(folders, container)
        container.until(lambda: container.metric("sidecar_log_shipper_checkpoint_writable") == 1, "a checkpoint")
        assert "checkpoint.failed" not in container.log
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
