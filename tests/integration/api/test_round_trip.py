from __future__ import annotations

from datetime import timedelta

import pytest

from api import times

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


@pytest.mark.parametrize(
    ("metric", "filters", "unit", "labels", "value"),
    [
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
    ],
)
async def test_what_was_posted_reads_back_as_it_was_posted(
    api, metric, filters, unit, labels, value
):
    await post(api)

    answer = (await get(api, metric, **filters)).json()

    assert answer["server_id"] == "web-server-01"
    assert (answer["unit"], answer["tier"], answer["step_s"]) == (unit, "raw", None)
    assert answer["series"] == [
        {"labels": labels, "points": [[times.format_time(api.now()), value]]}
    ]


async def test_every_core_is_a_series_in_the_order_of_its_number(api):
    await post(api, {"cpu": {"cores": [float(core) for core in range(12)]}})

    series = (await get(api, "cpu.cores")).json()["series"]

    assert [each["labels"] for each in series] == [{"core": str(core)} for core in range(12)]
    assert [each["points"][0][1] for each in series] == [float(core) for core in range(12)]
