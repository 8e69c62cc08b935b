"""JSON web tokens in the place of keys: signed elsewhere, checked with public keys from a file.

A token names its role and servers in the claims `role` and `server`. The algorithm is the key's,
never the token's: RS256 for an RSA key, EdDSA for an Ed25519 key, and nothing else. A changed file
is taken up within a second; one that can't be read leaves the old keys in force.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import jwt
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from collector_gateway.principals import Principal, Unauthenticated
from hostpulse import errors
from storage import keys, servers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hostpulse.clock import Clock

LEEWAY_S = 30  # by which clocks may differ
TOKEN_MAX_CHARACTERS = 8192
SERVERS_MAX = 1000
SUBJECT_MAX_CHARACTERS = 100
RSA_MIN_BITS = 2048
FILE_MAX_BYTES = 256 * 1024
LOOK_NS = 1_000_000_000  # how often the file is looked at
NS_PER_S = 1_000_000_000
# What odd JSON in a token raises beside PyJWT's own: nesting, Infinity, other types.
UNACCEPTABLE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
ROLES = (keys.Role.ADMIN, keys.Role.READER, keys.Role.AGENT, keys.Role.WRITER)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """Whose tokens are taken.

    Attributes:
        path: of the file with the public key, or keys.
        is_jwks: whether it is a JSON web key set, else one PEM key.
        variable: what named the file, for errors.
        audience: that a token must be for.
        issuer: that must have made it; None: whoever has the private key.
        max_lifetime_s: from a token's making, or from now, to its end.
    """

    path: Path
    is_jwks: bool
    variable: str
    audience: str
    issuer: str | None
    max_lifetime_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trusted:
    """A public key and the one algorithm that it is used with."""

    key: RSAPublicKey | Ed25519PublicKey
    algorithm: str
    kid: str | None
    thumbprint: str


class Tokens:
    """Checks tokens.

    Args:
        settings: what is accepted.
        clock: for the age of the file and the end of tokens.

    Raises:
        ConfigError: the file can't be read or holds no key that can be used.
    """

    def __init__(self, settings: TokenSettings, *, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._version = _version(settings.path)
        self._looked_ns = clock.monotonic_ns()
        try:
            self._trusted = _read(settings)
        except (OSError, ValueError) as error:
            kind = "a JSON web key set" if settings.is_jwks else "a PEM public key"
            raise errors.ConfigError(
                settings.variable,
                expectation=f"a readable file with {kind}, RSA from {RSA_MIN_BITS} bits or Ed25519"
                f" ({error})",
                value=str(settings.path),
            ) from error

    def verify(self, token: str) -> Principal:
        """Return who bears this token.

        Raises:
            Unauthenticated: it is not one that is accepted here, now; the reason holds no secret.
        """
        if len(token) > TOKEN_MAX_CHARACTERS:
            raise Unauthenticated(f"expected a token of at most {TOKEN_MAX_CHARACTERS} characters")
        try:
            header = jwt.get_unverified_header(token)
            trusted = self._choose(header)
            claims = jwt.decode(
                token,
                trusted.key,
                algorithms=[trusted.algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "aud"]},
            )
            return self._principal(claims, trusted)
        except UNACCEPTABLE as error:
            raise Unauthenticated(f"the token is not accepted: {_reason(error)}") from error

    def is_trusted(self, thumbprint: str) -> bool:
        """Whether the key that signed a token is still in the file."""
        return any(each.thumbprint == thumbprint for each in self._keys())

    def _choose(self, header: dict[str, Any]) -> _Trusted:
        """Find the key that a token must be signed with.

        Raises:
            InvalidTokenError: there is none, or it goes with another algorithm.
        """
        if "crit" in header:
            raise jwt.InvalidTokenError("critical extensions are not understood")
        kid = header.get("kid")
        known = self._keys()
        fitting = [k for k in known if kid is not None and k.kid == kid] or (
            [k for k in known if k.kid is None or kid is None] if len(known) == 1 else []
        )
        if len(fitting) != 1:
            raise jwt.InvalidTokenError("no key of this kid is trusted")
        if header.get("alg") != fitting[0].algorithm:
            raise jwt.InvalidAlgorithmError
        return fitting[0]

    def _principal(self, claims: dict[str, Any], trusted: _Trusted) -> Principal:
        """Read who a checked token says its bearer is.

        Raises:
            Unauthenticated: a claim can't be.
        """
        now_s = self._clock.wall_ns() / NS_PER_S
        begins_s = min(float(claims.get("iat", now_s)), now_s)
        expires_s = int(claims["exp"])
        if expires_s - begins_s > self._settings.max_lifetime_s + LEEWAY_S:
            raise Unauthenticated(
                f"exp must be at most {self._settings.max_lifetime_s} s after the token's making"
            )
        if claims.get("role") not in ROLES:
            raise Unauthenticated(f"the claim role must be one of {', '.join(ROLES)}")
        role = keys.Role(claims["role"])
        return Principal(
            key_id=None,
            prefix="",
            role=role,
            server_names=_servers(role, claims.get("server")),
            subject=_subject(claims.get("sub")),
            expires_wall_ns=(expires_s + LEEWAY_S) * NS_PER_S,
            signed_by=trusted.thumbprint,
        )

    def _keys(self) -> Sequence[_Trusted]:
        """Return the keys of the file, which is read again when it has changed."""
        now = self._clock.monotonic_ns()
        if now >= self._looked_ns + LOOK_NS:
            self._looked_ns = now
            version = _version(self._settings.path)
            if version != self._version:
                self._version = version
                try:
                    self._trusted = _read(self._settings)
                    log.info("token_keys_read", keys=len(self._trusted))
                except (OSError, ValueError) as error:
                    log.error("token_keys_unreadable", error=str(error))  # the old ones stay
        return self._trusted


def looks_like_one(credential: str) -> bool:
    """Whether this is a token by its shape: three parts, the first an encoded JSON object."""
    return credential.count(".") == 2 and credential.startswith("eyJ")


def _version(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file does; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(settings: TokenSettings) -> tuple[_Trusted, ...]:
    """Read the file.

    Raises:
        OSError: it can't be read.
        ValueError: it holds no key that can be used.
    """
    with settings.path.open("rb") as file:
        data = file.read(FILE_MAX_BYTES + 1)
    if len(data) > FILE_MAX_BYTES:
        raise ValueError(f"more than {FILE_MAX_BYTES} bytes")
    if not settings.is_jwks:
        try:
            return (_trust(serialization.load_pem_public_key(data), None),)
        except UnsupportedAlgorithm as error:
            raise ValueError("a kind of key that is not known") from error
    document = json.loads(data)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("expected an object with keys")
    found = [each for entry in cast("list[Any]", entries) if (each := _from_jwk(entry))]
    if not found:
        raise ValueError("no key for RS256 or EdDSA")
    kids = [each.kid for each in found]
    if len(found) > 1 and (None in kids or len(set(kids)) < len(kids)):
        raise ValueError("several keys need different kids")
    return tuple(found)


def _from_jwk(entry: object) -> _Trusted | None:
    """Return a key of a set; None for one of another kind or use.

    Raises:
        ValueError: it is of our kind, and wrong.
    """
    if not isinstance(entry, dict):
        raise ValueError("expected keys to be objects")
    jwk = cast("dict[str, Any]", entry)
    kind, algorithm = {"RSA": (RSAAlgorithm, "RS256"), "OKP": (OKPAlgorithm, "EdDSA")}.get(
        str(jwk.get("kty")), (None, None)
    )
    if kind is None or jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm:
        return None
    try:
        return _trust(kind.from_jwk(jwk), jwk.get("kid"))
    except jwt.PyJWTError as error:
        raise ValueError(str(error)) from error


def _trust(key: object, kid: object) -> _Trusted:
    """Take a public key, with the algorithm that belongs to it.

    Raises:
        ValueError: it is too short, private, or of another kind.
    """
    if isinstance(key, RSAPublicKey) and key.key_size >= RSA_MIN_BITS:
        algorithm = "RS256"
    elif isinstance(key, Ed25519PublicKey):
        algorithm = "EdDSA"
    else:
        raise ValueError("not a public key that is taken")
    if kid is not None and not isinstance(kid, str):
        raise ValueError("expected kid to be text")
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    thumbprint = hashlib.sha256(der).hexdigest()
    return _Trusted(key=key, algorithm=algorithm, kid=kid, thumbprint=thumbprint)


def _servers(role: keys.Role, claim: object) -> frozenset[str]:
    """Read the claim `server`.

    Raises:
        Unauthenticated: it doesn't go with the role, or a name can't be.
    """
    names = [claim] if isinstance(claim, str) else ([] if claim is None else claim)
    if not isinstance(names, list) or len(cast("list[object]", names)) > SERVERS_MAX:
        raise Unauthenticated("the claim server must be a name or a list of names")
    wanted = cast("list[object]", names)
    if role not in keys.BOUND_ROLES and wanted:
        raise Unauthenticated(f"the claim server must be absent for role {role}")
    if role is keys.Role.AGENT and len(wanted) != 1:
        raise Unauthenticated("the claim server must be one name for role agent")
    if role in keys.BOUND_ROLES and not wanted:
        raise Unauthenticated(f"the claim server must name a server for role {role}")
    for name in wanted:
        try:
            servers.check_name(name if isinstance(name, str) else "")
        except servers.InvalidName as error:
            raise Unauthenticated(f"the claim server {error}") from error
    return frozenset(cast("list[str]", wanted))


def _subject(claim: object) -> str:
    """Return the claim `sub` as the audit log shows it."""
    text = claim if isinstance(claim, str) else ""
    return "".join(c for c in text if c.isprintable())[:SUBJECT_MAX_CHARACTERS] or "(no subject)"


def _reason(error: Exception) -> str:
    """Say why, with nothing of the token in it."""
    match error:
        case jwt.ExpiredSignatureError():
            return "it has expired"
        case jwt.InvalidAudienceError():
            return "it is for another audience"
        case jwt.InvalidIssuerError():
            return "it is of another issuer"
        case jwt.MissingRequiredClaimError():
            return f"it lacks the claim {error.claim}"
        case jwt.ImmatureSignatureError():
            return "it is not valid yet"
        case _:
            return "its signature, algorithm or form is wrong"
