from __future__ import annotations

import json
import urllib.parse
from datetime import timedelta

import asyncpg
import pytest

from api import times
from hostpulse import errors
from storage import catalog, servers

METRICS = {
    "cpu": {
        "usage_percent": 45.2,
        "cores": [35.1, 42.3, 50.8, 43.2],
        "load_average": [1.5, 1.8, 2.1],
    },
    "memory": {
        "total_gb": 16,
        "used_gb": 8.5,
        "used_percent": 53.1,
        "available_gb": 7.5,
        "swap_used_percent": 0,
    },
    "disk": {
        "/": {
            "total_gb": 100,
            "used_gb": 65,
            "used_percent": 65,
            "read_mbps": 12.5,
            "write_mbps": 8.3,
        }
    },
    "network": {
        "eth0": {"rx_mbps": 25.6, "tx_mbps": 18.2, "rx_packets": 15234, "tx_packets": 12456}
    },
}
ROOT = {"mount": "/"}
ETH0 = {"interface": "eth0"}


async def post(api, metrics=METRICS, *, moment=None, name="web-server-01"):
    timestamp = times.format_time(moment or api.now())
    return await api.client.post(
        "/api/v1/metrics", json={"server_id": name, "timestamp": timestamp, "metrics": metrics}
    )


async def get(api, metric, *, name="web-server-01", **more):
    period = {
        "from": times.format_time(api.now() - timedelta(hours=1)),
        "to": times.format_time(api.now() + timedelta(minutes=1)),
    }
    query = {"server_id": name, "metric": metric} | period | more
    return await api.client.get("/api/v1/metrics", params=query)


async def test_a_posted_body_is_acknowledged_with_what_was_stored(api):
    answer = await post(api)

    assert answer.status_code == 202
    assert answer.json() == {
        "server_id": "web-server-01",
        "stored": {"cpu": 1, "memory": 1, "disk_usage": 1, "disk_io": 1, "network": 1},
    }


# metric, label filters, unit, labels of the series, value
READ_BACK = [
    ("cpu.usage_percent", {}, "percent", {}, 45.2),
    ("cpu.cores", {"core": "2"}, "percent", {"core": "2"}, 50.8),
    ("cpu.load_average", {}, "1", {}, 1.5),
    ("cpu.load15", {}, "1", {}, 2.1),
    ("cpu.load1_per_core", {}, "1", {}, 0.375),
    ("memory.total_gb", {}, "gb", {}, 16),
    ("memory.total_bytes", {}, "bytes", {}, 16 * 2**30),
    ("memory.used_gb", {}, "gb", {}, 8.5),
    ("memory.used_percent", {}, "percent", {}, 53.1),
    ("memory.available_gb", {}, "gb", {}, 7.5),
    ("memory.available_percent", {}, "percent", {}, 46.875),
    ("memory.swap_used_percent", {}, "percent", {}, 0),
    ("disk.total_gb", ROOT, "gb", ROOT, 100),
    ("disk.used_gb", ROOT, "gb", ROOT, 65),
    ("disk.free_gb", ROOT, "gb", ROOT, 35),
    ("disk.used_percent", ROOT, "percent", ROOT, 65),
    ("disk.read_mbps", ROOT, "megabytes_per_s", ROOT | {"device": "/"}, 12.5),
    ("disk.write_mbps", ROOT, "megabytes_per_s", ROOT | {"device": "/"}, 8.3),
    ("disk_io.read_bytes_per_s", {"device": "/"}, "bytes_per_s", {"device": "/"}, 12.5e6),
    ("network.rx_mbps", ETH0, "mbps", ETH0, 25.6),
    ("network.tx_mbps", ETH0, "mbps", ETH0, 18.2),
    ("network.rx_bytes_per_s", ETH0, "bytes_per_s", ETH0, 3.2e6),
    ("network.rx_packets", ETH0, "packets_per_s", ETH0, 15234),
    ("network.tx_packets", ETH0, "packets_per_s", ETH0, 12456),
]


async def test_what_was_posted_reads_back_as_it_was_posted_under_every_name(api):
    await post(api)

    for metric, filters, unit, labels, value in READ_BACK:
        answer = (await get(api, metric, **filters)).json()

        points = [[times.format_time(api.now()), value]]
        assert answer == {
            "server_id": "web-server-01",
            "metric": metric,
            "unit": unit,
            "tier": "raw",
            "step_s": None,
            "series": [{"labels": labels, "points": points}],
        }


async def test_every_core_is_a_series_in_the_order_of_its_number(api):
    await post(api, {"cpu": {"cores": [float(core) for core in range(12)]}})

    series = (await get(api, "cpu.cores")).json()["series"]

    assert [each["labels"] for each in series] == [{"core": str(core)} for core in range(12)]
    assert [each["points"][0][1] for each in series] == [float(core) for core in range(12)]


