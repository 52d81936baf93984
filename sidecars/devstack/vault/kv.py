"""The KV engine, both versions: the truth table of live, deleted, destroyed and missing, as the real server has it."""

from dataclasses import dataclass, field

from .answers import NO_CONTENT, Answer, JsonObject, VaultError, missing, seconds
from .tokens import Clock, rfc3339

DEFAULT_LEASE = 768 * 3600


@dataclass
class Version:
    """One version of a KV v2 secret. `deletion` is the moment from which it counts as deleted."""

    data: JsonObject
    created: float
    deletion: float | None = None
    destroyed: bool = False


@dataclass
class Secret:
    """A KV v2 secret: its versions by number."""

    created: float
    updated: float
    versions: dict[int, Version] = field(default_factory=dict)
    current: int = 0
    custom: dict[str, str] | None = None
    delete_after: float = 0


def _as_go_reads(data: JsonObject) -> JsonObject:
    """Return the data as Go's JSON gives it back: keys sorted, large integers through a 64-bit float."""

    def number(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int):
            if isinstance(value, dict):
                return {key: number(value[key]) for key in sorted(value)}
            return [number(item) for item in value] if isinstance(value, list) else value
        return int(float(value)) if abs(value) > 1 << 63 else value

    return {key: number(data[key]) for key in sorted(data)}


class KvV1:
    """KV version 1: values under paths; `ttl` is a hint that is shown as lease_duration."""

    kind, options = "kv", {"version": "1"}

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._values: dict[str, JsonObject] = {}

    def call(self, operation: str, path: str, body: JsonObject) -> Answer:
        """Answer a call below the mount."""
        if operation == "list":
            return listed(self._values, path)
        if operation == "update":
            self._values[path] = _as_go_reads(body)
            return NO_CONTENT
        if operation == "delete":
            self._values.pop(path, None)
            return NO_CONTENT
        if path not in self._values:
            raise missing()
        value = self._values[path]
        try:
            hint = int(seconds(value.get("ttl"), DEFAULT_LEASE))
        except ValueError:
            hint = DEFAULT_LEASE
        return Answer(data=value, lease_duration=hint)


def listed(paths: object, prefix: str) -> Answer:
    """Return the names right below a prefix; folders end with a slash."""
    prefix = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
    names = {path[len(prefix) :] for path in paths if str(path).startswith(prefix)}  # type: ignore[attr-defined]
    keys = sorted({name.partition("/")[0] + ("/" if "/" in name else "") for name in names if name})
    if not keys:
        raise missing()
    return Answer(data={"keys": keys})


class KvV2:
    """KV version 2: secrets with versions, below `data/`, `metadata/`, `delete/`, `undelete/` and `destroy/`."""

    kind, options = "kv", {"version": "2"}

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._secrets: dict[str, Secret] = {}

    def call(self, operation: str, path: str, body: JsonObject) -> Answer:
        """Answer a call below the mount."""
        section, _, name = path.partition("/")
        handler = getattr(self, f"_{section}", None) if section in _SECTIONS else None
        if handler is None:
            warning = (
                "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints "
                "to use. If using the Vault CLI, use 'vault kv get' for this operation."
            )
            return Answer(warnings=[warning], status=404)
        if name.endswith("/") and operation != "list":
            raise VaultError(500, "1 error occurred:\n\t* could not find version data\n\n")
        answer: Answer = handler(operation, name, body)
        return answer

    def _data(self, operation: str, name: str, body: JsonObject) -> Answer:
        now = self._clock.now()
        if operation == "update":
            return Answer(data=self._written(name, body, now))
        secret = self._secrets.get(name)
        if operation == "delete":
            if secret and secret.current:
                secret.versions[secret.current].deletion = now
            return NO_CONTENT
        number = int(body.get("version") or 0) or (secret.current if secret else 0)
        version = secret.versions.get(number) if secret else None
        if secret is None or version is None:
            raise missing()
        gone = version.destroyed or (version.deletion is not None and version.deletion <= now)
        metadata = self._described(secret, version, number)
        return Answer(data={"data": None if gone else version.data, "metadata": metadata}, status=404 if gone else 200)

    def _written(self, name: str, body: JsonObject, now: float) -> JsonObject:
        data = body.get("data")
        if not isinstance(data, dict):
            raise VaultError(400, "no data provided")
        secret = self._secrets.setdefault(name, Secret(now, now))
        wanted = (body.get("options") or {}).get("cas")
        if wanted is not None and int(wanted) != secret.current:
            raise VaultError(400, "check-and-set parameter did not match the current version")
        secret.current += 1
        secret.updated = now
        deletion = now + secret.delete_after if secret.delete_after else None
        version = secret.versions[secret.current] = Version(_as_go_reads(data), now, deletion)
        return self._described(secret, version, secret.current)

    @staticmethod
    def _described(secret: Secret, version: Version, number: int) -> JsonObject:
        return {
            "created_time": rfc3339(version.created),
            "custom_metadata": secret.custom,
            "deletion_time": "" if version.deletion is None or version.destroyed else rfc3339(version.deletion),
            "destroyed": version.destroyed,
            "version": number,
        }

    def _metadata(self, operation: str, name: str, body: JsonObject) -> Answer:
        if operation == "list":
            return listed(self._secrets, name)
        if operation == "delete":
            self._secrets.pop(name, None)
            return NO_CONTENT
        now = self._clock.now()
        if operation == "update":
            secret = self._secrets.setdefault(name, Secret(now, now))
            secret.custom = body.get("custom_metadata", secret.custom)
            secret.delete_after = seconds(body.get("delete_version_after"), secret.delete_after)
            return NO_CONTENT
        if name not in self._secrets:
            raise missing()
        secret = self._secrets[name]
        versions = {
            str(number): {
                "created_time": rfc3339(version.created),
                "deletion_time": "" if version.deletion is None or version.destroyed else rfc3339(version.deletion),
                "destroyed": version.destroyed,
            }
            for number, version in secret.versions.items()
        }
        return Answer(
            data={
                "cas_required": False,
                "created_time": rfc3339(secret.created),
                "current_metadata_version": 0,
                "current_version": secret.current,
                "custom_metadata": secret.custom,
                "delete_version_after": f"{int(secret.delete_after)}s",
                "max_versions": 0,
                "metadata_cas_required": False,
                "oldest_version": 0,
                "updated_time": rfc3339(secret.updated),
                "versions": versions,
            }
        )

    def _delete(self, _operation: str, name: str, body: JsonObject) -> Answer:
        now = self._clock.now()
        for version in self._named(name, body):
            version.deletion = now
        return NO_CONTENT

    def _undelete(self, _operation: str, name: str, body: JsonObject) -> Answer:
        for version in self._named(name, body):
            version.deletion = None
        return NO_CONTENT

    def _destroy(self, _operation: str, name: str, body: JsonObject) -> Answer:
        for version in self._named(name, body):
            version.destroyed, version.data, version.deletion = True, {}, None
        return NO_CONTENT

    def _named(self, name: str, body: JsonObject) -> list[Version]:
        secret = self._secrets.get(name)
        numbers = [int(number) for number in body.get("versions") or ()]
        return [secret.versions[number] for number in numbers if number in secret.versions] if secret else []

    def _config(self, operation: str, _name: str, _body: JsonObject) -> Answer:
        if operation == "update":
            return NO_CONTENT
        return Answer(data={"cas_required": False, "delete_version_after": "0s", "max_versions": 0})


_SECTIONS = {"data", "metadata", "delete", "undelete", "destroy", "config"}
