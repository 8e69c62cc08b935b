from __future__ import annotations

from pathlib import Path

import pytest

from agent import options, settings, sources
from agent.collectors import CollectorSettings
from agent.redaction import RedactionMode
from hostpulse import errors, logs
from hostpulse.v1 import telemetry_pb2 as pb

KEY = {"HOSTPULSE_API_KEY": "hp_secret"}


def load(*argv, **environ):
    return settings.load(argv, KEY | environ)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "hostpulse.toml"

    def write(text):
        path.write_text(text)
        return str(path)

    return write


def test_a_key_is_all_that_must_be_set():
    chosen = load()

    assert chosen.gateways == ("127.0.0.1:50051",)
    assert chosen.api_key.value == "hp_secret"
    assert chosen.server_name
    assert chosen.tls is None
    assert chosen.log == logs.LogSettings()
    assert chosen.intervals_s[pb.FAMILY_CPU] == 10.0
    assert chosen.intervals_s[pb.FAMILY_DISK_USAGE] == 60.0
    assert pb.FAMILY_AGENT_HEALTH in chosen.intervals_s
    assert chosen.collectors == CollectorSettings()


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_file(file):
    path = file('server_name = "shared"\n[agent]\nserver_name = "file"\nprocess_top_n = 3')

    assert load("--config", path).server_name == "file"
    assert load("--config", path, HOSTPULSE_SERVER_NAME="variable").server_name == "variable"
    chosen = load("--config", path, "--server-name", "flag", HOSTPULSE_SERVER_NAME="variable")
    assert chosen.server_name == "flag"
    assert chosen.collectors.process_top_n == 3


def test_the_file_can_be_named_by_a_variable(file):
    assert load(HOSTPULSE_CONFIG=file('server_name = "file"')).server_name == "file"


def test_an_empty_variable_is_an_absent_one():
    assert load(HOSTPULSE_GATEWAY="", HOSTPULSE_INTERVAL_S="").gateways == ("127.0.0.1:50051",)


def test_the_file_may_be_shared_with_the_other_processes(file):
    path = file(
        'database_url = "postgresql://x"\nserver_name = "shared"\n'
        "[gateway]\nflush_ms = 50\n[alerting]\nworkers = 2\n[agent]\ninterval_s = 5"
    )

    chosen = load("--config", path)

    assert (chosen.server_name, chosen.intervals_s[pb.FAMILY_CPU]) == ("shared", 5.0)


def test_intervals_are_set_for_all_and_for_one(file):
    chosen = load(
        "--interval-s", "5", "--process-interval-s", "30", "--disk-usage-interval-s", "20"
    )

    assert chosen.intervals_s[pb.FAMILY_CPU] == 5.0
    assert chosen.intervals_s[pb.FAMILY_PROCESS] == 30.0
    assert chosen.intervals_s[pb.FAMILY_DISK_USAGE] == 20.0


def test_families_can_be_off():
    chosen = load("--disabled-families", "process, tcp")

    assert not {pb.FAMILY_PROCESS, pb.FAMILY_TCP} & set(chosen.intervals_s)


def test_what_the_collectors_get_to_know(file):
    chosen = load(
        "--interfaces-include",
        "eth*,bond0",
        "--mounts-exclude",
        "/mnt/*",
        "--redaction",
        "redacted",
        HOSTPULSE_INTERFACE_SPEEDS_MBPS="eth0=1000, bond0=2500",
    ).collectors

    assert chosen.interfaces.include == ("eth*", "bond0")
    assert chosen.interfaces.exclude == ()
    assert chosen.mounts.exclude == ("/mnt/*",)
    assert chosen.devices == CollectorSettings().devices
    assert chosen.interface_speeds_mbps == {"eth0": 1000.0, "bond0": 2500.0}
    assert chosen.redaction is RedactionMode.REDACTED


