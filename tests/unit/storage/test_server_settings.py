from __future__ import annotations

import pytest

from collector_gateway.settings import GatewaySettings
from hostpulse.errors import ConfigError
from storage.settings import load

DSN = "postgresql://u:hidden@127.0.0.1/db"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"HOSTPULSE_DATABASE_URL": None}, "HOSTPULSE_DATABASE_URL must be set, got None"),
        ({"HOSTPULSE_LOG_LEVEL": "loud"}, "HOSTPULSE_LOG_LEVEL must be 'debug', 'info'"),
        ({"HOSTPULSE_GRPC_LISTEN": "50051"}, "HOSTPULSE_GRPC_LISTEN must be"),
        ({"HOSTPULSE_GRPC_LISTEN": "0.0.0.0:50051"}, "a loopback address, or HOSTPULSE_TLS_CERT"),
        ({"HOSTPULSE_TLS_CERT": "/c.pem"}, "set both or neither"),
        ({"HOSTPULSE_TRUSTED_PROXIES": "*"}, "HOSTPULSE_TRUSTED_PROXIES must be addresses or netw"),
        ({"HOSTPULSE_TRUSTED_PROXIES": "10.0.0.1/8"}, "no bits beyond the mask"),
        ({"HOSTPULSE_TRUSTED_PROXIES": "::1,0.0.0.0/0"}, "not everybody"),
        ({"HOSTPULSE_CONFIG": "/nowhere.toml"}, "HOSTPULSE_CONFIG must be a readable TOML file"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_is_named_with_what_is_expected(monkeypatch, variables, said):
    for name, value in ({"HOSTPULSE_DATABASE_URL": DSN} | variables).items():
        if value is not None:
            monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as error:
        load(GatewaySettings)

    assert said in str(error.value)
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize("content", [b"grpc_listen =", b'a = "\xff"'], ids=["toml", "utf-8"])
def test_a_file_that_is_no_toml_is_named_with_the_place(monkeypatch, tmp_path, content):
    file = tmp_path / "hostpulse.toml"
    file.write_bytes(content)
    monkeypatch.setenv("HOSTPULSE_CONFIG", str(file))
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", DSN)

    with pytest.raises(ConfigError, match="HOSTPULSE_CONFIG must be a readable TOML file"):
        load(GatewaySettings)


def test_flags_win_over_the_environment_and_that_over_the_file(monkeypatch, tmp_path):
    file = tmp_path / "hostpulse.toml"
    file.write_text(
        'log_level = "error"\nlog_format = "json"\nhttp_listen = "127.0.0.1:1"\n'
        f'database_url = "{DSN}"\n'
    )
    monkeypatch.setenv("HOSTPULSE_CONFIG", str(file))
    monkeypatch.setenv("HOSTPULSE_LOG_LEVEL", "WARNING")
    monkeypatch.setenv("HOSTPULSE_HTTP_LISTEN", "127.0.0.1:2")

    settings = load(GatewaySettings, {"http_listen": "127.0.0.1:3", "grpc_listen": None})

    assert (settings.log_format, settings.log_level) == ("json", "warning")
    assert settings.http_listen == "127.0.0.1:3"
    assert settings.grpc_listen == "127.0.0.1:50051"
