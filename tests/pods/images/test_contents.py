"""What is in an image, and what is not, read from its files, its configuration and its bill of materials."""

import io
import json
import re
import stat
import subprocess
import tarfile
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

from sidecars.declaration import tools
from tests.pods.images.rows import DECLARED, ROWS, Row
from tests.support.engine import IMAGES_LABEL, docker, image, run_docker
from tests.support.processes import ROOT, run

pytestmark = pytest.mark.usefixtures("lab")
PROGRAMS = {"env", "python3", "python3.13", "sidecar", "sidecar-probe"}
TOOLS = re.compile(r"(ba|da|k|z|c)?sh|busybox|toybox|perl.*|apt.*|dpkg.*|pip[0-9.]*|rpm|apk|curl|wget|gcc.*|ld")
VARIABLES = {"PATH", "LANG", "MALLOC_ARENA_MAX", "SIDECAR_NAME"}
LABELS = ("title", "description", "version", "revision", "created", "source", "licenses", "base.name")


@cache
def config(name: str) -> dict[str, object]:
    """What the image says of itself."""
    whole: dict[str, object] = json.loads(docker("image", "inspect", image(name), "--format", "{{json .Config}}"))
    return whole


@cache
def files(name: str) -> Mapping[str, tuple[tarfile.TarInfo, bytes]]:
    """Everything in an image by its path, with the first bytes of each file (a bill of materials: all of it)."""
    made = docker("create", "--label", IMAGES_LABEL, image(name))
    try:
        archive = subprocess.run(["docker", "export", made], capture_output=True, check=True).stdout
    finally:
        docker("rm", made)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            found["/" + member.name.strip("/")] = (
                member,
                content.read(-1 if member.name.endswith(".cdx.json") else 64) if content else b"",
            )
    return found


each = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


@each
def test_it_starts_the_sidecar_itself_as_a_numbered_user(row: Row) -> None:
    found = config(row.name)
    held_back = ["/usr/bin/env", "--block-signal=TERM"]
    assert found["Entrypoint"] == [*held_back, "-S", "/usr/bin/python3 -I /usr/bin/${SIDECAR_NAME}"]
    assert f"SIDECAR_NAME={row.name}" in found["Env"]  # type: ignore[operator]
    assert found["User"] == "65532:65532"  # runAsNonRoot cannot look a name up
    assert found["StopSignal"] == "SIGTERM"
    assert not found.get("Cmd")
    assert not found.get("Healthcheck")
    assert not found.get("Volumes")
    ports = found.get("ExposedPorts") or {}
    declared = {f"{row.port}/tcp"} if row.port and not row.words else set()
    assert set(ports) == declared  # type: ignore[call-overload]


@each
def test_its_labels_say_where_it_comes_from(row: Row) -> None:
    labels = config(row.name)["Labels"]
    assert isinstance(labels, dict)
    assert not [name for name in LABELS if not labels.get(f"org.opencontainers.image.{name}")]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"].get("version")
    assert labels["org.opencontainers.image.version"] == (version or packages(row.name)["sidecars"])
    assert labels["org.opencontainers.image.title"] == row.name
    assert row.words or labels["org.opencontainers.image.description"] == row.runs[0].summary


@each
def test_it_tells_no_secret(row: Row) -> None:
    variables = config(row.name)["Env"]
    assert isinstance(variables, list)
    assert {variable.partition("=")[0] for variable in variables} <= VARIABLES
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image(row.name))
    for declared in DECLARED.values():  # one of them is called after what it fetches
        for ours in (declared.summary, declared.name, declared.folder, declared.state or "/"):
            history = history.replace(ours, "")
    assert not re.findall(r"(?i)passw|token|secret|://[^/\s]*@|--build-arg", history)
    assert not [path for path in files(row.name) if re.search(r"(?i)\.key$|/\.(git|netrc|docker/)|pip\.conf", path)]


@each
def test_there_is_no_shell_no_package_manager_and_no_other_program(row: Row) -> None:
    names = {PurePosixPath(path).name for path, (member, _) in files(row.name).items() if not member.isdir()}
    assert not [name for name in names if TOOLS.fullmatch(name)]
    programs = {
        PurePosixPath(path).name
        for path in files(row.name)
        if PurePosixPath(path).parent.name in {"bin", "sbin"} and not files(row.name)[path][0].isdir()
    }
    ours = DECLARED.keys() if row.name == "sidecar" else {row.name}
    assert programs - {"bin", "sbin"} == PROGRAMS | ours


STATES = {declared.state for declared in DECLARED.values()}
"""The folders that volumes for data are mounted at."""


@each
def test_no_file_gives_rights_and_none_but_folders_for_data_can_be_written(row: Row) -> None:
    for path, (member, _) in files(row.name).items():
        if member.issym() or path.startswith(("/dev", "/proc", "/sys", "/etc/host", "/etc/resolv", "/.dockerenv")):
            continue
        assert not member.mode & (stat.S_ISUID | stat.S_ISGID), path
        writable = member.mode & 0o002 or member.uid or member.gid
        data = path in STATES or path.startswith("/var/lib/sidecars/")
        assert not writable or path == "/tmp" or (data and member.isdir()), path
    assert files(row.name)["/tmp"][0].mode & 0o7777 == 0o1777


