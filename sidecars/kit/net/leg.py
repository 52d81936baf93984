"""One side of a connection: a non-blocking socket, plain or with TLS.

TLS is Python's SSLSocket on the same socket. Not asyncio's transports, which cannot half-close TLS, and not memory
BIOs, which copy everything twice and keep the memory of their largest content: OpenSSL with a socket lets go of its
buffers while a connection is idle (SSL_MODE_RELEASE_BUFFERS).
"""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import struct
from collections.abc import Callable

from .core.causes import EndCause, end_cause
from .poller import BROKEN, EPOLLERR, READABLE, WRITABLE, Poller
from .secured import Sessions, TlsFacts

NOTHING = -1
"""Read: nothing is there now."""
_RECORD_BYTES = 16 << 10
"""The most that one TLS record carries (RFC 8446, 5.1); SSL_read returns no more at once."""
_PARTING_SECONDS = 1.0
_TCP_CLOSE = 7
"""include/net/tcp_states.h"""
_RESET = struct.pack("ii", 1, 0)

Buffer = bytes | bytearray | memoryview


class LegBroken(Exception):
    """A leg is of no more use, in a way that is not a clean end."""

    def __init__(self, cause: EndCause, detail: str) -> None:
        self.cause = cause
        super().__init__(detail)


class Leg:
    """One side of a connection. It owns the socket.

    Two ways to use it, one after the other: `receive`, `send` and `start_tls` are awaited, for the talk before bytes
    are passed through; `read_into`, `put` and `watch` try once, for `relay`.
    """

    __slots__ = (
        "_alert", "_asked", "_error", "_flushed", "_has_ended", "_peer", "_poller", "_readable", "_registered",
        "_sessions", "_socket", "_tls", "_unread", "_unsent", "_waiting_read", "_waiting_write", "descriptor",
        "is_closed", "is_finished", "is_parting", "tls",
    )  # fmt: skip

    def __init__(self, poller: Poller, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._poller = poller
        self._socket = connection
        self._tls: ssl.SSLSocket | None = None
        self.descriptor = connection.fileno()
        self._sessions: Sessions | None = None
        self._peer: tuple[object, str] = (None, "")
        self._error = 0
        self._has_ended = False
        self._alert = b""
        """Of a close_notify: what the kernel did not take yet."""
        self._asked = 0
        self._registered = False
        self._unread = b""
        self._unsent: Buffer = b""
        self._waiting_read: asyncio.Future[None] | None = None
        self._waiting_write: asyncio.Future[None] | None = None
        self._readable: Callable[[], None] = self._wake_reader
        self._flushed: Callable[[], None] = self._wake_writer
        self.tls: TlsFacts | None = None
        self.is_finished = False
        self.is_closed = False
        self.is_parting = False

    # What is awaited, before bytes are passed through

    async def receive(self) -> bytes:
        """Return what has come, at least a byte, at most 16 KiB; an empty text at the clean end. Raises LegBroken."""
        while (count := self.read_into(self._poller.buffer[:_RECORD_BYTES])) == NOTHING:
            self._waiting_read = self._poller.loop.create_future()
            self._ask(self._asked | READABLE)
            try:
                await self._waiting_read
            finally:
                self._waiting_read = None
        return bytes(self._poller.buffer[:count])

    def unread(self, data: bytes) -> None:
        """Put bytes back in front of what is received next: they belong to whoever takes over."""
        self._unread = data + self._unread

    async def send(self, data: Buffer) -> None:
        """Send all of it: return when the kernel has it. Raises LegBroken."""
        if not self.put(data):
            await self._sent()

    async def start_tls(
        self, context: ssl.SSLContext, server_name: str = "", sessions: Sessions | None = None
    ) -> TlsFacts:
        """Shake hands as a client, or as a server when the context is one for servers. `sessions`: those of this
        context, to resume one. Raises LegBroken, ssl.SSLError (also for a refused certificate), and ValueError when
        there are bytes that came before the handshake: they would be taken for secured ones (CVE-2021-23222).
        """
        if self._unread:
            raise ValueError("bytes came before the handshake that must not be trusted")
        server_side = context.protocol is ssl.PROTOCOL_TLS_SERVER
        session = None
        if sessions is not None and not server_side:
            self._sessions, self._peer = sessions, (self._socket.getpeername(), server_name)
            session = sessions.find(self._peer)
        self._tls = tls = context.wrap_socket(
            self._socket,
            server_side=server_side,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
            server_hostname=server_name or None,
            session=session,
        )
        self._socket = tls
        await self._shake_hands(tls)
        self.tls = TlsFacts(tls)
        return self.tls

    # What tries once, for passing through

    def watch(self, readable: Callable[[], None], flushed: Callable[[], None]) -> None:
        """Call `readable` when there may be something to read (an error, too), and `flushed` when all that was put is
        gone. `readable` is called at once for bytes that were put back.
        """
        self._readable, self._flushed = readable, flushed
        self.resume()

    def pause(self) -> None:
        """Do not call `readable`: the other leg cannot take any more."""
        if not self.is_closed:
            self._ask(self._asked & ~READABLE)

    def resume(self) -> None:
        """Call `readable` again."""
        if self.is_closed:
            return
        self._ask(self._asked | READABLE)
        if self._unread:
            self._poller.loop.call_soon(self._readable)

    def read_into(self, buffer: memoryview) -> int:
        """Read once. Return how many bytes there were, 0 at the clean end, NOTHING when there is nothing now. The
        buffer has room for a TLS record. Raises LegBroken.
        """
        if self._has_ended and self._error:
            raise broken(OSError(self._error, os.strerror(self._error)))
        if self._unread:
            count = min(len(self._unread), len(buffer))
            buffer[:count], self._unread = self._unread[:count], self._unread[count:]
            return count
        try:
            count = self._socket.recv_into(buffer) if self._tls is None else _read_records(self._tls, buffer)
        except (BlockingIOError, ssl.SSLWantReadError):
            return NOTHING
        except ssl.SSLWantWriteError:
            self._ask(self._asked | WRITABLE)  # OpenSSL has an answer of its own to send; `flushed` reads again
            return NOTHING
        except ssl.SSLZeroReturnError:
            count = 0
        except ssl.SSLEOFError as error:
            raise broken(self._error_below() or error) from error
        except OSError as error:
            raise broken(error) from error
        if not count:
            self._has_ended = True
        return count

    def put(self, data: Buffer) -> bool:
        """Send what the kernel takes now, and keep the rest. Return whether there is no rest: else put nothing more
        until `flushed` is called. Raises LegBroken.
        """
        sent = self._write(data) if data else 0
        if sent == len(data):
            return True
        self._unsent = bytes(memoryview(data)[sent:])
        self._ask(self._asked | WRITABLE)
        return False

    def finish(self) -> None:
        """Say that nothing more comes from us (FIN; close_notify in TLS), and go on reading. Raises LegBroken.

        All that was put must be gone. With TLS no FIN is sent before the other side has ended as well: what it has to
        say still belongs to the TLS connection.
        """
        if self.is_finished or self.is_closed:
            return
        self.is_finished = True
        try:
            if self._tls is None:
                self._socket.shutdown(socket.SHUT_WR)
            else:
                self._alert = self._poller.aside.close_notify(self._tls)
                self._send_alert()
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # the other side has just reset it: reading will tell
                raise broken(error) from error

    def close(self) -> None:
        """Close. With TLS that was not finished a close_notify is tried first. Reading and waiting ends here."""
        if self.is_closed:
            return
        if self._sessions is not None and self._tls is not None and self.tls is not None:
            self._sessions.keep(self._peer, self._tls)
        if self._tls is not None and self.tls is not None and not self._unsent:
            with contextlib.suppress(LegBroken):
                self.finish()
        self._let_go()

    def part(self) -> None:
        """Close, after what was put last has had time to be read: close(2) with something unread sends RST, which takes
        from the other side what it has not read yet. What comes is thrown away, for a second at most.
        """
        if self.is_closed or self.is_parting:
            return
        self.is_parting = True
        self._poller.loop.call_later(_PARTING_SECONDS, self.close)
        self._poller.parting[self.descriptor] = self.close
        self.watch(self._throw_away, self._finish_quietly)
        if not self._unsent:
            self._finish_quietly()

    def _finish_quietly(self) -> None:
        with contextlib.suppress(LegBroken):
            self.finish()

    def _throw_away(self) -> None:
        try:
            count = self.read_into(self._poller.buffer)
        except LegBroken:
            count = 0
        if count == 0:
            self.close()

    def reset(self) -> None:
        """Close with RST: the other side must not take it for a clean end."""
        if self.is_closed:
            return
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._let_go()

    @property
    def is_plain(self) -> bool:
        """Return whether it has no TLS, so that bytes can be moved past this process."""
        return self._tls is None and not self._unread

    @property
    def has_unsent(self) -> bool:
        """Return whether something that was put is still here."""
        return bool(self._unsent)

    @property
    def socket(self) -> socket.socket:
        """The socket, to look at its options and names; nobody else reads or writes it."""
        return self._socket

    # Within

    def _ask(self, events: int) -> None:
        if self._registered:
            if events != self._asked:
                self._poller.modify(self.descriptor, events)
        elif events:
            self._poller.register(self.descriptor, events, self._event)
            self._registered = True
        self._asked = events

    def _event(self, events: int) -> None:
        asked = self._asked
        if events & EPOLLERR and (self._tls is not None or self._has_ended):
            self._error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or self._error
        if events & (READABLE | BROKEN) and asked & READABLE:
            self._readable()
        if events & (WRITABLE | BROKEN) and asked & WRITABLE and not self.is_closed:
            self._flush()
        if not asked and not self.is_closed:  # broken, which is reported again and again
            self._poller.forget(self.descriptor)
            self._registered = False
            if self._has_ended and self._error:
                self._readable()  # it was half-closed, and is gone now

    def call_when_writable(self) -> None:
        """Call `flushed` once the kernel takes more: for who sends without `put`."""
        self._ask(self._asked | WRITABLE)

    def _send_alert(self) -> None:
        """Send a record that is made already, past OpenSSL."""
        try:
            sent = socket.socket.send(self._socket, self._alert) if self._alert else 0
        except BlockingIOError:
            sent = 0
        self._alert = self._alert[sent:]
        if self._alert:
            self._ask(self._asked | WRITABLE)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, b""
        try:
            if unsent and not self.put(unsent):
                return
            if self._alert:
                self._send_alert()
        except (LegBroken, OSError) as error:
            self._unsent = self._alert = b""
            if self._waiting_write is not None and not self._waiting_write.done():
                self._waiting_write.set_exception(error)
            self._ask(self._asked & ~WRITABLE | READABLE)  # reading meets the same error, and tells of it
            return
        if not self._alert:
            self._ask(self._asked & ~WRITABLE)
            self._flushed()

    def _error_below(self) -> OSError | None:
        """Return why TLS met an end: Python's `read` calls every error of the socket an early EOF (SSL_read_ex returns
        0 for both). What epoll told of is known; else a connection that was reset is closed, and not half-closed.
        """
        number = self._error
        if not number:
            with contextlib.suppress(OSError):  # no TCP
                state = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
                number = errno.ECONNRESET if state == _TCP_CLOSE else 0
        return OSError(number, os.strerror(number)) if number else None

    def _write(self, data: Buffer) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0
        except OSError as error:
            raise broken(error) from error

    async def _sent(self) -> None:
        self._waiting_write = self._poller.loop.create_future()
        try:
            await self._waiting_write
        finally:
            self._waiting_write = None

    async def _shake_hands(self, tls: ssl.SSLSocket) -> None:
        while True:
            try:
                tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self._waiting_read = self._poller.loop.create_future()
                self._ask(self._asked | READABLE)
                waiting = self._waiting_read
            except ssl.SSLWantWriteError:
                self._waiting_write = self._poller.loop.create_future()
                self._ask(self._asked | WRITABLE)
                waiting = self._waiting_write
            except ssl.SSLError:
                raise
            except OSError as error:
                raise broken(error) from error
            try:
                await waiting
            finally:
                self._waiting_read = self._waiting_write = None

    def _wake_reader(self) -> None:
        if self._waiting_read is not None and not self._waiting_read.done():
            self._waiting_read.set_result(None)
        elif self._waiting_read is None:
            self._ask(self._asked & ~READABLE)  # nobody listens: the kernel keeps it

    def _wake_writer(self) -> None:
        if self._waiting_write is not None and not self._waiting_write.done():
            self._waiting_write.set_result(None)

    def _let_go(self) -> None:
        self.is_closed = True
        self._poller.forget(self.descriptor)
        self._poller.parting.pop(self.descriptor, None)
        self._registered, self._unsent, self._unread = False, b"", b""
        self._socket.close()
        self._readable = self._flushed = _nothing
        for waiting in (self._waiting_read, self._waiting_write):
            if waiting is not None and not waiting.done():
                waiting.set_exception(LegBroken(EndCause.RESET, "it was closed on our side"))


def _nothing() -> None:
    """For a leg that is closed."""


def _read_records(tls: ssl.SSLSocket, buffer: memoryview) -> int:
    """Read a record, and more while they are full ones: a short one is most often the last."""
    read: Callable[[int, memoryview], int] = tls.read  # type: ignore[assignment]  # with a buffer it returns a count
    count = read(_RECORD_BYTES, buffer)
    if count < _RECORD_BYTES:
        return count
    room = len(buffer) - _RECORD_BYTES
    while count <= room:
        try:
            more = read(_RECORD_BYTES, buffer[count:])
        except OSError:  # nothing now, or an end: the next read tells
            return count
        if not more:
            return count
        count += more
        if more < _RECORD_BYTES:
            return count
    return count


def broken(error: OSError) -> LegBroken:
    """Return what an error of the socket means for its leg."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLSyscallError):
        return LegBroken(EndCause.TRUNCATED, "TLS ended without close_notify")
    if isinstance(error, ssl.SSLError):
        return LegBroken(EndCause.TLS_BROKEN, error.reason or str(error))
    return LegBroken(end_cause(error.errno), error.strerror or str(error))
