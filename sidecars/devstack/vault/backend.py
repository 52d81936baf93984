"""From a call to its answer: mounts, namespaces, policies, quotas, the seal, wrapping, and the endpoints below `sys/`
and `auth/token/`.
"""

import math
import secrets as chance
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .answers import (
    NO_CONTENT,
    Answer,
    JsonObject,
    VaultError,
    denied,
    denied_by_policy,
    missing,
    seconds,
)
from .database import Database
from .kv import KvV1, KvV2
from .logins import METHODS, AppRole, Method, words
from .pki import Pki
from .policies import DEFAULT, Rule, capabilities, covers_any, parse
from .tokens import Clock, Registry, Token

_VERSION = "2.6.2"
_OPERATIONS = {"GET": "read", "HEAD": "read", "POST": "update", "PUT": "update", "DELETE": "delete", "LIST": "list"}
_UNSEALED_PATHS = ("sys/health", "sys/seal-status", "sys/unseal")
_SELF = ("auth/token/lookup-self", "auth/token/renew-self", "auth/token/revoke-self")
Engine = KvV1 | KvV2 | Pki | Database


@dataclass
class Call:
    """One request, taken apart."""

    method: str
    path: str
    body: JsonObject
    token: str = ""
    namespace: str = ""
    certificate: dict[str, Any] | None = None
    wrap_seconds: float = 0.0

    @property
    def operation(self) -> str:
        """Return what is asked for: read, update, delete or list."""
        if self.method == "GET" and str(self.body.get("list")) == "true":
            return "list"
        if self.method not in _OPERATIONS:
            raise VaultError(405)
        return _OPERATIONS[self.method]


@dataclass
class Quota:
    """A rate limit on a path: `rate` requests in each `interval` seconds, then blocked for `block` seconds."""

    path: str
    rate: float
    interval: float
    block: float
    began: float = 0.0
    used: int = 0
    blocked_until: float = 0.0


@dataclass
class Space:
    """What one namespace has; the root namespace is ""."""

    mounts: dict[str, Engine] = field(default_factory=dict)
    logins: dict[str, Method] = field(default_factory=dict)
    policies: dict[str, list[Rule]] = field(default_factory=lambda: {"default": parse(DEFAULT)})


