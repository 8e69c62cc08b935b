"""Settings of the gateway: flags, environment, TOML, in that order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from collector_gateway import proxies
from collector_gateway.certificates import CertificateFiles
from collector_gateway.tokens import TokenSettings
from hostpulse.errors import ConfigError
from storage.settings import ServerSettings

Listen = Annotated[str, StringConstraints(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$")]
LOOPBACK = ("127.", "localhost:", "[::1]:")


class GatewaySettings(ServerSettings):
    """What a gateway needs to know; wrong values end it at start, naming the variable."""

    grpc_listen: Listen = Field("127.0.0.1:50051", description="host:port for agents")
    http_listen: Listen = Field("127.0.0.1:8080", description="host:port for people and scripts")
    tls_cert: str | None = Field(None, description="PEM file; TLS for agents, and for HTTP")
    tls_key: str | None = Field(None, description="PEM file that belongs to tls_cert")
    tls_client_ca: str | None = Field(
        None, description="PEM file; agents must bring a certificate of it, in their server's name"
    )
    http_tls: Literal["auto", "on", "off"] = Field(
        "auto", description="TLS for HTTP; `auto`: beyond this machine, where there is tls_cert"
    )
    plaintext: Literal["loopback", "allow"] = Field(
        "loopback", description="`allow` takes agents and HTTP without TLS from elsewhere"
    )
    trusted_proxies: str | None = Field(
        None, description="addresses of proxies before HTTP whose X-Forwarded headers are believed"
    )
    http_requests_per_s: float = Field(
        50.0, ge=1, le=100_000, description="of a key; ten seconds' worth may come at once"
    )
    server_bytes_per_s: float = Field(
        131_072.0,
        ge=4096,
        le=1e9,
        description="of a server; its stream is read no faster, posts are refused",
    )
    jwt_public_key: str | None = Field(None, description="PEM file; JSON web tokens of its owner")
    jwt_jwks: str | None = Field(None, description="JSON web key set, a file; instead of one key")
    jwt_audience: str | None = Field(None, description="whom tokens must be for")
    jwt_issuer: str | None = Field(None, description="who must have made them; unset: not checked")
    jwt_max_lifetime_s: int = Field(86_400, ge=60, le=31_536_000, description="of a token")
    database_url: SecretStr = Field(description="postgresql://user:password@host:port/name")

    @property
    def certificate_files(self) -> CertificateFiles | None:
        """The gateway's certificate; None is plaintext."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return CertificateFiles(
            certificate=Path(self.tls_cert).expanduser(),
            key=Path(self.tls_key).expanduser(),
            client_authority=Path(self.tls_client_ca).expanduser() if self.tls_client_ca else None,
        )

    @property
    def http_has_tls(self) -> bool:
        """Whether HTTP is served with TLS."""
        if self.http_tls != "auto":
            return self.http_tls == "on"
        return self.tls_cert is not None and not self.http_listen.startswith(LOOPBACK)

    @property
    def proxies(self) -> proxies.Proxies:
        """The proxies before HTTP that are believed."""
        return proxies.parse(self.trusted_proxies) if self.trusted_proxies else proxies.Proxies()

    @property
    def exposed(self) -> list[str]:
        """Name the listeners that are open beyond this machine without TLS."""
        plain = {
            "HOSTPULSE_GRPC_LISTEN": self.grpc_listen if self.tls_cert is None else None,
            "HOSTPULSE_HTTP_LISTEN": None if self.http_has_tls else self.http_listen,
        }
        return [name for name, at in plain.items() if at and not at.startswith(LOOPBACK)]

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        """Refuse half of TLS, and plaintext beyond loopback unless it was asked for."""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError(
                "HOSTPULSE_TLS_CERT and HOSTPULSE_TLS_KEY",
                expectation="set both or neither",
                value=(self.tls_cert, self.tls_key),
            )
        needing = {
            "HOSTPULSE_TLS_CLIENT_CA": self.tls_client_ca,
            "HOSTPULSE_HTTP_TLS": self.http_tls if self.http_tls == "on" else None,
        }
        for variable, value in needing.items():
            if value is not None and self.tls_cert is None:
                raise ConfigError(
                    variable,
                    expectation="set together with HOSTPULSE_TLS_CERT and HOSTPULSE_TLS_KEY",
                    value=value,
                )
        if self.exposed and self.plaintext != "allow":
            variable = self.exposed[0]
            raise ConfigError(
                variable,
                expectation="a loopback address, or HOSTPULSE_TLS_CERT and HOSTPULSE_TLS_KEY set "
                "(HOSTPULSE_PLAINTEXT=allow takes keys and data unencrypted)",
                value=self.grpc_listen if "GRPC" in variable else self.http_listen,
            )
        return self

    @model_validator(mode="after")
    def _check_proxies(self) -> Self:
        """Refuse what is no network, and everybody."""
        try:
            _ = self.proxies
        except ValueError as error:
            raise ConfigError(
                "HOSTPULSE_TRUSTED_PROXIES",
                expectation="addresses or networks (10.0.0.0/24, no bits beyond the mask, and not "
                "everybody) with commas",
                value=self.trusted_proxies,
            ) from error
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
