"""What `sidecar check ambassador` finds besides wrong settings: what would be served, and whether upstreams answer."""

import ipaddress
import os
from collections.abc import Iterable

from sidecars.kit.files import UnusableFile
from sidecars.kit.net.poller import Poller
from sidecars.kit.net.resolve import NotResolved, Resolver
from sidecars.runtime import Finding, Problem

from .checking.checks import NodeCheck
from .connecting.dial import Dialler, NodeTarget
from .connecting.security import NodeTls
from .core.address import HostAddress, SocketPath, upstream_address
from .core.selection import TargetRole
from .core.upstream import NodeRole
from .pool import special_target, split
from .settings import AmbassadorSettings, ListenerPlan, Protocol, Upstream


def refuse_start(settings: AmbassadorSettings) -> Iterable[Problem]:
    """Return what forbids a start on this machine."""
    for plan in _plans(settings):
        for address in plan.listen:
            folder = os.path.dirname(address.path) if isinstance(address, SocketPath) else "/"
            if not os.path.isdir(folder):
                yield Problem("listen", f"there is no folder {folder} for the socket", "mount it, or make it")


def findings(settings: AmbassadorSettings) -> Iterable[Finding]:
    """Return what would be served, and what looks wrong without asking anybody."""
    for plan in settings.plans():
        where = " and ".join(map(str, plan.listen))
        how = "TLS" if plan.tls else "plain text"
        to = ", ".join(upstream.address for upstream in plan.upstreams)
        text = f"{plan.name}: takes {plan.protocol} at {where}, and goes in {how} to {to} ({plan.role})"
        yield Finding("ok", text)
        for address in plan.listen:
            if isinstance(address, HostAddress) and not _is_loopback(address.host):
                text = f"{address} can be reached from outside of the pod, in plain text and with this pod's identity"
                yield Finding("warning", text)
        if plan.protocol is Protocol.MYSQL:
            text = "with mysql the ambassador passes TLS through: the app has to do it, and to check the certificate"
            yield Finding("warning", text)
        elif plan.tls is None and plan.protocol is not Protocol.TCP:
            yield Finding("warning", f"{plan.name}: nothing is encrypted on the way to the upstreams; set tls")
        if plan.tls is not None:
            yield from _certificates(plan)


def _certificates(plan: ListenerPlan) -> Iterable[Finding]:
    if plan.tls is None:
        return
    tls = NodeTls(plan.tls)
    try:
        tls.certificates.load()
    except UnusableFile as error:
        yield Finding("error", f"cannot use the certificates: {error}")


async def findings_outside(settings: AmbassadorSettings) -> Iterable[Finding]:
    """Return what each upstream answers to one check."""
    found: list[Finding] = []
    with Poller() as poller:
        for plan in settings.plans():
            roles: list[NodeRole] = []
            try:
                dialler = dialler_of(plan, poller)
            except UnusableFile:
                continue  # said already
            for upstream in plan.upstreams:
                found += [await _ask(plan, dialler, upstream, roles)]
            needed = {TargetRole.PRIMARY: NodeRole.PRIMARY, TargetRole.REPLICA: NodeRole.REPLICA}.get(plan.role)
            if needed is not None and needed not in roles:
                found.append(Finding("error", f"{plan.name}: none of the upstreams is a {needed} now"))
    return found


def dialler_of(plan: ListenerPlan, poller: Poller) -> Dialler:
    """Return how the nodes of a listener are connected to. Raise UnusableFile."""
    if plan.tls is None:
        return Dialler(poller, plan.protocol, None)
    tls = NodeTls(plan.tls)
    tls.certificates.load()
    return Dialler(poller, plan.protocol, tls, plan.tls.postgres)


async def _ask(plan: ListenerPlan, dialler: Dialler, upstream: Upstream, roles: list[NodeRole]) -> Finding:
    address = upstream_address(upstream.address)
    try:
        if isinstance(address, SocketPath):
            targets = [(str(address), NodeTarget("localhost", address))]
        else:
            targets = split(address, (await Resolver().resolve(str(address))).places)
        specials = [await special_target(Resolver(), plan, upstream, target, len(targets)) for _, target in targets]
    except NotResolved as error:
        return Finding("error", f"{upstream.address}: {error}")
    check, words, failed = NodeCheck(plan, dialler), [], False
    for (shown, target), special in zip(targets, specials, strict=True):
        result = await check.check(target, special)
        roles.append(result.role)
        failed |= not result.ok
        role = f", a {result.role}" if result.role is not NodeRole.UNKNOWN else ""
        words.append(f"{shown}: {f'works{role}' if result.ok else f'fails ({plan.check_kind}): {result.detail}'}")
    check.close()
    return Finding("error" if failed else "ok", "; ".join(words))


def _plans(settings: AmbassadorSettings) -> tuple[ListenerPlan, ...]:
    return () if list(settings.problems()) else settings.plans()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