def test_lists_and_tables_are_written_in_the_files_own_way(file):
    path = file(
        '[agent]\ngateway = ["a.example:1", "[2001:db8::1]:2"]\nplaintext = "allow"\n'
        'redaction = "full"\n[agent.interface_speeds_mbps]\neth0 = 1000'
    )

    chosen = load("--config", path)

    assert chosen.gateways == ("a.example:1", "[2001:db8::1]:2")
    assert chosen.collectors.redaction is RedactionMode.FULL
    assert chosen.collectors.interface_speeds_mbps == {"eth0": 1000.0}


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (["--interval-s", "4.9"], "--interval-s", "'4.9'"),
        (["--interval-s", "61"], "--interval-s", "'61'"),
        (["--interval-s", "nan"], "--interval-s", "'nan'"),
        (["--interval-s", "soon"], "--interval-s", "'soon'"),
        (["--disk-usage-interval-s", "300"], "--disk-usage-interval-s", "'300'"),
        (["--disabled-families", "cpu,gpu"], "--disabled-families", "'gpu'"),
        (["--disabled-families", ",".join(options.COLLECTED)], "--disabled-families", "'cpu,"),
        (["--process-top-n", "2.5"], "--process-top-n", "'2.5'"),
        (["--process-top-n", "-1"], "--process-top-n", "'-1'"),
        (["--redaction", "some"], "--redaction", "'some'"),
        (["--redaction-patterns", "(a+)+$"], "--redaction-patterns", "'(a+)+$'"),
        (["--gateway", "example.org"], "--gateway", "'example.org'"),
        (["--gateway", "http://127.0.0.1:1"], "--gateway", "'http://127.0.0.1:1'"),
        (["--gateway", "127.0.0.1:70000"], "--gateway", "'127.0.0.1:70000'"),
        (["--gateway", "::1:50051"], "--gateway", "'::1:50051'"),
        (["--interface-speeds-mbps", "eth0=fast"], "--interface-speeds-mbps", "'eth0=fast'"),
        (["--interface-speeds-mbps", "eth0=0"], "--interface-speeds-mbps", "'eth0=0'"),
        (["--server-name", "x" * 254], "--server-name", "'xxx"),
        (["--log-level", "loud"], "--log-level", "'loud'"),
        (["--log-format", "xml"], "--log-format", "'xml'"),
        (["--plaintext", "please"], "--plaintext", "'please'"),
        (["--buffer-max-bytes", "1"], "--buffer-max-bytes", "'1'"),
        (["--tls-cert", "/c.pem"], "HOSTPULSE_TLS_KEY", "None"),
        (["--tls-key", "/k.pem"], "HOSTPULSE_TLS_CERT", "None"),
        (["--tls-ca", "/nowhere/ca.pem"], "--tls-ca", "'/nowhere/ca.pem'"),
        (["--api-key-file", "/nowhere/key"], "--api-key-file", "'/nowhere/key'"),
        (["--config", "/nowhere/hostpulse.toml"], "--config", "'/nowhere/hostpulse.toml'"),
    ],
    ids=lambda each: " ".join(each)[:60] if isinstance(each, list) else "",
)
def test_what_can_not_work_is_refused_by_field_expectation_and_value(argv, field, value):
    with pytest.raises(errors.ConfigError) as raised:
        load(*argv)

    assert str(raised.value).startswith(f"{field} must be ")
    assert f"got {value}" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("intervall_s = 10", ": intervall_s"),
        ("[agent]\nintervall_s = 10", ": agent.intervall_s"),
        ("[agnet]\ninterval_s = 10", ": agnet"),
        ("agent = 7", ": agent"),
        ("[agent]\ninterval_s = true", ": agent.interval_s"),
        ("[agent]\ngateway = [7]", ": agent.gateway"),
        ("[agent", "--config"),
    ],
    ids=["top level", "table", "misspelt table", "no table", "type", "element", "no TOML"],
)
def test_a_wrong_file_is_refused_by_its_key(file, text, field):
    with pytest.raises(errors.ConfigError, match="must be") as raised:
        load("--config", file(text))

    assert field in raised.value.field


@pytest.mark.parametrize("argv", [["--nonsense"], ["--api-key", "x"], ["--gateway"]], ids=" ".join)
def test_an_unknown_flag_is_a_usage_error(argv):
    with pytest.raises(sources.UsageError):
        load(*argv)


@pytest.mark.parametrize(
    "gateway",
    ["10.0.0.1:50051", "127.example.org:1", "localhost.example.org:1", "127.0.0.1:1,gw:1"],
)
def test_plaintext_beyond_this_machine_must_be_asked_for(gateway):
    with pytest.raises(errors.ConfigError, match="HOSTPULSE_PLAINTEXT=allow"):
        load("--gateway", gateway)

    assert load("--gateway", gateway, HOSTPULSE_PLAINTEXT="allow").tls is None


