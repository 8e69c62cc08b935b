"""A week of samples with everything that makes rollups hard, and its rollups computed in Python.

Gaps, NULLs, cores that come and go, devices that change their name, processes by the dozen, and the
night in which New York's clocks go back. The reference shares no code with the engines.
"""

from __future__ import annotations

import random
import re
import struct
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from math import isnan

from storage import catalog

BEGIN = datetime(2026, 10, 26, tzinfo=UTC)
END = datetime(2026, 11, 2, tzinfo=UTC)  # 2026-11-01 06:00Z is when the hour repeats there
SERVERS = (1, 2)
STEP_S = {"cpu": 30, "process": 600}
OTHER_STEP_S = 240
RAW_ONLY = {"unspooled_batches"}  # of the columns that are values and no ranks
TIERS = {"1m": timedelta(minutes=1), "1h": timedelta(hours=1)}


def single(value: float) -> float:
    """Return the nearest float4."""
    return struct.unpack("f", struct.pack("f", value))[0]


def samples(
    seed: int = 7, *, begin: datetime = BEGIN, end: datetime = END
) -> dict[str, list[tuple]]:
    """Return the rows of every raw table, in the order of the catalog."""
    chance = random.Random(seed)
    rows: dict[str, list[tuple]] = {}
    for table in catalog.TABLES.values():
        step = timedelta(seconds=STEP_S.get(table.name, OTHER_STEP_S))
        made = rows.setdefault(table.name, [])
        for server_id in SERVERS:
            moment = begin + timedelta(seconds=chance.random() * 10)
            while moment < end:
                if chance.random() < 0.001:
                    moment += timedelta(minutes=chance.randint(1, 200))  # the host was off
                    continue
                for labels in series(table, chance, moment):
                    values = [value(column, chance) for column in table.values]
                    made.append((moment, server_id, *labels, *values))
                moment += step
        made[:] = [row for row in made if row[0] < end]
    return rows


def series(table: catalog.Table, chance: random.Random, moment: datetime) -> list[tuple]:
    """Return the labels of each row of one tick."""
    match table.name:
        case "disk_usage":
            return [("/", f"/dev/sd{moment.hour % 2}", "ext4"), ("/data", None, "xfs")]
        case "disk_io":
            return [("sda",), ("nvme0n1",)]
        case "network":
            return [("eth0",), ("wlan0",)] if chance.random() < 0.7 else [("eth0",)]
        case "process":
            kernel = [(p, f"kworker/{p}:1-events", "root", None) for p in (11, 12, 13)]
            users = [
                (p, f"app{p % 3}", chance.choice(["a", "b", None]), None) for p in range(20, 28)
            ]
            return kernel + [one for one in users if chance.random() < 0.8]
        case "custom":
            return [("queue", {"zone": "a"}), ("queue", {"zone": "b"}), ("lag", {})]
        case _:
            return [()]


def value(column: catalog.Column, chance: random.Random):
    """Return a value of the column's type; one in ten is missing."""
    if chance.random() < 0.1:
        return None
    match column.sql_type:
        case "real":
            return single(chance.uniform(0, 100))
        case "bigint":
            return chance.randrange(1 << 45)
        case "double precision":
            return chance.uniform(-1e6, 1e6)
        case _:
            return [
                None if chance.random() < 0.1 else single(chance.uniform(0, 100))
                for _ in range(chance.choice([2, 4, 4, 8]))
            ]


def expected(rows: dict[str, list[tuple]], table: catalog.Table, tier: str) -> dict[tuple, dict]:
    """Return the rollup of one table: (bucket, server, series) -> column -> value."""
    width = TIERS[tier]
    groups: dict[tuple, list[dict]] = defaultdict(list)
    for row in rows[table.name]:
        sample = dict(zip(table.columns, row, strict=True))
        since = sample["time"] - datetime(1970, 1, 1, tzinfo=UTC)
        bucket = sample["time"] - since % width
        groups[(bucket, sample["server_id"], *key(table, sample))].append(sample)
    return {
        group: roll_up_processes(members) if table.name == "process" else roll_up(table, members)
        for group, members in groups.items()
    }


def key(table: catalog.Table, sample: dict) -> tuple:
    """Return what tells a series of the rollup apart."""
    match table.name:
        case "process":
            return (re.sub(r"^(kworker)/.*", r"\1", sample["name"]), sample["username"])
        case "custom":
            return (sample["name"], tuple(sorted(sample["labels"].items())))
        case _:
            return tuple(sample[name] for name in table.series)


def roll_up(table: catalog.Table, members: list[dict]) -> dict:
    """Return the columns of one bucket."""
    made: dict = {"sample_count": len(members)}
    if table.name == "disk_usage":
        for name in ("device", "fstype"):
            made[name] = max((m[name] for m in members if m[name] is not None), default=None)
    for column in (each for each in table.values if each.name not in RAW_ONLY):
        present = [m[column.name] for m in members if m[column.name] is not None]
        if column.sql_type == "real[]":
            made |= roll_up_arrays(column.name, present)
        else:
            made |= summary(column.name, present)
    return made


def summary(name: str, present: list[float]) -> dict:
    """Return average, minimum and maximum."""
    if not present:
        return {name: None, f"{name}_min": None, f"{name}_max": None}
    return {
        name: sum(present) / len(present),
        f"{name}_min": min(present),
        f"{name}_max": max(present),
    }


def roll_up_arrays(name: str, arrays: list[list]) -> dict:
    """Return element-wise average, minimum and maximum."""
    made: dict = {name: None, f"{name}_min": None, f"{name}_max": None}
    length = max((len(a) for a in arrays), default=0)
    columns = [
        [a[i] for a in arrays if i < len(a) and a[i] is not None and not isnan(a[i])]
        for i in range(length)
    ]
    if columns:
        made[name] = [sum(c) / len(c) if c else None for c in columns]
        made[f"{name}_min"] = [min(c) if c else None for c in columns]
        made[f"{name}_max"] = [max(c) if c else None for c in columns]
    return made


def roll_up_processes(members: list[dict]) -> dict:
    """Return the columns of one name's bucket: sums of a tick, averaged over ticks."""
    made: dict = {
        "sample_count": len(members),
        "ticks_seen": len({m["time"] for m in members}),
    }
    for name in ("cpu_percent", "memory_rss_bytes", "memory_percent"):
        sums: dict[datetime, float] = defaultdict(float)
        for m in members:
            if m[name] is not None:
                sums[m["time"]] += m[name]
        made |= summary(name, list(sums.values()))
    return made
