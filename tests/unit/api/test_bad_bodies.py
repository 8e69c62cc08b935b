from __future__ import annotations

import json
from datetime import timedelta

import pytest

from api import bodies, times

NOW = "2026-01-01T00:00:00Z"  # where the manual clock starts


def body(metrics, **top) -> str:
    return json.dumps({"server_id": "web-1", "timestamp": NOW, "metrics": metrics} | top)


def cpu(**values) -> str:
    return body({"cpu": values})


def raw(value: str) -> str:
    """Write a body with something that Python's json would not write as it is."""
    return cpu(usage_percent=0).replace('"usage_percent": 0', f'"usage_percent": {value}')


WRONG = {
    "no object": ("[1]", "body", "an array of 1"),
    "null": ("null", "body", "null"),
    "empty object": ("{}", "server_id", "nothing"),
    "no server": (body({"cpu": {"usage_percent": 1}}, server_id=None), "server_id", "nothing"),
    "server a number": (body({}, server_id=5), "server_id", "5"),
    "server empty": (body({}, server_id=""), "server_id", '""'),
    "server too long": (body({}, server_id="a" * 254), "server_id", None),
    "server with control": (body({}, server_id="a\u0007b"), "server_id", '"a\\u0007b"'),
    "server with NUL": (body({}, server_id="a\0b"), "server_id", '"a\\u0000b"'),
    "server half a character": (body({}, server_id="\ud800"), "server_id", '"\\ud800"'),
    "no timestamp": (body({}, timestamp=None), "timestamp", "nothing"),
    "timestamp a number": (body({}, timestamp=1767225600), "timestamp", "1767225600"),
    "timestamp without offset": (
        body({}, timestamp="2026-01-01T00:00:00"),
        "timestamp",
        '"2026-01-01T00:00:00"',
    ),
    "timestamp no day": (
        body({}, timestamp="2026-02-30T00:00:00Z"),
        "timestamp",
        '"2026-02-30T00:00:00Z"',
    ),
    "timestamp ahead": (
        body({"cpu": {"usage_percent": 1}}, timestamp="2026-01-01T00:10:01Z"),
        "timestamp",
        '"2026-01-01T00:10:01Z"',
    ),
    "timestamp too old": (
        body({"cpu": {"usage_percent": 1}}, timestamp="2025-12-25T23:59:59Z"),
        "timestamp",
        '"2025-12-25T23:59:59Z"',
    ),
    "no metrics": (json.dumps({"server_id": "a", "timestamp": NOW}), "metrics", "nothing"),
    "metrics an array": (body([]), "metrics", "an array of 0"),
    "no values": (body({}), "metrics", "none"),
    "families without values": (
        body({"cpu": {}, "memory": {}, "disk": {"/": {}}, "network": {}}),
        "metrics",
        "none",
    ),
    "only nulls": (cpu(usage_percent=None), "metrics", "none"),
    "unknown at the top": (body({}, metricz={}), "metricz", "an unknown field"),
    "unknown family": (body({"gpu": {}}), "metrics.gpu", "an unknown field"),
    "family a number": (body({"cpu": 1}), "metrics.cpu", "1"),
    "unknown field": (cpu(usage=1), "metrics.cpu.usage", "an unknown field"),
    "unknown field of a mount": (
        body({"disk": {"/": {"used_prcent": 1}}}),
        'metrics.disk["/"].used_prcent',
        "an unknown field",
    ),
    "a string where a number belongs": (
        cpu(usage_percent="45.2"),
        "metrics.cpu.usage_percent",
        '"45.2"',
    ),
    "a bool where a number belongs": (cpu(usage_percent=True), "metrics.cpu.usage_percent", "true"),
    "an array where a number belongs": (
        cpu(usage_percent=[1]),
        "metrics.cpu.usage_percent",
        "an array of 1",
    ),
    "an object where a number belongs": (
        cpu(usage_percent={}),
        "metrics.cpu.usage_percent",
        "an object of 0",
    ),
    "NaN": (raw("NaN"), "metrics.cpu.usage_percent", "NaN"),
    "Infinity": (raw("Infinity"), "metrics.cpu.usage_percent", "Infinity"),
    "-Infinity": (raw("-Infinity"), "metrics.cpu.usage_percent", "-Infinity"),
    "a number beyond float": (raw("1e999"), "metrics.cpu.usage_percent", "Infinity"),
    "a number of 1000 digits": (
        raw("9" * 1000),
        "metrics.cpu.usage_percent",
        "a number of more than 90 digits",
    ),
    "percent above 100": (cpu(usage_percent=100.5), "metrics.cpu.usage_percent", "100.5"),
    "percent a little above 100": (
        cpu(usage_percent=100.00001),
        "metrics.cpu.usage_percent",
        "100.00001",
    ),
    "percent below 0": (cpu(usage_percent=-0.1), "metrics.cpu.usage_percent", "-0.1"),
    "cores no array": (cpu(cores=4), "metrics.cpu.cores", "4"),
    "cores empty": (cpu(cores=[]), "metrics.cpu.cores", "an array of 0"),
    "cores too many": (cpu(cores=[1] * 4097), "metrics.cpu.cores", "an array of 4097"),
    "a core above 100": (cpu(cores=[1, 101]), "metrics.cpu.cores[1]", "101"),
    "a core null": (cpu(cores=[1, None]), "metrics.cpu.cores[1]", "null"),
    "a core a string": (cpu(cores=["1"]), "metrics.cpu.cores[0]", '"1"'),
    "two loads": (cpu(load_average=[1, 2]), "metrics.cpu.load_average", "an array of 2"),
    "a negative load": (cpu(load_average=[1, 2, -3]), "metrics.cpu.load_average[2]", "-3"),
    "a load beyond real": (cpu(load_average=[1, 2, 1e39]), "metrics.cpu.load_average[2]", "1e+39"),
    "a negative size": (body({"memory": {"total_gb": -1}}), "metrics.memory.total_gb", "-1"),
    "a size beyond bigint": (
        body({"memory": {"total_gb": 2**34}}),
        "metrics.memory.total_gb",
        "17179869184",
    ),
    "bytes beyond bigint": (
        body({"memory": {"total_bytes": 2**63}}),
        "metrics.memory.total_bytes",
        "9223372036854775808",
    ),
    "half a byte": (body({"memory": {"total_bytes": 1.5}}), "metrics.memory.total_bytes", "1.5"),
    "the same in two spellings": (
        body({"memory": {"total_gb": 1, "total_bytes": 5}}),
        None,
        "another spelling of it as well",
    ),
    "more used than there is": (
        body({"memory": {"total_gb": 1, "used_gb": 2}}),
        "metrics.memory.used_bytes",
        str(2**31),
    ),
    "a negative rate": (
        body({"network": {"eth0": {"rx_mbps": -1}}}),
        'metrics.network["eth0"].rx_mbps',
        "-1",
    ),
    "a rate beyond real": (
        body({"network": {"eth0": {"rx_mbps": 1e38}}}),
        'metrics.network["eth0"].rx_mbps',
        "1e+38",
    ),
    "a mount without a name": (body({"disk": {"": {"total_gb": 1}}}), 'metrics.disk[""]', '""'),
    "a mount with a line break": (
        body({"disk": {"/a\n": {"total_gb": 1}}}),
        'metrics.disk["/a\\n"]',
        '"/a\\n"',
    ),
    "disk an array": (body({"disk": [1]}), "metrics.disk", "an array of 1"),
    "an interface a number": (body({"network": {"eth0": 1}}), 'metrics.network["eth0"]', "1"),
}


