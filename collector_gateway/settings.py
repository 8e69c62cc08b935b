"""Settings of the gateway: flags, environment, TOML, in that order."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

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
