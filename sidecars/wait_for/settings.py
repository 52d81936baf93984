"""The settings of wait-for, each declared once."""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from sidecars.runtime import Basics, Problem

from .core.address import without_secrets
from .core.parse import header_fault, parse
from .core.target import BadTarget, Target


class WaitForSettings(Basics, frozen=True, kw_only=True):
    """Settings of wait-for."""

    targets: Annotated[
        tuple[str, ...],
        Meta(
            description="What to wait for; on the command line they stand as words, without this flag. Required.",
            examples=["tcp://db:5432"],
        ),
    ] = ()
    any: Annotated[bool, Meta(description="One target that is ready suffices; else all have to be.")] = False
    stable_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="Every attempt on a target must succeed for so long in a row; a failure begins anew. 0: "
            "ready at the first success.",
        ),
    ] = 0.0
    timeout_seconds: Annotated[float, Meta(ge=0, description="Longest time for everything; 0: no limit.")] = 300.0
    try_seconds: Annotated[float, Meta(gt=0, le=3600, description="Longest time for one attempt.")] = 5.0
    interval_seconds: Annotated[
        float,
        Meta(gt=0, le=3600, description="Longest pause between two attempts; the first ones are shorter, at random."),
    ] = 2.0
    headers: Annotated[dict[str, str], Meta(description="Headers of every HTTP request.")] = {}
    bearer_token_file: Annotated[
        str, Meta(description="File with a bearer token for HTTP requests; read again at every attempt.")
    ] = ""
    ca_file: Annotated[
        str,
        Meta(
            description="CA certificates (PEM) for https and postgres. Unset: those of the system for https; postgres "
            "is encrypted and not verified."
        ),
    ] = ""
    client_certificate_file: Annotated[str, Meta(description="Client certificate chain (PEM) for mutual TLS.")] = ""
    client_key_file: Annotated[str, Meta(description="Its key (PEM). Unset: it is in `client_certificate_file`.")] = ""
    progress_seconds: Annotated[
        float,
        Meta(gt=0, description="Time between two log lines that say what is still missing; the first comes after 2 s."),
    ] = 10.0
    termination_log: Annotated[
        str,
        Meta(description="File for the reason when it ends without success; written only if it exists. Empty: none."),
    ] = "/dev/termination-log"
    command: Annotated[
        tuple[str, ...],
        Meta(description="Program and arguments to become when ready; on the command line what follows a lone `--`."),
    ] = ()

    def problems(self) -> Iterable[Problem]:
        """Return what single fields cannot say."""
        if not self.targets:
            yield Problem("targets", "there is nothing to wait for", "name one or more, such as tcp://db:5432")
        for text in self.targets:
            try:
                parse(text)
            except BadTarget as error:
                for mistake in error.mistakes:
                    yield Problem("targets", f"{without_secrets(text)!r}: {mistake.message}", mistake.remedy)
        for name, value in self.headers.items():
            if fault := header_fault(name, value):
                yield Problem("headers", f"one of them cannot be sent: {fault}", "write it as Name=value")
        if self.stable_seconds and 0 < self.timeout_seconds <= self.stable_seconds:
            yield Problem(
                "stable_seconds",
                f"{self.stable_seconds:g} s in a row do not fit into timeout_seconds ({self.timeout_seconds:g} s)",
                "raise timeout_seconds, or lower stable_seconds",
            )
        if self.client_key_file and not self.client_certificate_file:
            yield Problem(
                "client_certificate_file", "a client key is given and no certificate", "set the file of the certificate"
            )

    @property
    def parsed(self) -> tuple[Target, ...]:
        """Return the targets. Raises BadTarget where `problems` says something."""
        return tuple(map(parse, self.targets))
