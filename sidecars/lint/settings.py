"""The settings of lint, each declared once."""

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta

from sidecars.runtime import Basics, Problem

from .core.inspect import KNOWN


class LintSettings(Basics, frozen=True, kw_only=True):
    """Settings of lint."""

    files: Annotated[
        tuple[str, ...],
        Meta(
            description="Manifests to look at: files, folders (their .yaml, .yml and .json), or `-` for "
            "standard input; on the command line they stand as words, without this flag. Required.",
            examples=["k8s/"],
        ),
    ] = ()
    format: Annotated[
        Literal["text", "json", "sarif", "github"],
        Meta(description="How findings are printed: for people, for scripts, for code scanning, or as annotations."),
    ] = "text"
    colour: Annotated[
        Literal["auto", "always", "never"], Meta(description="Colours in texts; auto: at a terminal.")
    ] = "auto"
    fail_on: Annotated[
        Literal["error", "warning", "info", "never"],
        Meta(description="Least severity of a finding that makes the exit status 1."),
    ] = "warning"
    only: Annotated[tuple[str, ...], Meta(description="Rules to look with; unset: all.")] = ()
    ignore: Annotated[tuple[str, ...], Meta(description="Rules that are left out.")] = ()
    most_sidecars: Annotated[int, Meta(ge=0, description="Sidecars that a pod may have (too-many-sidecars).")] = 3
    sidecar_share_percent: Annotated[
        int,
        Meta(
            ge=1, description="What all sidecars of a pod may request, in percent of its app (sidecars-outweigh-app)."
        ),
    ] = 100
    fix: Annotated[
        bool,
        Meta(description="Write what has one right answer into the files; standard input is printed, mended, instead."),
    ] = False

    def problems(self) -> Iterable[Problem]:
        """Return what single fields cannot say."""
        if not self.files:
            yield Problem("files", "there is nothing to look at", "name manifests, a folder, or - for standard input")
        for field, names in (("only", self.only), ("ignore", self.ignore)):
            for name in names:
                if name not in KNOWN:
                    yield Problem(field, f"there is no rule {name!r}", f"the rules are {', '.join(sorted(KNOWN))}")
