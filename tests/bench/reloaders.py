"""The programs that tell of a new configuration: this project's config reloader, and those peers that are there.

Ours runs in the environment of its image, with a state file and without a quiet period. The peers are built by
scripts/servers where there is a Go toolchain; configmap-reload never waits, prometheus-config-reloader is told not to.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.bench.shippers import Shipper as Program
from tests.bench.shippers import shipped

__all__ = ["OURS", "Program", "ours", "peers"]

_ROOT = Path(__file__).resolve().parents[2]
OURS = "config-reloader"


def ours() -> Program:
    """The config reloader, with a state file and without a quiet period."""

    def settings(folder: Path, port: int) -> dict[str, str]:
        return {
            "CONFIG_RELOADER_WATCH": str(folder / "volume"),
            "CONFIG_RELOADER_WEBHOOK_URL": _url(port),
            "CONFIG_RELOADER_QUIET_SECONDS": "0",
            "CONFIG_RELOADER_STATE_FILE": str(folder / "state" / "state.json"),
        }

    return shipped(OURS, settings)


def peers() -> tuple[list[Program], list[str]]:
    """Those that are there, and why the others are missing."""
    known: dict[str, Callable[[Path, int], list[str]]] = {
        "configmap-reload": lambda folder, port: [
            f"--volume-dir={folder}/volume",
            f"--webhook-url={_url(port)}",
            "--web.listen-address=127.0.0.1:0",
        ],
        "prometheus-config-reloader": lambda folder, port: [
            f"--watched-dir={folder}/volume",
            f"--reload-url={_url(port)}",
            "--delay-interval=1ms",
            "--listen-address=127.0.0.1:0",
        ],
    }
    found, missing = [], []
    for name, words in known.items():
        if program := shutil.which(name, path=f"{_ROOT}/.cache/bin:{os.environ['PATH']}"):
            found.append(Program(name, lambda folder, port, p=program, w=words: [p, *w(folder, port)]))  # type: ignore[misc]
        else:
            missing.append(f"{name}: it is not there (scripts/servers bench builds it, given Go and its module)")
    return found, missing


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/-/reload"
