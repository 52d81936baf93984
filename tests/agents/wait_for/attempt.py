"""One attempt of wait-for at a target, in this loop."""

from sidecars.runtime import Permanent, Transient
from sidecars.wait_for.core.parse import parse
from sidecars.wait_for.probing.probes import probe_of
from sidecars.wait_for.settings import WaitForSettings
from tests.support.waiting import PATIENCE_SECONDS


async def outcome(text: str, limit_seconds: float = PATIENCE_SECONDS, **settings: object) -> str:
    """Return the word ready, or why not; that begins with never when it can never be."""
    probe = probe_of(parse(text), WaitForSettings(targets=(text,), **settings))  # type: ignore[arg-type] # any setting
    try:
        await probe.within(limit_seconds)
    except Transient as error:
        return str(error)
    except Permanent as error:
        return f"never: {error}"
    finally:
        probe.close()
    return "ready"
