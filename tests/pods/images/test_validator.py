"""The image of the nginx example: its Dockerfile builds on this machine, and the validator in it judges as the manifest
says.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from tests.support import nginx as real_nginx
from tests.support.engine import HARDENED, IMAGES_LABEL, image, missing, run_docker
from tests.support.processes import ROOT

EXAMPLE = ROOT / "k8s" / "snippets" / "nginx"
OFFICIAL = "nginxinc/nginx-unprivileged:stable"
BASE = "sidecars/base:trixie"
"""What images/base makes where no registry can be reached."""
TAG = "sidecars/test-config-reloader-nginx:dev"
GiveUp = Callable[[str, str], NoReturn]


def manifest() -> tuple[dict[str, Any], dict[str, str]]:
    """The sidecar's container, and the configuration of nginx."""
    pod, configuration = yaml.safe_load_all((EXAMPLE / "pod.yaml").read_text(encoding="utf-8"))
    return pod["spec"]["initContainers"][0], configuration["data"]


def build(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", "build", *options], capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def example(without_server: GiveUp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image as its Dockerfile makes it, of the official nginx or, without a registry, of Debian's."""
    if reason := missing(["config-reloader"]):
        without_server("docker", reason)
    nginx = OFFICIAL
    if run_docker("image", "inspect", OFFICIAL).returncode:
        if run_docker("image", "inspect", BASE).returncode or (program := real_nginx.program()) is None:
            without_server("docker", f"neither {OFFICIAL}, nor {BASE} and Debian's nginx to make one of")
        nginx = "sidecars/test-nginx:dev"
        context = tmp_path_factory.mktemp("nginx")
        shutil.copy(program, context / "nginx")
        text = f"FROM {BASE}\nCOPY nginx /usr/sbin/nginx\n"
        (context / "Dockerfile").write_text(text, encoding="utf-8")
        made = build("--quiet", "--tag", nginx, str(context))
        assert made.returncode == 0, made.stderr
    arguments = (f"--build-arg=NGINX={nginx}", f"--build-arg=SIDECAR={image('config-reloader')}")
    built = build(*arguments, "--label", IMAGES_LABEL, "--tag", TAG, str(EXAMPLE))
    assert built.returncode == 0, built.stderr
    yield TAG
    run_docker("image", "rm", "--force", TAG)
    if nginx != OFFICIAL:
        run_docker("image", "rm", "--force", nginx)


def judged(image_name: str, folder: Path, configuration: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`config-reloader --once` with the variables of the manifest, as its user."""
    container, _ = manifest()
    folder.chmod(0o755)
    for name, text in configuration.items():
        (folder / name).write_text(text, encoding="utf-8")
    variables = [f"--env={one['name']}={one['value']}" for one in container["env"]]
    mounts = [f"--volume={folder}:/config:ro", "--tmpfs=/etc/nginx:mode=0777", "--tmpfs=/tmp:mode=1777"]
    own = ["--rm", "--label", IMAGES_LABEL, "--user=101", "--network=none", *HARDENED]
    return run_docker("run", *own, *variables, *mounts, image_name, "--once")


def test_the_configuration_of_the_example_is_accepted(example: str, tmp_path: Path) -> None:
    done = judged(example, tmp_path, manifest()[1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "syntax is ok" in done.stderr


def test_a_broken_one_is_refused_with_the_words_of_nginx(example: str, tmp_path: Path) -> None:
    configuration = manifest()[1]
    done = judged(example, tmp_path, {**configuration, "nginx.conf": configuration["nginx.conf"] + "nonsense;\n"})
    assert done.returncode == 1
    assert 'unknown directive "nonsense"' in done.stdout
