"""From the watched files to the files that the app reads: decompressed, filled in from templates, expanded.

The only module that knows Jinja2, and it imports it when templates are configured and not before: 2.6 MiB.
"""

import gzip
import io
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from types import TracebackType

from sidecars.config_reloader.core.expand import UnsetVariable, expand
from sidecars.config_reloader.core.steps import Render

_UNPACKED_BYTES = 64 * 1024 * 1024
"""All that is decompressed in one rendering, together: a ConfigMap of 1 MiB could be a gigabyte otherwise."""
_NOT_DEFINED = re.compile(r"'(\w{1,100})' is undefined|has no attribute '(\w{1,100})'")
"""Jinja2's two sentences about a name; the name alone is shown, since an error text may hold what is in the file."""
_TEMPLATE_FAULTS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NameError, RuntimeError, SyntaxError,
    TypeError, ValueError,
)  # fmt: skip
"""What code in a template can raise beside Jinja2's own errors: a template is a program of somebody else."""


class Unrenderable(Exception):
    """This content cannot be rendered, and will not be until it or the settings change. The text names the file, its
    line where there is one, and the remedy; it holds nothing of what is in the file, which may be a secret.
    """


def render(files: Mapping[str, bytes], rules: Render, environ: Mapping[str, str]) -> dict[str, bytes]:
    """Return the files for the app: names relative to the output folder, without `.gz` and `.j2` where they were
    decompressed and rendered. Raises Unrenderable.

    Templates see `env` (the variables), may include and import the other watched files by their names in the folder
    (decompressed: without `.gz`; as they are written, not rendered), and nothing else. Their line ends become LF.

    A template runs in Jinja2's sandbox: no attributes of Python's, no changing of values, `range` up to 100000. Not
    bounded are the time and the memory of loops in loops, of `'x' * 10**9`, of powers and of padding filters
    (https://jinja.palletsprojects.com/en/stable/sandbox/#security-considerations): who may write the templates may
    bring the sidecar to its memory limit. It blocks while it works, so call it in a thread.
    """
    unpacked = _unpack(files) if rules.gunzip else {name: (name, content) for name, content in files.items()}
    templates = _Templates(unpacked, environ) if rules.templates else None
    rendered: dict[str, bytes] = {}
    origins: dict[str, str] = {}
    for name, (origin, content) in unpacked.items():
        target, result = name, content
        if templates and _is_template(name, rules.templates):
            target, result = name.removesuffix(".j2"), templates.render(name)
        elif rules.expand:
            result = _expanded(origin, content, rules, environ)
        _claim(origins, target, origin)
        rendered[target] = result
    _refuse_files_as_folders(origins)
    return rendered


def _claim(origins: dict[str, str], target: str, origin: str) -> None:
    """Note which file becomes `target`; refuse a name that is taken, or that leads out of the folder."""
    parts = target.split("/")
    # The first name must not begin with "..": in the output folder these are the generations and their links.
    if {"", ".", ".."} & {*parts} or parts[0].startswith(".."):
        raise Unrenderable(
            f"cannot render {origin!r}: its name in the output folder would be {target!r}, which is empty, absolute or "
            "leads through '.' or '..'; rename the file"
        )
    if target in origins:
        raise _both(target, origins[target], origin)
    origins[target] = origin


def _refuse_files_as_folders(origins: Mapping[str, str]) -> None:
    for target, origin in origins.items():
        folder = target
        while folder := folder.rpartition("/")[0]:
            if folder in origins:
                raise _both(folder, origins[folder], origin)


def _both(target: str, first: str, second: str) -> Unrenderable:
    return Unrenderable(f"cannot render {first!r} and {second!r}: both become {target!r}; rename or remove one of them")


def _unpack(files: Mapping[str, bytes]) -> dict[str, tuple[str, bytes]]:
    """Return what is in the files, by names without `.gz`, each with the name of the file it came from."""
    unpacked: dict[str, tuple[str, bytes]] = {}
    left_bytes = _UNPACKED_BYTES
    for origin, packed in files.items():
        name, content = origin, packed
        if origin.endswith(".gz"):
            name, content = origin.removesuffix(".gz"), _gunzip(origin, packed, left_bytes)
            left_bytes -= len(content)
        if name in unpacked:
            raise _both(name, unpacked[name][0], origin)
        unpacked[name] = (origin, content)
    return unpacked


