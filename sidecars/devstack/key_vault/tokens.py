"""Who gives tokens: Entra for projected tokens, the node's endpoint, and that of an app service."""

import base64
import json
import secrets as chance
from dataclasses import dataclass

from sidecars.devstack.vault.tokens import Clock

from .answers import JsonObject, NoToken, Refusal

AUDIENCE = "api://AzureADTokenExchange"
TENANT = "11111111-2222-4333-8444-555555555555"
CLIENT = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
SUBJECT = "system:serviceaccount:default:shop"
ISSUER = "https://issuer.invalid/"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def projected_token(
    clock: Clock, subject: str = SUBJECT, lasts_seconds: float = 3600.0, audience: str = AUDIENCE
) -> str:
    """Return what the kubelet puts into AZURE_FEDERATED_TOKEN_FILE: a JWT. Its signature is not looked at."""
    now = int(clock.now())
    claims = {"iss": ISSUER, "sub": subject, "aud": [audience], "iat": now, "exp": now + int(lasts_seconds)}
    parts = [{"alg": "RS256", "typ": "JWT", "kid": "devstack"}, claims | {"jti": chance.token_hex(8)}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, chance.token_urlsafe(64)])


@dataclass
class AccessToken:
    """A token for one resource."""

    client: str
    resource: str
    ends: float
    revoked: bool = False


class Tokens:
    """All tokens, and who may have one. `roles`: what an identity may do, such as {"secrets/get"}; one that is not
    named may do everything.
    """

    def __init__(self, clock: Clock, resource: str) -> None:
        self._clock = clock
        self.resource = resource
        self.lasts_seconds = 3599.0
        self.federated = {CLIENT: {SUBJECT}}
        """The subjects whose projected tokens stand for an identity."""
        self.managed = [CLIENT]
        """The identities of the node."""
        self.roles: dict[str, set[str]] = {}
        self.issued: dict[str, AccessToken] = {}
        self.assertions: list[str] = []
        """The projected tokens that were exchanged, in order."""

    def exchange(self, tenant: str, form: JsonObject) -> JsonObject:
        """Answer a request for a token by client credentials. Raises NoToken."""
        if tenant.lower() != TENANT:
            text = f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID."
            raise NoToken(400, "invalid_request", text, 90002)
        client = str(form.get("client_id") or "").lower()
        if client not in self.federated:
            text = f"Application with identifier '{client}' was not found in the directory 'devstack'."
            raise NoToken(400, "unauthorized_client", text, 700016)
        if form.get("grant_type") != "client_credentials" or form.get("client_assertion_type") != _ASSERTION:
            raise NoToken(401, "invalid_client", "The request body must contain 'client_assertion'.", 7000218)
        self._check(client, str(form.get("client_assertion") or ""))
        resource = str(form.get("scope") or "").removesuffix("/.default")
        return {"token_type": "Bearer", **self._granted(client, resource)}

    def _check(self, client: str, assertion: str) -> None:
        try:
            payload = assertion.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            subject, audience, ends = claims["sub"], claims["aud"], float(claims["exp"])
        except (IndexError, KeyError, TypeError, ValueError):
            text = "Client assertion is not within its valid form."
            raise NoToken(401, "invalid_client", text, 50027) from None
        if AUDIENCE not in audience:
            text = f"No matching federated identity record found for presented assertion audience '{audience}'."
            raise NoToken(401, "invalid_client", text, 700212)
        if subject not in self.federated[client]:
            text = f"No matching federated identity record found for presented assertion subject '{subject}'."
            raise NoToken(401, "invalid_client", text, 700213)
        if ends <= self._clock.now():
            text = "Client assertion is not within its valid time range."
            raise NoToken(401, "invalid_client", text, 700024)
        self.assertions.append(assertion)

    def managed_token(self, query: JsonObject, *, texts: bool) -> JsonObject:
        """Answer the node's endpoint (numbers are texts), or an app service's. Raises NoToken."""
        client = str(query.get("client_id") or "").lower()
        if client and client not in self.managed:
            raise NoToken(400, "invalid_request", "Identity not found")
        if not client and len(self.managed) != 1:
            text = "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity"
            raise NoToken(400, "invalid_request", text if self.managed else "Identity not found")
        resource = str(query.get("resource") or "")
        granted = self._granted(client or self.managed[0], resource)
        now = int(self._clock.now())
        granted |= {"expires_on": now + granted["expires_in"], "not_before": now, "resource": resource}
        if texts:
            granted = {key: str(text) for key, text in granted.items()} | {"refresh_token": ""}
        else:
            del granted["expires_in"]
            granted["expires_on"] = str(granted["expires_on"])
        return granted | {"token_type": "Bearer"}

    def _granted(self, client: str, resource: str) -> JsonObject:
        token = f"devstack.{chance.token_urlsafe(48)}"
        self.issued[token] = AccessToken(client, resource, self._clock.now() + self.lasts_seconds)
        seconds = int(self.lasts_seconds)
        return {"expires_in": seconds, "ext_expires_in": seconds, "access_token": token}

    def holder(self, authorization: str, right: str, challenge: str) -> str:
        """Return whose token it is that a request came with. Raises Refusal when it is no good, or its holder may not
        do this.
        """
        headers = {"WWW-Authenticate": challenge}
        if not authorization.startswith("Bearer "):
            text = "AKV10000: Request is missing a Bearer or PoP token."
            raise Refusal(401, "Unauthorized", text, headers=headers)
        found = self.issued.get(authorization.removeprefix("Bearer "))
        if found is None or found.revoked or found.ends <= self._clock.now():
            text = "[TokenExpired] Error validating token: the token is not within its valid time range."
            raise Refusal(401, "Unauthorized", text, headers=headers)
        if found.resource != self.resource:
            text = f"AKV10022: Invalid audience. Expected {self.resource}, found: {found.resource}."
            raise Refusal(401, "Unauthorized", text, headers=headers)
        if right not in self.roles.get(found.client, {right}):
            text = (
                "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or "
                "role definitions were changed recently, please observe propagation time.\r\n"
                f"Caller: appid={found.client}\r\nAction: 'Microsoft.KeyVault/vaults/{right}'\r\n"
            )
            raise Refusal(403, "Forbidden", text, "ForbiddenByRbac")
        return found.client

    def revoke(self) -> None:
        """Make every token that was given worthless."""
        for token in self.issued.values():
            token.revoked = True
