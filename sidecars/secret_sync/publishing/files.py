"""The content of files: formats, and templates over one or several secrets. The only module here that knows Jinja2, and
it imports it when a template is configured and not before: 2.6 MiB.
"""

from collections.abc import Mapping
from typing import Any

from sidecars.kit.files import UnusableFile, read_small
from sidecars.secret_sync.core.formats import Format, Unwritable, written
from sidecars.secret_sync.settings import SecretFile


_OF_EXPRESSIONS = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What the expressions of a template may raise."""


def content(file: SecretFile, name: str, values: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return the bytes of a file of the secret `name`. Raises Unwritable, whose text holds no value."""
    if file.format is not Format.TEMPLATE:
        return written(file.format, values[name], file.key)
    try:
        text = file.template or read_small("template_file", file.template_file).decode()
    except (UnusableFile, UnicodeDecodeError) as error:
        raise Unwritable(str(error)) from None
    return _rendered(text, name, values)


def _rendered(text: str, name: str, values: Mapping[str, Mapping[str, Any]]) -> bytes:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    try:
        made = environment.from_string(text).render({**values[name], "secret": values[name], "secrets": values})
    except jinja2.TemplateSyntaxError as error:
        raise Unwritable(f"the template has an error in line {error.lineno}") from None
    except jinja2.UndefinedError as error:
        raise Unwritable(f"the template names what is not there: {error.message}") from None
    except (jinja2.TemplateError, *_OF_EXPRESSIONS) as error:
        raise Unwritable(f"the template cannot be rendered: {type(error).__name__}") from None
    return made.encode()
