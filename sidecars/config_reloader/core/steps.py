"""The steps of a reload as people write them: one key with its options. Values only; each is declared once, and
`--help`, the schema, the reference and the errors follow from here.
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from sidecars.kit.notify.core.options import Call, Exec, Http, Signal, Webhook


class Validate(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask whether the content is good, by a command or an HTTP request. A no rejects the content; the
    question is asked again after 30 s, then less often, for the reason may lie outside of the content.
    """

    command: Annotated[
        tuple[str, ...],
        Meta(
            description="Program and arguments; exit status 0 means good, 75 that it cannot say now, any other is a "
            "no. `{candidate}` is the folder to look at.",
            examples=['["nginx", "-t", "-c", "{candidate}/nginx.conf"]'],
        ),
    ] = ()


class Confirm(Http, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See that the app took the content: a value at a status URL must advance after the app was notified. One of
    `metric`, `json` and `text`. Where no step before it notifies the app, `equals` is needed.
    """

    timeout_seconds: Annotated[float, Meta(gt=0, le=3600, description="How long it may take to advance.")] = 30.0
    interval_seconds: Annotated[float, Meta(gt=0, le=60, description="Time between two requests.")] = 0.5
    retries: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="How often the app is notified again when it does not advance. Unset: 2, or 0 with `rollback`."
        ),
    ] = None
    metric: Annotated[
        str,
        Meta(
            description="Prometheus metric, with labels if need be, that must grow.",
            examples=["prometheus_config_last_reload_success_timestamp_seconds"],
        ),
    ] = ""
    json: Annotated[
        str, Meta(description="Path of a JSON value that must change, or grow if a number: `status.config.version`.")
    ] = ""
    text: Annotated[
        str, Meta(description="Regular expression; what it (or its first group) matches in the body must change.")
    ] = ""
    equals: Annotated[str, Meta(description="The value must be this instead of advancing; `{hash}` is filled in.")] = ""
    rollback: Annotated[
        bool,
        Meta(
            description="When it does not advance, put the last good generation back and notify the app once. Needs "
            "`render`."
        ),
    ] = False


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step: exactly one of these keys."""

    validate: Annotated[Validate | None, Meta(description="Ask whether the content is good.")] = None
    signal: Annotated[Signal | None, Meta(description="Send a signal to the app.")] = None
    webhook: Annotated[Webhook | None, Meta(description="Send an HTTP request.")] = None
    exec: Annotated[Exec | None, Meta(description="Run a program.")] = None
    confirm: Annotated[Confirm | None, Meta(description="See that it took effect.")] = None


class Unset(StrEnum):
    """What becomes of `$(NAME)` when there is no such variable."""

    ERROR = "error"
    KEEP = "keep"
    EMPTY = "empty"


class Render(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make the app's configuration from the watched content, in a folder of its own, one whole generation at a time."""

    output: Annotated[
        str,
        Meta(
            description="Folder that the app reads: links into the newest good generation, as in a ConfigMap volume.",
            examples=["/etc/nginx"],
        ),
    ] = ""
    expand: Annotated[bool, Meta(description="Replace `$(NAME)` by the variable NAME; `$$(NAME)` stays `$(NAME)`.")] = (
        False
    )
    unset: Annotated[
        Unset,
        Meta(description="With `expand`: what becomes of a variable that is not set; `error` rejects the content."),
    ] = Unset.ERROR
    templates: Annotated[
        tuple[str, ...],
        Meta(
            description="Files rendered by Jinja2, sandboxed, with `env` (the variables); the suffix `.j2` is dropped.",
            examples=["*.j2"],
        ),
    ] = ()
    gunzip: Annotated[bool, Meta(description="Decompress `*.gz`, and drop the suffix.")] = False
    mode: Annotated[str, Meta(pattern="^0?[0-7]{3}$", description="Mode of the files; 0640 or 0600 for secrets.")] = (
        "0644"
    )
