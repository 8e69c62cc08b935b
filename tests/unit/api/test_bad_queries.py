from __future__ import annotations

import pytest

GOOD = {
    "server_id": "web-1",
    "metric": "cpu.usage_percent",
    "from": "2026-01-01T00:00:00Z",
    "to": "2026-01-01T01:00:00Z",
}

WRONG = {
    "no server": ({"server_id": None}, "server_id", "nothing"),
    "empty server": ({"server_id": ""}, "server_id", "nothing"),
    "no metric": ({"metric": None}, "metric", "nothing"),
    "no from": ({"from": None}, "from", "nothing"),
    "no to": ({"to": None}, "to", "nothing"),
    "unknown metric": ({"metric": "cpu.usage"}, "metric", '"cpu.usage"'),
    "a label as a metric": ({"metric": "disk_usage.mount"}, "metric", '"disk_usage.mount"'),
    "SQL as a metric": ({"metric": "cpu.x; DROP TABLE cpu"}, "metric", None),
    "from no time": ({"from": "yesterday"}, "from", '"yesterday"'),
    "from without offset": ({"from": "2026-01-01T00:00:00"}, "from", None),
    "to no day": ({"to": "2026-13-01T00:00:00Z"}, "to", None),
    "from after to": ({"from": "2026-01-02T00:00:00Z"}, "from", '"2026-01-02T00:00:00Z"'),
    "from equal to": ({"from": "2026-01-01T01:00:00Z"}, "from", '"2026-01-01T01:00:00Z"'),
    "before 1970": ({"from": "0001-01-01T00:00:00Z"}, "from", None),
    "step no number": ({"step": "soon"}, "step", '"soon"'),
    "step too short": ({"step": "4"}, "step", '"4"'),
    "step too long": ({"step": "2d"}, "step", '"2d"'),
    "step negative": ({"step": "-60"}, "step", '"-60"'),
    "step a fraction": ({"step": "7.5"}, "step", '"7.5"'),
    "unknown aggregate": ({"agg": "median"}, "agg", '"median"'),
    "unknown parameter": ({"form": "x"}, "form", "an unknown parameter"),
    "label of another metric": ({"mount": "/"}, "mount", "an unknown parameter"),
    "mount of a network": (
        {"metric": "network.rx_mbps", "mount": "/"},
        "mount",
        "an unknown parameter",
    ),
    "NUL": ({"metric": "disk.used_percent", "mount": "/\0"}, "mount", '"/\\u0000"'),
    "a long label": ({"metric": "disk.used_percent", "mount": "/" * 4097}, "mount", None),
}


@pytest.mark.parametrize(("change", "field", "got"), WRONG.values(), ids=WRONG)
async def test_a_wrong_parameter_is_refused_and_named(door, change, field, got):
    query = {name: value for name, value in (GOOD | change).items() if value is not None}

    answer = await door.client.get("/api/v1/metrics", params=query)

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    [error] = answer.json()["errors"]
    assert error["field"] == field
    assert error["expected"]
    assert got is None or error["got"] == got
    assert len(error["got"]) <= 100


async def test_a_parameter_given_twice_is_refused(door):
    answer = await door.client.get(
        "/api/v1/metrics", params=[*GOOD.items(), ("metric", "cpu.load1")]
    )

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "metric"


async def test_an_unknown_metric_is_answered_with_the_nearest_names(door):
    answer = await door.client.get("/api/v1/metrics", params=GOOD | {"metric": "cpu.usage_pct"})

    assert "cpu.usage_percent" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/assets/nothing.js", 404),
        ("POST", "/", 405),
        ("GET", "/api/v1/metrics/", 404),
        ("DELETE", "/api/v1/metrics", 405),
        ("POST", "/api/v1/servers", 405),
        ("PUT", "/healthz", 405),
        ("GET", "/api/v1/servers/a%0Ab", 404),
        ("GET", "/api/v1/servers?page=2", 400),
    ],
)
async def test_what_is_not_there_is_answered_as_a_problem_too(door, method, path, status):
    answer = await door.client.request(method, path)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert status != 405 or answer.headers["allow"]
