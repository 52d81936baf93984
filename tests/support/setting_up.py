"""`sidecar log-shipper --setup`, run as a person does."""

import os
import subprocess
import sys

from tests.support.shipper import ROOT


def run_setup(url: str, stream: str, *flags: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run it against this server; `flags` and `settings` are further ones."""
    variables = {
        "ELASTICSEARCH_URL": url,
        "DATA_STREAM": stream,
        **{name.upper(): text for name, text in settings.items()},
    }
    return subprocess.run(
        [sys.executable, "-m", "sidecars", "log-shipper", "--setup", *flags],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        | {f"LOG_SHIPPER_{name}": text for name, text in variables.items()},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def set_up(url: str, stream: str, *flags: str, **settings: str) -> list[str]:
    """The lines that a run prints which succeeds."""
    done = run_setup(url, stream, *flags, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()
