from __future__ import annotations

import asyncio
import json

import prometheus_client
import pytest

from api import alert_metrics

GUARDED = [
    "/api/v1/metrics",
    "/api/v1/metrics/catalog",
    "/api/v1/servers",
    "/api/v1/servers/web-1",
    "/metrics",
    "/openapi.json",
    "/nowhere",
    "/healthz/",
    "http://gateway//healthz",
]


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic admin"},
        {"Authorization": "admin"},
        {"X-API-Key": "wrong"},
        {"Authorization": "Bearer wrong", "X-API-Key": "admin"},
    ],
    ids=["none", "wrong", "basic", "bare", "wrong header", "wrong beside good"],
)
async def test_without_a_good_key_nothing_is_answered(door, path, headers):
    del door.client.headers["Authorization"]

    answer = await door.client.get(path, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [{"X-API-Key": "admin"}, {"Authorization": "bearer admin"}],
    ids=["X-API-Key", "Bearer in any case"],
)
async def test_a_key_is_taken_from_either_header(door, headers):
    del door.client.headers["Authorization"]

    assert (await door.client.get("/openapi.json", headers=headers)).status_code == 200


# What a role is told by routes that refuse bad input: 403 before anything is read, else 400/422.
ROLES = {
    ("admin", "GET"): 400,
    ("reader", "GET"): 400,
    ("agent", "GET"): 403,
    ("writer", "GET"): 403,
    ("admin", "POST"): 422,
    ("reader", "POST"): 403,
    ("agent", "POST"): 422,
    ("writer", "POST"): 422,
}


@pytest.mark.parametrize(("who", "status"), ROLES.items(), ids=[" ".join(who) for who in ROLES])
async def test_a_role_may_do_what_it_is_for(door, who, status):
    role, method = who

    answer = await door.client.request(
        method,
        "/api/v1/metrics",
        headers={"Authorization": f"Bearer {role}"},
        content="{}" if method == "POST" else None,
    )

    assert answer.status_code == status


@pytest.mark.parametrize("role", ["agent", "writer"])
@pytest.mark.parametrize("path", ["/api/v1/servers", "/api/v1/servers/web-1", "/metrics"])
async def test_who_only_writes_reads_nothing(door, role, path):
    answer = await door.client.get(path, headers={"Authorization": f"Bearer {role}"})

    assert answer.status_code == 403


@pytest.mark.parametrize("role", ["agent", "writer"])
async def test_a_key_of_one_server_writes_for_no_other(door, role):
    content = json.dumps(
        {
            "server_id": "web-2",
            "timestamp": "2026-01-01T00:00:00Z",
            "metrics": {"cpu": {"usage_percent": 1}},
        }
    )

    answer = await door.client.post(
        "/api/v1/metrics", content=content, headers={"Authorization": f"Bearer {role}"}
    )

    assert answer.status_code == 403
    assert "web-2" in answer.json()["detail"]


async def test_a_key_that_can_not_be_checked_is_asked_to_come_again(door):
    answer = await door.client.get("/metrics", headers={"Authorization": "Bearer away"})

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


async def test_health_needs_no_key(door):
    del door.client.headers["Authorization"]

    assert (await door.client.get("/healthz")).json() == {"status": "ok"}
    assert (await door.client.get("/readyz")).json() == {"ready": True, "reasons": []}
    assert (await door.client.head("/healthz")).status_code == 200
    assert (await door.client.head("/readyz")).status_code == 200


async def test_who_is_not_ready_says_why(door):
    door.readiness.reasons = ["the database can't be reached"]

    answer = await door.client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "reasons": ["the database can't be reached"]}


async def test_a_readiness_that_takes_too_long_is_none(door):
    door.readiness.error = TimeoutError()

    answer = await door.client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["ready"] is False


async def test_own_metrics_are_prometheus_text(door, monkeypatch):
    async def of_no_worker(_pool):
        return b""

    monkeypatch.setattr(alert_metrics, "render", of_no_worker)
    prometheus_client.Counter("hostpulse_rows", "Rows.", registry=door.registry).inc(3)

    answer = await door.client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert "hostpulse_rows_total 3.0" in answer.text


async def test_the_document_describes_every_route(door):
    paths = (await door.client.get("/openapi.json")).json()["paths"]

    assert set(paths) >= {"/api/v1/metrics", "/api/v1/servers", "/healthz", "/readyz", "/metrics"}
    assert set(paths["/api/v1/metrics"]) == {"get", "post"}


async def test_a_defect_is_answered_without_our_insides(door):
    door.readiness.error = ZeroDivisionError("secret detail")

    answer = await door.client.get("/readyz")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever(door, monkeypatch):
    monkeypatch.setattr("api.bodies.TIMEOUT_S", 0.01)

    async def never():
        yield b"{"
        await asyncio.Event().wait()

    answer = await door.client.post("/api/v1/metrics", content=never())

    assert answer.status_code == 408
