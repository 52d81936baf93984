"""Lines as container runtimes write them, and lines as they are taken from a block."""

from sidecars.log_shipper.core.lines import Taken

AT = "2026-11-22T13:45:00.123456789Z"


def cri(text: str, tag: str = "F", stream: str = "stdout") -> str:
    """As containerd and CRI-O write one; `tag` is P for a part that another one follows."""
    return f"{AT} {stream} {tag} {text}"


def docker(text: str, stream: str = "stdout", more: str = "") -> str:
    """As Docker's json-file driver writes one, where `text` ends with an escaped newline unless it is a part."""
    return f'{{"log":"{text}","stream":"{stream}",{more}"time":"{AT}"}}'


def taken_of(lines: list[bytes], offset: int = 0, cut: frozenset[int] = frozenset()) -> Taken:
    """Return these lines as what was taken at an offset."""
    starts, place = [], offset
    for line in lines:
        starts.append(place)
        place += len(line) + 1
    return Taken(list(lines), starts, [len(line) + 1 for line in lines], place - offset, cut=cut)
