"""The content of files: formats, templates over one or several secrets, stores. The only module here that knows Jinja2,
and it imports it when a template is configured and not before: 2.6 MiB.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sidecars.kit.files import UnusableFile, read_secret, read_small
from sidecars.secret_sync.core.formats import Format, Unwritable, as_text, written
from sidecars.secret_sync.settings import SecretFile

_OF_EXPRESSIONS = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What the expressions of a template may raise."""


def content(
    file: SecretFile, name: str, values: Mapping[str, Mapping[str, Any]], former: Callable[[], bytes | None]
) -> bytes:
    """Return the bytes of a file of the secret `name`. `former` gives what the file holds now. Raises Unwritable, whose
    text holds no value.
    """
    match file.format:
        case Format.TEMPLATE:
            return _rendered(_template(file), name, values)
        case Format.PKCS12:
            from . import keystores  # see there

            return keystores.store(name, values[name], _passphrase(file, values), former())
    return written(file.format, values[name], file.key)


def _template(file: SecretFile) -> str:
    try:
        return file.template or read_small("template_file", file.template_file).decode()
    except (UnusableFile, UnicodeDecodeError) as error:
        raise Unwritable(str(error)) from None


def _passphrase(file: SecretFile, values: Mapping[str, Mapping[str, Any]]) -> str:
    if file.passphrase_file:
        try:
            return read_secret("passphrase_file", file.passphrase_file)
        except UnusableFile as error:
            raise Unwritable(str(error)) from None
    secret, _, key = file.passphrase_from.partition("#")
    if secret and secret not in values:
        raise Unwritable(f"its passphrase is not there yet: {secret} was not read")
    if secret and key not in values[secret]:
        raise Unwritable(f"there is no key {key!r} in the secret {secret}, which has its passphrase")
    return as_text(values[secret][key]) if secret else ""


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