async def test_a_server_that_only_posts_is_listed_and_its_silence_is_no_alert(api):
    await post(api)

    listed = (await api.client.get("/api/v1/servers")).json()["servers"]
    one = (await api.client.get("/api/v1/servers/web-server-01")).json()

    assert listed == [one]
    assert (one["server_id"], one["watch_offline"]) == ("web-server-01", False)
    assert (await api.client.get("/api/v1/servers/web-2")).status_code == 404


async def test_a_name_with_slashes_and_spaces_is_found(api):
    name = "rack 4/web-ü?#%2F"
    await post(api, name=name)

    one = await api.client.get(f"/api/v1/servers/{urllib.parse.quote(name, safe='')}")

    assert one.json()["server_id"] == name
    assert (await get(api, "cpu.usage_percent", name=name)).json()["server_id"] == name


async def test_disk_traffic_of_a_server_with_an_agent_is_found_by_mount_and_by_device(
    api, connection
):
    server_id = await servers.find_or_create(connection, "web-server-01", watch_offline=True)
    await connection.execute(
        "INSERT INTO disk_usage (time, server_id, mount, device) VALUES ($1, $2, '/', '/dev/sda1')",
        api.now() - timedelta(minutes=1),
        server_id,
    )
    await connection.execute(
        "INSERT INTO disk_io (time, server_id, device, read_bytes_per_s) VALUES"
        " ($1, $2, 'sda', 1e6), ($1, $2, 'sdb', 2e6)",
        api.now() - timedelta(minutes=1),
        server_id,
    )
    await post(api)

    series = (await get(api, "disk.read_mbps", mount="/")).json()["series"]

    assert [(each["labels"]["device"], each["points"][0][1]) for each in series] == [
        ("sda", 1.0),
        ("sda1", 12.5),
    ]


async def test_an_unknown_server_has_no_history_but_a_known_one_may_have_none_either(api):
    await post(api, {"cpu": {"usage_percent": 1}})

    unknown = await get(api, "cpu.usage_percent", name="nobody")
    empty = await get(api, "memory.used_percent")

    assert unknown.status_code == 404
    assert unknown.json()["errors"][0]["field"] == "server_id"
    assert empty.status_code == 200
    assert empty.json()["series"] == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Retryable("the queue is full", after_s=7), 503),
        (errors.Permanent("refused by the database"), 422),
        (ConnectionRefusedError(), 503),
        (asyncpg.QueryCanceledError(), 503),
        (RuntimeError("secret"), 500),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_a_store_that_fails_is_no_202(api, error, status):
    api.store.error = error

    answer = await post(api)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    if isinstance(error, errors.Retryable):
        assert answer.headers["retry-after"] == "7"


async def test_nothing_of_a_refused_body_is_stored(api, connection):
    good = json.loads(json.dumps(METRICS))
    for metrics in (
        good | {"cpu": {"usage_percent": 101}},
        good | {"network": {"eth0": {"rx_mbps": 1, "typo": 1}}},
        good | {"gpu": {}},
    ):
        assert (await post(api, metrics)).status_code == 422
    for minutes in (11, -6 * 24 * 60 - 1):
        moment = api.now() + timedelta(minutes=minutes)
        assert (await post(api, moment=moment)).status_code == 422

    assert api.store.calls == 0
    for table in (*catalog.TABLES, "server"):
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_an_answer_is_capped_and_says_which_step_would_fit(api, connection):
    server_id = await servers.find_or_create(connection, "web-server-01", watch_offline=False)
    await connection.execute(
        "INSERT INTO cpu (time, server_id, usage_percent)"
        " SELECT t, $1, 50 FROM generate_series($2::timestamptz - interval '3 days', $2, '10 s') t",
        server_id,
        api.now(),
    )
    period = {"from": times.format_time(api.now() - timedelta(days=3))}

    refused = await get(api, "cpu.usage_percent", **period, step="10s")
    step = refused.json()["errors"][0]["expected"].removeprefix("at least ")
    answered = await get(api, "cpu.usage_percent", **period, step=step)

    assert refused.status_code == 400
    assert "step=15 would fit" in refused.json()["detail"]
    assert answered.status_code == 200
    assert answered.json()["step_s"] == 15
    assert 17_000 < len(answered.json()["series"][0]["points"]) <= 20_000


async def test_posted_disk_traffic_joins_that_of_the_mounts_device(api, connection):
    server_id = await servers.find_or_create(connection, "web-server-01", watch_offline=True)
    for minutes, device in ((30, "/dev/sdz1"), (1, "/dev/vda1"), (90, "/dev/old")):
        await connection.execute(
            "INSERT INTO disk_usage (time, server_id, mount, device) VALUES ($1, $2, '/', $3)",
            api.now() - timedelta(minutes=minutes),
            server_id,
            device,
        )

    await post(api, {"disk": {"/": {"read_mbps": 1}, "/data": {"read_mbps": 2}}})

    rows = await connection.fetch("SELECT device FROM disk_io ORDER BY read_bytes_per_s")
    assert [row["device"] for row in rows] == ["vda1", "/data"]
