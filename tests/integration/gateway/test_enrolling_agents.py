"""An agent with a token, against a real gateway, over TLS with a private authority."""

from __future__ import annotations

import asyncio
import json
import stat
import time

import grpc
import pytest

from agent import enrolling, enrollment_file, settings
from collector_gateway import buckets, limits, logins
from hostpulse import backoff, errors, logs, machines
from hostpulse.v1 import telemetry_pb2 as pb
from storage import enrollments, keys
from tests.authority import Authority
from tests.integration.gateway.conftest import running_gateway

LOG = logs.parse_settings(level="", format="", level_field="l", format_field="f")


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
async def gateway(database, admin_key, authority, tmp_path):
    """A gateway whose certificate file ends with its private authority."""
    certificate, key = authority.issue("gateway")
    (tmp_path / "gateway.pem").write_bytes(certificate + authority.pem)
    (tmp_path / "gateway.key").write_bytes(key)
    async with running_gateway(
        database,
        admin_key,
        tls_cert=str(tmp_path / "gateway.pem"),
        tls_key=str(tmp_path / "gateway.key"),
    ) as running:
        yield running


@pytest.fixture
def token_of(connection, authority):
    """Make a token."""

    async def make(*, uses=1, server=None, suffix=None):
        from datetime import UTC, datetime, timedelta

        token = await enrollments.create_token(
            connection,
            uses=uses,
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            server_name=server,
            note=None,
            created_by="test",
        )
        return token + (f".{authority.sha256}" if suffix is None else suffix)

    return make


@pytest.fixture
def asking(gateway, tmp_path, monkeypatch):
    """Enrol an agent of a machine of its own."""
    monkeypatch.setattr("agent.identity.MACHINE_ID_FILES", ())

    async def ask(token, *, machine="a", name="", patience_s=0.0):
        data_dir = tmp_path / machine
        data_dir.mkdir(mode=0o700, exist_ok=True)
        (data_dir / "machine-id").write_text(machine)
        wanted = enrolling.EnrollmentSettings(
            token=enrolling.parse_token("--enroll", token),
            gateways=(f"127.0.0.1:{gateway.gateway.grpc_port}",),
            server_name=name,
            tls=None,
            data_dir=data_dir,
            log=LOG,
        )
        await enrolling.enroll(wanted, asyncio.Event(), patience_s=patience_s)
        return data_dir

    return ask


async def test_an_agent_gets_a_key_that_it_keeps_and_that_streams(
    asking, token_of, gateway, authority
):
    token = await token_of()

    data_dir = await asking(token, name="web-1")

    kept = data_dir / enrollment_file.NAME
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert (data_dir / enrollment_file.AUTHORITY_NAME).read_bytes() == authority.pem
    started = settings.load(["--data-dir", str(data_dir)], {})
    assert started.server_name == "web-1"
    assert started.gateways == (f"127.0.0.1:{gateway.gateway.grpc_port}",)
    assert started.tls is not None
    assert started.tls.authority == authority.pem
    credentials = grpc.ssl_channel_credentials(started.tls.authority)
    async with grpc.aio.secure_channel(started.gateways[0], credentials) as channel:
        from tests.integration.gateway.conftest import STREAM, Agent

        call = channel.stream_stream(STREAM)(
            metadata=(("authorization", f"Bearer {started.api_key.value}"),)
        )
        await Agent(call, 5).hello("web-1", machine_id="a")
        call.cancel()
    assert settings.load_enrollment(["--enroll", token, "--data-dir", str(data_dir)], {}) is None
    assert settings.load_enrollment(["--enroll", await token_of(), "--data-dir", str(data_dir)], {})


async def test_of_two_agents_at_once_one_takes_the_last_use(asking, token_of, connection):
    token = await token_of(uses=1)

    answers = await asyncio.gather(
        *(asking(token, machine=each, name=each) for each in ("one", "two", "three")),
        return_exceptions=True,
    )

    refused = [each for each in answers if isinstance(each, enrolling.NotEnrolledError)]
    assert len(refused) == 2
    assert all("used up" in str(each) for each in refused)
    made = await connection.fetchval("SELECT count(*) FROM api_key WHERE role = 'agent'")
    assert made == 1


async def test_the_token_goes_to_no_gateway_of_another_authority(asking, token_of, connection):
    token = await token_of(suffix=f".{Authority().sha256}")

    with pytest.raises(enrolling.NotEnrolledError, match="not the gateway that the token is for"):
        await asking(token, name="web-1")

    used = await connection.fetchrow(
        "SELECT uses_left, last_used_at FROM api_key WHERE role = 'enroll'"
    )
    assert tuple(used) == (1, None)


@pytest.mark.parametrize("kind", ["unknown", "revoked", "expired", "for another server"])
async def test_a_token_that_is_not_good_is_refused_and_audited(
    asking, token_of, connection, kind, authority
):
    token = await token_of(server="web-9")
    if kind == "unknown":
        token = f"{keys.generate('hpe')}.{authority.sha256}"
    elif kind == "revoked":
        await keys.revoke(connection, enrollments.prefix_of(token), revoked_by="test")
    elif kind == "expired":
        await connection.execute("UPDATE api_key SET expires_at = now() WHERE role = 'enroll'")

    with pytest.raises(enrolling.NotEnrolledError):
        await asking(token, name="web-9" if kind == "expired" else "web-1")

    denied = await connection.fetch("SELECT action, object FROM audit WHERE NOT allowed")
    assert [row["action"] for row in denied] == ["server.enroll"]


