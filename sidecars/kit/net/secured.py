"""What TLS on a leg needs beyond Python's SSLSocket: its half-close, resumed sessions, and what was agreed on."""

import os
import socket
import ssl
from dataclasses import dataclass
from typing import Any

from sidecars.runtime.clock import monotonic

_ALERT_BYTES = 1024
_FRESH_SECONDS = 300.0
_LONGEST_SECONDS = 3600.0
"""A resumed session repeats no check of the certificate, so it is not resumed for ever."""
_KEPT = 256


class Aside:
    """Takes what OpenSSL writes to a descriptor for a moment, so that it can be asked for a close_notify alone.

    Python's `unwrap` calls SSL_shutdown twice: the second one reads, and an answer that is on its way already is a
    fatal error to it (APPLICATION_DATA_AFTER_CLOSE_NOTIFY), after which nothing can be read any more. So for the
    time of the call the descriptor leads to a socket pair in which nothing is to be read. The three descriptors are
    kept, so that a connection can be ended when there are no more.
    """

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._spare = os.dup(self._near.fileno())

    def close_notify(self, tls: ssl.SSLSocket) -> bytes:
        """Return the record that says that nothing more comes from us, for the caller to send. Raises ssl.SSLError."""
        descriptor, near = tls.fileno(), self._near.fileno()
        os.dup2(descriptor, self._spare, inheritable=False)
        os.dup2(near, descriptor, inheritable=False)
        try:
            tls.unwrap()
        except ssl.SSLWantReadError:  # ours is written, theirs is to come
            pass
        finally:
            os.dup2(self._spare, descriptor, inheritable=False)
            os.dup2(near, self._spare, inheritable=False)
        try:
            return self._far.recv(_ALERT_BYTES)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Let go of the descriptors."""
        self._near.close()
        self._far.close()
        os.close(self._spare)


@dataclass(frozen=True, slots=True)
class _Kept:
    session: ssl.SSLSession
    at: float


class Sessions:
    """TLS sessions of one context, to be resumed: that saves both sides most of a handshake.

    Use another one with every context, so that a session never outlives the certificates and rules it was made with.
    """

    def __init__(self) -> None:
        self._kept: dict[Any, _Kept] = {}

    def find(self, peer: Any) -> ssl.SSLSession | None:
        """Return the session to resume with a peer (address and server name)."""
        kept = self._kept.get(peer)
        return kept.session if kept and monotonic() - kept.at < _LONGEST_SECONDS else None

    def keep(self, peer: Any, tls: ssl.SSLSocket) -> None:
        """Keep the session of a connection that ends, if the one that is kept is not fresh: to copy one is dear."""
        kept = self._kept.get(peer)
        if kept is not None and monotonic() - kept.at < _FRESH_SECONDS:
            return
        session = tls.session
        if session is None or not (session.has_ticket or (session.id and tls.version() == "TLSv1.2")):
            return
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[peer] = _Kept(session, monotonic())


class TlsFacts:
    """What a handshake agreed on. To read the other side's certificate takes a while, so it is read when it is asked
    for, while the leg is open.
    """

    __slots__ = ("_tls",)

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self._tls = tls

    @property
    def version(self) -> str:
        """Return such as `TLSv1.3`."""
        return self._tls.version() or ""

    @property
    def cipher(self) -> str:
        """Return the name of the cipher suite."""
        cipher = self._tls.cipher()
        return cipher[0] if cipher else ""

    @property
    def alpn(self) -> str:
        """Return the protocol that was agreed on, or an empty text."""
        return self._tls.selected_alpn_protocol() or ""

    @property
    def resumed(self) -> bool:
        """Return whether it went on with the session of an earlier connection."""
        return bool(self._tls.session_reused)

    @property
    def peer_der(self) -> bytes:
        """Return the other side's certificate, empty without one."""
        return self._tls.getpeercert(binary_form=True) or b""

    @property
    def peer_names(self) -> tuple[tuple[str, str], ...]:
        """Return its subjectAltName: ("DNS", name), ("URI", uri), ("IP Address", text)."""
        names: Any = (self._tls.getpeercert() or {}).get("subjectAltName", ())
        return tuple((kind, name) for kind, name in names)
