"""The settings of secret-sync, each declared once: type, unit, default and why."""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sidecars.kit.notify.core.options import Exec, Signal, Webhook
from sidecars.kit.notify.core.problems import problems as notify_problems
from sidecars.runtime import Problem, Settings

from .core.engines import Engine, Source
from .core.entra import IdentityKind
from .core.formats import Format

_MODE = re.compile(r"0?[0-7]{3}")


class Method(StrEnum):
    """How to log in."""

    KUBERNETES = "kubernetes"
    JWT = "jwt"
    APPROLE = "approle"
    TOKEN = "token"
    CERT = "cert"


class PodLifecycle(StrEnum):
    """How the container stands in the pod."""

    NATIVE = "native"
    ORDINARY = "ordinary"


class VaultServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where Vault is, and how its server is known."""

    address: Annotated[str, Meta(description="URL of Vault or OpenBao.", examples=["https://vault:8200"])] = ""
    namespace: Annotated[str, Meta(description="Namespace of the secrets.")] = ""
    ca_file: Annotated[str, Meta(description="CA certificates (PEM). Unset: those of the system.")] = ""
    server_name: Annotated[str, Meta(description="Name in the server's certificate. Unset: the host of `address`.")] = (
        ""
    )
    client_certificate_file: Annotated[str, Meta(description="Client certificate chain (PEM) for mutual TLS.")] = ""
    client_key_file: Annotated[str, Meta(description="Its key (PEM). Unset: it is in client_certificate_file.")] = ""
    timeout_seconds: Annotated[float, Meta(gt=0, le=60, description="Longest wait for an answer.")] = 5.0

    @property
    def tls_files(self) -> tuple[str, ...]:
        """Return the files that TLS needs."""
        return tuple(filter(None, (self.ca_file, self.client_certificate_file, self.client_key_file)))


class Auth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to log in. Every file is read again at each login."""

    method: Annotated[Method, Meta(description="How to log in.")] = Method.KUBERNETES
    mount: Annotated[str, Meta(description="Where the method is mounted. Unset: as it is called.")] = ""
    namespace: Annotated[
        str | None, Meta(description="Namespace of the login. Unset: that of the secrets; empty: the root namespace.")
    ] = None
    role: Annotated[str, Meta(description="Role to log in as (kubernetes, jwt, cert).")] = ""
    token_file: Annotated[
        str,
        Meta(description="File with the token (kubernetes, jwt: a JWT; token: a token of Vault)."),
    ] = ""
    role_id_file: Annotated[str, Meta(description="File with the role-id (approle).")] = ""
    secret_id_file: Annotated[str, Meta(description="File with the secret-id (approle), or a token that wraps it.")] = (
        ""
    )
    wrapped: Annotated[bool, Meta(description="Whether secret_id_file holds a wrapping token.")] = False
    wrapped_path: Annotated[
        str,
        Meta(
            description="The path that the wrapping token must have been made at. A secret-id that somebody else "
            "wrapped is refused.",
            examples=["auth/approle/role/app/secret-id"],
        ),
    ] = ""

    @property
    def mounted(self) -> str:
        """Return the mount."""
        return (self.mount or self.method.value).strip("/")


class KeyVaultServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where Azure Key Vault is, and as whom it is asked."""

    address: Annotated[str, Meta(description="URL of the vault.", examples=["https://shop.vault.azure.net"])] = ""
    identity: Annotated[
        IdentityKind | None,
        Meta(
            description="`workload`: the pod's projected token is exchanged at Entra. `managed`: the endpoint of the "
            "node (IMDS) or of IDENTITY_ENDPOINT is asked. Unset: what the AZURE_* variables of the pod say."
        ),
    ] = None
    tenant_id: Annotated[str, Meta(description="Tenant of the vault. Unset: AZURE_TENANT_ID.")] = ""
    client_id: Annotated[
        str,
        Meta(description="Client id of the identity. Unset: AZURE_CLIENT_ID; with `managed` the only one there is."),
    ] = ""
    token_file: Annotated[
        str, Meta(description="The projected token; read at each login. Unset: AZURE_FEDERATED_TOKEN_FILE.")
    ] = ""
    authority_host: Annotated[
        str,
        Meta(
            description="Where tokens are exchanged. Unset: AZURE_AUTHORITY_HOST, or that of the cloud of `address`.",
            examples=["https://login.microsoftonline.us"],
        ),
    ] = ""
    resource: Annotated[
        str,
        Meta(
            description="What tokens are asked for. Unset: that of the cloud of `address`, or, for another domain, "
            "what the vault asks for, as far as its domain is that of `address`.",
            examples=["https://vault.azure.net"],
        ),
    ] = ""
    api_version: Annotated[
        str, Meta(description="Version of the interface; before 2025-07-01 PFX is not turned into PEM by the vault.")
    ] = "2025-07-01"
    ca_file: Annotated[
        str, Meta(description="CA certificates (PEM) of vault and authority host. Unset: those of the system.")
    ] = ""
    timeout_seconds: Annotated[float, Meta(gt=0, le=60, description="Longest wait for an answer.")] = 5.0


class SecretFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file that a secret is written to."""

    path: Annotated[str, Meta(description="Path below the target.", examples=["db.env"])] = ""
    target: Annotated[str, Meta(description="Name of the target. Unset: the first one.")] = ""
    format: Annotated[Format, Meta(description="How it is written.")] = Format.JSON
    key: Annotated[str, Meta(description="Only this key of the secret.")] = ""
    template: Annotated[str, Meta(description="Jinja2 template (format: template).")] = ""
    template_file: Annotated[str, Meta(description="File with the template; read at each writing.")] = ""
    passphrase_file: Annotated[
        str, Meta(description="File with the passphrase of the store (pkcs12); read at each writing.")
    ] = ""
    passphrase_from: Annotated[
        str,
        Meta(
            description="Secret and key that hold the passphrase of the store (pkcs12), in place of a file. Neither is "
            "set: the store is not encrypted.",
            examples=["stores#password"],
        ),
    ] = ""
    mode: Annotated[str, Meta(description="Mode of the file.", examples=["0400", "0440"])] = "0400"
    uid: Annotated[Annotated[int, Meta(ge=0)] | None, Meta(description="Owner. Unset: us.")] = None
    gid: Annotated[Annotated[int, Meta(ge=0)] | None, Meta(description="Group. Unset: ours.")] = None

    @property
    def bits(self) -> int:
        """Return the mode as a number."""
        return int(self.mode, 8)


class TargetFolder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder whose files change together."""

    name: Annotated[str, Meta(description="Its name, for files.")] = ""
    path: Annotated[str, Meta(description="The folder: a memory volume.", examples=["/secrets"])] = ""
    allow_disk: Annotated[bool, Meta(description="Write there although it is not a memory volume.")] = False


class SecretSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One secret: where it comes from, and what it is written to."""

    name: Annotated[str, Meta(description="Its name in /status, metrics and log.")] = ""
    required: Annotated[bool, Meta(description="Whether the start waits for it.")] = True
    engine: Annotated[
        Engine | None,
        Meta(
            description="`kv` looks the version of the mount up; `dynamic`: any path, with what lease it has. Of Key "
            "Vault: `secret`, `certificate` (with its key and chain). Unset: kv, or secret."
        ),
    ] = None
    mount: Annotated[str, Meta(description="Mount of the engine (kv, kv1, kv2, pki, static).")] = ""
    path: Annotated[
        str, Meta(description="Path below the mount; with `dynamic` the whole path; of Key Vault the object's name.")
    ] = ""
    role: Annotated[str, Meta(description="Role (pki, static).")] = ""
    version: Annotated[int, Meta(ge=0, description="Version of a KV 2 secret; 0: the newest.")] = 0
    object_version: Annotated[
        str, Meta(description="Version of an object of Key Vault: the end of its identifier. Unset: the newest.")
    ] = ""
    write: Annotated[bool, Meta(description="Write to the path (POST) in place of reading it (dynamic).")] = False
    parameters: Annotated[dict[str, Any], Meta(description="Sent along (pki, dynamic).")] = {}
    poll_seconds: Annotated[
        float, Meta(ge=1, le=86400, description="Look this often for changes of what has no lease.")
    ] = 30.0
    life_fraction: Annotated[
        float, Meta(gt=0.05, lt=0.95, description="Issue a certificate anew after this share of its life.")
    ] = 0.6667
    margin_seconds: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="Issue a certificate anew so long before its end, in place of life_fraction, which still goes "
            "for one that lives no longer than this."
        ),
    ] = None
    stale_seconds: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="/readyz fails when it could not be read for so long. Unset: only when its value has ended."),
    ] = None
    files: Annotated[tuple[SecretFile, ...], Meta(description="What it is written to.")] = ()

    @property
    def source(self) -> Source:
        """Return where it comes from."""
        return Source(
            self.engine or Engine.KV,
            self.mount.strip("/"),
            self.path.strip("/"),
            self.role,
            self.version,
            self.write,
            self.parameters,
            self.poll_seconds,
            self.life_fraction,
            self.margin_seconds,
            self.object_version,
        )


class NotifyStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to notify the app, after each generation: one key with its options."""

    signal: Annotated[Signal | None, Meta(description="Send a signal.")] = None
    webhook: Annotated[Webhook | None, Meta(description="Send an HTTP request.")] = None
    exec: Annotated[Exec | None, Meta(description="Run a program in this container.")] = None

    @property
    def options(self) -> list[Signal | Webhook | Exec]:
        """Return what is set."""
        return [step for step in (self.signal, self.webhook, self.exec) if step is not None]


class SecretSyncSettings(Settings, frozen=True, kw_only=True):
    """Settings of secret-sync."""

    admin_port: Annotated[
        int,
        Meta(ge=0, le=65535, description="Port of the admin endpoint (probes, metrics, status). 0 takes any free one."),
    ] = 9103
    grace_seconds: Annotated[
        float, Meta(gt=0, description="Longest time from SIGTERM to the exit; nothing is waited for then.")
    ] = 5.0
    vault: Annotated[VaultServer | None, Meta(description="Where Vault is.")] = None
    auth: Annotated[Auth | None, Meta(description="How to log in.")] = None
    key_vault: Annotated[
        KeyVaultServer | None, Meta(description="Where Azure Key Vault is, in place of `vault` and `auth`.")
    ] = None
    targets: Annotated[tuple[TargetFolder, ...], Meta(description="The folders that are written.")] = ()
    secrets: Annotated[tuple[SecretSettings, ...], Meta(description="What is fetched.")] = ()
    notify: Annotated[
        tuple[NotifyStep, ...], Meta(description="Notify the app once after each generation, in this order.")
    ] = ()
    lifecycle: Annotated[
        PodLifecycle,
        Meta(description="`native`: the app is gone when we are stopped, so token and leases are revoked then."),
    ] = PodLifecycle.NATIVE
    start_deadline_seconds: Annotated[
        float, Meta(gt=0, le=86400, description="With --once: end without success after so long.")
    ] = 60.0
    handover_file: Annotated[
        str,
        Meta(
            description="Keeps token and leases from --once to the sidecar, and over a crash: nothing is issued twice. "
            "In a target or on another memory volume; only we can read it.",
            examples=["/secrets/.leases"],
        ),
    ] = ""
    remove_files_on_stop: Annotated[bool, Meta(description="Remove the files when a native sidecar stops.")] = False
    vault_address: Annotated[str, Meta(description="The same as vault.address.")] = ""
    key_vault_address: Annotated[str, Meta(description="The same as key_vault.address.")] = ""
    kubernetes_role: Annotated[str, Meta(description="The same as auth.role, with the method kubernetes.")] = ""
    secret: Annotated[
        tuple[str, ...],
        Meta(
            description="The simple form of `secrets`: paths, each written as NAME.json; with `#KEY` that key alone, "
            "as it is, to a file of the key's name. Of Key Vault: NAME, written as it is, or certificates/NAME, "
            "written as NAME.pem.",
            examples=["kv/data/app", "database/creds/app", "db-password"],
        ),
    ] = ()
    target: Annotated[str, Meta(description="The simple form of `targets`: one folder.", examples=["/secrets"])] = ""

    @property
    def server(self) -> VaultServer:
        """Return where Vault is."""
        return self.vault if self.vault is not None else VaultServer(address=self.vault_address)

    @property
    def login(self) -> Auth:
        """Return how to log in."""
        return self.auth if self.auth is not None else Auth(role=self.kubernetes_role)

    @property
    def key_vault_server(self) -> KeyVaultServer | None:
        """Return where Key Vault is; None when the provider is Vault."""
        if self.key_vault is not None or not self.key_vault_address:
            return self.key_vault
        return KeyVaultServer(address=self.key_vault_address)

    @property
    def held_by(self) -> tuple[object, ...]:
        """Return what a token belongs to: it is not taken over from a run that had something else here."""
        if self.key_vault_server is not None:
            return (self.key_vault_server,)
        return (self.server.address, self.server.namespace, self.login)

    @property
    def all_targets(self) -> tuple[TargetFolder, ...]:
        """Return the targets, each with a name."""
        if not self.targets:
            return (TargetFolder(name="target", path=self.target),) if self.target else ()
        return tuple(
            target if target.name else msgspec.structs.replace(target, name=f"target-{number}")
            for number, target in enumerate(self.targets)
        )

    @property
    def all_secrets(self) -> tuple[SecretSettings, ...]:
        """Return the secrets, each with a name."""
        is_key_vault = self.key_vault_server is not None
        simple = merged([(simple_object if is_key_vault else simple_secret)(text) for text in self.secret])
        engine = Engine.SECRET if is_key_vault else Engine.KV
        return tuple(
            msgspec.structs.replace(secret, name=secret.name or f"secret-{number}", engine=secret.engine or engine)
            for number, secret in enumerate((*self.secrets, *simple))
        )

    def problems(self) -> Iterable[Problem]:
        """What single fields cannot say."""
        yield from self._provider_problems()
        yield from self._twice_problems()
        if not self.all_targets:
            yield Problem("target", "no folder is named", "set it to the memory volume, such as /secrets")
        if not self.all_secrets:
            yield Problem("secrets", "there is nothing to fetch", "name a secret, such as --secret kv/data/app")
        yield from self._target_problems()
        yield from self._secret_problems()
        for number, step in enumerate(self.notify):
            if len(step.options) != 1:
                yield Problem(
                    f"notify[{number}]", "a step is one key with its options", "write signal, webhook or exec"
                )
                continue
            kind = next(name for name in step.__struct_fields__ if getattr(step, name) is not None)
            for field, message, remedy in notify_problems(step.options[0]):
                yield Problem(f"notify[{number}].{kind}.{field}".removesuffix("."), message, remedy)

    def _twice_problems(self) -> Iterable[Problem]:
        """What is said in the simple form and in the full one: only the full one would count."""
        for simple, full in (
            ("vault_address", "vault"),
            ("key_vault_address", "key_vault"),
            ("kubernetes_role", "auth"),
            ("target", "targets"),
        ):
            if getattr(self, simple) and getattr(self, full):
                yield Problem(simple, f"{full} is set too, and would be used in place of it", "keep one of them")

    def _provider_problems(self) -> Iterable[Problem]:
        key_vault = self.key_vault_server
        if key_vault is None:
            address, field = self.server.address, "vault_address" if self.vault is None else "vault.address"
            if not address:
                remedy = "set it to the URL of Vault, such as https://vault:8200, or key_vault_address"
                yield Problem(field, "it is not set", remedy)
            elif not re.match(r"https?://[^/@\s]+/?$", address):
                yield Problem(field, "it is no URL of a server", "write it as https://HOST:PORT, without a path")
            yield from self._auth_problems()
            return
        for name in ("vault", "auth", "vault_address", "kubernetes_role"):
            if getattr(self, name):
                text = "it is of Vault, and key_vault is set: there is one provider for each sidecar"
                yield Problem(name, text, "take one of them out; run a second secret-sync for the other provider")
        yield from _key_vault_problems("key_vault" if self.key_vault is not None else "key_vault_address", key_vault)

    def _auth_problems(self) -> Iterable[Problem]:
        auth = self.login
        name = "kubernetes_role" if self.auth is None else "auth.role"
        if auth.method in (Method.KUBERNETES, Method.JWT) and not auth.role:
            yield Problem(name, "it is not set", "name the role to log in as")
        needs = {
            Method.JWT: ("token_file",),
            Method.TOKEN: ("token_file",),
            Method.APPROLE: ("role_id_file", "secret_id_file"),
        }
        for field in needs.get(auth.method, ()):
            if not getattr(auth, field):
                yield Problem(f"auth.{field}", f"it is not set, and the method {auth.method} needs it", "name the file")
        if auth.wrapped and not auth.wrapped_path:
            text = "it is not set, so a secret-id that somebody else wrapped could not be told from ours"
            yield Problem("auth.wrapped_path", text, f"such as auth/{auth.mounted}/role/ROLE/secret-id")
        if self.server.client_key_file and not self.server.client_certificate_file:
            yield Problem("vault.client_key_file", "there is no certificate for it", "set client_certificate_file too")
        if auth.method is Method.CERT and not self.server.client_certificate_file:
            yield Problem(
                "vault.client_certificate_file", "it is not set, and the method cert needs it", "name the file"
            )

    def _target_problems(self) -> Iterable[Problem]:
        names = [target.name for target in self.all_targets]
        for number, target in enumerate(self.all_targets):
            where = f"targets[{number}].path" if self.targets else "target"
            if not target.path.startswith("/"):
                yield Problem(where, "it is no absolute path", "write it as /secrets")
            if names.count(target.name) > 1:
                yield Problem(f"targets[{number}].name", "another target has this name", "give each a name of its own")
            for other in self.all_targets[:number]:
                if _is_within(target.path, other.path) or _is_within(other.path, target.path):
                    text = f"it is, or lies in, the folder of another target, {other.path}, or that lies in it"
                    yield Problem(where, text, "give each a folder of its own, or leave one of them out")

    def _secret_problems(self) -> Iterable[Problem]:
        known = {target.name for target in self.all_targets}
        names = [secret.name for secret in self.all_secrets]
        taken: set[tuple[str, str]] = set()
        for number, secret in enumerate(self.all_secrets):
            where = f"secrets[{number}]" if number < len(self.secrets) else f"secret[{number - len(self.secrets)}]"
            if names.count(secret.name) > 1:
                yield Problem(f"{where}.name", "another secret has this name", "give each a name of its own")
            yield from _source_problems(where, secret, _KEY_VAULT if self.key_vault_server is not None else _VAULT)
            if not secret.files:
                yield Problem(f"{where}.files", "it is written nowhere", "name a file")
            for place, file in enumerate(secret.files):
                yield from _file_problems(f"{where}.files[{place}]", file, known)
                yield from _store_problems(f"{where}.files[{place}]", file, names)
                target = file.target or (self.all_targets[0].name if self.all_targets else "")
                yield from self._place_problems(f"{where}.files[{place}].path", (target, file.path), taken)
                taken.add((target, file.path))

    def _place_problems(self, where: str, place: tuple[str, str], taken: set[tuple[str, str]]) -> Iterable[Problem]:
        target, path = place
        if place in taken:
            yield Problem(where, "another file has this path", "choose another one")
        for name, other in taken:
            if name == target and (other.startswith(f"{path}/") or path.startswith(f"{other}/")):
                yield Problem(where, f"one of it and {other} would be a file and a folder", "choose another one")
        folder = next((one.path for one in self.all_targets if one.name == target), "")
        if self.handover_file and self.handover_file == f"{folder.rstrip('/')}/{path}":
            yield Problem(where, "handover_file has this path", "choose another one")


def _is_within(path: str, folder: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")


_VAULT: Mapping[Engine, tuple[str, ...]] = {
    Engine.KV: ("mount", "path"),
    Engine.KV1: ("mount", "path"),
    Engine.KV2: ("mount", "path"),
    Engine.PKI: ("mount", "role"),
    Engine.STATIC: ("mount", "role"),
    Engine.DYNAMIC: ("path",),
}
"""What each engine needs."""
_KEY_VAULT: Mapping[Engine, tuple[str, ...]] = {Engine.SECRET: ("path",), Engine.CERTIFICATE: ("path",)}
_OBJECT = re.compile(r"[0-9A-Za-z-]{1,127}")
_OBJECT_VERSION = re.compile(r"[0-9A-Za-z]{1,32}")


def _source_problems(where: str, secret: SecretSettings, needs: Mapping[Engine, tuple[str, ...]]) -> Iterable[Problem]:
    if secret.engine is None or secret.engine not in needs:
        known = ", ".join(needs)
        yield Problem(f"{where}.engine", f"this provider has no engine {secret.engine}", f"it is one of {known}")
        return
    if needs is _KEY_VAULT:
        yield from _object_problems(where, secret)
        return
    if secret.object_version:
        yield Problem(f"{where}.object_version", "it is of Key Vault", "set version, and the engine kv2")
    for field in needs[secret.engine]:
        if not getattr(secret, field).strip("/"):
            yield Problem(f"{where}.{field}", f"it is not set, and the engine {secret.engine} needs it", "set it")
    for field in ("mount", "path", "role"):
        if any(part in (".", "..") for part in getattr(secret, field).split("/")):
            yield Problem(f"{where}.{field}", "it leads elsewhere by . or ..", "write the path as it is")
    if secret.engine is Engine.KV2 and secret.path.strip("/").startswith("data/"):
        yield Problem(f"{where}.path", "it begins with data/, which is put there by kv2", "leave data/ out")


def _object_problems(where: str, secret: SecretSettings) -> Iterable[Problem]:
    if not _OBJECT.fullmatch(secret.path):
        yield Problem(f"{where}.path", "it is no name of an object", "letters, digits and dashes, as in the portal")
    if secret.object_version and not _OBJECT_VERSION.fullmatch(secret.object_version):
        yield Problem(
            f"{where}.object_version", "it is no version of an object", "write the last part of its identifier"
        )
    for field in ("mount", "role", "version", "parameters", "write"):
        if getattr(secret, field):
            yield Problem(f"{where}.{field}", "Key Vault has no such thing", "take it out")


def _key_vault_problems(where: str, server: KeyVaultServer) -> Iterable[Problem]:
    def field(name: str) -> str:
        return f"{where}.{name}" if where == "key_vault" else where

    if not server.address:
        yield Problem(field("address"), "it is not set", "set it to the URL of the vault")
    elif not _is_safe(server.address):
        remedy = "write it as https://NAME.vault.azure.net, without a path"
        yield Problem(field("address"), "it is no https URL of a vault", remedy)
    for name in ("authority_host", "resource"):
        address = getattr(server, name)
        if address and not _is_safe(address):
            yield Problem(field(name), "it is no https URL of a server", "write it as https://HOST, without a path")


_HTTPS = re.compile(r"https://[^/@\s\\?#]+/?")
_LOOPBACK = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?/?")


def _is_safe(address: str) -> bool:
    """Whether credentials may be sent there: by https, or on this machine alone."""
    return bool(_HTTPS.fullmatch(address) or _LOOPBACK.fullmatch(address))


def _file_problems(where: str, file: SecretFile, targets: set[str]) -> Iterable[Problem]:
    parts = file.path.split("/")
    if (
        not file.path
        or file.path.startswith("/")
        or any(part in ("", ".", "..") or part.startswith("..") for part in parts)
    ):
        yield Problem(f"{where}.path", "it is no path below the target", "write it as app.json or tls/tls.key")
    if file.target and file.target not in targets:
        yield Problem(
            f"{where}.target", f"there is no target {file.target!r}", f"it is one of {', '.join(sorted(targets))}"
        )
    if not file.path.isprintable():
        yield Problem(f"{where}.path", "it holds a line break or a control character", "leave it out")
    if not _MODE.fullmatch(file.mode):
        yield Problem(f"{where}.mode", "it is no mode of a file", 'write it as "0400"')
    elif not file.bits & 0o400:
        text = "its owner could not read it, and so it could not be seen whether it is as it should be"
        yield Problem(f"{where}.mode", text, 'let the owner read it, as "0400" or "0440" does')
    given = bool(file.template) + bool(file.template_file)
    if (file.format is Format.TEMPLATE) != bool(given) or given > 1:
        yield Problem(f"{where}.format", "a template needs one of template and template_file", "set one of them")


def _store_problems(where: str, file: SecretFile, secrets: Container[str]) -> Iterable[Problem]:
    for field in ("passphrase_file", "passphrase_from"):
        if getattr(file, field) and file.format is not Format.PKCS12:
            yield Problem(f"{where}.{field}", "only the format pkcs12 has a passphrase", "leave it out")
    if file.passphrase_file and file.passphrase_from:
        yield Problem(f"{where}.passphrase_from", "there is a passphrase_file too", "keep one of them")
    secret, _, key = file.passphrase_from.partition("#")
    if file.passphrase_from and not (key and secret in secrets):
        remedy = "write it as SECRET#KEY, with the name of one of `secrets`"
        yield Problem(f"{where}.passphrase_from", "it names no key of a secret", remedy)


def merged(simple: Sequence[SecretSettings]) -> list[SecretSettings]:
    """Return each secret of the command line once, with the files of all its keys: `kv/data/app#user` and
    `kv/data/app#password` are one. A secret and a certificate of the same name are told apart by their kind.
    """
    found: dict[str, SecretSettings] = {}
    for one in simple:
        same = next((name for name, other in found.items() if other.source == one.source), None)
        if same is not None:
            found[same] = msgspec.structs.replace(found[same], files=(*found[same].files, *one.files))
        else:
            name = f"{one.name}-{one.engine}" if one.name in found and one.engine else one.name
            found[name] = msgspec.structs.replace(one, name=name)
    return list(found.values())


def simple_secret(text: str) -> SecretSettings:
    """Return what a path of the command line means: `kv/data/app`, `database/creds/app`, `kv/data/app#password`."""
    path, _, key = text.strip().strip("/").partition("#")
    name = path.replace("/", "-")
    file = (
        SecretFile(path=key, format=Format.RAW, key=key) if key else SecretFile(path=path.rpartition("/")[2] + ".json")
    )
    mount, data, rest = path.partition("/data/")
    if data:
        return SecretSettings(name=name, engine=Engine.KV2, mount=mount, path=rest, files=(file,))
    return SecretSettings(name=name, engine=Engine.DYNAMIC, path=path, files=(file,))


def simple_object(text: str) -> SecretSettings:
    """Return what an object of Key Vault on the command line means: `NAME`, `secrets/NAME/VERSION`,
    `certificates/NAME#private_key`.
    """
    path, _, key = text.strip().strip("/").partition("#")
    kind, slash, rest = path.partition("/")
    if not slash:
        kind, rest = "secrets", path
    name, _, version = rest.partition("/")
    if kind == "certificates":
        file = (
            SecretFile(path=key, format=Format.RAW, key=key)
            if key
            else SecretFile(path=f"{name}.pem", format=Format.PEM_BUNDLE)
        )
        return SecretSettings(name=name, engine=Engine.CERTIFICATE, path=name, object_version=version, files=(file,))
    if kind != "secrets":
        name = path  # refused, since it is no name
    file = SecretFile(path=key or name, format=Format.RAW, key=key)
    return SecretSettings(name=name, engine=Engine.SECRET, path=name, object_version=version, files=(file,))
