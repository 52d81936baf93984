"""The database engine: users that are made for a lease and dropped with it, and static roles whose password rotates.

With a `connection_url` the statements are run by `psql`, so that a login with the credentials is a real one. Without
one the users are in memory only.
"""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from .answers import NO_CONTENT, Answer, JsonObject, VaultError, missing, seconds
from .tokens import Clock, Registry, Token, letters, rfc3339

_DEFAULT_REVOCATION = ('DROP ROLE IF EXISTS "{{name}}";',)
_DEFAULT_ROTATION = ("ALTER ROLE \"{{name}}\" WITH PASSWORD '{{password}}';",)


@dataclass
class StaticRole:
    """A user of its own whose password is changed every `period` seconds."""

    settings: JsonObject
    period: float
    username: str
    password: str
    rotated: float


class Database:
    """One mount: connections, roles, and the users that are alive."""

    kind, options = "database", None

    def __init__(self, clock: Clock, registry: Registry, mount: str) -> None:
        self.users: dict[str, str] = {}
        self._clock = clock
        self._registry = registry
        self._mount = mount
        self._connections: dict[str, JsonObject] = {}
        self._roles: dict[str, JsonObject] = {}
        self._static: dict[str, StaticRole] = {}

    def call(self, operation: str, path: str, body: JsonObject, token: Token) -> Answer:
        """Answer a call below the mount."""
        section, _, name = path.partition("/")
        if section == "creds":
            return self._credentials(name, token)
        if section == "static-creds":
            return self._static_credentials(name)
        if section == "static-roles" and operation == "update":
            return self._new_static_role(name, body)
        table = {"config": self._connections, "roles": self._roles}.get(section)
        if table is None:
            raise VaultError(404, f"no handler for route {self._mount!r}. route entry not found.")
        if operation == "update":
            table[name] = body
            return NO_CONTENT
        if operation == "delete":
            table.pop(name, None)
            return NO_CONTENT
        if name not in table:
            raise missing()
        return Answer(data=table[name])

    def sweep(self) -> None:
        """Rotate the static roles whose period is over."""
        now = self._clock.now()
        for role in self._static.values():
            if now >= role.rotated + role.period:
                self._rotate(role)

    def _credentials(self, name: str, token: Token) -> Answer:
        role = self._roles.get(name)
        if role is None:
            raise VaultError(400, f"unknown role: {name}")
        now = self._clock.now()
        username = f"v-{token.display_name[:8]}-{name[:8]}-{letters(20)}-{int(now)}"
        password = f"{letters(9)}-{letters(10)}"
        ttl, most = seconds(role.get("default_ttl")), seconds(role.get("max_ttl"))
        ends = datetime.fromtimestamp(now + (most or ttl or 3600) + 60, UTC).strftime("%Y-%m-%d %H:%M:%S+0000")
        words = {"name": username, "username": username, "password": password, "expiration": ends}
        self._run(role, _statements(role.get("creation_statements")), words)
        self.users[username] = password
        lease = self._registry.lease(f"{self._mount}/creds/{name}", token, ttl, most, lambda: self._drop(role, words))
        data = {"username": username, "password": password}
        return Answer(data=data, lease_id=lease.id, renewable=True, lease_duration=round(lease.expires - lease.issued))

    def _drop(self, role: JsonObject, words: dict[str, str]) -> None:
        self.users.pop(words["name"], None)
        self._run(role, _statements(role.get("revocation_statements")) or _DEFAULT_REVOCATION, words)

    def _new_static_role(self, name: str, body: JsonObject) -> Answer:
        period = seconds(body.get("rotation_period"))
        role = StaticRole(body, period, str(body.get("username")), "", self._clock.now())
        self._static[name] = role
        self._rotate(role)
        return NO_CONTENT

    def _rotate(self, role: StaticRole) -> None:
        role.password, role.rotated = f"{letters(9)}-{letters(10)}", self._clock.now()
        statements = _statements(role.settings.get("rotation_statements")) or _DEFAULT_ROTATION
        self._run(role.settings, statements, {"name": role.username, "password": role.password})
        self.users[role.username] = role.password

    def _static_credentials(self, name: str) -> Answer:
        role = self._static.get(name)
        if role is None:
            raise VaultError(400, f"unknown role: {name}")
        return Answer(
            data={
                "last_vault_rotation": rfc3339(role.rotated),
                "password": role.password,
                "rotation_period": int(role.period),
                "ttl": max(0, int(role.rotated + role.period - self._clock.now())),
                "username": role.username,
            }
        )

    def _run(self, role: JsonObject, statements: Iterable[str], words: dict[str, str]) -> None:
        connection = self._connections.get(str(role.get("db_name")), {})
        address = str(connection.get("connection_url") or "")
        if not address:
            return
        for key in ("username", "password"):
            address = address.replace("{{" + key + "}}", str(connection.get(key, "")))
        text = "\n".join(_filled(statement, words) for statement in statements)
        done = subprocess.run(
            ["psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--single-transaction", address],
            input=text, capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "psql failed"
            raise VaultError(500, f"1 error occurred:\n\t* unable to start transaction: {reason}\n\n")


def _filled(statement: str, words: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: words.get(found[1], found[0]), statement)


def _statements(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part + ";" for part in value.split(";") if part.strip())
    return tuple(str(part) for part in value) if isinstance(value, list) else ()