async def test_a_known_name_needs_an_admin_and_the_old_key_ends(asking, token_of, connection):
    first = await asking(await token_of(), machine="old", name="web-1")
    old = json.loads((first / enrollment_file.NAME).read_text())["api_key"]
    token = await token_of()

    with pytest.raises(enrolling.NotEnrolledError, match=machines.fingerprint("new")):
        await asking(token, machine="new", name="web-1")
    [pending] = await enrollments.list_all(connection)
    assert pending.fingerprint == machines.fingerprint("new")
    assert await keys.verify(connection, old) is not None

    waiting = asyncio.create_task(asking(token, machine="new", name="web-1", patience_s=20))
    await enrollments.decide(connection, pending.id, approve=True, decided_by="ann")
    data_dir = await waiting

    new = json.loads((data_dir / enrollment_file.NAME).read_text())
    assert new["server_name"] == "web-1"
    assert await keys.verify(connection, old) is None
    assert await keys.verify(connection, new["api_key"]) is not None
    actions = await connection.fetch("SELECT action, address FROM audit WHERE allowed ORDER BY id")
    assert [tuple(row) for row in actions][-3:] == [
        ("enrollment.approve", None),
        ("key.revoke", "127.0.0.1"),
        ("key.create", "127.0.0.1"),
    ]


async def test_a_machine_that_was_denied_gets_no_key(asking, token_of, connection):
    await asking(await token_of(), machine="old", name="web-1")
    token = await token_of()
    with pytest.raises(enrolling.NotEnrolledError):
        await asking(token, machine="new", name="web-1")
    [pending] = await enrollments.list_all(connection)

    await enrollments.decide(connection, pending.id, approve=False, decided_by="ann")

    with pytest.raises(enrolling.NotEnrolledError, match="an admin said no"):
        await asking(token, machine="new", name="web-1")


async def test_an_answer_that_was_lost_is_given_again_until_the_key_is_used(
    asking, token_of, connection
):
    token = await token_of()
    lost = json.loads(((await asking(token, name="web-1")) / enrollment_file.NAME).read_text())[
        "api_key"
    ]

    again = json.loads(((await asking(token, name="web-1")) / enrollment_file.NAME).read_text())[
        "api_key"
    ]

    assert await keys.verify(connection, lost) is None
    found = await keys.verify(connection, again)
    await keys.touch(connection, [found.id])
    with pytest.raises(enrolling.NotEnrolledError, match="exchanged for a key"):
        await asking(token, name="web-1")


async def test_a_token_names_the_server_where_it_is_bound_to_one(asking, token_of):
    data_dir = await asking(await token_of(server="db-7"))

    assert json.loads((data_dir / enrollment_file.NAME).read_text())["server_name"] == "db-7"


async def ask_raw(gateway, authority, method="Enroll", **fields):
    credentials = grpc.ssl_channel_credentials(authority.pem)
    address = f"127.0.0.1:{gateway.gateway.grpc_port}"
    request = pb.EnrollRequest(**({"machine_id": "m1", "server_name": "a"} | fields))
    async with grpc.aio.secure_channel(address, credentials) as channel:
        call = channel.unary_unary(f"/hostpulse.v1.EnrollmentService/{method}")(
            request.SerializeToString()
        )
        return await call.code(), dict(await call.trailing_metadata())


@pytest.fixture
def few_tries(monkeypatch):
    """Before the gateway starts."""
    monkeypatch.setattr(logins, "FAILED_LOGINS", buckets.Rate(per_s=0.5, burst=3))
    monkeypatch.setattr(limits, "STREAMS_OF_ADDRESS", buckets.Rate(per_s=1.0, burst=40))


async def test_who_guesses_tokens_is_told_when_to_come_again_and_an_agent_waits(
    few_tries, asking, authority, gateway, token_of, monkeypatch
):
    guesses = (ask_raw(gateway, authority, token=keys.generate("hpe")) for _ in range(20))

    answers = await asyncio.gather(*guesses)

    codes = [code for code, _ in answers]
    told = [told for code, told in answers if code is grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert codes.count(grpc.StatusCode.PERMISSION_DENIED) == 3
    assert len(told) == 17
    assert all(0 < int(each["grpc-retry-pushback-ms"]) <= 2000 for each in told)

    monkeypatch.setattr(
        enrolling, "RETRY", backoff.BackoffPolicy(initial_s=0.01, maximum_s=0.01, minimum_s=0)
    )
    begun = time.monotonic()
    await asking(await token_of(), patience_s=10)
    assert time.monotonic() - begun > 0.5


@pytest.mark.parametrize(
    "fields",
    [{"server_name": "a" * 254}, {"hostname": "h" * 300}, {"token": "t" * 100_000}],
    ids=lambda fields: next(iter(fields)),
)
async def test_a_request_has_a_bound(authority, gateway, connection, fields):
    code, _ = await ask_raw(gateway, authority, **fields)

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert await connection.fetchval("SELECT count(*) FROM audit WHERE NOT allowed") == 0


async def test_calls_of_an_address_have_a_rate(few_tries, authority, gateway):
    answers = await asyncio.gather(
        *(ask_raw(gateway, authority, "GetAuthority") for _ in range(45))
    )

    told = [told for code, told in answers if code is grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert 1 <= len(told) <= 5
    assert all(0 < int(each["grpc-retry-pushback-ms"]) <= 1000 for each in told)


@pytest.mark.parametrize("text", ["", "hpe_x", "hp_00000000_" + "a" * 43])
def test_what_is_no_token_is_refused_without_showing_it(text):
    with pytest.raises(errors.ConfigError) as caught:
        enrolling.parse_token("--enroll", text)

    assert "(hidden)" in str(caught.value)
