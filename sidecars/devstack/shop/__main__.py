"""`python -m sidecars.devstack shop`: the app of compose.yaml, a coffee shop that answers by its configuration.

    GET /           the menu; the header X-Request-Id has the id under which this request stands in the log
    GET /config     which configuration and which secret are in effect, and how often one was loaded (the reloader
                    confirms by it); of the secret only a name for its bytes
    POST /validate  200 if this content of shop.json could be used, 422 with the reason if not; changes nothing
    GET /livez      200; GET /readyz, /startupz: 200 once there is a configuration

SIGHUP reads the configuration anew; one that cannot be used is refused, and the one before stays. SIGTERM: no new
requests, the ones under way are answered, a last line is logged, exit status 0.

Loading a menu and answering `POST /validate` are one function, so that the app never says yes to what it then refuses.
A line is in the log before its request is answered. So whoever has an answer can look for its line, whatever is killed
afterwards: what was written to a file outlives the process that wrote it (write(2): page cache).
"""

import argparse
import asyncio
import hashlib
import os
import secrets
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from aiohttp import web

FILE = "shop.json"
_MOST_BYTES = 64 << 10

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Price = Annotated[float, msgspec.Meta(gt=0, le=1000)]


class UnusableMenuError(Exception):
    """A menu that the shop cannot work by; the text begins "cannot" and names the place."""


class Menu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What guests are told. A key with a typing error is refused: it would be a change without effect."""

    greeting: _Text
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
    prices: Annotated[dict[_Text, _Price], msgspec.Meta(min_length=1)]


def parse(content: bytes) -> Menu:
    """Raises: UnusableMenuError."""
    if len(content) > _MOST_BYTES:
        raise UnusableMenuError(f"cannot use {FILE}: it has {len(content)} bytes, and {_MOST_BYTES} are allowed")
    try:
        return msgspec.json.decode(content, type=Menu)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise UnusableMenuError(f"cannot use {FILE}: {error}; correct it, the last good menu stays") from None


def version(content: bytes) -> str:
    """A name for exactly these bytes."""
    return hashlib.sha256(content).hexdigest()[:12]


_MODE = 0o644


class Journal:
    """An append-only log. Raises: OSError when the file cannot be opened or written."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _MODE)
        self._torn = _ends_within_a_line(path)

    def write(self, message: str, fields: dict[str, Any], level: str = "info") -> None:
        """Appends one line. After a line that a full disk or a kill cut short, the next begins on a line of its own."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"@timestamp": now, "log": {"level": level}, "message": message, **fields}
        left = memoryview((b"\n" if self._torn else b"") + msgspec.json.encode(line) + b"\n")
        while left:
            taken = os.write(self._file, left)
            left = left[taken:]
            self._torn = bool(left)

    def close(self) -> None:
        """Gives the file back."""
        os.close(self._file)


def _ends_within_a_line(path: str) -> bool:
    with open(path, "rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


_DRAIN_SECONDS = 5.0
_CLOSED = "no menu yet: the config-reloader has not published one"


class Shop:
    """The menu in effect, and the log."""

    def __init__(self, folder: Path, secret: Path, journal: Journal) -> None:
        self._path = folder / FILE
        self._secret_path = secret
        self._secret = ""
        self._journal = journal
        self._menu: Menu | None = None
        self._version = ""
        self._loads = 0

    def load(self) -> None:
        """Takes the secret and the menu that are there now, or says why not and keeps the one before."""
        with suppress(OSError):  # it may come later
            self._secret = version(self._secret_path.read_bytes())
        try:
            content = self._path.read_bytes()
            menu = parse(content)
        except FileNotFoundError:
            self._say("config.absent", f"{self._path} is not there yet; waiting for SIGHUP")
        except OSError as error:
            self._say("config.refused", f"cannot read {self._path}: {error.strerror}", "error")
        except UnusableMenuError as error:
            self._say("config.refused", str(error), "error")
        else:
            self._menu, self._version = menu, version(content)
            self._loads += 1
            self._say("config.loaded", f"menu {self._version}: {menu.greeting}")

    def close(self) -> None:
        """The last line."""
        self._say("shop.closed", "the shop is closed")

    def application(self) -> web.Application:
        """All addresses."""
        application = web.Application()
        routes = application.router
        routes.add_get("/", self._answer)
        routes.add_get("/config", self._show)
        routes.add_post("/validate", self._validate)
        routes.add_get("/livez", self._alive)
        for page in ("/readyz", "/startupz"):
            routes.add_get(page, self._ready)
        return application

    async def _answer(self, request: web.Request) -> web.Response:
        """Logged first, answered then: an answer without its line would be a line lost."""
        if self._menu is None:
            return web.json_response({"error": _CLOSED}, status=503)
        name = secrets.token_hex(8)
        fields = {
            "http": {"request": {"id": name, "method": request.method}, "response": {"status_code": 200}},
            "url": {"path": request.path},
            "labels": {"menu": self._version},
        }
        try:
            self._journal.write(f"{request.method} {request.path} 200", fields)
        except OSError as error:
            return web.json_response({"error": f"cannot write the log: {error.strerror}"}, status=503)
        menu = self._menu
        body = {"greeting": menu.greeting, "currency": menu.currency, "prices": menu.prices}
        return web.json_response(body, headers={"X-Request-Id": name, "X-Config-Version": self._version})

    async def _show(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": self._version, "loads": self._loads, "secret": self._secret})

    async def _validate(self, request: web.Request) -> web.Response:
        content = await request.read()
        try:
            parse(content)
        except UnusableMenuError as error:
            self._say("config.invalid", str(error), "warning")
            return web.json_response({"error": str(error)}, status=422)
        return web.json_response({"version": version(content)})

    async def _alive(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _ready(self, _request: web.Request) -> web.Response:
        return web.Response() if self._menu is not None else web.json_response({"error": _CLOSED}, status=503)

    def _say(self, action: str, message: str, level: str = "info") -> None:
        """To the log, and to stdout for whoever looks at this container; a full disk must not end the shop."""
        print(message, flush=True)
        try:
            self._journal.write(message, {"event": {"action": action}}, level)
        except OSError as error:
            print(f"cannot write the log: {error.strerror}", flush=True)


async def _serve(shop: Shop, host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, shop.load)
    shop.load()
    runner = web.AppRunner(shop.application(), access_log=None, shutdown_timeout=_DRAIN_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        print(f"listening on {runner.addresses[0][0]}:{runner.addresses[0][1]}", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()
        shop.close()


def main(arguments: list[str]) -> int:
    """Serves until a signal. Returns 0; 1 when it cannot write its log or cannot listen."""
    parser = argparse.ArgumentParser(prog="python -m sidecars.devstack shop", description="The app of compose.yaml.")
    parser.add_argument("--config", type=Path, default=Path("/etc/shop"), help="folder of shop.json (%(default)s)")
    parser.add_argument("--secret", type=Path, default=Path("/run/secrets/coupon"), help="a file (%(default)s)")
    parser.add_argument("--log", default="/var/log/app/app.log", help="the log to append to (%(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port; 0 takes a free one (%(default)s)")
    parsed = parser.parse_args(arguments)
    try:
        journal = Journal(parsed.log)
    except OSError as error:
        print(f"cannot open the log {parsed.log}: {error.strerror}; its folder must be writable for this user")
        return 1
    try:
        asyncio.run(_serve(Shop(parsed.config, parsed.secret, journal), parsed.host, parsed.port))
    except OSError as error:
        print(f"cannot listen on {parsed.host}:{parsed.port}: {error.strerror}; choose another --port")
        return 1
    finally:
        journal.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
