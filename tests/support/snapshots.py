"""Snapshots that nobody took, for tests of what is made of them."""

from collections.abc import Mapping

from sidecars.config_reloader.core.snapshot import EntryKind, EntryState, Snapshot, WatchEntry, combined

_STATES = {"": EntryState.MISSING, "?": EntryState.UNSTABLE}


def made_up(held: Mapping[str, str]) -> Snapshot:
    """Return a snapshot of folders, by path -> a word for what each holds: "" if it is missing, "?" if it could not be
    read in time.
    """
    entries = tuple(
        WatchEntry(path, EntryKind.FOLDER, _STATES.get(word, EntryState.OK), 1, path, word)
        for path, word in held.items()
    )
    there = {path: word for path, word in held.items() if word not in _STATES}
    return Snapshot(combined(there), there.keys() == held.keys(), entries, (), {}, (), {}, frozenset(), frozenset())
