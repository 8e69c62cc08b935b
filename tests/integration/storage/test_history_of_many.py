from __future__ import annotations

from datetime import UTC, datetime, timedelta

from storage import catalog, history
from storage.servers import find_or_create

COUNT = 10


async def test_of_too_many_interfaces_the_first_ones_are_whole(connection, monkeypatch):
    """Not all of them without their end, which is what people look at."""
    now = datetime.now(UTC).replace(microsecond=0)
    server_id = await find_or_create(connection, "a", watch_offline=False)
    await connection.copy_records_to_table(
        "network",
        records=[
            (now - timedelta(minutes=number), server_id, name, float(number))
            for name in ("eth2", "eth0", "eth1")
            for number in range(1, COUNT + 1)
        ],
        columns=("time", "server_id", "interface", "rx_bytes_per_s"),
    )
    monkeypatch.setattr(history, "SERIES_MAX", 2)
    monkeypatch.setattr(history, "ROWS_MAX", 2 * COUNT)

    answer = await history.read(
        connection,
        history.Query(
            table=catalog.NETWORK,
            server_id=server_id,
            start=now - timedelta(minutes=COUNT + 1),
            end=now,
            points=COUNT + 1,
        ),
        now=now,
    )

    assert {
        part.labels["interface"]: list(part.columns["rx_bytes_per_s"]) for part in answer.parts
    } == {name: [float(number) for number in range(COUNT, 0, -1)] for name in ("eth0", "eth1")}
