"""The steps of a reload as people write them: one key with its options. Values only; each is declared once, and
`--help`, the schema, the reference and the errors follow from here.
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta


class OnFailure(StrEnum):
    """What a failed step means for the steps after it."""

    STOP = "stop"
    CONTINUE = "continue"


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every step has."""

    timeout_seconds: Annotated[float, Meta(gt=0, le=3600, description="Longest time for one attempt.")] = 10.0
    retries: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Attempts after the first that failed. Unset: until it works or newer content comes."),
    ] = None
    on_failure: Annotated[
        OnFailure | None,
        Meta(
            description="`stop`: the steps after this one wait for it. `continue`: they do not, it is tried again "
            "after them. Unset: `continue` for signal and webhook, else `stop`."
        ),
    ] = None


class Http(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An HTTP request: what webhook, validate and confirm share."""

    url: Annotated[str, Meta(description="Where to; http or https.", examples=["http://127.0.0.1:9090/-/reload"])] = ""
    headers: Annotated[dict[str, str], Meta(description="More headers. `{hash}` and `{candidate}` are filled in.")] = {}
    expect_status: Annotated[
        tuple[str, ...],
        Meta(description="Statuses that mean success, such as 200 or 2xx. Redirects are not followed.", examples=[200]),
    ] = ("2xx",)
    bearer_token_file: Annotated[str, Meta(description="File with a bearer token; read again at every request.")] = ""
    username: Annotated[str, Meta(description="For basic authentication.")] = ""
    password_file: Annotated[str, Meta(description="File with the password; read again at every request.")] = ""
    ca_file: Annotated[str, Meta(description="CA certificates (PEM) for https. Unset: those of the system.")] = ""
    client_certificate_file: Annotated[str, Meta(description="Client certificate chain (PEM) for mutual TLS.")] = ""
    client_key_file: Annotated[str, Meta(description="Its key (PEM). Unset: it is in `client_certificate_file`.")] = ""
    server_name: Annotated[
        str, Meta(description="Name that the server's certificate must have. Unset: the host of `url`.")
    ] = ""
    unix_socket: Annotated[str, Meta(description="Connect to this socket; the host of `url` is only a name then.")] = ""


class Call(Http, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An HTTP request that may carry something."""

    method: Annotated[str, Meta(pattern="^[A-Za-z]{1,20}$", description="HTTP method.")] = "POST"
    body: Annotated[str, Meta(description="Request body. `{hash}` and `{candidate}` are filled in.")] = ""
    body_file: Annotated[str, Meta(description="File to send as the body, such as `{candidate}/app.yaml`.")] = ""


class Webhook(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tell the app by an HTTP request. While nobody listens the change stays pending."""

    retry_seconds: Annotated[
        Annotated[float, Meta(ge=0, le=3600)] | None,
        Meta(description="Steady pause before each further attempt. Unset: it grows from 0.25 s to 4 or 10 s."),
    ] = None


class Validate(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask whether the content is good, by a command or an HTTP request. After a no the content is not told; it is asked
    again after 30 s, then less often, for the reason may lie outside of the content.
    """

    command: Annotated[
        tuple[str, ...],
        Meta(
            description="Program and arguments; exit status 0 means good, 75 that it cannot say now, any other is a "
            "no. `{candidate}` is the folder to look at.",
            examples=['["nginx", "-t", "-c", "{candidate}/nginx.conf"]'],
        ),
    ] = ()


class Exec(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run a program in this container."""

    command: Annotated[
        tuple[str, ...],
        Meta(
            description="Program and arguments; exit status 0 means done. No shell.",
            examples=['["touch", "/run/reloaded"]'],
        ),
    ] = ()


class Signal(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Send a signal to the app's process (shareProcessNamespace). All selectors that are given must fit; of several
    processes that fit, the one whose parent does not.
    """

    signal: Annotated[str, Meta(description="Name or number of the signal.", examples=["SIGHUP"])] = "SIGHUP"
    process: Annotated[
        str,
        Meta(
            description="Name of the process: its command name, else its program, else part of its command line. "
            "`any`: whatever handles the signal.",
            examples=["nginx: master"],
        ),
    ] = ""
    comm: Annotated[str, Meta(description="Exact command name, as in /proc/PID/comm (15 bytes).")] = ""
    argv: Annotated[str, Meta(description="Regular expression to be found in the command line.")] = ""
    uid: Annotated[Annotated[int, Meta(ge=0)] | None, Meta(description="User id of the process.")] = None
    pidfile: Annotated[str, Meta(description="File with the process id.")] = ""
    require_handler: Annotated[
        bool | None,
        Meta(
            description="Wait until the process handles the signal, since one that does not would be killed. Unset: "
            "yes, except for the signals that mean the end (SIGTERM, SIGINT, SIGQUIT, SIGKILL)."
        ),
    ] = None


class Confirm(Http, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See that the app took the content: a value at a status URL must advance after the app was told. One of `metric`,
    `json` and `text`. Where no step before it tells the app, `equals` is needed.
    """

    timeout_seconds: Annotated[float, Meta(gt=0, le=3600, description="How long it may take to advance.")] = 30.0
    interval_seconds: Annotated[float, Meta(gt=0, le=60, description="Time between two looks.")] = 0.5
    retries: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="How often the app is told again when it does not advance. Unset: 2, or 0 with `rollback`."),
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
            description="When it does not advance, put the last good generation back and tell the app once. Needs "
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
