"""What the sessions of one listener share."""

import asyncio
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecars.ambassador.core.cancelling import CancelKeys
from sidecars.ambassador.core.waiting import Limit, WaitingRoom
from sidecars.ambassador.metrics import AmbassadorMetrics
from sidecars.ambassador.pool import NodePool, UpstreamNode
from sidecars.ambassador.settings import ListenerPlan
from sidecars.kit.net.core.eyeballs import Place
from sidecars.kit.net.poller import Poller
from sidecars.runtime import Context

if TYPE_CHECKING:
    from .session import LocalSession


@dataclass(frozen=True, slots=True)
class CancelPlace:
    """Where a session is, for its CancelRequest."""

    node: UpstreamNode
    place: Place | str


@dataclass
class Desk:
    """A listener's plan and counts. `keys` are those of all listeners."""

    plan: ListenerPlan
    ctx: Context
    metrics: AmbassadorMetrics
    pool: NodePool
    poller: Poller
    keys: CancelKeys[CancelPlace]
    sessions: set["LocalSession"] = field(default_factory=set)
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    last_left: float = -float("inf")
    """When the last session ended, on the loop's clock."""

    def __post_init__(self) -> None:
        self.room = WaitingRoom(self.plan.park.connections, self.plan.park.seconds)
        self.limit = Limit(self.plan.limits.connections)
        self._networks = [ipaddress.ip_network(text) for text in self.plan.proxy_protocol.accept_from]

    def free(self) -> None:
        """Give a place back, and let those that wait for one look again."""
        self.limit.give_back()
        self.freed.set()
        self.freed = asyncio.Event()

    def takes_header_from(self, peer: object) -> bool:
        """Whether a connection from there begins with a PROXY header."""
        if not self._networks or not isinstance(peer, tuple):
            return False
        address = ipaddress.ip_address(peer[0].partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address.version == network.version and address in network for network in self._networks)
