"""What `sidecar check log-shipper` finds besides wrong settings: what would be shipped, and what would fail."""

import os
from collections.abc import Iterator

from sidecars.runtime import Finding

from .core.choices import Output
from .discovery import Globs
from .settings import LogShipperSettings

_NAMED = 10


def findings(settings: LogShipperSettings) -> Iterator[Finding]:
    """Looks at files and folders; talks to nobody."""
    found = Globs(settings.paths, settings.exclude, settings.own_files).find()
    if not found:
        yield Finding("warning", f"no file matches {', '.join(settings.paths)} yet; files are shipped when they appear")
    for item in list(found.values())[:_NAMED]:
        readable = os.access(item.path, os.R_OK)
        text = (
            f"would ship {item.path} ({item.size_bytes} bytes)"
            if readable
            else f"cannot read {item.path}: permission denied"
        )
        yield Finding("ok" if readable else "error", text)
    if len(found) > _NAMED:
        yield Finding("ok", f"and {len(found) - _NAMED} more files")
    yield _state_folder(settings.state_dir)
    for field in ("ca_file", "client_certificate_file", "client_key_file", "api_key_file", "password_file"):
        path = getattr(settings, field)
        if path and not os.access(path, os.R_OK):
            yield Finding("error", f"cannot read {path} ({field})")
    if settings.destination is Output.ELASTICSEARCH:
        yield Finding("ok", f"ships to {settings.target} on {len(settings.elasticsearch_url)} Elasticsearch node(s)")
    else:
        to_file = settings.destination is Output.FILE
        yield Finding("ok", f"ships to {settings.output_path if to_file else settings.destination.value}")


def _state_folder(folder: str) -> Finding:
    place = folder
    while not os.path.exists(place) and place != "/":
        place = os.path.dirname(place) or "/"
    if os.access(place, os.W_OK):
        return Finding("ok", f"keeps its checkpoint in {folder}")
    return Finding(
        "warning", f"cannot write {folder} (state_dir): would run without a checkpoint; mount a writable emptyDir there"
    )