@each
def test_all_python_is_compiled_and_never_looks_at_its_source(row: Row) -> None:
    """PEP 552: the flags behind the magic number; 1 is hash-based and unchecked."""
    sources = [path for path in files(row.name) if path.endswith(".py") and path.startswith("/usr/")]
    assert len(sources) > 300
    for path in sources:
        source = PurePosixPath(path)
        compiled = str(source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc")
        assert compiled in files(row.name), f"{path} is not compiled"
        assert files(row.name)[compiled][1][4:8] == b"\x01\0\0\0", compiled


@cache
def packages(name: str) -> dict[str, str]:
    """Version by name of the Python packages in an image."""
    found = {}
    for path, (_, head) in files(name).items():
        if path.endswith(".dist-info/METADATA"):
            assert b"Name:" in head or head.startswith(b"Metadata-Version"), path
            project, _, version = PurePosixPath(path).parent.name.removesuffix(".dist-info").rpartition("-")
            found[project.lower().replace("_", "-")] = version
    return found


def locked(name: str) -> set[str]:
    """The packages that a sidecar's lock names."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return {line.lower().replace("_", "-") for line in re.findall(r"(?m)^([A-Za-z0-9._-]+)==", text)}


@each
def test_scanners_find_what_it_is_made_of_and_it_holds_the_extras_of_its_own_sidecar_only(row: Row) -> None:
    names = [*DECLARED] if row.name == "sidecar" else [row.name]
    allowed = {package for name in names for package in locked(name)}
    assert {"sidecars", "aiohttp", "msgspec"} <= packages(row.name).keys() <= {"sidecars", *allowed}
    assert {"/var/lib/dpkg/status.d/libc6", "/etc/os-release"} <= files(row.name).keys()
    folders = {path.split("/")[-2] for path in files(row.name) if re.fullmatch(r".*/sidecars/[a-z_]+/agent\.py", path)}
    assert folders == {name.replace("-", "_") for name in [*names, *(tools() if row.name == "sidecar" else ())]}
    assert not [path for path in files(row.name) if "/sidecars/devstack" in path]
    declared = {path.split("/")[-2] for path in files(row.name) if path.endswith("/sidecar.toml")}
    assert declared == {one.folder for one in DECLARED.values()}, "it would not know its fellows in a pod"


@each
def test_its_entry_point_takes_a_verb_behind_the_name_that_it_brings(row: Row) -> None:
    """`docker run IMAGE check NAME` arrives as `NAME check NAME`."""
    name = row.name if row.name != "sidecar" else "log-shipper"
    once = ("run", "--rm", "--label", IMAGES_LABEL, "--network", "none", image(row.name))
    done = run_docker(*once, "check", name, "--log-level", "loud")
    assert (done.returncode, done.stdout) == (2, "")
    assert 'cannot use log_level="loud"' in done.stderr
    done = run_docker(*once, "help", name)
    assert (done.returncode, done.stderr, done.stdout[:15]) == (0, "", "usage: sidecar ")


# With the tools of requirements/manifests.txt: the library comes along with checkov.
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
sys.exit(str(error) if error else 0)
"""
every_image = pytest.mark.parametrize("name", [*(row.name for row in ROWS), "devstack", "pause"])


def bill(name: str) -> str:
    """The bill of materials in an image."""
    return files(name)[f"/usr/share/sbom/{name}.cdx.json"][1].decode()


def listed(name: str, kind: str) -> dict[str, str]:
    """Version by name of the components of one kind (pypi, deb)."""
    parts = json.loads(bill(name))["components"]
    of_kind = {part["name"]: part["version"] for part in parts if part["purl"].startswith(f"pkg:{kind}/")}
    return {key.lower().replace("_", "-"): version for key, version in of_kind.items()}


@every_image
def test_its_bill_of_materials_is_valid_and_lists_exactly_what_is_there(name: str) -> None:
    folder = Path(".cache") / "venv-manifests"
    run(
        ROOT / "scripts" / "bootstrap",
        folder,
        Path("requirements") / "manifests.txt",
        env=None,
        check=True,
        timeout=600,
    )
    done = run(ROOT / folder / "bin" / "python", "-W", "ignore", "-c", VALIDATE, input=bill(name))
    assert done.returncode == 0, done.stderr
    assert listed(name, "pypi") == packages(name)
    records = {path.rpartition("/")[2] for path in files(name) if re.search(r"/dpkg/status\.d/.+", path)}
    assert set(listed(name, "deb")) == records
    assert {"libc6", "ca-certificates"} <= records or not records  # none where the base is not Debian's


@pytest.mark.parametrize("name", DECLARED)
def test_the_versions_are_the_locked_ones(name: str) -> None:
    lock = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    pins = {key.replace("_", "-"): text for key, text in re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", lock, re.MULTILINE)}
    found = listed(name, "pypi")
    assert found.pop("sidecars")
    assert found.items() <= pins.items()
