"""The PKI engine: a real certificate authority in memory, answering as the real engine does."""

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .answers import NO_CONTENT, Answer, JsonObject, VaultError, go_duration, missing, seconds
from .tokens import SYSTEM_TTL, Clock, Registry, Token

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Pki:
    """One mount: its authority, its roles, and the certificates that it issued."""

    kind, options = "pki", None

    def __init__(self, clock: Clock, registry: Registry, mount: str) -> None:
        self._clock = clock
        self._registry = registry
        self._mount = mount
        self._roles: dict[str, JsonObject] = {}
        self._authority: tuple[x509.Certificate, PrivateKey] | None = None
        self.issued = 0

    def call(self, operation: str, path: str, body: JsonObject, token: Token) -> Answer:
        """Answer a call below the mount."""
        section, _, name = path.partition("/")
        if operation == "update" and section == "roles":
            self._roles[name] = body
            return Answer(data={**body})
        if section == "roles":
            if name not in self._roles:
                raise missing()
            return Answer(data=self._roles[name])
        if operation == "update" and path.startswith("root/generate/"):
            return self._rooted(body)
        if operation == "update" and section == "issue":
            return self._issued(name, body, token)
        if section in ("ca", "cert", "ca_chain"):
            return self.public(path)
        if section in ("config", "crl", "tidy"):
            return NO_CONTENT
        raise VaultError(404, f"no handler for route {self._mount!r}. route entry not found.")

    def public(self, path: str) -> Answer:
        """Answer what everybody may read: the authority's certificate."""
        if self._authority is None:
            raise missing()
        text = _pem(self._authority[0])
        if path in ("cert/ca_chain", "cert/ca"):
            return Answer(data={"certificate": text, "ca_chain": text, "revocation_time": 0})
        return Answer(plain={"pem": text})

    def _rooted(self, body: JsonObject) -> Answer:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(body.get("common_name") or "root"))])
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(seconds=30))
        builder = builder.not_valid_after(now + timedelta(seconds=seconds(body.get("ttl"), SYSTEM_TTL)))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        certificate = builder.sign(key, hashes.SHA256())
        self._authority = (certificate, key)
        text = _pem(certificate)
        return Answer(
            data={
                "certificate": text,
                "issuing_ca": text,
                "serial_number": _serial(certificate),
                "expiration": int(certificate.not_valid_after_utc.timestamp()),
            }
        )

    def _issued(self, name: str, body: JsonObject, token: Token) -> Answer:
        role = self._roles.get(name)
        if role is None:
            raise VaultError(400, f"unknown role: {name}")
        if self._authority is None:
            raise VaultError(500, "1 error occurred:\n\t* no default issuer currently configured\n\n")
        common = str(body.get("common_name") or "")
        if not common and role.get("require_cn", True):
            raise VaultError(400, "the common_name field is required, or must be provided in a CSR")
        ttl, warnings = self._ttl(role, body)
        certificate, key = self._signed(common, body, role, ttl)
        issuer = _pem(self._authority[0])
        self.issued += 1
        encoding = serialization.PrivateFormat.TraditionalOpenSSL
        if body.get("private_key_format") == "pkcs8":
            encoding = serialization.PrivateFormat.PKCS8
        secret = key.private_bytes(serialization.Encoding.PEM, encoding, serialization.NoEncryption()).decode().strip()
        data: JsonObject = {
            "ca_chain": [issuer],
            "certificate": _pem(certificate),
            "expiration": int(certificate.not_valid_after_utc.timestamp()),
            "issuing_ca": issuer,
            "not_before": int(certificate.not_valid_before_utc.timestamp()),
            "private_key": secret,
            "private_key_type": "ec" if isinstance(key, ec.EllipticCurvePrivateKey) else "rsa",
            "serial_number": _serial(certificate),
        }
        if role.get("generate_lease"):
            lease = self._registry.lease(f"{self._mount}/issue/{name}", token, ttl, ttl, lambda: None)
            lease.renewable = False
            return Answer(data=data, lease_id=lease.id, lease_duration=max(0, int(ttl) - 1), warnings=warnings)
        return Answer(data=data, warnings=warnings)

    def _ttl(self, role: JsonObject, body: JsonObject) -> tuple[float, list[str] | None]:
        try:
            asked = seconds(body.get("ttl")) or seconds(role.get("ttl"), SYSTEM_TTL)
        except ValueError as error:
            text = f'Field validation failed: error converting input for field "ttl": {error}'
            raise VaultError(400, text) from None
        most = seconds(role.get("max_ttl"), SYSTEM_TTL) or SYSTEM_TTL
        if asked <= most:
            return asked, None
        warning = (
            f'TTL "{go_duration(asked)}" is longer than permitted maxTTL "{go_duration(most)}", so maxTTL is being used'
        )
        return most, [warning] if body.get("ttl") else None

    def _signed(
        self, common: str, body: JsonObject, role: JsonObject, ttl: float
    ) -> tuple[x509.Certificate, PrivateKey]:
        if self._authority is None:
            raise RuntimeError("cannot sign without an authority")
        issuer, issuer_key = self._authority
        key: PrivateKey = ec.generate_private_key(ec.SECP256R1())
        if role.get("key_type", "rsa") == "rsa":
            key = rsa.generate_private_key(public_exponent=65537, key_size=int(role.get("key_bits") or 2048))
        now = datetime.fromtimestamp(int(self._clock.now()), UTC)
        names: list[x509.GeneralName] = [x509.DNSName(common)] if common else []
        names += [x509.DNSName(name) for name in _words(body.get("alt_names"))]
        names += [x509.IPAddress(ipaddress.ip_address(text)) for text in _words(body.get("ip_sans"))]
        names += [x509.UniformResourceIdentifier(text) for text in _words(body.get("uri_sans"))]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        back = seconds(role.get("not_before_duration"), 30)
        builder = builder.not_valid_before(now - timedelta(seconds=back)).not_valid_after(now + timedelta(seconds=ttl))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False) if names else builder
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(authority, critical=False)
        return builder.sign(issuer_key, hashes.SHA256()), key


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _words(value: Any) -> list[str]:
    words = value if isinstance(value, list) else str(value or "").split(",")
    return [str(word).strip() for word in words if str(word).strip()]


def _pem(certificate: x509.Certificate) -> str:
    """Return a certificate as PEM, without the last newline, as the real engine does."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode().strip()


def _serial(certificate: x509.Certificate) -> str:
    text = f"{certificate.serial_number:x}"
    text = text.zfill(len(text) + len(text) % 2)
    return ":".join(text[at : at + 2] for at in range(0, len(text), 2))