class Backend:
    """All of the server behind HTTP."""

    def __init__(self, root_token: str) -> None:
        self.clock = Clock()
        self.registry = Registry(self.clock)
        self.root = self.registry.root(root_token)
        self.sealed = False
        self._spaces: dict[str, Space] = {"": Space()}
        self._quotas: dict[str, Quota] = {}
        self._quota_headers = False

    def sweep(self) -> None:
        """End what has run out, and rotate what is due."""
        self.registry.sweep()
        for space in self._spaces.values():
            for engine in space.mounts.values():
                if isinstance(engine, Database):
                    engine.sweep()

    def users(self) -> dict[str, str]:
        """Return the database users that are alive, with their passwords."""
        engines = (engine for space in self._spaces.values() for engine in space.mounts.values())
        return {user: word for engine in engines if isinstance(engine, Database) for user, word in engine.users.items()}

    async def answer(self, call: Call) -> Answer:
        """Answer a call. Raises VaultError."""
        if self.sealed and call.path.strip("/") not in _UNSEALED_PATHS:
            raise VaultError(503, "Vault is sealed")
        if not self.sealed:
            self.sweep()
        name, space = self._space(call)
        headers = self._counted(call)
        answer = await self._routed(call, name, space)
        if call.wrap_seconds and not answer.empty:
            accessor = str((answer.data or {}).get("secret_id_accessor", ""))
            answer = self.registry.wrap(answer.body(), call.path, call.wrap_seconds, accessor)
        return answer.with_headers(headers)

    def _space(self, call: Call) -> tuple[str, Space]:
        """Return the namespace that is meant by header and path; the path is made relative to it."""
        if call.namespace and call.namespace not in self._spaces:
            raise VaultError(404, "namespace not found")
        name = call.namespace
        for other in sorted(self._spaces, key=len, reverse=True):
            relative = other[len(name) :].strip("/")
            if other.startswith(name) and relative and call.path.startswith(relative + "/"):
                call.path = call.path[len(relative) + 1 :]
                return other, self._spaces[other]
        return name, self._spaces[name]

    def _counted(self, call: Call) -> dict[str, str]:
        """Count the call against the quotas and return the headers that tell. Raises: 429."""
        if call.path.startswith(("sys/health", "sys/seal-status", "sys/unseal")):
            return {}
        for quota in self._quotas.values():
            if not call.path.startswith(quota.path):
                continue
            now = self.clock.now()
            if now >= quota.began + quota.interval:
                quota.began, quota.used = now, 0
            quota.used += 1
            wait = quota.blocked_until - now
            if wait <= 0 and quota.used > quota.rate:
                wait = quota.block or quota.began + quota.interval - now
                quota.blocked_until = now + quota.block
            known = {
                "X-Ratelimit-Limit": str(int(quota.rate)),
                "X-Ratelimit-Remaining": str(max(0, int(quota.rate) - quota.used)),
            }
            if wait > 0:
                told = {"Retry-After": str(math.floor(wait))} if self._quota_headers else {}
                raise VaultError(429, f'request path "{call.path}": rate limit quota exceeded', headers=told)
            return known if self._quota_headers else {}
        return {}

    async def _routed(self, call: Call, name: str, space: Space) -> Answer:
        path = call.path
        if path.startswith("auth/") and not path.startswith("auth/token/"):
            method: Method | None
            method, rest = _longest(space.logins, path.removeprefix("auth/"))
            if method is not None and (rest == "login" or rest.startswith("login/")):
                return await method.login(call.body, call.certificate)
        if (open_answer := self._without_token(call, space)) is not None:
            return open_answer
        token = self.registry.token(call.token) if call.token else None
        if token is None:
            raise denied()
        if token.wraps is not None and path != "sys/wrapping/unwrap":
            self.registry.revoke_token(token)  # any other call burns it
            raise denied_by_policy()
        self._allow(call, token, name)
        return self._allowed(call, token, name, space)

    def _allowed(self, call: Call, token: Token, name: str, space: Space) -> Answer:
        path = call.path
        if path.startswith("sys/"):
            return self._sys(call, token, name, space)
        if path.startswith("auth/token/"):
            return self._token(call, token, name)
        engine: Engine | None
        if path.startswith("auth/"):
            method: Method | None
            method, rest = _longest(space.logins, path.removeprefix("auth/"))
            if method is None:
                raise VaultError(404, f'no handler for route "{path}". route entry not found.')
            return method.call(call.operation, rest, call.body)
        engine, rest = _longest(space.mounts, path)
        if engine is None:
            raise VaultError(404, f'no handler for route "{path}". route entry not found.')
        if isinstance(engine, KvV1 | KvV2):
            return engine.call(call.operation, rest, call.body)
        return engine.call(call.operation, rest, call.body, token)

    def _without_token(self, call: Call, space: Space) -> Answer | None:
        """Answer what needs no token; None when one is needed."""
        path = call.path.strip("/")
        if path == "sys/health":
            return self._health()
        if path in ("sys/seal-status", "sys/unseal"):
            if path == "sys/unseal":
                self.sealed = False
                self.sweep()
            return Answer(plain=self._seal_status())
        if path == "sys/wrapping/lookup":
            return Answer(data=self.registry.wrapped(str(call.body.get("token") or call.token))[1].looked_up())
        if path == "sys/wrapping/unwrap":
            return self._unwrapped(call)
        engine, rest = _longest(space.mounts, path)
        if isinstance(engine, Pki) and rest in ("ca", "ca/pem", "ca_chain", "cert/ca", "cert/ca_chain"):
            return engine.public(rest)
        return None

    def _unwrapped(self, call: Call) -> Answer:
        if not call.token:
            raise denied()
        token, wrapped = self.registry.wrapped(str(call.body.get("token") or call.token))
        self.registry.revoke_token(token)
        return Answer(plain=wrapped.body)

    def _allow(self, call: Call, token: Token, name: str) -> None:
        """Raise the 403 of a policy that does not allow the call."""
        if call.path.startswith("sys/internal/ui/mounts/"):
            return  # it asks for any right below the mount, and says so itself
        if "root" in token.policies:
            return
        granted = self._granted(token, call.path, name)
        wanted = {"update": {"update", "create"}, "read": {"read"}, "list": {"list"}, "delete": {"delete"}}
        if "deny" in granted or not wanted[call.operation] & granted:
            raise denied_by_policy()

    def _rules(self, token: Token) -> list[Rule]:
        policies = self._spaces[token.namespace].policies
        return [rule for policy in token.policies for rule in policies.get(policy, ())]

    def _granted(self, token: Token, path: str, name: str) -> frozenset[str]:
        inner = name[len(token.namespace) :].strip("/")
        return capabilities(self._rules(token), f"{inner}/{path}" if inner else path)

    # --- auth/token ---

    def _token(self, call: Call, token: Token, name: str) -> Answer:
        action = call.path.removeprefix("auth/token/")
        now = self.clock.now()
        increment = seconds(call.body.get("increment"))
        match action:
            case "lookup-self":
                return Answer(data=token.looked_up(now))
            case "renew-self":
                return self.registry.renew_token(token, increment)
            case "revoke-self":
                if token.type == "batch":
                    raise VaultError(400, "batch tokens cannot be revoked")
                self.registry.revoke_token(token)
                return NO_CONTENT
            case "create" | "create-orphan":
                return self._created(call, token, name, orphan=action.endswith("orphan"))
            case "lookup" | "renew" | "revoke":
                other = self.registry.tokens.get(str(call.body.get("token") or ""))
            case "lookup-accessor" | "revoke-accessor":
                wanted = call.body.get("accessor")
                other = next((found for found in self.registry.tokens.values() if found.accessor == wanted), None)
            case _:
                raise missing()
        if other is None:
            raise VaultError(403, "bad token")
        if action.startswith("lookup"):
            return Answer(data=other.looked_up(now))
        if action == "renew":
            return self.registry.renew_token(other, increment)
        self.registry.revoke_token(other)
        return NO_CONTENT

    def _created(self, call: Call, token: Token, name: str, *, orphan: bool) -> Answer:
        body = call.body
        renewable = str(body.get("renewable", True)).lower() != "false"
        made = self.registry.new(
            words(body.get("policies")) or token.policies,
            "auth/token/create",
            seconds(body.get("ttl")),
            explicit_max_ttl=seconds(body.get("explicit_max_ttl")),
            period=seconds(body.get("period")),
            type=str(body.get("type") or "service"),
            renewable=renewable,
            orphan=orphan or bool(body.get("no_parent")),
            parent=token.id,
            uses_left=int(body.get("num_uses") or 0),
            display_name=f"token-{body['display_name']}" if body.get("display_name") else "token",
            meta=body.get("meta"),
            namespace=name,
        )
        if "root" in made.policies:
            made.policies = ("root",)
        if body.get("id"):
            del self.registry.tokens[made.id]
            made.id = str(body["id"])
            self.registry.tokens[made.id] = made
        return Answer(auth=made.auth(self.clock.now()))

    # --- sys ---

    def _health(self) -> Answer:
        body: JsonObject = {
            "initialized": True,
            "sealed": self.sealed,
            "standby": self.sealed,
            "performance_standby": False,
            "replication_performance_mode": "unknown" if self.sealed else "primary",
            "replication_dr_mode": "unknown" if self.sealed else "disabled",
            "server_time_utc": int(self.clock.now()),
            "version": _VERSION,
        }
        if not self.sealed:
            body |= {"cluster_name": "vault-cluster-devstack", "cluster_id": "00000000-0000-4000-8000-000000000000"}
        return Answer(plain=body, status=503 if self.sealed else 200)

    def _seal_status(self) -> JsonObject:
        return {
            "type": "shamir",
            "initialized": True,
            "sealed": self.sealed,
            "t": 1,
            "n": 1,
            "progress": 0,
            "nonce": "",
            "version": _VERSION,
            "recovery_seal": False,
            "storage_type": "inmem",
        }

    def _sys(self, call: Call, token: Token, name: str, space: Space) -> Answer:
        section, _, rest = call.path.removeprefix("sys/").partition("/")
        handlers: dict[str, Callable[[], Answer]] = {
            "mounts": lambda: self._mounts(call, name, space, rest),
            "auth": lambda: self._methods(call, name, space, rest),
            "policies": lambda: self._policies(call, space, rest.removeprefix("acl/")),
            "policy": lambda: self._policies(call, space, rest),
            "internal": lambda: self._mount_of(token, name, space, rest.removeprefix("ui/mounts/")),
            "leases": lambda: self._leases(call, rest),
            "renew": lambda: self.registry.renew_lease(str(call.body.get("lease_id") or rest), 0),
            "namespaces": lambda: self._namespaces(call, name, rest),
            "quotas": lambda: self._set_quotas(call, rest),
            "seal": self._seal,
            "locked-users": lambda: self._locked_users(space),
            "capabilities-self": lambda: self._capabilities(call, token, name),
            "wrapping": lambda: self._wrapped(call),
        }
        if section not in handlers:
            raise missing()
        return handlers[section]()

    def _seal(self) -> Answer:
        self.sealed = True
        return NO_CONTENT

    def _wrapped(self, call: Call) -> Answer:
        return Answer(data=dict(call.body))

    def _capabilities(self, call: Call, token: Token, name: str) -> Answer:
        data: JsonObject = {}
        for path in words(call.body.get("paths")):
            root = "root" in token.policies
            data[path] = ["root"] if root else sorted(self._granted(token, path, name)) or ["deny"]
        return Answer(data={**data, "capabilities": next(iter(data.values()), [])})

    def _mounts(self, call: Call, name: str, space: Space, rest: str) -> Answer:
        mount = rest.strip("/") + "/"
        if rest.endswith("/tune"):
            return NO_CONTENT
        if call.operation == "delete":
            prefix = f"{name}/{mount}" if name else mount
            for lease in [lease for lease in self.registry.leases.values() if lease.path.startswith(prefix)]:
                self.registry.end_lease(lease)
            space.mounts.pop(mount, None)
            return NO_CONTENT
        if call.operation == "read":
            return Answer(data={path: {"type": engine.kind} for path, engine in space.mounts.items()})
        if mount in space.mounts:
            raise VaultError(400, f"path is already in use at {mount}")
        space.mounts[mount] = self._engine(call.body, f"{name}/{mount}".strip("/"))
        return NO_CONTENT

    def _engine(self, body: JsonObject, mount: str) -> Engine:
        kind = str(body.get("type"))
        version = str((body.get("options") or {}).get("version") or ("2" if kind == "kv-v2" else "1"))
        match kind:
            case "kv" | "kv-v2":
                return KvV2(self.clock) if version == "2" else KvV1(self.clock)
            case "pki":
                return Pki(self.clock, self.registry, mount)
            case "database":
                return Database(self.clock, self.registry, mount)
        raise VaultError(400, f"plugin not found in the catalog: {kind}")

    def _methods(self, call: Call, name: str, space: Space, rest: str) -> Answer:
        mount = rest.removesuffix("/tune").strip("/") + "/"
        if rest.endswith("/tune"):
            space.logins[mount].tune.update(call.body)
            return NO_CONTENT
        if call.operation == "delete":
            space.logins.pop(mount, None)
            return NO_CONTENT
        if call.operation == "read":
            return Answer(data={path: {"type": type(method).__name__.lower()} for path, method in space.logins.items()})
        kind = str(call.body.get("type"))
        if kind not in METHODS:
            raise VaultError(400, f"plugin not found in the catalog: {kind}")
        space.logins[mount] = METHODS[kind](self.clock, self.registry, f"{name}/{mount}".strip("/"))
        return NO_CONTENT

    def _policies(self, call: Call, space: Space, name: str) -> Answer:
        if call.operation == "update":
            space.policies[name] = parse(str(call.body.get("policy") or ""))
            return NO_CONTENT
        if call.operation == "delete":
            space.policies.pop(name, None)
            return NO_CONTENT
        return Answer(data={"keys": sorted(space.policies)})

    def _mount_of(self, token: Token, name: str, space: Space, path: str) -> Answer:
        engine, _ = _longest(space.mounts, path)
        mount = next((mount for mount, found in space.mounts.items() if found is engine), "")
        inner = name[len(token.namespace) :].strip("/")
        allowed = "root" in token.policies or (
            mount and covers_any(self._rules(token), f"{inner}/{mount}" if inner else mount)
        )
        if engine is None or not allowed:
            shown = path if path.endswith("/") else path + "/"
            text = "preflight capability check returned 403, please ensure client's policies grant access to path"
            raise VaultError(403, f'{text} "{shown}"')
        return Answer(
            data={
                "type": engine.kind,
                "path": mount,
                "options": engine.options,
                "accessor": f"{engine.kind}_{chance.token_hex(4)}",
                "uuid": "00000000-0000-4000-8000-000000000002",
                "config": {"default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": False},
                "description": "",
                "local": False,
                "seal_wrap": False,
            }
        )

    def _leases(self, call: Call, rest: str) -> Answer:
        action, _, more = rest.partition("/")
        below = [lease for lease in self.registry.leases.values() if lease.id.startswith(more)]
        if action == "lookup" and call.operation == "list":
            if not below:
                raise missing()
            return Answer(data={"keys": [lease.id.removeprefix(more).lstrip("/") for lease in below]})
        lease_id = str(call.body.get("lease_id") or more)
        if action == "renew":
            return self.registry.renew_lease(lease_id, seconds(call.body.get("increment")))
        if action in ("revoke-prefix", "revoke-force"):
            for each in below:
                self.registry.end_lease(each)
            return NO_CONTENT
        if not lease_id:
            raise VaultError(400, "lease_id must be specified")
        lease = self.registry.leases.get(lease_id)
        if action == "revoke":
            if lease is not None:
                self.registry.end_lease(lease)
            return NO_CONTENT
        if lease is None:
            raise VaultError(400, "invalid lease")
        return Answer(data=lease.looked_up(self.clock.now()))

    def _namespaces(self, call: Call, name: str, rest: str) -> Answer:
        full = f"{name}/{rest}".strip("/")
        if call.operation == "update":
            self._spaces.setdefault(full, Space())
            return Answer(data={"id": full, "path": f"{full}/"})
        if call.operation == "delete":
            self._spaces.pop(full, None)
            return NO_CONTENT
        return Answer(data={"keys": sorted(f"{space}/" for space in self._spaces if space)})

    def _set_quotas(self, call: Call, rest: str) -> Answer:
        if rest == "config":
            self._quota_headers = bool(call.body.get("enable_rate_limit_response_headers"))
            return NO_CONTENT
        name = rest.removeprefix("rate-limit/")
        if call.operation == "delete":
            self._quotas.pop(name, None)
            return NO_CONTENT
        body = call.body
        interval = seconds(body.get("interval"), 1)
        self._quotas[name] = Quota(
            str(body.get("path") or ""), float(body["rate"]), interval, seconds(body.get("block_interval"))
        )
        return NO_CONTENT

    def _locked_users(self, space: Space) -> Answer:
        now = self.clock.now()
        locked = [
            role
            for method in space.logins.values()
            if isinstance(method, AppRole)
            for role, times in method.failures.items()
            if len([at for at in times if now - at < 900]) >= 5
        ]
        return Answer(data={"by_namespace": [{"counts": len(locked)}], "total": len(locked)})


def _longest(table: dict[str, Any], path: str) -> tuple[Any, str]:
    """Return what is mounted at the longest prefix of a path, and the rest of it."""
    for mount in sorted(table, key=len, reverse=True):
        if path.startswith(mount) or path + "/" == mount:
            return table[mount], path[len(mount) :]
    return None, path
