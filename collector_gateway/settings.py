"""Settings of the gateway: flags, environment, TOML, in that order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from collector_gateway.tokens import TokenSettings
from hostpulse.errors import ConfigError
from storage.settings import ServerSettings

Listen = Annotated[str, StringConstraints(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$")]
LOOPBACK = ("127.", "localhost:", "[::1]:")


class GatewaySettings(ServerSettings):
    """What a gateway needs to know; wrong values end it at start, naming the variable."""

    grpc_listen: Listen = Field("127.0.0.1:50051", description="host:port for agents")
    http_listen: Listen = Field("127.0.0.1:8080", description="host:port for people and scripts")
    tls_cert: str | None = Field(None, description="PEM file; TLS for agents")
    tls_key: str | None = Field(None, description="PEM file that belongs to tls_cert")
    plaintext: Literal["loopback", "allow"] = Field(
        "loopback", description="`allow` lets agents connect without TLS from elsewhere"
    )
    jwt_public_key: str | None = Field(None, description="PEM file; JSON web tokens of its owner")
    jwt_jwks: str | None = Field(None, description="JSON web key set, a file; instead of one key")
    jwt_audience: str | None = Field(None, description="whom tokens must be for")
    jwt_issuer: str | None = Field(None, description="who must have made them; unset: not checked")
    jwt_max_lifetime_s: int = Field(86_400, ge=60, le=31_536_000, description="of a token")
    database_url: SecretStr = Field(description="postgresql://user:password@host:port/name")

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        """Refuse half a key pair, and plaintext beyond loopback unless it was asked for."""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError(
                "HOSTPULSE_TLS_CERT and HOSTPULSE_TLS_KEY",
                expectation="set both or neither",
                value=(self.tls_cert, self.tls_key),
            )
        exposed = not self.grpc_listen.startswith(LOOPBACK)
        if exposed and self.tls_cert is None and self.plaintext != "allow":
            raise ConfigError(
                "HOSTPULSE_GRPC_LISTEN",
                expectation="a loopback address, or HOSTPULSE_TLS_CERT and HOSTPULSE_TLS_KEY set "
                "(HOSTPULSE_PLAINTEXT=allow takes keys and data unencrypted)",
                value=self.grpc_listen,
            )
        return self

    @model_validator(mode="after")
    def _check_tokens(self) -> Self:
        """Refuse two sources of keys, and keys without an audience, or the other way round."""
        if self.jwt_public_key and self.jwt_jwks:
            raise ConfigError(
                "HOSTPULSE_JWT_PUBLIC_KEY and HOSTPULSE_JWT_JWKS",
                expectation="set one or the other",
                value=(self.jwt_public_key, self.jwt_jwks),
            )
        if bool(self.jwt_public_key or self.jwt_jwks) != bool(self.jwt_audience):
            raise ConfigError(
                "HOSTPULSE_JWT_AUDIENCE",
                expectation="set together with HOSTPULSE_JWT_PUBLIC_KEY or HOSTPULSE_JWT_JWKS",
                value=self.jwt_audience,
            )
        return self

    def tokens(self) -> TokenSettings | None:
        """Return which JSON web tokens are taken; None: of none."""
        path = self.jwt_jwks or self.jwt_public_key
        if path is None or self.jwt_audience is None:
            return None
        return TokenSettings(
            path=Path(path),
            is_jwks=self.jwt_jwks is not None,
            variable="HOSTPULSE_JWT_JWKS" if self.jwt_jwks else "HOSTPULSE_JWT_PUBLIC_KEY",
            audience=self.jwt_audience,
            issuer=self.jwt_issuer,
            max_lifetime_s=self.jwt_max_lifetime_s,
        )
