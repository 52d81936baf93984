"""The app of the examples, in place of yours: answers by its configuration and writes a log line for every request.

    python3 app.py CONFIG_FOLDER LOG_FILE

GET / answers, GET /config shows how often the configuration was read again, POST /reload reads it again: 422 and the
reason when it cannot be used, and then the old one stays.
"""

import json
import signal
import sys
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

FOLDER, LOG = Path(sys.argv[1]), Path(sys.argv[2])
UNUSABLE = (OSError, ValueError, TypeError, KeyError)


def read() -> dict[str, str]:
    """Return the settings of all JSON files; raise one of UNUSABLE."""
    found: dict[str, str] = {}
    for path in sorted(FOLDER.glob("*.json")):
        found.update(json.loads(path.read_text(encoding="utf-8")))
    return {**found, "greeting": str(found["greeting"])}


settings = read()
reloads = 0
log = LOG.open("a", encoding="utf-8", buffering=1)  # line by line: what is written is in the file at once


def record(message: str) -> None:
    """Write one line to the log."""
    log.write(json.dumps({"@timestamp": datetime.now(UTC).isoformat(), "message": message}) + "\n")


class Handler(BaseHTTPRequestHandler):
    """Answer one request."""

    def do_GET(self) -> None:
        """Answer /, /config and the probes' /healthz."""
        if self.path == "/healthz":
            self.answer(200, "ok")
        elif self.path == "/config":
            names = sorted(settings)  # no values: some are secret
            self.answer(200, json.dumps({"reloads": reloads, "settings": names}))
        else:
            record(f"GET {self.path}")
            self.answer(200, settings["greeting"])

    def do_POST(self) -> None:
        """Read the configuration again."""
        global settings, reloads
        try:
            settings = read()
        except UNUSABLE as error:
            record(f"cannot use the configuration: {error!r}")
            self.answer(422, repr(error))
        else:
            reloads += 1
            record("configuration read again")
            self.answer(200, "done")

    def answer(self, status: int, text: str) -> None:
        """Send a short text."""
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode() + b"\n")

    def log_message(self, *_: object) -> None:
        """Keep stderr quiet: the log is a file."""


server = ThreadingHTTPServer(("", 8080), Handler)
# As process 1 of a container Python ignores SIGTERM without this.
signal.signal(signal.SIGTERM, lambda *_: Thread(target=server.shutdown).start())
record("started")
server.serve_forever()
record("stopped")
