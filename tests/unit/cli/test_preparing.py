from __future__ import annotations

import pytest

from cli import prepare
from hostpulse.errors import ConfigError


def test_client_certificates_are_refused_at_once_where_the_agent_has_none(monkeypatch, tmp_path):
    for name in ("CERT", "KEY", "CLIENT_CA"):
        file = tmp_path / f"{name}.pem"
        file.write_text("")
        monkeypatch.setenv(f"HOSTPULSE_TLS_{name}", str(file))

    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", "postgresql://localhost/x")

    with pytest.raises(ConfigError, match="HOSTPULSE_TLS_CLIENT_CA must be unset under"):
        prepare._check_server_settings("web-1")
