"""What can be waited for, as values. `parse.py` makes them of the texts that people write.

`shown` is the address for logs and messages: without user, query and options, since those may hold a secret.
"""

from dataclasses import dataclass, field

from sidecars.kit.http_match import JsonPath, StatusSet


@dataclass(frozen=True, slots=True)
class Tcp:
    """A port that accepts a connection."""

    shown: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class JsonCondition:
    """Something in a JSON document: `path` leads there, `shown` is the path as it was written; `equals` None means that
    it only has to be.
    """

    path: JsonPath
    shown: str
    equals: str | None


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """An HTTP request whose answer is as it should be. `url` is sent as it is, `body` is a regular expression to be
    found in the answer's body.
    """

    shown: str
    url: str = field(repr=False)
    host: str
    tls: bool
    method: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    statuses: StatusSet
    body: str | None
    json: JsonCondition | None


@dataclass(frozen=True, slots=True)
class Dns:
    """A name that resolves to at least one address."""

    shown: str
    host: str


@dataclass(frozen=True, slots=True)
class File:
    """Something in the file system; with `min_bytes` or `contains` (a text) a regular file that is or has so."""

    shown: str
    path: str
    min_bytes: int | None
    contains: str | None


@dataclass(frozen=True, slots=True)
class Socket:
    """A unix stream socket that accepts a connection."""

    shown: str
    path: str


@dataclass(frozen=True, slots=True)
class Postgres:
    """A PostgreSQL server, or a pooler, that takes connections. `database` may be empty: the server's default."""

    shown: str
    host: str
    port: int
    user: str
    database: str


Target = Tcp | HttpTarget | Dns | File | Socket | Postgres


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with a target, and what to write instead."""

    message: str
    remedy: str


class BadTarget(ValueError):
    """A text that is no target. Carries every mistake that was found in it."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        self.mistakes = mistakes
        super().__init__("; ".join(mistake.message for mistake in mistakes))
