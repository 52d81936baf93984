"""What `check` asks Elasticsearch, and what the answers mean: is it reachable, which version is it, does it take the
credentials, and may they write to the target.
"""

from fnmatch import fnmatchcase
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import msgspec

from .bulk import Answer, whole_refusal

_PRIVILEGES = ("create_doc", "auto_configure")
_BLOCKS = ("write", "read_only", "read_only_allow_delete")
_OLDEST = (7, 9)
"""Data streams, and `create` in bulk requests to them, came with 7.9."""
_BUILT_IN = "logs-*-*"
"""Elasticsearch's own template makes data streams of these names."""


_Shape = TypeVar("_Shape")


class Question(msgspec.Struct, frozen=True):
    """A request without records."""

    method: str
    path: str
    body: bytes = b""


class PreflightFinding(msgspec.Struct, frozen=True):
    """One line of the report. An `error` means that nothing would be shipped."""

    level: Literal["ok", "warning", "error"]
    text: str


class _Version(msgspec.Struct):
    number: str
    distribution: str = "elasticsearch"


class _ServerInfo(msgspec.Struct):
    version: _Version


class _Rights(msgspec.Struct):
    index: dict[str, dict[str, bool]]
    username: str = "the user"


WHO_IS_THERE = Question("GET", "/")


def which_blocks(target: str) -> Question:
    """Ask whether the target exists, and what keeps documents out of it."""
    return Question("GET", f"/{quote(target)}/_settings/index.blocks.*?flat_settings=true")


def which_rights(target: str) -> Question:
    """Ask whether the credentials may write to the target."""
    wanted = {"index": [{"names": [target], "privileges": _PRIVILEGES}]}
    return Question("POST", "/_security/user/_has_privileges", msgspec.json.encode(wanted))


def nodes(found: list[Answer]) -> list[PreflightFinding]:
    """Judge what the nodes answered to WHO_IS_THERE. One that is away is no error while another one answers."""
    findings = [_node(answer) for answer in found]
    if any(map(answers, findings)):
        return [_milder(finding) for finding in findings]
    return findings


def answers(finding: PreflightFinding) -> bool:
    """Return whether a node by this finding can be asked more."""
    return finding.level != "error"


def product(answer: Answer) -> str:
    """Return name and version, by the answer to WHO_IS_THERE; empty where it does not say."""
    root = _decoded(answer.body, _ServerInfo) if answer.status == 200 else None
    if root is None:
        return ""
    return f"{'OpenSearch' if root.version.distribution == 'opensearch' else 'Elasticsearch'} {root.version.number}"


def rights(answer: Answer, target: str, *, exists: bool | None) -> PreflightFinding:
    """Judge whether the credentials may write to the target. `exists` is None where that is not known."""
    if answer.status in (401, 403):
        return PreflightFinding("error" if answer.status == 401 else "warning", _refused(answer, "what it may do"))
    found = _decoded(answer.body, _Rights) if answer.status == 200 else None
    if found is None:
        return PreflightFinding("ok", f"no credentials are asked for; {target} can be written to")
    has = found.index.get(target, {})
    if not has.get("create_doc"):
        text = f"{found.username} may not write to {target}: give its role the privileges create_doc and auto_configure"
        return PreflightFinding("error", f"{text} on it")
    if not has.get("auto_configure"):
        text = f"{found.username} may write to {target}, but not make it or add fields: give it auto_configure, too"
        return PreflightFinding("error" if exists is False else "warning", text)
    return PreflightFinding("ok", f"{found.username} may write to {target}")


def existence(answer: Answer) -> bool | None:
    """Return whether the target is there, by the answer for its blocks; None where we may not know."""
    return {200: True, 404: False}.get(answer.status)


def target(answer: Answer, name: str, *, is_stream: bool) -> list[PreflightFinding]:
    """Judge the answer for the target's blocks."""
    there = existence(answer)
    if there is None:
        return []
    if not there and is_stream and not fnmatchcase(name, _BUILT_IN):
        return [
            PreflightFinding("warning", f"there is no data stream {name} yet: run --setup, or it becomes a plain index")
        ]
    if not there:
        return [PreflightFinding("ok", f"{name} is not there yet; the first document makes it")]
    blocked = sorted(_blocked(answer.body))
    return (
        [PreflightFinding("error", f"{name} cannot be written to: {', '.join(blocked)}; remove it")] if blocked else []
    )


def _blocked(body: bytes) -> set[str]:
    """Return `INDEX has index.blocks.write` for every block that keeps documents out."""
    found = _decoded(body, dict[str, dict[str, dict[str, Any]]]) or {}
    return {
        f"{index} has index.blocks.{block}"
        for index, parts in found.items()
        for block in _BLOCKS
        if str(parts.get("settings", {}).get(f"index.blocks.{block}")).lower() == "true"
    }


def _node(answer: Answer) -> PreflightFinding:
    if answer.status == 0:
        return PreflightFinding("error", f"cannot reach {answer.detail} (check elasticsearch_url)")
    if answer.status == 401:
        return PreflightFinding("error", _refused(answer, "the credentials"))
    if answer.status == 403:
        text = f"{answer.url} answers; its version is shown to users with the cluster privilege monitor"
        return PreflightFinding("ok", text)
    if answer.status in range(300, 400):
        text = f"{answer.url} redirects to {answer.location}: set elasticsearch_url to where Elasticsearch is"
        return PreflightFinding("error", text)
    if answer.status in (400, 404, 405) and "error" in (_decoded(answer.body, dict[str, Any]) or {}):
        return PreflightFinding("warning", f"{answer.url} answers; which version it is was not to be learned")
    if answer.status != 200:
        return PreflightFinding("error", f"{answer.url} answers HTTP {answer.status}: {whole_refusal(answer).reason}")
    name = product(answer)
    if not name:
        return PreflightFinding("error", f"{answer.url} answers, but is no Elasticsearch (check elasticsearch_url)")
    text = f"{answer.url} is {name}"
    kind, number = name.split(" ", 1)
    if kind == "Elasticsearch" and _numbers(number) < _OLDEST:
        return PreflightFinding("error", f"{text}: data streams came with 7.9; use a newer one")
    return PreflightFinding("ok", text)


def _refused(answer: Answer, what: str) -> str:
    return (
        f"{answer.url} refuses {what}: HTTP {answer.status}: {whole_refusal(answer).reason} "
        "(check api_key_file, or username and password_file)"
    )


def _milder(finding: PreflightFinding) -> PreflightFinding:
    return PreflightFinding("warning", finding.text) if finding.level == "error" else finding


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split(".")[:2])


def _decoded(body: bytes, shape: type[_Shape]) -> _Shape | None:
    """Return the body as that shape, or None for anything else."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
