"""What other modules import and we seldom need is loaded at first use, or left out: memory that each pod would pay for.

Exists because asyncio imports TLS, subprocesses import locales, and aiohttp loads the system's certificates, whether or
not anybody wants them. A module that is deferred is loaded, whole, at its first use (as with PEP 810, which Python has
from 3.15 on). Prices are of resident memory, on Python 3.14.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .settings.environment import without_certificates

if TYPE_CHECKING:
    from importlib.abc import Loader  # imports shutil on Python 3.11

AT_FIRST_USE = {
    "ssl": "3.5 MiB with OpenSSL, where nobody speaks TLS or HTTP; asyncio asks whether a socket is one of its",
    "asyncio.sslproto": "asks ssl for the names of its errors",
    "locale": "0.5 MiB of names of languages, for subprocesses whose output is text",
    "shutil": "0.4 MiB with bz2 and lzma; two functions of the HTTP libraries that are never called",
    "bz2": "asked for by shutil",
    "lzma": "asked for by shutil",
}
LEFT_OUT = {
    "_zstd": "0.5 MiB (new in Python 3.14); without it aiohttp does not announce that compression, so never gets it",
    "frozenlist._frozenlist": "1.7 MiB with the C++ library; the same class in Python holds a few callbacks",
}
_SERVERS = {
    "http.server": ("BaseHTTPRequestHandler",),
    "socketserver": ("ThreadingMixIn",),
    "wsgiref.simple_server": ("WSGIRequestHandler", "WSGIServer", "make_server"),
}
_LEAVING = Lock()  # never held during an import
_NEEDS = {"ssl": "_ssl", "bz2": "_bz2", "lzma": "_lzma"}  # a Python without one has to say so at the import


def defer(names: Iterable[str] = AT_FIRST_USE) -> None:
    """Prepare the imports. To be called before asyncio or a library is imported."""
    for name in names:
        spec = _spec(name)
        if name not in sys.modules and spec is not None:
            sys.modules[name] = _stand_in(spec)
    for name in LEFT_OUT:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # makes an import fail, by the language reference
    sys.meta_path.insert(0, _SparingFinder())


def _spec(name: str) -> ModuleSpec | None:
    if importlib.util.find_spec(_NEEDS.get(name, "sys")) is None:
        return None
    package = name.rpartition(".")[0]
    parent = PathFinder.find_spec(package) if package else None  # found, not imported
    return PathFinder.find_spec(name, parent.submodule_search_locations if parent else None)


def _stand_in(spec: ModuleSpec) -> ModuleType:
    module = importlib.util.module_from_spec(spec)
    if spec.name == "ssl":
        module.SSLSocket = type("SSLSocket", (), {})  # type: ignore[attr-defined]  # none can be one before it is loaded
    module.__class__ = _Deferred
    return module


class _Deferred(ModuleType):
    """Stands in for a module until somebody asks for a name that it does not have, and has all names from then on.

    Not importlib.util.LazyLoader: that loads at every question, also for a name that is here. The import is the usual
    one, under the locks of the import system, which know of each other: with a lock of our own around it, two threads
    could wait for each other for ever.
    """

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":  # the import system asks whether this is a package
            raise AttributeError(name)
        with _LEAVING:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        module = importlib.import_module(self.__name__)
        self.__dict__.update(vars(module))
        return getattr(module, name)


@contextmanager
def _without_servers() -> Iterator[None]:
    """Import without HTTP servers: the metrics library can serve and push by itself, and neither is used here."""
    standing_in = [_standing_in(name, names) for name, names in _SERVERS.items() if name not in sys.modules]
    sys.modules.update({module.__name__: module for module in standing_in})
    try:
        yield
    finally:
        for module in standing_in:
            del sys.modules[module.__name__]


def _standing_in(name: str, names: Sequence[str]) -> ModuleType:
    module = ModuleType(name)
    for each in names:
        setattr(module, each, type(each, (), {}))
    return module


_SPARINGLY: dict[str, Callable[[], AbstractContextManager[None]]] = {
    # 2 MiB of the system's certificates for requests that bring no TLS context; ours bring one
    "aiohttp.connector": without_certificates,
    # 0.4 MiB
    "prometheus_client.exposition": _without_servers,
}


class _SparingFinder:
    """Finds the modules that are to be imported sparingly."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """Find one of them, as usual."""
        del target
        spec = PathFinder.find_spec(name, path) if name in _SPARINGLY else None
        if spec is not None and spec.loader is not None:
            spec.loader = _SparingLoader(spec.loader, _SPARINGLY[name])  # type: ignore[assignment]  # behaves as one
        return spec


class _SparingLoader:
    def __init__(self, loader: "Loader", sparingly: Callable[[], AbstractContextManager[None]]) -> None:
        self._loader = loader
        self._sparingly = sparingly

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)  # its source, for tracebacks

    def exec_module(self, module: ModuleType) -> None:
        with self._sparingly():
            self._loader.exec_module(module)
