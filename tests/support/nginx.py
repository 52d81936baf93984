"""A real nginx as in a pod: a master and two workers of an unprivileged user, beside the pod's pause process.

Where namespaces may not be made, all run among the machine's processes; where another user cannot run this Python, all
run as ourselves. What nginx does is read from its own log, and from what it serves.
"""

import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.app_process import AppProcess
from tests.support.processes import Process, can_run
from tests.support.waiting import until

_NOBODY = 65534
_AS_NOBODY = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--")
_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
_PATIENCE_SECONDS = 60
_MAIN = """\
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  include site.conf;
}}
"""
_SITE = 'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{word} $pid"; }} }}\n'


def program() -> str | None:
    """Where nginx is; Debian puts it where only root looks."""
    return shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/sbin")


@dataclass(frozen=True)
class Pod:
    """`user`: what to put before a command to run it as the pod's user; `prefix`: and in its namespace."""

    user: tuple[str, ...]
    prefix: tuple[str, ...]


@contextmanager
def pod() -> Iterator[Pod]:
    """Whatever still runs in it ends with it."""
    user = _AS_NOBODY if os.geteuid() == 0 and can_run(*_AS_NOBODY, sys.executable, "-c", "import sidecars") else ()
    if not can_run(*_NAMESPACE, "true"):
        yield Pod(user, user)
        return
    with AppProcess("pause", prefix=_NAMESPACE) as pause:
        (child,) = Path(f"/proc/{pause.parent}/task/{pause.parent}/children").read_text(encoding="ascii").split()
        yield Pod(user, ("nsenter", "--target", child, "--pid", "--mount", "--root", "--", *user))


class Nginx:
    """Not started yet. `folder` is of the pod's user; the configuration is elsewhere."""

    def __init__(self, program: str, pod: Pod) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="nginx-"))
        if pod.user:
            os.chown(self.folder, _NOBODY, _NOBODY)
        self._command = [*pod.prefix, program, "-p", str(self.folder)]
        self._process: Process | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])

    def configuration(self, word: str) -> dict[str, bytes]:
        """The files of a configuration that serves this word, and the pid of the worker."""
        site = _SITE.format(port=self.port, word=word)
        return {"nginx.conf": _MAIN.format(folder=self.folder).encode(), "site.conf": site.encode()}

    def broken(self, word: str) -> dict[str, bytes]:
        """One with a misspelt directive."""
        files = self.configuration(word)
        return files | {"site.conf": files["site.conf"].replace(b"listen", b"lisssten")}

    def start(self, folder: Path) -> None:
        """Read nginx.conf in this folder, and serve."""
        command = [*self._command, "-c", str(folder / "nginx.conf")]
        self._process = Process(self.folder, command, name="nginx")
        self._process.options = {"start_new_session": True}
        self._process.start()
        self._process.until(self.serves, "nginx to serve")

    def kill(self) -> None:
        """SIGKILL to the master and the workers: they are one process group."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(_PATIENCE_SECONDS)
            until(lambda: not self.serves(), "its end")
            self._process = None

    def discard(self) -> None:
        """End it, and leave nothing."""
        self.kill()
        shutil.rmtree(self.folder)

    def answer(self) -> tuple[str, int]:
        """The word that is served, and the pid of the worker that did it; ("", 0) when nobody does."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=_PATIENCE_SECONDS) as reply:
                word, pid = reply.read().decode().split()
        except (urllib.error.URLError, ConnectionError):
            return "", 0
        return word, int(pid)

    def serves(self) -> str:
        """The word that is served; empty when none is."""
        return self.answer()[0]

    def until_it_serves(self, word: str) -> None:
        """Until no worker serves another word."""
        until(lambda: {self.serves() for _ in range(20)} == {word}, f"nginx to serve {word}")

    @property
    def log(self) -> str:
        """Its error log."""
        return (self.folder / "error.log").read_text(encoding="utf-8")

    @property
    def master(self) -> int:
        """Its pid, in the pod."""
        return int((self.folder / "nginx.pid").read_text(encoding="ascii"))

    @property
    def hangups(self) -> list[int]:
        """The pids that got SIGHUP, in order: masters and workers alike say so."""
        return [int(pid) for pid in re.findall(r"\[notice\] (\d+)#\d+: signal 1 \(SIGHUP\) received", self.log)]

    def workers(self) -> set[int]:
        """The pids of the workers that were started and have not ended."""
        started = {int(pid) for pid in re.findall(r"start worker process (\d+)", self.log)}
        return started - {int(pid) for pid in re.findall(r"worker process (\d+) exited", self.log)}
