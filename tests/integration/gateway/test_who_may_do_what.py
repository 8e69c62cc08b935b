"""Every route and every RPC, with every kind of credential, against a written table.

A route or an RPC without a row fails. **To add a route, add one line to ROUTES**: who may, and what
an admin is answered to a bare request of it. Path parameters are filled in from PATH.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import grpc
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from starlette.routing import Mount, Route

from api import page
from api.app import create
from collector_gateway import buckets, logins
from collector_gateway.services import Services
from hostpulse.v1 import telemetry_pb2 as pb
from storage import enrollments, key_rotation, keys
from tests.integration.gateway.conftest import STREAM, Agent, running_gateway

# What each credential is answered. `-` is 401, `x` is 403, `+` is let through.
# Agents and writers are of server web-1; "other" is an agent's key of web-2.
OPEN, ANY, READ, ADMIN, WRITE = "open", "any", "read", "admin", "write"
ANSWERS = """
                      open  any  read  admin  write
    none               +     -    -     -      -
    empty              +     -    -     -      -
    malformed          +     -    -     -      -
    wrong              +     -    -     -      -
    expired            +     -    -     -      -
    revoked            +     -    -     -      -
    rotated            +     -    -     -      -
    enrolment token    +     -    -     -      -
    admin              +     +    +     +      +
    reader             +     +    +     x      x
    agent              +     +    x     x      +
    writer             +     +    x     x      +
    other              +     +    x     x      x
    jwt admin          +     +    +     +      +
    jwt reader         +     +    +     x      x
    jwt agent          +     +    x     x      +
    jwt writer         +     +    x     x      +
    jwt other          +     +    x     x      x
    jwt expired        +     -    -     -      -
    jwt forged         +     -    -     -      -
    jwt unsigned       +     -    -     -      -
    jwt audience       +     -    -     -      -
    jwt no role        +     -    -     -      -
