"""Logins: AppRole with its lockout, JWT, Kubernetes, certificates; and the endpoints that set them up."""

import base64
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from .answers import NO_CONTENT, Answer, JsonObject, VaultError, denied, missing, seconds
from .tokens import Clock, Registry

LOCKOUT_FAILURES = 5
LOCKOUT_SECONDS = 900.0
_SKEW_SECONDS = 60.0
_TIDY_SECONDS = 60.0
"""How long an expired secret-id still logs in: the real server forgets it at its next tidy."""


def words(value: object) -> tuple[str, ...]:
    """Return a list that is given as a list or as a text with commas."""
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return tuple(str(part).strip() for part in parts if str(part).strip())


@dataclass
class Method:
    """One mounted login method: what all of them have."""

    clock: Clock
    registry: Registry
    mount: str
    tune: JsonObject = field(default_factory=dict)
    roles: dict[str, JsonObject] = field(default_factory=dict)
    config: JsonObject = field(default_factory=dict)

    def admitted(self, role: JsonObject, display_name: str, metadata: dict[str, str]) -> Answer:
        """Return the answer of a login that succeeded."""
        policies = words(role.get("token_policies") or role.get("policies"))
        token = self.registry.new(
            policies,
            f"auth/{self.mount}/login",
            seconds(role.get("token_ttl") or role.get("ttl")),
            max_ttl=seconds(role.get("token_max_ttl") or role.get("max_ttl")),
            explicit_max_ttl=seconds(role.get("token_explicit_max_ttl")),
            period=seconds(role.get("token_period") or role.get("period")),
            type=str(role.get("token_type") or "service").removeprefix("default-"),
            uses_left=int(role.get("token_num_uses") or 0),
            display_name=display_name,
            meta=metadata,
        )
        return Answer(auth=token.auth(self.clock.now()))

    def call(self, operation: str, path: str, body: JsonObject) -> Answer:
        """Answer a call that sets the method up."""
        section, _, name = path.partition("/")
        if section == "config":
            if operation == "update":
                self.config = body
            return NO_CONTENT if operation == "update" else Answer(data=self.config)
        if section not in ("role", "certs"):
            raise VaultError(404, "no handler for route")
        return self.role_call(operation, name, body)

    def role_call(self, operation: str, name: str, body: JsonObject) -> Answer:
        """Answer a call on a role."""
        if operation == "update":
            self.roles[name] = {**self.roles.get(name, {}), **body}
            return NO_CONTENT
        if operation == "delete":
            self.roles.pop(name, None)
            return NO_CONTENT
        if name not in self.roles:
            raise missing()
        return Answer(data=self.roles[name])

    async def login(self, body: JsonObject, certificate: dict[str, Any] | None) -> Answer:
        """Answer a login."""
        raise NotImplementedError


@dataclass
class SecretId:
    """One secret-id of an AppRole."""

    role: str
    accessor: str
    created: float
    ttl: float
    uses: int