def _gunzip(origin: str, packed: bytes, at_most_bytes: int) -> bytes:
    content: bytes | None = None
    with suppress(gzip.BadGzipFile, EOFError, zlib.error), gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        content = file.read(at_most_bytes + 1)
    if content is None or not packed:  # GzipFile takes an empty file for an empty content; gzip(1) does not
        raise Unrenderable(
            f"cannot decompress {origin!r}: it is not gzip, or is cut short; make it anew with gzip, or name it "
            "without .gz"
        )
    if len(content) > at_most_bytes:
        raise Unrenderable(
            f"cannot decompress {origin!r}: with it the decompressed files are more than {_UNPACKED_BYTES} bytes; "
            "make them smaller"
        )
    return content


def _expanded(origin: str, content: bytes, rules: Render, environ: Mapping[str, str]) -> bytes:
    try:
        return expand(content, environ, rules.unset)
    except UnsetVariable as error:
        raise Unrenderable(
            f"cannot expand {origin!r} line {error.line}: the variable {error.name} is not set; set it in the "
            f"sidecar's environment, write $$({error.name}) if it is meant as it stands, or choose another `unset`"
        ) from None


def _is_template(name: str, patterns: tuple[str, ...]) -> bool:
    basename = name.rpartition("/")[2]
    return any(fnmatchcase(name, pattern) or fnmatchcase(basename, pattern) for pattern in patterns)


class _Templates:
    """The watched files as Jinja2's templates."""

    def __init__(self, files: Mapping[str, tuple[str, bytes]], environ: Mapping[str, str]) -> None:
        import jinja2  # 2.6 MiB, see above
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        self._files = files
        self._variables = dict(environ)
        self._faults = (jinja2.TemplateError, *_TEMPLATE_FAULTS)
        self._jinja = ImmutableSandboxedEnvironment(
            loader=jinja2.FunctionLoader(self._source),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            autoescape=False,  # configuration, not HTML
        )

    def render(self, name: str) -> bytes:
        """Render one file. Raises Unrenderable."""
        try:
            # As in expand: bytes of the environment that are no UTF-8 come out as they went in.
            text: str = self._jinja.get_template(name).render(env=self._variables)
            return text.encode("utf-8", "surrogateescape")
        except self._faults as error:
            raise Unrenderable(self._words(name, error)) from None  # the cause holds lines of the file

    def _source(self, name: str) -> tuple[str, str, None] | None:
        """Return for the loader: text, file name for tracebacks; None when there is no such file."""
        if name not in self._files:
            return None
        origin, content = self._files[name]
        try:
            return content.decode("utf-8"), name, None
        except UnicodeDecodeError:
            raise Unrenderable(
                f"cannot render {origin!r}: it is not text in UTF-8; convert it, or let `templates` not match it"
            ) from None

    def _words(self, name: str, error: BaseException) -> str:
        import jinja2

        place, line = self._place(name, error)
        if isinstance(error, jinja2.UndefinedError):
            found = _NOT_DEFINED.search(error.message or "")
            what = f"{found[1] or found[2]} is not set" if found else "a name in it is not set"
            remedy = "set the variable, or give a default: {{ env.NAME | default('...') }}"
        elif isinstance(error, jinja2.TemplateSyntaxError):
            what = "it is not valid Jinja2"
            remedy = "mend it, or put {% raw %} around text that is not meant for Jinja2"
        elif isinstance(error, jinja2.TemplateNotFound):
            what, remedy = "it includes a file that is not watched", "name a file of the watched folders"
        else:
            what, remedy = f"the template fails with {type(error).__name__}", "mend the template"
        return f"cannot render {place!r}{f' line {line}' if line else ''}: {what}; {remedy}"

    def _place(self, name: str, error: BaseException) -> tuple[str, int]:
        """Return file and line (0: unknown) of the innermost template; Jinja2 puts both into the traceback."""
        import jinja2

        if isinstance(error, jinja2.TemplateSyntaxError):
            return self._files[error.name or name][0], error.lineno
        place, line = name, 0
        step: TracebackType | None = error.__traceback__
        while step:
            if step.tb_frame.f_code.co_filename in self._files:
                place, line = step.tb_frame.f_code.co_filename, step.tb_lineno
            step = step.tb_next
        return self._files[place][0], line
