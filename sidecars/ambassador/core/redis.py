"""As much of Redis's protocol (RESP 2) as it takes to log in and ask for the role."""

from dataclasses import dataclass

_LONGEST_BYTES = 1 << 20
_DEEPEST = 4


class NotRedis(ValueError):
    """What came is not of this protocol."""

    def __init__(self) -> None:
        super().__init__("it answered something that is not Redis")


@dataclass(frozen=True, slots=True)
class RedisError:
    """An error reply, such as `NOAUTH Authentication required.`"""

    text: str

    @property
    def word(self) -> str:
        """Return its first word."""
        return self.text.partition(" ")[0]


def command(*words: str) -> bytes:
    """Return a command."""
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def error(text: str) -> bytes:
    """Return an error reply: a client takes it for the answer to its first command."""
    return f"-ERR {text}\r\n".encode()


def reply(received: bytes) -> tuple[object, bytes] | None:
    """Return the first reply of what came, and the rest; None when it is not whole yet. Raise NotRedis."""
    if len(received) > _LONGEST_BYTES:
        raise NotRedis
    return _reply(received, _DEEPEST)


def _reply(received: bytes, depth: int) -> tuple[object, bytes] | None:
    if not received:
        return None
    line, end, rest = received.partition(b"\r\n")
    kind, text = line[:1], line[1:]
    if kind not in {b"+", b"-", b":", b"$", b"*"} or len(line) > _LONGEST_BYTES:
        raise NotRedis
    if not end:
        return None
    if kind in {b"+", b"-"}:
        shown = text.decode(errors="replace")
        return (RedisError(shown) if kind == b"-" else shown), rest
    number = _number(text)
    if kind == b":":
        return number, rest
    if number < -1:
        raise NotRedis
    if number == -1:
        return None, rest
    return _bulk(rest, number) if kind == b"$" else _array(rest, number, depth)


def _number(text: bytes) -> int:
    if not text.removeprefix(b"-").isdigit() or len(text) > 19:
        raise NotRedis
    return int(text)


def _bulk(rest: bytes, length: int) -> tuple[object, bytes] | None:
    if length > _LONGEST_BYTES:
        raise NotRedis
    if len(rest) < length + 2:
        return None
    return rest[:length].decode(errors="replace"), rest[length + 2 :]


def _array(rest: bytes, length: int, depth: int) -> tuple[object, bytes] | None:
    if not depth:
        raise NotRedis
    items: list[object] = []
    for _ in range(length):
        found = _reply(rest, depth - 1)
        if found is None:
            return None
        items.append(found[0])
        rest = found[1]
    return items, rest


def role_of(answer: object) -> str:
    """Return `master` or `slave` from the answer to ROLE. Raise NotRedis for anything else, as from a sentinel."""
    if isinstance(answer, list) and answer and answer[0] in {"master", "slave"}:
        return str(answer[0])
    raise NotRedis