"""

PAGE = HTTPStatus.OK if (page.BUILT / "index.html").exists() else HTTPStatus.SERVICE_UNAVAILABLE
ROUTES = {
    "GET /healthz": (OPEN, 200),
    "HEAD /healthz": (OPEN, 200),
    "GET /readyz": (OPEN, 200),
    "HEAD /readyz": (OPEN, 200),
    "GET /ack/{token}": (OPEN, 410),
    "POST /ack/{token}": (OPEN, 410),
    "GET /": (OPEN, PAGE),
    "HEAD /": (OPEN, PAGE),
    "GET /docs": (OPEN, PAGE),
    "HEAD /docs": (OPEN, PAGE),
    "GET /favicon.svg": (OPEN, PAGE),
    "HEAD /favicon.svg": (OPEN, PAGE),
    "GET /assets/{name:path}": (OPEN, 404),
    "HEAD /assets/{name:path}": (OPEN, 404),
    "GET /api/v1/session": (OPEN, 200),
    "POST /api/v1/session": (OPEN, 403),  # not from the page
    "DELETE /api/v1/session": (OPEN, 403),
    "GET /openapi.json": (ANY, 200),
    "GET /metrics": (READ, 200),
    "POST /api/v1/metrics": (WRITE, 202),
    "GET /api/v1/metrics": (READ, 400),
    "GET /api/v1/metrics/catalog": (READ, 200),
    "GET /api/v1/servers": (READ, 200),
    "GET /api/v1/servers/{name:path}": (READ, 200),
    "GET /api/v1/servers/{name:path}/loss": (READ, 200),
    "GET /api/v1/servers/{name:path}/history": (READ, 400),
    "GET /api/v1/servers/{name:path}/timeline": (READ, 400),
    "GET /api/v1/servers/{name:path}/processes": (READ, 200),
    "GET /api/v1/servers/{name:path}/disks": (READ, 200),
    "PUT /api/v1/servers/{name:path}/labels": (ADMIN, 422),
    "GET /api/v1/overview": (READ, 200),
    "GET /api/v1/events": (READ, 200),
    "GET /api/v1/capacity": (READ, 200),
    "GET /api/v1/database": (ADMIN, 200),
    "GET /api/v1/alerts": (READ, 200),
    "GET /api/v1/alerts/history": (READ, 200),
    "GET /api/v1/alerts/{alert_id:int}": (READ, 404),
    "POST /api/v1/alerts/{alert_id:int}/ack": (ADMIN, 404),
    "GET /api/v1/silences": (READ, 200),
    "POST /api/v1/silences": (ADMIN, 422),
    "DELETE /api/v1/silences/{silence_id:int}": (ADMIN, 404),
    "DELETE /api/v1/rules/{name}": (ADMIN, 404),
    "GET /api/v1/rules": (READ, 200),
    "GET /api/v1/rules/{name}": (READ, 404),
    "PUT /api/v1/rules/{name}": (ADMIN, 422),
    "POST /api/v1/rules/{name}/test": (READ, 422),
    "GET /api/v1/channels": (READ, 200),
    "POST /api/v1/channels": (ADMIN, 422),
    "PUT /api/v1/channels/{name}": (ADMIN, 404),
    "DELETE /api/v1/channels/{name}": (ADMIN, 404),
    "POST /api/v1/channels/{name}/test": (ADMIN, 404),
    "GET /api/v1/config": (READ, 200),
    "GET /api/v1/config/servers": (READ, 200),
    "PUT /api/v1/config/{scope:path}": (ADMIN, 422),
    "GET /api/v1/config/{scope:path}/history": (READ, 200),
    "POST /api/v1/config/{scope:path}/rollback": (ADMIN, 422),
    "GET /api/v1/servers/{name:path}/config": (READ, 200),
    "GET /api/v1/keys": (ADMIN, 200),
    "POST /api/v1/keys": (ADMIN, 422),
    "POST /api/v1/keys/{prefix}/rotate": (ADMIN, 404),
    "DELETE /api/v1/keys/{prefix}": (ADMIN, 404),
    "GET /api/v1/enrollments": (ADMIN, 200),
    "POST /api/v1/enrollments/{number:int}/approve": (ADMIN, 404),
    "POST /api/v1/enrollments/{number:int}/deny": (ADMIN, 404),
    "GET /api/v1/audit": (ADMIN, 200),
    # No route at all: only who may ask is told that it is not there.
    "GET /nowhere": (ANY, 404),
    "PATCH /api/v1/keys": (ANY, 405),
}
BEYOND_ROUTES = {"GET /nowhere", "PATCH /api/v1/keys"}

PATH = {
    "name": "web-1",
    "name:path": "web-1",
    "scope:path": "all",
    "token": "none",
    "prefix": "00000000",
    "alert_id:int": "999999",
    "silence_id:int": "999999",
    "number:int": "999999",
}
SAMPLE = {
    "server_id": "web-1",
    "timestamp": datetime.now(UTC).isoformat(),
    "metrics": {"cpu": {"usage_percent": 1}},
}
BODIES = {"POST /api/v1/metrics": SAMPLE, "POST /api/v1/rules/{name}/test": []}  # others get {}

# RPCs: the status that each credential gets. Enrolment and health take no notice of keys.
UNAUTHENTICATED, DENIED, OK = "UNAUTHENTICATED", "PERMISSION_DENIED", "OK"
RPCS = {
    "TelemetryService.Stream": {"-": UNAUTHENTICATED, "x": DENIED, "+": OK},
    "EnrollmentService.GetAuthority": dict.fromkeys("-x+", OK),
    "EnrollmentService.Enroll": dict.fromkeys("-x+", DENIED),  # the request brings no token
}
RPC_POLICIES = {"TelemetryService.Stream": WRITE}


def answers() -> dict[str, dict[str, str]]:
    """Read the table: credential to policy to sign."""
    head, *lines = ANSWERS.strip("\n").splitlines()
    policies = head.split()
    table = {}
    for line in lines:
        *words, a, b, c, d, e = line.split()
        table[" ".join(words)] = dict(zip(policies, (a, b, c, d, e), strict=True))
    return table


def found_routes() -> set[str]:
    """Return what the application serves, as method and path."""
    parts = dict.fromkeys(
        ("query_pool", "authenticator", "store", "readiness", "registry", "clock")
    )
    found = set()
    waiting = list(create(Services(**parts)).routes)
    while waiting:
        route = waiting.pop()
        if hasattr(route, "original_router"):  # how FastAPI keeps what was included
            waiting += route.original_router.routes
        elif isinstance(route, Mount):
            found.add(f"MOUNT {route.path}")
        else:
            assert isinstance(route, Route)
            found |= {f"{method} {route.path}" for method in route.methods or ()}
    return found


@pytest.fixture
async def credentials(connection, admin_key, signer):
    """Make one of each kind, by name."""
    now = datetime.now(UTC)

    async def key(role, server=None, **more):
        names = [server] if server else []
        return await keys.create(
            connection, role=role, server_names=names, created_by="test", **more
        )

    expired = await key(keys.Role.ADMIN, expires_at=now - timedelta(seconds=1))
    revoked, rotated = await key(keys.Role.ADMIN), await key(keys.Role.ADMIN)
    await keys.revoke(connection, keys.prefix_of(revoked), revoked_by="test")
    await key_rotation.rotate(
        connection, keys.prefix_of(rotated), grace=timedelta(0), rotated_by="test"
    )
    token = await enrollments.create_token(
        connection,
        uses=100,
        expires_at=now + timedelta(hours=1),
        server_name=None,
        note=None,
        created_by="test",
    )
    good = {"aud": "hp", "exp": time.time() + 600}

    def signed(by=signer, algorithm="EdDSA", **claims):
        return jwt.encode({**good, **claims}, by, algorithm=algorithm)

    return {
        "none": None,
        "empty": "",
        "malformed": "hp_nonsense",
        "wrong": f"{admin_key[:-1]}{'A' if admin_key[-1] != 'A' else 'E'}",
        "expired": expired,
        "revoked": revoked,
        "rotated": rotated,
        "enrolment token": token,
        "admin": admin_key,
        "reader": await key(keys.Role.READER),
        "agent": await key(keys.Role.AGENT, "web-1"),
        "writer": await key(keys.Role.WRITER, "web-1"),
        "other": await key(keys.Role.AGENT, "web-2"),
        "jwt admin": signed(role="admin"),
        "jwt reader": signed(role="reader"),
        "jwt agent": signed(role="agent", server="web-1"),
        "jwt writer": signed(role="writer", server=["web-1", "web-3"]),
        "jwt other": signed(role="agent", server="web-2"),
        "jwt expired": signed(role="admin", exp=time.time() - 60),
        "jwt forged": signed(ed25519.Ed25519PrivateKey.generate(), role="admin"),
        "jwt unsigned": signed(None, "none", role="admin"),
        "jwt audience": signed(role="admin", aud="other"),
        "jwt no role": signed(),
    }


@pytest.fixture
def signer():
    return ed25519.Ed25519PrivateKey.generate()


@pytest.fixture
async def gateway(database, admin_key, signer, tmp_path, monkeypatch):
    """A gateway that takes tokens of `signer`, and as many wrong ones as come."""
    monkeypatch.setattr(logins, "FAILED_LOGINS", buckets.Rate(per_s=10_000, burst=10_000))
    path = tmp_path / "signer.pem"
    path.write_bytes(
        signer.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    async with running_gateway(
        database, admin_key, jwt_public_key=str(path), jwt_audience="hp"
    ) as running:
        yield running


def test_every_route_has_a_row_and_every_row_a_route():
    assert found_routes() == set(ROUTES) - BEYOND_ROUTES


def test_every_rpc_has_a_row_and_every_row_an_rpc():
    services = pb.DESCRIPTOR.services_by_name
    found = {f"{name}.{m.name}" for name, each in services.items() for m in each.methods}

    assert found == set(RPCS)


async def test_every_route_answers_every_credential_as_written(gateway, credentials, connection):
    await connection.execute("INSERT INTO server (name, watch_offline) VALUES ('web-1', false)")
    table = answers()
    assert set(table) == set(credentials)
    wrong = {}
    base = f"http://127.0.0.1:{gateway.gateway.http_port}"
    async with httpx.AsyncClient(base_url=base) as client:
        async with asyncio.timeout(20):
            while (await client.get("/readyz")).status_code != HTTPStatus.OK:
                await asyncio.sleep(0.1)
        for route, (policy, when_allowed) in ROUTES.items():
            method, _, path = route.partition(" ")
            for name, value in PATH.items():
                path = path.replace(f"{{{name}}}", value)
            body = None if method in {"GET", "HEAD"} else BODIES.get(route, {})
            asked = [ask(client, method, path, each, body) for each in credentials.values()]
            for kind, answer in zip(credentials, await asyncio.gather(*asked), strict=True):
                expected = {"-": 401, "x": 403, "+": when_allowed}[table[kind][policy]]
                if answer[0] != expected:
                    wrong[route, kind] = (answer[0], expected, answer[1])

    assert wrong == {}


async def test_every_rpc_answers_every_credential_as_written(gateway, credentials):
    table = answers()
    wrong = {}
    epoch = 10
    for rpc, expected in RPCS.items():
        for kind, credential in credentials.items():
            epoch += 1
            status = await call(gateway.gateway.grpc_port, rpc, credential, epoch)
            sign = table[kind][RPC_POLICIES.get(rpc, OPEN)]
            if status != expected[sign]:
                wrong[rpc, kind] = (status, expected[sign])

    assert wrong == {}


async def ask(
    client: httpx.AsyncClient, method: str, path: str, credential: str | None, body: object
) -> tuple[int, str]:
    """Return the status of an answer, and its beginning: some never end."""
    headers = {} if credential is None else {"Authorization": bearer(credential)}
    async with client.stream(method, path, headers=headers, json=body) as answer:
        async for text in answer.aiter_text():
            return answer.status_code, text[:200]
        return answer.status_code, ""


def bearer(credential: str) -> str:
    """Write the header; httpx refuses a blank at its end."""
    return f"Bearer {credential}".strip()


async def call(port: int, rpc: str, credential: str | None, epoch: int) -> str:
    """Make a call as good as its credential; return its status, OK once it is answered."""
    metadata = () if credential is None else (("authorization", bearer(credential)),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            if rpc == "TelemetryService.Stream":
                stream = channel.stream_stream(STREAM)(metadata=metadata)
                agent = Agent(stream, epoch)
                try:
                    await agent.hello("web-1", machine_id="m")
                except (AssertionError, grpc.aio.AioRpcError):
                    return (await stream.code()).name
                stream.cancel()
                return OK
            request = {
                "EnrollmentService.GetAuthority": pb.GetAuthorityRequest(),
                "EnrollmentService.Enroll": pb.EnrollRequest(machine_id="m", hostname="h"),
            }[rpc]
            method = channel.unary_unary(f"/hostpulse.v1.{rpc.replace('.', '/')}")
            await method(request.SerializeToString(), metadata=metadata, timeout=10)
        except grpc.aio.AioRpcError as error:
            return error.code().name
    return OK


async def test_who_was_denied_is_in_the_audit_log_with_a_bound(gateway, credentials, connection):
    base = f"http://127.0.0.1:{gateway.gateway.http_port}"
    headers = {"Authorization": f"Bearer {credentials['reader']}"}
    async with httpx.AsyncClient(base_url=base) as client:
        for _ in range(50):
            await client.get("/api/v1/keys")
            await client.get("/api/v1/keys", headers=headers)
            await client.delete("/api/v1/keys/00000000", headers=headers)

    rows = await connection.fetch(
        "SELECT actor, action, object, address, count FROM audit WHERE NOT allowed ORDER BY id"
    )
    reader = f"key {keys.prefix_of(credentials['reader'])}"
    assert {tuple(row) for row in rows} == {
        ("(unknown)", "http.request", None, "127.0.0.1", 1),
        (reader, "http.request", "GET /api/v1/keys", "127.0.0.1", 1),
        (reader, "http.request", "DELETE /api/v1/keys/{prefix}", "127.0.0.1", 1),
    }
