"""Settings of the gateway: flags, environment, TOML, in that order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from collector_gateway.certificates import CertificateFiles
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
