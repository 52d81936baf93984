"""TLS to the nodes: our certificates as they are now, and who a node may be."""

import ssl

from sidecars.ambassador.core.causes import Cause
from sidecars.ambassador.settings import Tls
from sidecars.kit.certificates import CertificateFiles, CertificateSet, TlsOptions
from sidecars.kit.net.leg import Leg
from sidecars.kit.tls_identity import accepted_by, parse_rule

from .failure import ConnectFailed, broken_cause

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_NAME_CODES = {62, 63, 64}  # X509_V_ERR_HOSTNAME_MISMATCH, EMAIL, IP_ADDRESS


class NodeTls:
    """One identity, and what nodes must show. `certificates` is loaded by its owner."""

    def __init__(self, settings: Tls) -> None:
        self.settings = settings
        self.certificates = CertificateSet(
            CertificateFiles(settings.ca_file, settings.certificate_file, settings.key_file, "tls.")
        )
        self._rules = [parse_rule(text) for text in settings.sans]

    async def secure(self, leg: Leg, host: str, alpn: str = "") -> None:
        """Shake hands, and look whose certificate it is. Raise ConnectFailed, LegBroken."""
        options = TlsOptions(
            alpn=(alpn,) if alpn else (),
            minimum=_VERSIONS[self.settings.minimum_version],
            check_name=not self._rules,
        )
        name = (self.settings.server_name or host).removesuffix(".")
        try:
            facts = await leg.start_tls(self.certificates.client(options), name, self.certificates.sessions(options))
        except ssl.SSLError as error:
            raise ConnectFailed(*refusal(error)) from None
        except ValueError as error:
            raise ConnectFailed(Cause.BYTES_BEFORE_TLS, str(error)) from None
        if self._rules and accepted_by(self._rules, facts.peer_names, facts.peer_der) is None:
            names = ", ".join(f"{kind}:{value}" for kind, value in facts.peer_names)[:200] or "nobody"
            raise ConnectFailed(Cause.WRONG_NAME, f"its certificate is for {names}; tls.sans has none of them")
        if alpn and self.settings.postgres == "direct" and facts.alpn != alpn:
            raise ConnectFailed(Cause.TLS_FAILED, f"it did not take the protocol {alpn} (ALPN)")


def refusal(error: ssl.SSLError) -> tuple[Cause, str]:
    """Return the cause of a failed handshake, and a text for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _NAME_CODES:
            return Cause.WRONG_NAME, f"its certificate is for somebody else: {error.verify_message}"
        return Cause.UNTRUSTED, f"its certificate is not trusted: {error.verify_message}"
    return broken_cause("tls_broken", error.reason or ""), f"TLS failed: {error.reason or error}"
