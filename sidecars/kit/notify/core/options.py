"""How an app is notified, as people write it in the settings: values only, each declared once, and `--help`, the
schema, the reference and the errors follow from here.
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta


class OnFailure(StrEnum):
    """What a failed step means for the steps after it."""

    STOP = "stop"
    CONTINUE = "continue"


class StepOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


class Http(StepOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
    """Notify the app by an HTTP request. While nobody listens the change stays pending."""

    retry_seconds: Annotated[
        Annotated[float, Meta(ge=0, le=3600)] | None,
        Meta(description="Steady pause before each further attempt. Unset: it grows from 0.25 s to 4 or 10 s."),
    ] = None


class Exec(StepOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run a program in this container."""

    command: Annotated[
        tuple[str, ...],
        Meta(
            description="Program and arguments; exit status 0 means done. No shell.",
            examples=['["touch", "/run/reloaded"]'],
        ),
    ] = ()


class Signal(StepOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
