"""Which calls a token may make: policies in HCL or JSON, with Vault's rules of precedence.

An exact path wins over a pattern; of patterns the one whose first wildcard comes last wins.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

_STANZA = re.compile(r'path\s+"([^"]+)"\s*\{([^}]*)\}')
_CAPABILITIES = re.compile(r"capabilities\s*=\s*\[([^\]]*)\]")

DEFAULT = """
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/renew" { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }
path "cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "sys/wrapping/wrap" { capabilities = ["update"] }
path "sys/wrapping/lookup" { capabilities = ["update"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }
"""


@dataclass(frozen=True)
class Rule:
    """The capabilities on one path or pattern."""

    path: str
    capabilities: frozenset[str]

    def rank(self, path: str) -> tuple[int, int] | None:
        """Return how well the rule fits a path, higher is better; None when it does not."""
        if self.path == path:
            return (1, 0)
        wild = [at for at in (self.path.find("+"), self.path.rfind("*")) if at >= 0]
        if not wild or (self.path.rfind("*") not in (-1, len(self.path) - 1)):
            return None
        stem = self.path.rstrip("*")
        pattern = "/".join("[^/]+" if part == "+" else re.escape(part) for part in stem.split("/"))
        fits = re.fullmatch(pattern + (".*" if self.path.endswith("*") else ""), path)
        return (0, min(wild)) if fits else None


def parse(text: str) -> list[Rule]:
    """Return the rules of a policy in HCL or JSON."""
    if text.lstrip().startswith("{"):
        paths = json.loads(text).get("path", {})
        return [Rule(path, frozenset(stanza.get("capabilities", ()))) for path, stanza in paths.items()]
    rules = []
    for path, stanza in _STANZA.findall(re.sub(r"#[^\n]*", "", text)):
        found = _CAPABILITIES.search(stanza)
        words = re.findall(r'"([^"]+)"', found[1]) if found else []
        rules.append(Rule(path, frozenset(words)))
    return rules


def capabilities(rules: Iterable[Rule], path: str) -> frozenset[str]:
    """Return what the rules allow on a path."""
    ranked = [(rank, rule.capabilities) for rule in rules if (rank := rule.rank(path)) is not None]
    if not ranked:
        return frozenset()
    best = max(rank for rank, _ in ranked)
    granted = frozenset[str]().union(*(words for rank, words in ranked if rank == best))
    return frozenset({"deny"}) if "deny" in granted else granted


def covers_any(rules: Iterable[Rule], mount: str) -> bool:
    """Return whether some rule grants anything at or below a mount (`kv/`): what the look-up of a mount asks for."""
    for rule in rules:
        stem = re.split(r"[*+]", rule.path)[0]
        below, above = stem.startswith(mount), mount.startswith(stem) and stem != rule.path
        if "deny" not in rule.capabilities and (below or above):
            return True
    return False
