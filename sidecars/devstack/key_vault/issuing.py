"""Certificates with their key and chain, as PFX and as PEM."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

PFX, PEM = "application/x-pkcs12", "application/x-pem-file"
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate and what belongs to it. `others`: its issuers, the root last."""

    key: Key
    certificate: x509.Certificate
    others: tuple[x509.Certificate, ...] = ()

    @property
    def pfx(self) -> str:
        """Return it as base64 of PFX without a password; the root comes first, as the vault has it."""
        others = list(reversed(self.others))
        made = pkcs12.serialize_key_and_certificates(
            None, self.key, self.certificate, others, serialization.NoEncryption()
        )
        return base64.b64encode(made).decode()

    @property
    def pem(self) -> str:
        """Return it as PEM, from the leaf to the root."""
        return pem_of(self.key, (self.certificate, *self.others))

    def shown(self) -> dict[str, str]:
        """Return its DER and its thumbprint, as a certificate's answer has them."""
        thumbprint = base64.urlsafe_b64encode(self.certificate.fingerprint(hashes.SHA1())).decode().rstrip("=")  # noqa: S303
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        return {"x5t": thumbprint, "cer": base64.b64encode(der).decode()}

    @property
    def begins(self) -> int:
        """Return from when it is valid."""
        return int(self.certificate.not_valid_before_utc.timestamp())

    @property
    def ends(self) -> int:
        """Return until when it is valid."""
        return int(self.certificate.not_valid_after_utc.timestamp())


def pem_of(key: Key | None, certificates: tuple[x509.Certificate, ...]) -> str:
    """Return a key (PKCS 8) and certificates as PEM."""
    made = ""
    if key is not None:
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        made = key.private_bytes(*form).decode()
    return made + "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)


def as_pem(pfx: str) -> str:
    """Return the PEM of base64 of PFX, as the vault makes it when it is asked for: in the order of the PFX."""
    key, certificate, others = pkcs12.load_key_and_certificates(base64.b64decode(pfx), None)
    found = tuple(one for one in (*others, certificate) if one is not None)
    return pem_of(key if isinstance(key, Key) else None, found)


def imported(value: str, password: str = "") -> Issued:
    """Return what an import brings: PEM text, or base64 of PFX. Raises ValueError."""
    if "-----BEGIN" in value:
        certificates = x509.load_pem_x509_certificates(value.encode())
        return _issued(serialization.load_pem_private_key(value.encode(), None), certificates)
    key, certificate, others = pkcs12.load_key_and_certificates(base64.b64decode(value), password.encode() or None)
    return _issued(key, [one for one in (certificate, *others) if one is not None])


def _issued(key: object, certificates: list[x509.Certificate]) -> Issued:
    if not isinstance(key, Key) or not certificates:
        raise ValueError("it holds no key and certificate of a known kind")  # of the caller's content
    return Issued(key, certificates[0], tuple(certificates[1:]))


class Authority:
    """A root and an intermediate that issue; or, as the issuer `Self`, certificates that sign themselves."""

    def __init__(self) -> None:
        self._root_key, self._middle_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        now, long = datetime.now(UTC), timedelta(days=3650)
        self.root = _signed("devstack root", self._root_key, None, (now, long))
        self.middle = _signed("devstack intermediate", self._middle_key, (self.root, self._root_key), (now, long))

    def issue(
        self, name: str, now: float, lasts_seconds: float = 86400.0, *, kind: str = "EC", own: bool = False
    ) -> Issued:
        """Issue a certificate for a DNS name; `kind`: EC or RSA."""
        key: Key = ec.generate_private_key(ec.SECP256R1())
        if kind.startswith("RSA"):
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        begins = datetime.fromtimestamp(int(now), UTC) - timedelta(minutes=10)
        lasts = timedelta(seconds=lasts_seconds, minutes=10)
        if own:
            return Issued(key, _signed(name, key, None, (begins, lasts)))
        leaf = _signed(name, key, (self.middle, self._middle_key), (begins, lasts), leaf=True)
        return Issued(key, leaf, (self.middle, self.root))


def _signed(
    name: str,
    key: Key,
    issuer: tuple[x509.Certificate, Key] | None,
    life: tuple[datetime, timedelta],
    *,
    leaf: bool = False,
) -> x509.Certificate:
    begins, lasts = life
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer_name, issuer_key = (subject, key) if issuer is None else (issuer[0].subject, issuer[1])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer_name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begins)
    builder = builder.not_valid_after(begins + lasts)
    if leaf or " " not in name:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=not leaf, path_length=None), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
