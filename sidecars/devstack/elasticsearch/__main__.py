"""`python -m sidecars.devstack elasticsearch`: the stand-in as a process until SIGTERM or SIGINT; SIGHUP empties it."""

import argparse
import asyncio
import signal
import ssl
import sys
from dataclasses import replace
from pathlib import Path

import msgspec

from .errors import Access
from .faults import Faults
from .server import Elasticsearch, ServerOptions

_EPILOG = """
While it runs:  PUT /_faults {"item_429_odds": 0.3, "cut_after_store_odds": 0.05, "seed": 7}   GET or DELETE /_faults
                PUT /_faults {"down_seconds": 5}   goes away and comes back, with all documents
                GET /_stats_devstack               requests, items by outcome, bytes, faults that struck
                kill -HUP                          forgets everything and begins anew
"""


def main(arguments: list[str]) -> int:
    """Serves until a signal. Returns 0; 1 when it cannot listen; argparse exits with 2 for bad arguments."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    try:
        options = _options(parsed)
    except (msgspec.DecodeError, OSError, ssl.SSLError) as error:
        parser.error(f"cannot use these arguments: {error}")
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {error.strerror}; choose another --port")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sidecars.devstack elasticsearch",
        description="A small Elasticsearch in memory: bulk, templates, data streams, search; with scripted faults.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=9200, help="port; 0 takes a free one (default %(default)s)")
    parser.add_argument("--faults", default="{}", metavar="JSON", help="the script of faults to begin with")
    parser.add_argument("--max-content-length-bytes", type=int, default=100 * 1024 * 1024, help="larger bodies get 413")
    parser.add_argument("--user", action="append", default=[], metavar="NAME:PASSWORD", help="asks for basic auth")
    parser.add_argument("--api-key", action="append", default=[], metavar="ID:SECRET", help="asks for an API key")
    parser.add_argument("--tls-certificate", type=Path, metavar="PEM", help="serve https with this chain")
    parser.add_argument("--tls-key", type=Path, metavar="PEM", help="private key (default: in the certificate's file)")
    return parser


def _options(parsed: argparse.Namespace) -> ServerOptions:
    tls = None
    if parsed.tls_certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(parsed.tls_certificate, parsed.tls_key)
    users = tuple((name, password) for name, _, password in (user.partition(":") for user in parsed.user))
    return ServerOptions(
        host=parsed.host,
        port=parsed.port,
        max_content_length_bytes=parsed.max_content_length_bytes,
        access=Access(users, tuple(parsed.api_key)),
        tls=tls,
        faults=msgspec.json.decode(parsed.faults, type=Faults),
    )


async def _serve(options: ServerOptions) -> None:
    """Serve until a signal; SIGHUP: forget everything and begin anew, at the same address, which is printed again."""
    stop, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        ended.set()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, stop.set)
    while not ended.is_set():
        stop.clear()
        async with Elasticsearch.start(options) as server:
            print(server.url, flush=True)
            options = replace(options, port=int(server.url.rpartition(":")[2]))
            await stop.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