@pytest.mark.parametrize(("content", "field", "got"), WRONG.values(), ids=WRONG)
async def test_a_wrong_body_is_refused_and_the_field_named(door, content, field, got):
    answer = await door.client.post("/api/v1/metrics", content=content)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 422
    assert problem["title"]
    assert problem["detail"]
    named = {error["field"]: error for error in problem["errors"]}
    if field:
        assert field in named
    error = named[field] if field else problem["errors"][0]
    assert error["expected"]
    assert got is None or error["got"] == got
    assert all(len(each["got"]) <= 100 for each in problem["errors"])


MALFORMED = {
    "empty": b"",
    "half": b'{"server_id":',
    "two": b"{}{}",
    "single quotes": b"{'a':1}",
    "not UTF-8": b'{"a":"\xff"}',
    "UTF-16": "{}".encode("utf-16"),
    "a name twice": b'{"server_id":"a","server_id":"b"}',
    "deep": b"[" * 100_000,
    "a number of 5000 digits": b"9" * 5000,
    "NUL": b"\0",
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_no_json_is_refused(door, content):
    answer = await door.client.post("/api/v1/metrics", content=content)

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == "body"
    assert len(answer.json()["errors"][0]["got"]) <= 100


async def chunks(total: int):
    """Yield a body bit by bit, without a length."""
    for _ in range(total // 8192):
        yield b" " * 8192


async def test_a_body_over_the_limit_is_refused_whatever_its_length_was_said_to_be(door):
    whole = await door.client.post("/api/v1/metrics", content=b" " * (bodies.MAX_BYTES + 1))
    chunked = await door.client.post("/api/v1/metrics", content=chunks(4 * bodies.MAX_BYTES))

    for answer in (whole, chunked):
        assert answer.status_code == 413
        assert answer.json()["errors"] == [
            {"field": "body", "expected": "at most 262144 bytes", "got": "more"}
        ]


async def test_a_body_of_exactly_the_limit_is_read(door):
    content = cpu(usage=1).ljust(bodies.MAX_BYTES)

    answer = await door.client.post("/api/v1/metrics", content=content)

    assert answer.status_code == 422


async def test_a_compressed_body_is_refused(door):
    answer = await door.client.post(
        "/api/v1/metrics", content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}
    )

    assert answer.status_code == 415
    assert "gzip" in answer.json()["detail"]


async def test_everything_that_is_wrong_is_named_at_once_but_not_without_bound(door):
    content = cpu(usage_percent=-1, cores=[-1], wrong=1)
    answer = await door.client.post("/api/v1/metrics", content=content)
    nonsense = await door.client.post("/api/v1/metrics", content=cpu(cores=[-1] * 4096))

    assert {error["field"] for error in answer.json()["errors"]} == {
        "metrics.cpu.usage_percent",
        "metrics.cpu.cores[0]",
        "metrics.cpu.wrong",
    }
    assert len(nonsense.json()["errors"]) == 20


async def test_the_edges_of_the_accepted_time_are_accepted(door):
    for moment in (door.now + timedelta(minutes=10), door.now - timedelta(days=6)):
        content = body({"gpu": {}}, timestamp=times.format_time(moment))
        answer = await door.client.post("/api/v1/metrics", content=content)

        assert [error["field"] for error in answer.json()["errors"]] == ["metrics.gpu"]
