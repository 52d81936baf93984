"""Servers that come as Maven artifacts: fetched once, compiled with a launcher of ours, and kept in `.cache/`."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OLDEST_JAVA = 21
_MAVEN_SECONDS = 240
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class Unavailable(Exception):
    """This way of having a server is not open here; the text says what is missing."""


def find_jdk() -> Path:
    """The newest JDK that is new enough, by JAVA_HOME, PATH and /usr/lib/jvm. Raises: Unavailable."""
    places = [Path(home)] if (home := os.environ.get("JAVA_HOME")) else []
    if (java := shutil.which("java")) is not None:
        places.append(Path(java).resolve().parents[1])
    installed = Path("/usr/lib/jvm")
    places += sorted(installed.iterdir()) if installed.is_dir() else []
    found = [(version, place) for place in places if (version := _java_version(place)) >= OLDEST_JAVA]
    if not found:
        raise Unavailable(f"no JDK {OLDEST_JAVA} or newer in JAVA_HOME, PATH or /usr/lib/jvm")
    return max(found)[1]


def _java_version(home: Path) -> int:
    """The major version of a JDK (with a compiler), 0 for anything else."""
    release = home / "release"
    if not (home / "bin" / "javac").exists() or not release.exists():
        return 0
    version = re.search(r'JAVA_VERSION="(\d+)', release.read_text(encoding="utf-8"))
    return int(version[1]) if version else 0


@contextmanager
def incomplete(cache: Path, sources: Path) -> Iterator[bool]:
    """Whether what is kept in `cache` has to be made, from the pom and the launcher in `sources`; once the block ends,
    it is complete. One test run at a time is in it.
    """
    cache.mkdir(parents=True, exist_ok=True)
    wanted = hashlib.sha256(
        b"".join((sources / name).read_bytes() for name in ("pom.xml", "Launcher.java"))
    ).hexdigest()
    stamp = cache / "complete"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted
        stamp.write_text(wanted, encoding="utf-8")


def fetch(pom: Path, jars: Path) -> None:
    """The artifacts that the pom names, with all that they need. Raises: Unavailable."""
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("no Maven (mvn) on PATH to fetch the server with")
    command = [maven, "-q", "-B", "-f", str(pom), _COPY, f"-DoutputDirectory={jars}"]
    try:
        _run([*command, "-DincludeScope=runtime"], _MAVEN_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"Maven cannot fetch the server: {_tail(error)}") from error


def build(jdk: Path, launcher: Path, classes: Path, *options: str) -> None:
    """Compile the launcher; `options` say where the server is. Raises: Unavailable."""
    classes.mkdir()
    command = [str(jdk / "bin" / "javac"), "--release", str(OLDEST_JAVA), "-d", str(classes)]
    try:
        _run([*command, *options, str(launcher)], 120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the launcher does not compile: {_tail(error)}") from error


def _run(command: list[str], timeout_seconds: float) -> None:
    subprocess.run(command, check=True, timeout=timeout_seconds, stdin=subprocess.DEVNULL, capture_output=True)


def _tail(error: subprocess.CalledProcessError | subprocess.TimeoutExpired) -> str:
    text = ((error.stdout or b"") + (error.stderr or b"")).decode(errors="replace")
    return text[-500:].strip() or str(error)
