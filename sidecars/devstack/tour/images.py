"""Which images the pod is made of: ours have to be there; Elasticsearch's own, or else the stand-in."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .board import TourError
from .docker import ROOT, docker

_COMPOSE = ROOT / "compose.yaml"
_LOCAL = ROOT / "images" / "compose.local.yaml"
_OURS = ("pause", "log-shipper", "config-reloader", "wait-for", "devstack")
_PULL_SECONDS = 600.0
_OLDEST_ENGINE, _OLDEST_API = "25", (1, 44)
"""Before it a health check has no `start_interval`."""
_OLDEST_COMPOSE = (2, 20)


@dataclass(frozen=True)
class Choice:
    """The compose files to use, and what answers for Elasticsearch."""

    files: tuple[Path, ...]
    backend: str


async def choose(say: Callable[[str], None], *, local: bool) -> Choice:
    """Raises: TourError when there is no engine or an image of ours is missing."""
    if not _COMPOSE.is_file():
        raise TourError(f"cannot find {_COMPOSE}: run this from a clone of the project")
    await _check_engine()
    prefix, tag = os.environ.get("SIDECAR_IMAGE_PREFIX", "sidecars/"), os.environ.get("SIDECAR_IMAGE_TAG", "dev")
    missing = [name for name in (f"{prefix}{one}:{tag}" for one in _OURS) if not await _is_here(name)]
    if missing:
        raise TourError(f"cannot find {', '.join(missing)}: make them with `make images`")
    if not local:
        official = await _official()
        if await _is_here(official) or await _pulled(official, say):
            return Choice((_COMPOSE,), official)
    return Choice((_COMPOSE, _LOCAL), "the embedded stand-in")


async def _check_engine() -> None:
    ended = await docker(["version", "--format", "{{.Server.APIVersion}} {{.Server.Version}}"])
    if ended.status:
        raise TourError(f"cannot talk to the container engine: {ended.complaint}")
    api, _, version = ended.output.strip().partition(" ")
    if _version(api) < _OLDEST_API:
        needed = f"{_OLDEST_ENGINE} or newer is needed (https://docs.docker.com/engine/install/)"
        raise TourError(f"cannot use Docker Engine {version}: {needed}; `make images` says what to do on Debian")
    if (ended := await docker(["compose", "version", "--short"])).status:
        raise TourError("cannot find docker compose: install the compose plugin (docker-compose-plugin)")
    if _version(ended.output.strip().removeprefix("v")) < _OLDEST_COMPOSE:
        raise TourError(f"cannot use Docker Compose {ended.output.strip()}: install 2.20 or newer of its plugin")


def _version(text: str) -> tuple[int, ...]:
    """Its numbers; what is no version is older than any."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()


async def _official() -> str:
    ended = await docker(["compose", "--file", str(_COMPOSE), "config", "--format", "json"])
    if ended.status:
        raise TourError(f"cannot read {_COMPOSE}: {ended.complaint}")
    return str(msgspec.json.decode(ended.output)["services"]["elasticsearch"]["image"])


async def _is_here(image: str) -> bool:
    return not (await docker(["image", "inspect", image])).status


async def _pulled(image: str, say: Callable[[str], None]) -> bool:
    say(f"pulling {image}, which may take minutes")
    try:
        ended = await docker(["pull", "--quiet", image], deadline_seconds=_PULL_SECONDS)
    except TourError as error:
        say(f"{error}; the embedded stand-in takes its place")
        return False
    if ended.status:
        say(f"cannot pull it ({ended.complaint}); the embedded stand-in takes its place")
    return not ended.status
