"""Elasticsearch from its own Maven artifacts: the files a node needs, fetched once and kept.

Elastic publishes the server as two artifacts with their dependencies (44 MB). They are laid out the way the server
expects (everything a Java module, the network plug-in in a folder of its own) in `.cache/elasticsearch/`, and kept.
"""

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.services.maven import build, fetch, find_jdk, incomplete

SOURCES = Path(__file__).resolve().parent / "elasticsearch"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "elasticsearch"
PLUGIN = "transport-netty4"
_PLUGIN_JARS = ("netty-", PLUGIN, "elasticsearch-ssl-config")
_JVM = ["-Xms256m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]  # C2 pays off after minutes only
_ADD_MODULES = "org.elasticsearch.server,jdk.net,jdk.management.agent,jdk.incubator.vector"
_NATIVE = "org.elasticsearch.nativeaccess,org.apache.lucene.core"


@dataclass(frozen=True)
class Package:
    """A laid-out server: `jars` is the module path, `modules` goes into a home folder, `classes` has our launcher."""

    java: Path
    jars: Path
    modules: Path
    classes: Path

    def furnish(self, home: Path) -> None:
        """Put into a home folder what the server looks for there."""
        for name in ("config", "data", "logs", "lib", "plugins"):
            (home / name).mkdir()
        (home / "modules").symlink_to(self.modules)

    def command(self) -> list[str]:
        """What starts the server, but for the home folder and the settings."""
        modules = ["--module-path", str(self.jars), "--add-modules", _ADD_MODULES]
        java = [str(self.java), *_JVM, *modules, f"--enable-native-access={_NATIVE}", "-cp", str(self.classes)]
        return [*java, "Launcher"]


def prepare() -> Package:
    """The package, fetched and compiled if it is not there yet. Raises: Unavailable."""
    jdk = find_jdk()
    package = Package(jdk / "bin" / "java", CACHE / "jars", CACHE / "modules", CACHE / "classes")
    with incomplete(CACHE, SOURCES) as missing:
        if missing:
            _build(package, jdk)
    return package


def _build(package: Package, jdk: Path) -> None:
    plugin = package.modules / PLUGIN
    for folder in (package.jars, package.modules, package.classes):
        shutil.rmtree(folder, ignore_errors=True)
    plugin.mkdir(parents=True)
    fetch(SOURCES / "pom.xml", package.jars)
    for jar in package.jars.iterdir():
        if jar.name.startswith(_PLUGIN_JARS):
            jar.rename(plugin / jar.name)
    _take_descriptor(plugin)
    modules = ("--module-path", str(package.jars), "--add-modules", "org.elasticsearch.server")
    build(jdk, SOURCES / "Launcher.java", package.classes, *modules)


def _take_descriptor(plugin: Path) -> None:
    """The plug-in's jar carries the two files that must stand beside it."""
    (jar,) = plugin.glob(f"{PLUGIN}-*.jar")
    with zipfile.ZipFile(jar) as archive:
        for name in ("plugin-descriptor.properties", "entitlement-policy.yaml"):
            (plugin / name).write_bytes(archive.read(f"META-INF/es-plugins/{PLUGIN}/{name}"))