@dataclass
class AppRole(Method):
    """AppRole. After five refused logins of one role-id the role is locked for 15 minutes, for everybody."""

    secret_ids: dict[str, SecretId] = field(default_factory=dict)
    failures: dict[str, list[float]] = field(default_factory=dict)

    def role_call(self, operation: str, name: str, body: JsonObject) -> Answer:
        """Answer a call on a role, its role-id or its secret-ids."""
        name, _, part = name.partition("/")
        if not part:
            answer = super().role_call(operation, name, body)
            if operation == "update":
                self.roles[name].setdefault("role_id", str(uuid.uuid4()))
            return answer
        role = self.roles.get(name)
        if role is None:
            raise missing() if operation == "read" else VaultError(400, f'role "{name}" does not exist')
        if part == "role-id":
            if operation == "update":
                role["role_id"] = body["role_id"]
            return NO_CONTENT if operation == "update" else Answer(data={"role_id": role["role_id"]})
        if part == "secret-id":
            return self._new_secret_id(name, role)
        if part == "secret-id/destroy":
            self.secret_ids.pop(str(body.get("secret_id")), None)
            return NO_CONTENT
        raise VaultError(404, "no handler for route")

    def _new_secret_id(self, name: str, role: JsonObject) -> Answer:
        ttl, uses = seconds(role.get("secret_id_ttl")), int(role.get("secret_id_num_uses") or 0)
        made, accessor = str(uuid.uuid4()), str(uuid.uuid4())
        self.secret_ids[made] = SecretId(name, accessor, self.clock.now(), ttl, uses)
        data = {
            "secret_id": made,
            "secret_id_accessor": accessor,
            "secret_id_num_uses": uses,
            "secret_id_ttl": int(ttl),
        }
        return Answer(data=data)

    def tidy(self) -> None:
        """Forget expired secret-ids: until then they still log in, as with the real server."""
        now = self.clock.now()
        self.secret_ids = {
            key: found
            for key, found in self.secret_ids.items()
            if not found.ttl or found.created + found.ttl > now - 60
        }

    async def login(self, body: JsonObject, certificate: dict[str, Any] | None) -> Answer:
        """Answer a login."""
        del certificate
        self.tidy()
        role_id, secret_id = str(body.get("role_id") or ""), str(body.get("secret_id") or "")
        now = self.clock.now()
        lockable = not (self.tune.get("user_lockout_config") or {}).get("lockout_disable")
        recent = [at for at in self.failures.get(role_id, []) if now - at < LOCKOUT_SECONDS]
        if lockable and len(recent) >= LOCKOUT_FAILURES:
            raise denied()
        name = next((name for name, role in self.roles.items() if role["role_id"] == role_id), "")
        role = self.roles.get(name, {})
        if name and role.get("bind_secret_id", True) and not secret_id:
            raise VaultError(400, "missing secret_id")
        found = self.secret_ids.get(secret_id)
        if not name or (role.get("bind_secret_id", True) and (found is None or found.role != name)):
            self.failures[role_id] = [*recent, now]
            raise VaultError(400, "invalid role or secret ID")
        if found is not None and found.uses:
            found.uses -= 1
            if not found.uses:
                del self.secret_ids[secret_id]
        self.failures.pop(role_id, None)
        return self.admitted(role, self.mount, {"role_name": name})


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims_of(token: str) -> JsonObject:
    """Return the claims of a JWT, unverified. Raises: 400 for what is none."""
    try:
        claims: JsonObject = json.loads(_unpadded(token.split(".")[1]))
    except (IndexError, ValueError):
        raise VaultError(400, "error validating token: error parsing token: malformed jwt") from None
    return claims


