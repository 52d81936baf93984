"""An app with several HTTP endpoints, in threads: who asked for what, in which order, and what each is answered.

with App() as app:
    app.answers["/a"] = Answer(500)
    app.answers["/b"] = lambda asked: Answer(200 if asked.body == "good" else 400)
"""

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.support.waiting import until


@dataclass(frozen=True)
class Asked:
    """One request; header names are in lower case. `at`: monotonic seconds."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str
    at: float


@dataclass(frozen=True)
class Answer:
    """What comes back. Status 0: nothing, ever; -1: the connection is closed without a word."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


OK, HANGS, CUTS = Answer(), Answer(0), Answer(-1)


class App:
    """Answers 200 unless `answers` has something else for the path."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Answer | Callable[[Asked], Answer]] = {}
        self.requests: list[Asked] = []
        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port: int = self._server.server_port
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Refuse connections from now on."""
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def asked(self, path: str) -> list[Asked]:
        """The requests for this path so far."""
        return [asked for asked in list(self.requests) if asked.path == path]

    def bodies(self, path: str) -> list[str]:
        """Their bodies."""
        return [asked.body for asked in self.asked(path)]

    def wait_for(self, path: str, count: int = 1) -> None:
        """Until it was asked for so often."""
        until(lambda: len(self.asked(path)) >= count, f"{count} requests for {path}")

    def webhook(self, path: str, **options: Any) -> dict[str, Any]:
        """A step that calls this path with the hash as the body."""
        body = {} if "body_file" in options else {"body": "{hash}"}
        return {"webhook": {"url": self.url + path, **body, **options}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        app = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                headers = {name.lower(): text for name, text in self.headers.items()}
                asked = Asked(self.command, self.path, headers, body, time.monotonic())
                app.requests.append(asked)
                planned = app.answers.get(self.path, OK)
                app.send(self, planned(asked) if callable(planned) else planned)

            def do_GET(self) -> None:
                self.do_POST()

            def do_PUT(self) -> None:
                self.do_POST()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler

    def send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        """For the handler."""
        if answer == HANGS:
            self.over.wait()
        if answer.status <= 0:
            handler.close_connection = True
            return
        handler.send_response(answer.status)
        for name, text in {"Content-Length": str(len(answer.body.encode())), **answer.headers}.items():
            handler.send_header(name, text)
        handler.end_headers()
        handler.wfile.write(answer.body.encode())
