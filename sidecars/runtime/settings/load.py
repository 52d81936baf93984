"""Settings: from the environment, the settings file and flags into one frozen value per sidecar.

Flags win over environment variables, these over the YAML file, that over foreign variables (`fallbacks`), those over
the default. Every problem is reported at once: whoever edits a manifest should need one round, not five.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from sidecars.runtime.errors import Problem, SettingsError, unknown

from .fields import Field, fields_of
from .structures import SettingPlace, missing, read_setting
from .values import line_of

S = TypeVar("S", bound="Basics")
_NOTHING: Mapping[str, object] = {}

# Kubernetes sets these in every container for each Service of the namespace, also for one called like the sidecar
# (kubelet pkg/kubelet/envvars); they are not meant for us.
_SERVICE_LINK = re.compile(
    r".*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)"
)
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://\S+")


class Basics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of every sidecar; each declares its own on top, with `Annotated[type, Meta(description=...)]`."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severe level that is logged.")
    ] = "info"

    def problems(self) -> Iterable[Problem]:
        """Return what is wrong between fields that are each fine alone. For sidecars to override."""
        return ()

    @classmethod
    def fallbacks(cls, environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
        """Return texts for fields that our own sources leave unset, taken from other people's variables, each with the
        name of its variable: `{"pod_name": (text, "POD_NAME")}`. For sidecars to override.
        """
        del environ
        return {}


class Settings(Basics, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of every sidecar with an admin endpoint. A bare new default, such as `admin_port: int = 9101`, keeps
    type, bounds and description.
    """

    admin_host: Annotated[
        str,
        Meta(
            description="Address of the admin endpoint; `::` is all, IPv6 and IPv4 (where there is no IPv6, IPv4 "
            "alone), since kubelet probes come from outside the pod. `0.0.0.0`: IPv4 only."
        ),
    ] = "::"
    admin_port: Annotated[
        int,
        Meta(
            ge=0,
            le=65535,
            description="Port of the admin endpoint; 0 takes any free one and logs it as `admin.listening`.",
        ),
    ] = 0
    grace_seconds: Annotated[
        float,
        Meta(
            gt=0,
            description="Longest time from SIGTERM to the exit; keep it 2 s below terminationGracePeriodSeconds.",
        ),
    ] = 30.0


@dataclass(frozen=True)
class _Given:
    """A value as it was given, and where."""

    raw: object
    source: str
    line: int = 0

    @property
    def described(self) -> str:
        """The source for people."""
        return SettingPlace("", self.source, self.line).described


def _between(settings: "Basics") -> Iterable[Problem]:
    return settings.problems()


def load(
    settings: type[S],
    prefix: str,
    environ: Mapping[str, str],
    flags: Mapping[str, object] = _NOTHING,
    check: Callable[[S], Iterable[Problem]] = _between,
) -> S:
    """Read the settings of a sidecar whose variables start with `prefix` (such as `LOG_SHIPPER_`).

    `flags` are texts by field name (a tuple of them when given several times, a list of whole items for words), plus
    `config` (also a variable): the path of the YAML file. `check` returns what is wrong with settings whose fields are
    each fine alone. Raise SettingsError with every problem.
    """
    fields = {field.name: field for field in fields_of(settings)}
    problems: list[Problem] = []
    environ = {name: text.strip("\r\n") for name, text in environ.items()}  # as many a Secret ends
    variables = {
        name: text
        for name, text in environ.items()
        if name.startswith(prefix) and text and not _is_service_link(name, text)
    }
    path = str(flags.get("config") or variables.get(f"{prefix}CONFIG", ""))
    given = _from_fallbacks(settings, environ)
    given |= _from_file(path, fields, problems) if path else {}
    unread = bool(problems) and problems[0].field == "config"
    given |= _from_environment(variables, prefix, fields, problems)
    given |= {name: _Given(raw, _source(name, raw)) for name, raw in flags.items() if name != "config"}
    values = dict(_parsed(fields, given, problems))
    if unread:  # what it says is not known, so nothing is missing and nothing contradicts
        raise SettingsError(problems)
    meant = set(_meant(fields, prefix, problems))
    problems += [missing(field, name) for name, field in fields.items() if _is_missing(field, {*given, *meant})]
    wrong = {problem.setting for problem in problems} | meant
    if not any(field.default is msgspec.NODEFAULT and name not in values for name, field in fields.items()):
        made = settings(**values)  # what is wrong has its default here, and its own problem already
        between = [problem for problem in check(made) if problem.setting not in wrong]
        problems += [_sourced(problem, given) for problem in between]
        if not problems:
            return made
    raise SettingsError(problems)


def _meant(fields: Iterable[str], prefix: str, problems: Iterable[Problem]) -> Iterator[str]:
    """Yield the settings that were most likely meant by unknown names: that they are missing need not be said."""
    hints = {problem.remedy for problem in problems}
    for name in fields:
        if hints & {f"did you mean {name}?", f"did you mean {prefix}{name.upper()}?"}:
            yield name


def _is_missing(field: Field, given: Container[str]) -> bool:
    return field.default is msgspec.NODEFAULT and field.name not in given


def _source(name: str, raw: object) -> str:
    return "the command line" if isinstance(raw, list) else f"--{name.replace('_', '-')}"


def _is_service_link(name: str, text: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(name)) or (name.endswith("_PORT") and bool(_SERVICE_URL.fullmatch(text)))


def _from_fallbacks(settings: type[Basics], environ: Mapping[str, str]) -> dict[str, _Given]:
    found = settings.fallbacks(environ).items()
    return {field: _Given(text, variable) for field, (text, variable) in found if text}


def _from_file(path: str, fields: Mapping[str, Field], problems: list[Problem]) -> dict[str, _Given]:
    from .yaml import read_mapping  # only when there is a file

    try:
        content = read_mapping(path, fields)
    except SettingsError as error:
        problems.extend(error.problems)
        return {}
    found = {name: _Given(raw, f"{path}:{name[:80]}", line_of(content, name)) for name, raw in content.items()}
    problems += [unknown(name, "key", fields, found[name].described) for name in content if name not in fields]
    return {name: given for name, given in found.items() if name in fields and given.raw is not None}


def _from_environment(
    variables: Mapping[str, str], prefix: str, fields: Mapping[str, Field], problems: list[Problem]
) -> dict[str, _Given]:
    known = {f"{prefix}{name.upper()}": name for name in fields}
    names = [*known, f"{prefix}CONFIG"]
    problems += [unknown(name, "variable", names, "the environment") for name in variables if name not in names]
    return {known[name]: _Given(text, name) for name, text in variables.items() if name in known}


def _parsed(
    fields: Mapping[str, Field], given: Mapping[str, _Given], problems: list[Problem]
) -> Iterator[tuple[str, Any]]:
    for name, field in fields.items():
        if name in given:
            try:
                yield name, read_setting(field, given[name].raw, given[name].source, given[name].line)
            except SettingsError as error:
                problems += error.problems


def _sourced(problem: Problem, given: Mapping[str, _Given]) -> Problem:
    found = given.get(problem.setting)
    return replace(problem, source=found.described) if found and not problem.source else problem
