"""OpenSearch from its own Maven artifacts (50 MB), fetched once and kept in `.cache/opensearch/`."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.services.maven import build, fetch, find_jdk, incomplete

SOURCES = Path(__file__).resolve().parent / "opensearch"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "opensearch"
_JVM = ["-Xms128m", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "--enable-native-access=ALL-UNNAMED"]


@dataclass(frozen=True)
class Package:
    """A laid-out server: all on the class path, nothing in the home folder."""

    java: Path
    jars: Path
    classes: Path

    def furnish(self, home: Path) -> None:
        """Put into a home folder what the server looks for there."""
        for name in ("config", "data", "logs"):
            (home / name).mkdir()

    def command(self) -> list[str]:
        """What starts the server, but for the home folder and the settings."""
        return [str(self.java), *_JVM, "-cp", f"{self.classes}:{self.jars}/*", "Launcher"]


def prepare() -> Package:
    """The package, fetched and compiled if it is not there yet. Raises: Unavailable."""
    jdk = find_jdk()
    package = Package(jdk / "bin" / "java", CACHE / "jars", CACHE / "classes")
    with incomplete(CACHE, SOURCES) as missing:
        if missing:
            for folder in (package.jars, package.classes):
                shutil.rmtree(folder, ignore_errors=True)
            fetch(SOURCES / "pom.xml", package.jars)
            build(jdk, SOURCES / "Launcher.java", package.classes, "-cp", f"{package.jars}/*")
    return package
