"""Wires lint: read, look, mend where that is wanted, print, and say by the exit status how it went."""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sidecars.kit.atomic import write_file
from sidecars.runtime import Context, ExitStatus, Sidecar
from sidecars.runtime.command.printing import say, show

from .core.inspect import ALL_RULES, Inspection, inspect
from .core.rule import Edit, Options, Rule, Severity
from .editing import mend
from .printing import Located, Report, as_json, github, people, sarif
from .reading import Document, UnreadableError, documents_of, files_of, text_of
from .settings import LintSettings


@dataclass
class Run:
    """One look at all files: what was found so far."""

    settings: LintSettings
    found: list[Located] = field(default_factory=list)
    suppressed: list[tuple[Located, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    files: int = 0
    pods: int = 0
    fixed: int = 0
    mended: str | None = None
    """What standard input is with the fixes."""

    def look(self) -> Report:
        """Look at every file that is named. What cannot be read is a problem of the report, and the others go on."""
        for word in self.settings.files:
            try:
                for file in files_of([word]):
                    self._file(file)
            except UnreadableError as error:
                self.problems.append(str(error))
        return Report(self.found, self.suppressed, self.problems, self.files, self.pods, self.fixed)

    def _file(self, file: str) -> None:
        try:
            text = text_of(file)
            self.files += 1
            if self.settings.fix:
                text = self._mend(file, text)
            for document in documents_of(file, text):
                found = self._inspect(document)
                self.pods += found.pods
                self.found += (Located(one, document) for one in found.diagnostics)
                self.suppressed += ((Located(one, document), reason) for one, reason in found.suppressed)
        except UnreadableError as error:
            self.problems.append(str(error))

    def _inspect(self, document: Document) -> Inspection:
        settings = self.settings
        options = Options(settings.most_sidecars, settings.sidecar_share_percent)
        return inspect(document.value, self._rules(), options, document.around)

    def _rules(self) -> Iterator[Rule]:
        for rule in ALL_RULES:
            if rule.id not in self.settings.ignore and (not self.settings.only or rule.id in self.settings.only):
                yield rule

    def _edits(self, document: Document) -> Iterable[Edit]:
        return (edit for one in self._inspect(document).diagnostics for edit in one.hit.edits)

    def _mend(self, file: str, text: str) -> str:
        """Return the text with the fixes, and write it to where it was read."""
        mended, count = mend(file, text, self._edits)
        if file == "-":
            self.mended = mended
        elif count:
            try:
                target = os.path.realpath(file)
                write_file(target, mended.encode(), os.stat(target).st_mode & 0o7777)
            except OSError as error:
                raise UnreadableError(f"cannot write {file}: {error.strerror}; check the permissions") from error
        self.fixed += count
        return mended


async def main(settings: LintSettings, ctx: Context) -> int:
    """Look, print, and return the exit status."""
    del ctx
    run = Run(settings)
    report = run.look()
    if run.mended is not None:  # a filter: what is mended goes on, and what was found stands on stderr
        shown = show(run.mended.removesuffix("\n"))
        say(_printed(report, settings, stream=sys.stderr.isatty()))
    else:
        shown = show(_printed(report, settings, stream=sys.stdout.isatty()))
    for problem in report.problems if settings.format != "github" else ():
        say(problem)
    if report.problems:
        return ExitStatus.BAD_SETTINGS
    worst = min((one.diagnostic.rule.severity.rank for one in report.found), default=len(Severity))
    failed = settings.fail_on != "never" and worst <= Severity(settings.fail_on).rank
    return ExitStatus.FAILED if failed else shown


def _printed(report: Report, settings: LintSettings, *, stream: bool) -> str:
    """Return the report in the format that is wanted. `stream`: whether a terminal shows it."""
    match settings.format:
        case "json":
            return as_json(report)
        case "sarif":
            return sarif(report)
        case "github":
            return github(report)
        case _:
            colour = settings.colour == "always" or (settings.colour == "auto" and stream)
            return people(report, colour=colour)


SIDECAR = Sidecar(
    name="lint",
    settings=LintSettings,
    main=main,
    admin=False,
    words="files",
    aliases={"color": "colour"},
)
