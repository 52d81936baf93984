"""The setting that says how folders are watched; a declaration only, for the settings of each sidecar that watches."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta


class WatchBackend(StrEnum):
    """What reports that something happened in a folder."""

    AUTO = "auto"
    INOTIFY = "inotify"
    WATCHFILES = "watchfiles"
    POLLING = "polling"


WatchBackendSetting = Annotated[
    WatchBackend,
    Meta(
        description="How folders are watched. `auto`: by inotify on Linux, else by watchfiles (macOS). `watchfiles` "
        "wakes up ten times a second. `polling`: no events, only snapshots from time to time."
    ),
]