@pytest.mark.parametrize("gateway", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.1.2.3:1"])
def test_plaintext_on_this_machine_is_fine(gateway):
    assert load("--gateway", gateway).gateways == (gateway,)


def test_tls_is_on_where_an_authority_is_named(tmp_path):
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_bytes(name.encode())

    chosen = load(
        "--gateway",
        "gw.example:1",
        *("--tls-ca", str(tmp_path / "ca")),
        *("--tls-cert", str(tmp_path / "cert")),
        *("--tls-key", str(tmp_path / "key")),
    )
    public = load("--gateway", "gw.example:1", "--tls-ca", "public")

    assert chosen.tls == settings.TlsMaterial(authority=b"ca", certificate=b"cert", key=b"key")
    assert public.tls == settings.TlsMaterial(authority=None)


def test_the_key_can_be_in_a_file(tmp_path):
    (tmp_path / "key").write_text("hp_other\n")

    assert load("--api-key-file", str(tmp_path / "key")).api_key.value == "hp_other"


def test_a_key_given_nearer_wins_over_a_key_file_given_farther(tmp_path, file):
    (tmp_path / "key").write_text("hp_file")
    path = file(f'api_key_file = "{tmp_path / "key"}"')

    assert load("--config", path).api_key.value == "hp_secret"
    assert settings.load(["--config", path], {}).api_key.value == "hp_file"


def test_a_missing_key_is_refused():
    with pytest.raises(errors.ConfigError, match="HOSTPULSE_API_KEY"):
        settings.load([], {})


def test_a_key_shows_in_no_error_and_no_repr():
    with pytest.raises(errors.ConfigError) as raised:
        settings.load([], {"HOSTPULSE_API_KEY": "secret with spaces"})

    assert "secret" not in str(raised.value)
    assert "hp_secret" not in repr(load())


def test_every_setting_has_its_line_in_the_help(capsys):
    with pytest.raises(SystemExit) as ended:
        load("--help")

    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(each.flag in printed for each in options.OPTIONS if not each.secret)
    assert "JOURNAL" not in printed


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        ("linux", {"XDG_DATA_HOME": "/data"}, Path("/data/hostpulse")),
        ("linux", {}, Path("/home/x/.local/share/hostpulse")),
        ("darwin", {}, Path("/home/x/Library/Application Support/hostpulse")),
        ("win32", {"LOCALAPPDATA": "/local"}, Path("/local/hostpulse")),
    ],
    ids=["xdg", "home", "mac", "windows"],
)
def test_data_is_kept_where_the_platform_keeps_a_users(monkeypatch, platform, environ, expected):
    monkeypatch.setattr("os.geteuid", lambda: 1_000)
    monkeypatch.setenv("HOME", "/home/x")

    assert settings.default_data_dir(environ, platform=platform) == expected


def test_data_of_root_is_the_systems(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)

    assert settings.default_data_dir({}, platform="linux") == Path("/var/lib/hostpulse")


def test_a_key_file_is_read_again_and_a_broken_one_changes_nothing(tmp_path):
    file = tmp_path / "key"
    file.write_text("first\n")
    key = settings.load(["--api-key-file", str(file), "--data-dir", str(tmp_path)], {}).api_key

    file.write_text("second\n")
    rotated = key.current()
    file.write_bytes(b"\xff")
    broken = key.current()
    file.unlink()

    assert (rotated, broken, key.current()) == ("second", "first", "first")
    assert "first" not in repr(key)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"api_key": 1}', '{"api_key": "k", "gateway": "x"}']
)
def test_a_damaged_enrolment_is_refused_without_showing_it(tmp_path, content):
    (tmp_path / "enrollment.json").write_text(content)

    with pytest.raises(errors.ConfigError, match=r"enrollment\.json") as caught:
        settings.load(["--data-dir", str(tmp_path)], {})
    assert 'api_key":' not in str(caught.value)


def test_what_is_given_wins_over_what_an_enrolment_left(tmp_path):
    (tmp_path / "enrollment.json").write_text(
        '{"token": "00000000", "gateway": ["127.0.0.1:1"], "server_name": "kept", "api_key": "k"}'
    )
    place = ["--data-dir", str(tmp_path)]

    kept = settings.load(place, {})
    named = settings.load([*place, "--gateway", "127.0.0.1:2"], {})
    given = settings.load([*place, "--server-name", "mine"], {"HOSTPULSE_API_KEY": "other"})

    assert (kept.server_name, kept.gateways, kept.api_key.value) == ("kept", ("127.0.0.1:1",), "k")
    assert (named.server_name, named.gateways) == ("kept", ("127.0.0.1:2",))
    assert (given.server_name, given.gateways, given.api_key.value) == (
        "mine",
        (settings.DEFAULT_GATEWAY,),
        "other",
    )