def is_signed_by(token: str, pem: str) -> bool:
    """Return whether a JWT (RS256 or ES256) is signed by this key."""
    signed, _, signature = token.rpartition(".")
    key = serialization.load_pem_public_key(pem.encode())
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(_unpadded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
            return True
        if isinstance(key, ec.EllipticCurvePublicKey):
            raw = _unpadded(signature)
            half = len(raw) // 2
            numbers = int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
            key.verify(encode_dss_signature(*numbers), signed.encode(), ec.ECDSA(hashes.SHA256()))
            return True
    except (InvalidSignature, ValueError):
        return False
    return False


def claims_fault(claims: JsonObject, audiences: tuple[str, ...], issuer: str, now: float) -> str:
    """Return what is wrong with the claims, in the real server's words; "" for nothing."""
    if claims.get("exp") is not None and claims["exp"] + _SKEW_SECONDS < now:
        return "invalid expiration time (exp) claim: token is expired"
    if claims.get("nbf") is not None and claims["nbf"] - _SKEW_SECONDS > now:
        return "invalid not before (nbf) claim: token not yet valid"
    if issuer and claims.get("iss") != issuer:
        return "invalid issuer (iss) claim"
    if audiences and not {*audiences} & {*words(claims.get("aud"))}:
        return "invalid audience (aud) claim: audience claim does not match any expected audience"
    return ""


@dataclass
class Jwt(Method):
    """JWT, verified with the public keys of the configuration."""

    async def login(self, body: JsonObject, certificate: dict[str, Any] | None) -> Answer:
        """Answer a login."""
        del certificate
        name, token = str(body.get("role") or self.config.get("default_role") or ""), str(body.get("jwt") or "")
        role = self.roles.get(name)
        if role is None:
            raise VaultError(400, f'role "{name}" could not be found')
        if not token:
            raise VaultError(400, "missing token")
        claims = claims_of(token)
        if not any(is_signed_by(token, key) for key in self.config.get("jwt_validation_pubkeys") or ()):
            text = "error verifying token signature: no known key successfully validated the token signature"
            raise VaultError(400, f"error validating token: {text}")
        audiences = words(role.get("bound_audiences"))
        if fault := claims_fault(claims, audiences, str(self.config.get("bound_issuer") or ""), self.clock.now()):
            raise VaultError(400, f"error validating token: {fault}")
        subject = role.get("bound_subject")
        if subject and claims.get("sub") != subject:
            raise VaultError(400, "error validating token: sub claim does not match bound subject")
        user = str(claims.get(str(role.get("user_claim") or "sub"), ""))
        return self.admitted(role, f"{self.mount}-{user}", {"role": name})


@dataclass
class Kubernetes(Method):
    """Kubernetes: asks the API server of the configuration to review the token, as the real one does."""

    async def login(self, body: JsonObject, certificate: dict[str, Any] | None) -> Answer:
        """Answer a login."""
        del certificate
        name, token = str(body.get("role") or ""), str(body.get("jwt") or "")
        role = self.roles.get(name)
        if role is None:
            raise VaultError(400, f'invalid role name "{name}"')
        claims = claims_of(token)
        if fault := claims_fault(claims, words(role.get("audience")), "", self.clock.now()):
            raise VaultError(403, fault)
        about = claims.get("kubernetes.io") or {}
        account, namespace = (about.get("serviceaccount") or {}).get("name", ""), about.get("namespace", "")
        for key, text, error in (
            ("bound_service_account_namespaces", namespace, "namespace not authorized"),
            ("bound_service_account_names", account, "service account name not authorized"),
        ):
            if not {"*", text} & {*words(role.get(key))}:
                raise VaultError(403, error)
        await self._reviewed(token, role)
        metadata = {
            "role": name,
            "service_account_name": account,
            "service_account_namespace": namespace,
            "service_account_secret_name": "",
            "service_account_uid": (about.get("serviceaccount") or {}).get("uid", ""),
        }
        return self.admitted(role, f"{self.mount}-{namespace}-{account}", metadata)

    async def _reviewed(self, token: str, role: JsonObject) -> None:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        if audiences := words(role.get("audience")):
            review["spec"] = {"token": token, "audiences": list(audiences)}
        address = str(self.config.get("kubernetes_host") or "") + "/apis/authentication.k8s.io/v1/tokenreviews"
        headers = {"Authorization": f"Bearer {self.config.get('token_reviewer_jwt') or token}"}
        try:
            async with aiohttp.ClientSession() as session, session.post(address, json=review, headers=headers) as reply:
                status = (await reply.json(content_type=None)).get("status") or {}
        except (aiohttp.ClientError, ValueError, AttributeError):
            raise denied() from None
        if not status.get("authenticated"):
            raise denied()


@dataclass
class Certificates(Method):
    """TLS client certificates, by the authority of a role and the names it allows."""

    async def login(self, body: JsonObject, certificate: dict[str, Any] | None) -> Answer:
        """Answer a login."""
        if not certificate:
            raise VaultError(400, "no client certificate found")
        presented = x509.load_der_x509_certificate(certificate["der"])
        common = "".join(str(name.value) for name in presented.subject if name.oid == x509.NameOID.COMMON_NAME)
        for name, role in self.roles.items():
            if body.get("name") and body["name"] != name:
                continue
            allowed = words(role.get("allowed_common_names"))
            if _issued(presented, str(role.get("certificate") or "")) and (not allowed or common in allowed):
                metadata = {"cert_name": name, "common_name": common, "serial_number": str(presented.serial_number)}
                return self.admitted(role, f"{self.mount}-{common}", metadata)
        raise VaultError(400, "failed to match all constraints for this login certificate")


def _issued(presented: x509.Certificate, pem: str) -> bool:
    authority = x509.load_pem_x509_certificate(pem.encode())
    if presented == authority:
        return True
    try:
        presented.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


METHODS: dict[str, Callable[[Clock, Registry, str], Method]] = {
    "approle": AppRole,
    "jwt": Jwt,
    "kubernetes": Kubernetes,
    "cert": Certificates,
}
