"""Asks PostgreSQL itself whether it takes writes: `SHOW transaction_read_only`, in a session that is kept for a while.

Kept, because a login for each check from each pod would cost the server a process every second.
"""

import contextlib
import hashlib
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass

from sidecars.ambassador.connecting.dial import Dialler, NodeTarget
from sidecars.ambassador.connecting.postgres import begin
from sidecars.ambassador.core.postgres import (
    TERMINATE,
    BrokenServer,
    MessageReader,
    authentication,
    error_fields,
    mechanisms,
    message,
)
from sidecars.ambassador.core.postgres import startup as startup_message
from sidecars.ambassador.core.scram import MECHANISM, ScramClient, ScramFailed
from sidecars.ambassador.core.upstream import CheckResult, NodeRole
from sidecars.kit.net.leg import Leg, LegBroken
from sidecars.runtime.clock import monotonic

KEPT_SECONDS = 60.0
"""A new login shows what an old session does not: a wrong password, a full server, another address."""
_QUERY = message(b"Q", b"SHOW transaction_read_only\0")


class NotReady(Exception):
    """The node answers, and cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class CheckLogin:
    """Who logs in. The password is of the file as it is now."""

    user: str
    password: str
    database: str


class SqlCheck:
    """The checks of one node."""

    def __init__(self, dialler: Dialler, credentials: Callable[[], CheckLogin], try_seconds: float) -> None:
        self._dialler = dialler
        self._credentials = credentials
        self._try_seconds = try_seconds
        self._leg: Leg | None = None
        self._reader = MessageReader()
        self._until = 0.0

    async def look(self, target: NodeTarget) -> CheckResult:
        """Ask once. Raise ConnectFailed, NotReady, LegBroken, BrokenServer."""
        try:
            if self._leg is not None and monotonic() < self._until:
                try:
                    return await self._ask(self._leg)
                except LegBroken:
                    pass  # the session had ended: a new one tells why
            self.close()
            leg = await self._login(target)
            return await self._ask(leg)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the session."""
        leg, self._leg = self._leg, None
        if leg is not None and not leg.is_closed:
            with contextlib.suppress(LegBroken):
                leg.put(TERMINATE)
            leg.close()

    async def _login(self, target: NodeTarget) -> Leg:
        who = self._credentials()
        dialled = await self._dialler.dial(target, self._try_seconds)
        self._leg, self._reader = dialled.leg, MessageReader()
        self._until = monotonic() + KEPT_SECONDS
        start = startup_message(who.user, who.database, "ambassador check")
        self._reader.rest = await begin(self._leg, start, self._try_seconds)
        scram: ScramClient | None = None
        while True:
            kind, body = await self._next(self._leg)
            if kind == b"Z":
                return self._leg
            if kind == b"R":
                scram = await self._authenticate(self._leg, body, who, scram)

    async def _authenticate(
        self, leg: Leg, body: bytes, who: CheckLogin, scram: ScramClient | None
    ) -> ScramClient | None:
        what = authentication(body)
        try:
            if what == 10 and MECHANISM.encode() in mechanisms(body):
                scram = ScramClient(who.password, secrets.token_urlsafe(18))
                first = scram.first()
                await leg.send(message(b"p", MECHANISM.encode() + struct.pack("!xI", len(first)) + first))
            elif what == 11 and scram is not None:
                await leg.send(message(b"p", scram.final(body[4:])))
            elif what == 12 and scram is not None:
                scram.verify(body[4:])
            elif what == 3 and leg.tls is not None:
                await leg.send(message(b"p", who.password.encode() + b"\0"))
            elif what == 5:
                inner = hashlib.md5((who.password + who.user).encode(), usedforsecurity=False).hexdigest()
                digest = hashlib.md5(inner.encode() + body[4:8], usedforsecurity=False).hexdigest()
                await leg.send(message(b"p", f"md5{digest}".encode() + b"\0"))
            elif what == 0 and scram is not None:
                scram.end()
            elif what:
                raise NotReady("it wants a login that the check cannot do (scram-sha-256, md5, and password over TLS)")
        except ScramFailed as error:
            raise NotReady(str(error)) from None
        return scram

    async def _ask(self, leg: Leg) -> CheckResult:
        await leg.send(_QUERY)
        answer = b""
        while True:
            kind, body = await self._next(leg)
            if kind == b"D" and len(body) > 6:
                answer = body[6:]
            elif kind == b"Z":
                break
        if answer not in {b"on", b"off"}:
            raise NotReady("it does not say whether it takes writes")
        return CheckResult(ok=True, role=NodeRole.PRIMARY if answer == b"off" else NodeRole.REPLICA)

    async def _next(self, leg: Leg) -> tuple[bytes, bytes]:
        """Return the next message. Raise NotReady for an error, BrokenServer for an end."""
        while (found := self._reader.next()) is None:
            data = await leg.receive()
            if not data:
                raise BrokenServer("it closed the connection")
            self._reader.rest += data
        if found[0] == b"E":
            fields = error_fields(found[1])
            raise NotReady(f"{fields.get('M', 'it refuses')} ({fields.get('C', '')})")
        return found
