"""As whom the vault is asked: from the settings, and from the variables that Azure puts into a pod."""

from collections.abc import Mapping

from sidecars.runtime.errors import Problem
from sidecars.secret_sync.core.entra import CLOUDS, AzureIdentity, IdentityKind, cloud_of
from sidecars.secret_sync.settings import KeyVaultServer

NODE_ENDPOINT = "http://169.254.169.254"
"""Link-local, so in the clear by design (IMDS)."""
NODE_PATH = "/metadata/identity/oauth2/token"
_LABEL = 'label the pod azure.workload.identity/use: "true", or set'


def identity_of(server: KeyVaultServer, environment: Mapping[str, str]) -> AzureIdentity | list[Problem]:
    """Return the identity, or what is missing for one. The node's endpoint is used only where it is asked for: any pod
    would get the identities of its node.
    """
    kind = server.identity
    if kind is None:
        given = server.token_file or environment.get("AZURE_FEDERATED_TOKEN_FILE")
        kind = IdentityKind.MANAGED if not given and _own_endpoint(environment) else IdentityKind.WORKLOAD
    return _managed(server, environment) if kind is IdentityKind.MANAGED else _workload(server, environment)


def _workload(server: KeyVaultServer, environment: Mapping[str, str]) -> AzureIdentity | list[Problem]:
    cloud = cloud_of(server.address) or CLOUDS[0]
    authority = server.authority_host or environment.get("AZURE_AUTHORITY_HOST") or cloud.authority
    identity = AzureIdentity(
        IdentityKind.WORKLOAD,
        tenant=server.tenant_id or environment.get("AZURE_TENANT_ID", ""),
        client=server.client_id or environment.get("AZURE_CLIENT_ID", ""),
        token_file=server.token_file or environment.get("AZURE_FEDERATED_TOKEN_FILE", ""),
        authority=authority.rstrip("/"),
    )
    missing = [
        Problem(f"key_vault.{name}", f"it is not set, and neither is {variable}", f"{_LABEL} it")
        for name, variable, value in (
            ("tenant_id", "AZURE_TENANT_ID", identity.tenant),
            ("client_id", "AZURE_CLIENT_ID", identity.client),
            ("token_file", "AZURE_FEDERATED_TOKEN_FILE", identity.token_file),
        )
        if not value
    ]
    if not identity.authority.startswith("https://") and not server.authority_host:
        text = f"AZURE_AUTHORITY_HOST is {identity.authority!r}, which is no https URL"
        missing.append(Problem("key_vault.authority_host", text, "write it as https://HOST"))
    return missing or identity


def _managed(server: KeyVaultServer, environment: Mapping[str, str]) -> AzureIdentity:
    client = server.client_id or environment.get("AZURE_CLIENT_ID", "")
    if _own_endpoint(environment):
        endpoint, header = environment["IDENTITY_ENDPOINT"], environment["IDENTITY_HEADER"]
        return AzureIdentity(IdentityKind.MANAGED, client=client, endpoint=endpoint, header=header)
    node = (environment.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or NODE_ENDPOINT).rstrip("/")
    return AzureIdentity(IdentityKind.MANAGED, client=client, endpoint=node + NODE_PATH)


def _own_endpoint(environment: Mapping[str, str]) -> bool:
    return bool(environment.get("IDENTITY_ENDPOINT") and environment.get("IDENTITY_HEADER"))
