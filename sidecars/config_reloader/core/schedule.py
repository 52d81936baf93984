"""When a content is due: the debounce, the splay of the pods, and the pauses before something is tried again."""

import hashlib
import re
from math import inf

from sidecars.kit.notify.core.outcome import Result

from .snapshot import EntryState, Snapshot, combined

HANDLER_SECONDS = 0.5
"""How often a process is looked at that is missing or has no handler yet: it hears within a second of being ready."""
_BASE_SECONDS = 0.25
# Who is not there yet must hear of the change within 5 s of being there; who says no may be asked less often.
_CAP_SECONDS = {Result.UNREACHABLE: 4.0, Result.FAILED: 10.0, Result.TIMEOUT: 10.0, Result.DENIED: 30.0}
_ASK_SECONDS, _ASK_CAP_SECONDS = 30.0, 300.0
_GOLDEN = 0.6180339887498949
_ORDINAL = re.compile(r"(.*)-([0-9]{1,9})")


class Debounce:
    """Sees snapshots go by and says when the present content is due: quiet for a while, or waited for long enough.

    Nothing is due while the present content is the one that was handed on last, so a change that is taken back in time
    is no change. An entry of `watch` that is missing counts as it was when content was handed on last: what was seen of
    it on the way, while it was being deleted file by file, was never a content.
    """

    def __init__(self, quiet_seconds: float, max_wait_seconds: float, patient_until: float = -inf) -> None:
        """`patient_until`: until when the first content is waited for while a part of it is not there yet."""
        self._quiet_seconds = quiet_seconds
        self._max_wait_seconds = max_wait_seconds
        self._patient_until = patient_until
        self._held: dict[str, str] = {}
        """What each entry holds (hash)."""
        self._handed_on_held: dict[str, str] = {}
        self._left_at: float | None = None
        """Since when the present content is not the one that was handed on."""
        self.present: str | None = None
        """The hash of the content that is there; None before there was any."""
        self.handed_on: str | None = None
        self.changed_at = 0.0
        """When the present content was first seen."""

    @property
    def has_content(self) -> bool:
        """Return whether any entry was there so far."""
        return bool(self._held)

    def see(self, snapshot: Snapshot, now: float) -> bool:
        """Take note of what is there; whether it differs from what was there."""
        self._hold(snapshot)
        waits = self.present is None and now < self._patient_until and not snapshot.whole
        content = combined(self._held)
        if not self._held or waits or content == self.present:
            return False
        self.present, self.changed_at = content, now
        if content == self.handed_on:
            self._left_at = None
        elif self._left_at is None:
            self._left_at = now
        return True

    def hand_on(self) -> str:
        """Return the hash of the present content, which is handed on now."""
        self.handed_on, self._left_at = self.present, None
        return self.present or ""

    @property
    def due_at(self) -> float:
        """Return when the present content is to be handed on; infinity when there is nothing to hand on."""
        if self._left_at is None:
            return inf
        return min(self.changed_at + self._quiet_seconds, self._left_at + self._max_wait_seconds)

    @property
    def look_at(self) -> float:
        """Return when to take the next snapshot, also without an event."""
        return self._patient_until if self.present is None and self._held else self.due_at

    def _hold(self, snapshot: Snapshot) -> None:
        if self.present == self.handed_on:
            self._handed_on_held = dict(self._held)
        for entry in snapshot.entries:
            if entry.state is EntryState.OK:
                self._held[entry.path] = entry.hash
            elif entry.state is EntryState.MISSING and entry.path in self._handed_on_held:
                self._held[entry.path] = self._handed_on_held[entry.path]


def splay_seconds(pod: str, span_seconds: float) -> float:
    """Return the wait of this pod, from 0 up to `span_seconds`; the same pod always gets the same.

    Replicas of a StatefulSet have numbers, and multiples of the golden ratio spread any count of them evenly (the
    additive recurrence with the lowest discrepancy: Knuth, TAOCP 3, 6.4); other names are spread by their hash.
    """
    if match := _ORDINAL.fullmatch(pod):
        return (_fraction(match[1]) + int(match[2]) * _GOLDEN) % 1.0 * span_seconds
    return _fraction(pod) * span_seconds


def retry_seconds(result: Result, attempts: int, chance: float) -> float:
    """Return the pause after so many attempts: exponential with full jitter (`chance` in [0, 1)) up to a cap."""
    return chance * min(_CAP_SECONDS.get(result, 10.0), _BASE_SECONDS * 2.0 ** min(attempts - 1, 20))


def ask_again_seconds(times: int) -> float:
    """Return the pause before a validator that said no so often is asked again about the same content."""
    return min(_ASK_CAP_SECONDS, _ASK_SECONDS * 2.0 ** min(times - 1, 20))


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:8], "big") / 2**64
