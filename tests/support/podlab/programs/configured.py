"""An app with a configuration, /etc/app/app.json. It reads it at the start, on POST /reload and on SIGHUP, and prints
the `greeting` that is in force. POST /validate says whether a text would do.
"""

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

CONFIGURATION = Path("/etc/app/app.json")


def greeting(text: str) -> str:
    """The greeting of this configuration; ValueError when it is none."""
    parsed = json.loads(text)
    if not isinstance(parsed, dict) or not isinstance(parsed.get("greeting"), str):
        raise ValueError("no greeting")  # noqa: TRY004 -- the same as for what is no JSON
    return str(parsed["greeting"])


def load() -> None:
    print("greeting:", greeting(CONFIGURATION.read_text(encoding="utf-8")), flush=True)


class Handler(BaseHTTPRequestHandler):
    """On loopback."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        status = 200
        try:
            if self.path == "/validate":
                greeting(body)
            else:
                load()
        except ValueError:
            status = 400
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def hang_up(_number: int, _frame: object) -> None:
    load()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.signal(signal.SIGHUP, hang_up)
load()
HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
