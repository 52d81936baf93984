"""What is in the vault: secrets and certificates with their versions, and those that were deleted."""

import re
import secrets as chance
from dataclasses import dataclass, field

from sidecars.devstack.vault.tokens import Clock

from .answers import JsonObject, Refusal, bad_parameter, not_found
from .issuing import PEM, PFX, Issued, as_pem

RECOVERABLE_DAYS = 90
_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")


@dataclass
class Version:
    """One version. `certificate`: it is that of a certificate, whose key and chain are in `value`."""

    id: str
    value: str
    content_type: str = ""
    attributes: JsonObject = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    certificate: Issued | None = None

    @property
    def enabled(self) -> bool:
        """Whether it is handed out."""
        return bool(self.attributes.get("enabled", True))


@dataclass
class StoredObject:
    """All versions of one name, the newest last."""

    name: str
    versions: list[Version] = field(default_factory=list)
    deleted_at: int = 0


class Objects:
    """The content of the vault. Names are the same in any case. Raises Refusal."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.live: dict[str, StoredObject] = {}
        self.deleted: dict[str, StoredObject] = {}

    def put(
        self, name: str, value: str, content_type: str = "", certificate: Issued | None = None, **attributes: object
    ) -> Version:
        """Make a new version. Attributes: enabled, nbf, exp."""
        if not _NAME.fullmatch(name):
            raise bad_parameter(f"The request URI contains an invalid name: {name}")
        if name.lower() in self.deleted:
            text = f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused."
            raise Refusal(409, "Conflict", text, "ObjectIsDeletedButRecoverable")
        now = int(self._clock.now())
        made: JsonObject = {"enabled": True, "created": now, "updated": now}
        made |= {"recoveryLevel": "Recoverable+Purgeable", "recoverableDays": RECOVERABLE_DAYS}
        made |= {key: text for key, text in attributes.items() if text is not None}
        version = Version(chance.token_hex(16), value, content_type, made, certificate=certificate)
        self.live.setdefault(name.lower(), StoredObject(name)).versions.append(version)
        return version

    def put_certificate(self, name: str, issued: Issued, content_type: str = PFX, **attributes: object) -> Version:
        """Make a new version of a certificate, and of the secret of the same name."""
        value = issued.pem if content_type == PEM else issued.pfx
        moments = {"nbf": issued.begins, "exp": issued.ends} | attributes
        return self.put(name, value, content_type, issued, **moments)

    def find(self, name: str, version: str = "", kind: str = "Secret") -> tuple[StoredObject, Version]:
        """Return a version, or the current one: that is the newest, whether it is enabled or not."""
        found = self.live.get(name.lower())
        if found is None or (kind == "Certificate" and found.versions[-1].certificate is None):
            raise not_found(kind, name)
        if not version:
            return found, found.versions[-1]
        for one in found.versions:
            if one.id == version.lower():
                return found, one
        raise not_found(kind, f"{name}/{version}")

    def read(self, name: str, version: str = "", out_content_type: str = "") -> tuple[StoredObject, Version]:
        """Return a version with its value, as reading a secret does: PFX as PEM if that is asked for."""
        found, one = self.find(name, version)
        if not one.enabled:
            text = "Operation get is not allowed on a disabled secret."
            raise Refusal(403, "Forbidden", text, "SecretDisabled")
        if out_content_type not in ("", PEM):
            raise bad_parameter(f"outContentType {out_content_type} is not supported")
        if out_content_type == PEM and one.content_type == PFX:
            return found, Version(one.id, as_pem(one.value), PEM, one.attributes, one.tags, one.certificate)
        return found, one

    def change(self, name: str, version: str, body: JsonObject) -> tuple[StoredObject, Version]:
        """Change attributes, tags and content type of a version."""
        found, one = self.find(name, version)
        one.attributes |= body.get("attributes") or {}
        one.attributes["updated"] = int(self._clock.now())
        one.tags = body.get("tags", one.tags)
        one.content_type = body.get("contentType", one.content_type)
        return found, one

    def delete(self, name: str) -> StoredObject:
        """Delete all versions; they can be recovered."""
        found, _ = self.find(name)
        found.deleted_at = int(self._clock.now())
        self.deleted[name.lower()] = self.live.pop(name.lower())
        return found

    def deleted_one(self, name: str) -> StoredObject:
        """Return an object that is deleted and can be recovered."""
        if name.lower() not in self.deleted:
            raise not_found("Secret", name)
        return self.deleted[name.lower()]

    def recover(self, name: str) -> StoredObject:
        """Bring a deleted object back."""
        found = self.deleted_one(name)
        self.live[name.lower()] = self.deleted.pop(name.lower())
        return found

    def purge(self, name: str) -> None:
        """Forget a deleted object."""
        self.deleted_one(name)
        del self.deleted[name.lower()]
