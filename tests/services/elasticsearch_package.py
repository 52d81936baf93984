"""Elasticsearch from its own Maven artifacts: the files a node needs, fetched once and kept.

Elastic publishes the server as two artifacts with their dependencies (44 MB). They are laid out the way the server
expects (everything a Java module, the network plug-in in a folder of its own) in `.cache/elasticsearch/`, and kept.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "elasticsearch"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "elasticsearch"
PLUGIN = "transport-netty4"
OLDEST_JAVA = 21
_PLUGIN_JARS = ("netty-", PLUGIN, "elasticsearch-ssl-config")
_MAVEN_SECONDS = 240
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class Unavailable(Exception):
    """This way of having a server is not open here; the text says what is missing."""


@dataclass(frozen=True)
class Package:
    """A laid-out server: `jars` is the module path, `modules` goes into a home folder, `classes` has our launcher."""

    java: Path
    jars: Path
    modules: Path
    classes: Path


def prepare() -> Package:
    """The package, fetched and compiled if it is not there yet. Raises: Unavailable."""
    jdk = find_jdk()
    package = Package(jdk / "bin" / "java", CACHE / "jars", CACHE / "modules", CACHE / "classes")
    with _locked():
        if not _is_complete():
            _build(package, jdk)
    return package


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
def _locked() -> Iterator[None]:
    """One test run at a time fills the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fingerprint() -> str:
    return hashlib.sha256(b"".join((SOURCES / name).read_bytes() for name in ("pom.xml", "Launcher.java"))).hexdigest()


def _is_complete() -> bool:
    stamp = CACHE / "complete"
    return stamp.exists() and stamp.read_text(encoding="utf-8") == _fingerprint()


def _build(package: Package, jdk: Path) -> None:
    plugin = package.modules / PLUGIN
    for folder in (package.jars, package.modules, package.classes):
        shutil.rmtree(folder, ignore_errors=True)
    plugin.mkdir(parents=True)
    _fetch(package.jars)
    for jar in package.jars.iterdir():
        if jar.name.startswith(_PLUGIN_JARS):
            jar.rename(plugin / jar.name)
    _take_descriptor(plugin)
    _compile(package, jdk)
    (CACHE / "complete").write_text(_fingerprint(), encoding="utf-8")


def _fetch(jars: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("no Maven (mvn) on PATH to fetch the server with")
    command = [maven, "-q", "-B", "-f", str(SOURCES / "pom.xml"), _COPY, f"-DoutputDirectory={jars}"]
    try:
        _run([*command, "-DincludeScope=runtime"], _MAVEN_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"Maven cannot fetch the server: {_tail(error)}") from error


def _take_descriptor(plugin: Path) -> None:
    """The plug-in's jar carries the two files that must stand beside it."""
    (jar,) = plugin.glob(f"{PLUGIN}-*.jar")
    with zipfile.ZipFile(jar) as archive:
        for name in ("plugin-descriptor.properties", "entitlement-policy.yaml"):
            (plugin / name).write_bytes(archive.read(f"META-INF/es-plugins/{PLUGIN}/{name}"))


def _compile(package: Package, jdk: Path) -> None:
    package.classes.mkdir()
    command = [str(jdk / "bin" / "javac"), "--release", str(OLDEST_JAVA), "-d", str(package.classes)]
    modules = ["--module-path", str(package.jars), "--add-modules", "org.elasticsearch.server"]
    try:
        _run([*command, *modules, str(SOURCES / "Launcher.java")], 120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the launcher does not compile: {_tail(error)}") from error


def _run(command: list[str], timeout_seconds: float) -> None:
    subprocess.run(command, check=True, timeout=timeout_seconds, stdin=subprocess.DEVNULL, capture_output=True)


def _tail(error: subprocess.CalledProcessError | subprocess.TimeoutExpired) -> str:
    text = ((error.stdout or b"") + (error.stderr or b"")).decode(errors="replace")
    return text[-500:].strip() or str(error)
