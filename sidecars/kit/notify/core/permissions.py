"""Who may signal whom, and what to do about it when we may not: the rule of kill(2), and one text for people."""

from dataclasses import dataclass

from .process import Process

_CAP_KILL = 1 << 5  # linux/capability.h


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are. `uid`: the effective one. `capabilities`: the effective set (CapEff), bit N is capability N."""

    uid: int
    real_uid: int
    capabilities: int

    @property
    def may_kill_all(self) -> bool:
        """Return whether CAP_KILL is in force."""
        return bool(self.capabilities & _CAP_KILL)


def may_signal(ours: Credentials, target: Process) -> bool:
    """Return whether the kernel lets us: kill(2) asks for CAP_KILL, or that our real or effective user id is the
    target's real or saved one (its effective one does not count).
    """
    return ours.may_kill_all or not {ours.uid, ours.real_uid}.isdisjoint({target.real_uid, target.saved_uid})


def may_signal_uid(ours: Credentials, uid: int) -> bool:
    """Return whether we may signal a process that runs as this user and nothing else."""
    return ours.may_kill_all or uid in {ours.uid, ours.real_uid}


def explain(ours: Credentials, target: Process) -> str:
    """Return why signalling this process ends in EPERM, and the ways out."""
    if may_signal(ours, target):
        return (
            f"cannot signal {target.label}: user ids and capabilities allow it, so seccomp or a security module "
            "(AppArmor, SELinux) does not; use the profile of the app's container for this one"
        )
    return explain_uid(ours, target.label, target.real_uid)


def explain_uid(ours: Credentials, who: str, uid: int) -> str:
    """Explain the same for a process of this user that need not run yet; `who` names it."""
    has = "with" if ours.may_kill_all else "without"
    return (
        f"cannot signal {who}: it runs as uid {uid}, this sidecar as uid {ours.uid} (CapEff {ours.capabilities:016x}, "
        f"{has} CAP_KILL); run this container with the app's uid (securityContext.runAsUser: {uid}), or as uid 0 with "
        "capabilities add KILL (a container that is not root never gets an added capability: kubernetes#56374)"
    )
