"""That a node could not be connected to, and why."""

from sidecars.ambassador.core.causes import Cause, cause
from sidecars.kit.net.leg import LegBroken

_ABOUT_US = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")
"""Words in the alerts by which a server refuses our certificate."""


class ConnectFailed(Exception):
    """One attempt has failed; the text says what happened, and nothing secret."""

    def __init__(self, cause: Cause, detail: str) -> None:
        self.cause = cause
        super().__init__(detail)


def broken(error: LegBroken) -> ConnectFailed:
    """Return what it means that a leg broke before it was of use: who resets it takes no connections."""
    found = broken_cause(error.cause, str(error))
    return ConnectFailed(Cause.REFUSED if found is Cause.RESET else found, str(error))


def broken_cause(word: str, detail: str) -> Cause:
    """Return the cause for a word of `kit.net`: an alert about a certificate is about ours. In TLS 1.3 it comes only
    after the handshake.
    """
    alert = detail.upper()
    if word == "tls_broken" and "ALERT" in alert and any(what in alert for what in _ABOUT_US):
        return Cause.IDENTITY_REFUSED
    return cause(word)
