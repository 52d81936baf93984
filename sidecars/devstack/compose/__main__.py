"""`python -m sidecars.devstack compose up`: starts the pod of compose.yaml for a person, and says what to try.

Exit status: 0 when it runs (after `compose down`: when it is gone), 2 when it cannot be started or removed.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import aiohttp

from sidecars.devstack.terminal import Ink, ink_for

from .pod import ROOT, Pod, TourError, choose

_CANNOT = 2
_PROJECT = "sidecars-demo"
_MENU = ROOT / "images" / "shop" / "shop.json"
_FOLDERS = ROOT / ".cache" / "compose"
_PATIENCE_SECONDS, _PACE_SECONDS = 60.0, 0.1
_LAST_LINES = 8
_COUPON = '{"data": {"coupon": "new"}}'
_BOLD, _DIM = "1", "2"


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sidecars.devstack compose",
        description="up: starts the pod of compose.yaml and says what to try. Where Elasticsearch's official image is "
        "not there and cannot be pulled, the embedded stand-in takes its place. down: stops and removes the pod.",
    )
    parser.add_argument("action", choices=("up", "down"))
    parser.add_argument("--local", action="store_true", help="the embedded stand-in, also where Elasticsearch is there")
    parser.add_argument("--project", default=_PROJECT, help="name for Compose (%(default)s)")
    parsed = parser.parse_args(arguments)
    try:
        asyncio.run(_up(parsed.project, local=parsed.local) if parsed.action == "up" else _down(parsed.project))
    except TourError as error:
        print(error, file=sys.stderr)
        return _CANNOT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


async def _up(project: str, *, local: bool) -> None:
    choice = await choose(print, local=local)
    folder = _FOLDERS / project
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # the pod runs as another user
    menu = folder / _MENU.name
    if not menu.exists():  # what a person has written there stays
        shutil.copyfile(_MENU, menu)
        menu.chmod(0o644)
    print(f"starting the pod; Elasticsearch: {choice.backend}", flush=True)
    pod = Pod(project, choice.files, {"SHOP_CONFIG": str(folder)})
    async with _removed_unless_it_runs(pod):
        await pod.up()
        addresses = {
            "shop": await pod.address("pause", 8080),
            "search": await pod.address("elasticsearch", 9200),
            "shipper": await pod.address("pause", 9101),
            "reloader": await pod.address("pause", 9102),
            "vault": await pod.address("vault", 8200),
        }
        await _until_open(addresses["shop"])
    print(*hints(addresses, project, ink_for(sys.stdout)), sep="\n")


@asynccontextmanager
async def _removed_unless_it_runs(pod: Pod) -> AsyncIterator[None]:
    """What was begun and cannot be finished is taken away again; a pod that ran before stays."""
    ran_before = await pod.exists()
    try:
        yield
    except (TourError, asyncio.CancelledError) as error:
        if ran_before:
            raise
        if isinstance(error, TourError):
            print("the services said last:", *await pod.last_lines(_LAST_LINES), sep="\n  ", file=sys.stderr)
        await pod.down()
        print("everything that was begun is removed", file=sys.stderr)
        raise


async def _until_open(shop: str) -> None:
    """Until the shop has its first menu. Raises: TourError."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while time.monotonic() < deadline:
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with session.get(f"{shop}/readyz") as reply:
                    if reply.status == 200:
                        return
            await asyncio.sleep(_PACE_SECONDS)
    raise TourError(f"cannot see the shop open within {_PATIENCE_SECONDS:.0f} s; the last words are above")


async def _down(project: str) -> None:
    await Pod(project, [ROOT / "compose.yaml"], {}).down()
    print(f"the pod and its volumes are removed; your menu stays in {os.path.relpath(_FOLDERS / project)}")


def _removal(project: str) -> str:
    return f"docker compose --project-name {project} down --volumes"


def hints(addresses: Mapping[str, str], project: str, ink: Ink) -> list[str]:
    """What a person can try, each line ready to paste."""
    compose = f"docker compose --project-name {project}"
    menu = os.path.relpath(_FOLDERS / project / _MENU.name)
    parts = {
        "ask, and a second later find the request in the search by its X-Request-Id": [
            f"curl -i {addresses['shop']}/",
            f"curl '{addresses['search']}/shop*/_search?q=http.request.id:ID&pretty'",
        ],
        "change the menu; a second later the shop answers by it. A price of -1 is refused": [
            f"$EDITOR {menu}",
            f"curl {addresses['reloader']}/status",
        ],
        "put another coupon into Vault; two seconds later `secret` is another one": [
            f"curl {addresses['shop']}/config",
            f"curl -H X-Vault-Token:root -d '{_COUPON}' {addresses['vault']}/v1/kv/data/shop",
        ],
        "watch": [
            f"{compose} logs --follow",
            f"{compose} ps",
            f"curl {addresses['shipper']}/status",
        ],
        "stop, and remove everything": [_removal(project)],
    }
    lines = [""]
    for about, commands in parts.items():
        lines += [f"  {ink(_BOLD, about)}", *(f"    {ink(_DIM, '$')} {command}" for command in commands), ""]
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
