"""Errors of the operating system as short words for people: "connection refused", without numbers and addresses."""

import os
import socket

_LOOKUP = {
    socket.EAI_NONAME: "the name does not resolve",
    socket.EAI_NODATA: "the name has no address",
    socket.EAI_AGAIN: "the name server does not answer",
    socket.EAI_FAIL: "the name server failed",
}


def reason(error: OSError) -> str:
    """Return what went wrong. asyncio puts the address into `strerror`, so the number is asked."""
    if isinstance(error, socket.gaierror):
        return _LOOKUP.get(error.errno or 0, "the name cannot be looked up")
    # An ssl.SSLError, known by its home: naming it loads ssl. Its number is OpenSSL's, as errno 1 "not permitted".
    if type(error).__module__ == "ssl":
        return f"no TLS: {(getattr(error, 'reason', None) or 'the handshake failed').lower().replace('_', ' ')}"
    if error.errno:
        return os.strerror(error.errno).lower()
    if isinstance(error, ConnectionError):  # asyncio's own have neither number nor text
        return "the connection was closed"
    return str(error).lower() or type(error).__name__
