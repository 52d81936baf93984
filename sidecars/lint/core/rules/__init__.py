"""The rules, a module for each theme."""

from sidecars.lint.core.rule import Rule

from . import health, lifecycle, network, resources, security, volumes

RULES: tuple[Rule, ...] = (
    *lifecycle.RULES,
    *health.RULES,
    *resources.RULES,
    *network.RULES,
    *volumes.RULES,
    *security.RULES,
)
BY_ID = {rule.id: rule for rule in RULES}
