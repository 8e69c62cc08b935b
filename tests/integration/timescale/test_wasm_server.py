"""The WebAssembly server behaves like a PostgreSQL towards clients that come, fail and go."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.timescale import installation
from tests.timescale.wasm import WasmTimescale

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

    from tests.timescale.clients import Connect


@pytest.fixture
def dsn(timescale_wasm: WasmTimescale) -> Generator[str]:
    with timescale_wasm.database() as dsn:
        yield dsn


async def test_a_client_that_vanishes_in_a_transaction_leaves_nothing(dsn: str, connect: Connect):
    first, second = [await connect(dsn) for _ in range(2)]
    await first.execute("CREATE TABLE note (text text)")
    await first.execute("BEGIN; INSERT INTO note VALUES ('unfinished')")
    first.terminate()
    assert await second.fetchval("SELECT count(*) FROM note", timeout=10) == 0


async def test_settings_are_each_clients_own(dsn: str, connect: Connect):
    tokyo = await connect(dsn, server_settings={"timezone": "Asia/Tokyo"})
    other = await connect(dsn)
    await other.execute("SET timezone TO 'America/Lima'; SET lock_timeout TO '3s'")
    assert await tokyo.fetchval("SHOW timezone") == "Asia/Tokyo"
    assert await tokyo.fetchval("SHOW lock_timeout") == "0"
    assert await other.fetchval("SHOW timezone") == "America/Lima"
    assert await other.fetchval("SHOW lock_timeout") == "3s"


async def test_reset_goes_back_to_what_the_client_started_with(dsn: str):
    async with asyncpg.create_pool(
        dsn, min_size=1, max_size=1, server_settings={"timezone": "Asia/Tokyo"}
    ) as pool:
        await pool.execute("SET timezone TO 'UTC'; SET search_path TO pg_catalog")
        assert await pool.fetchval("SHOW timezone") == "Asia/Tokyo"
        assert await pool.fetchval("SHOW search_path") == '"$user", public'


async def test_a_role_has_its_rights_and_its_settings(dsn: str, connect: Connect):
    admin = await connect(dsn)
    await admin.execute("""
        CREATE ROLE reader LOGIN;
        ALTER ROLE reader SET default_transaction_read_only = on;
        CREATE TABLE secret (text text);
        CREATE TABLE open (text text);
        GRANT SELECT ON open TO reader
    """)
    reader = await connect(dsn.replace("postgres:any", "reader:any"))
    assert await reader.fetch("SELECT * FROM open") == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reader.fetch("SELECT * FROM secret")
    assert await admin.fetch("SELECT * FROM secret") == []
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await reader.execute("CREATE TEMP TABLE mine (); INSERT INTO open VALUES ('x')")
    assert await reader.fetchval("SELECT session_user") == "reader"


async def test_an_unknown_role_is_refused(dsn: str, connect: Connect):
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="nobody"):
        await connect(dsn.replace("postgres:any", "nobody:any"))
    connection = await connect(dsn)
    assert await connection.fetchval("SELECT current_user") == "postgres"


async def test_statements_without_a_name_are_each_clients_own(dsn: str, connect: Connect):
    first, second = [await connect(dsn, statement_cache_size=0) for _ in range(2)]
    one = await first.prepare("SELECT 'first' || $1::text")
    two = await second.prepare("SELECT $1::int + 1")
    assert await two.fetchval(1) == 2
    assert await one.fetchval("!") == "first!"


async def test_copy_out_and_text_copy_in_work(dsn: str, tmp_path: Path, connect: Connect):
    connection = await connect(dsn)
    await connection.execute("CREATE TABLE pair (a int, b text)")
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text('1,"a, b"\n2,\n')
    assert await connection.copy_to_table("pair", source=source, format="csv") == "COPY 2"
    assert await connection.copy_from_table("pair", output=target, format="csv") == "COPY 2"
    assert target.read_text() == source.read_text()


async def test_a_copy_that_the_client_gives_up_stores_nothing(dsn: str, connect: Connect):
    connection = await connect(dsn)
    await connection.execute("CREATE TABLE number (n int)")

    async def broken() -> AsyncGenerator[bytes]:
        yield b"1\n"
        raise RuntimeError("the source failed")

    with pytest.raises(RuntimeError, match="the source failed"):
        await connection.copy_to_table("number", source=broken())
    assert await connection.fetchval("SELECT count(*) FROM number") == 0


async def test_an_answer_of_many_megabytes_arrives_whole(dsn: str, connect: Connect):
    connection = await connect(dsn)
    rows = await connection.fetch(
        "SELECT n, repeat('x', 1000) AS text FROM generate_series(1, 20000) n"
    )
    assert len(rows) == 20000
    assert all(len(row["text"]) == 1000 for row in rows)


async def test_rows_of_a_cursor_come_in_portions(dsn: str, connect: Connect):
    connection = await connect(dsn)
    async with connection.transaction():
        found = [row["n"] async for row in connection.cursor("SELECT generate_series(1, 120) AS n")]
    assert found == list(range(1, 121))


async def test_clients_wait_for_a_transaction_in_the_order_they_came(dsn: str, connect: Connect):
    clients = [await connect(dsn) for _ in range(4)]
    await clients[0].execute("CREATE TABLE visit (id serial, client int)")
    held = clients[0].transaction()
    await held.start()
    waiting: list[asyncio.Task[str]] = []
    for number, client in enumerate(clients[1:], 1):
        sql = f"INSERT INTO visit (client) VALUES ({number})"
        waiting.append(asyncio.create_task(client.execute(sql)))
        await clients[0].fetchval("SELECT 1")
    assert not any(task.done() for task in waiting)
    await held.commit()
    await asyncio.gather(*waiting)
    rows = await clients[0].fetch("SELECT client FROM visit ORDER BY id")
    assert [row["client"] for row in rows] == [1, 2, 3]


def test_whoever_waits_too_long_is_told_why():
    server = WasmTimescale(installation.modules(), turn_limit_s=0.2)

    async def collide(dsn: str) -> None:
        first, second = [await asyncpg.connect(dsn) for _ in range(2)]
        await first.execute("BEGIN")
        with pytest.raises(asyncpg.PostgresError, match="only session"):
            await second.fetchval("SELECT 1")
        await first.execute("COMMIT")
        assert await first.fetchval("SELECT 1") == 1
        await first.close()

    try:
        with server.database() as dsn:
            asyncio.run(collide(dsn))
    finally:
        server.close()


def test_a_server_that_died_is_replaced_for_the_next_test(capfd: pytest.CaptureFixture[str]):
    server = WasmTimescale(installation.modules())
    prepared: list[str] = []
    try:
        with server.database("noted", prepared.append):
            os.kill(server.pid, signal.SIGKILL)
            ended = os.pidfd_open(server.pid)
            assert select.select([ended], [], [], 10.0)[0], "the server is still there"
            os.close(ended)
        with server.database("noted") as dsn:
            assert prepared[-1] == dsn
            assert len(prepared) == 2
    finally:
        server.close()
    assert "was started again" in capfd.readouterr().err


async def test_garbage_costs_only_the_client_that_sent_it(dsn: str, connect: Connect):
    port = urlsplit(dsn).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert b"08P01" in await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    connection = await connect(dsn)
    assert await connection.fetchval("SELECT 1") == 1


def test_a_second_database_at_the_same_time_is_refused(timescale_wasm: WasmTimescale):
    with (
        timescale_wasm.database(),
        pytest.raises(RuntimeError, match="one database at a time"),
        timescale_wasm.database(),
    ):
        pass


def test_it_ends_when_the_process_that_started_it_is_killed():
    script = (
        "from tests.timescale import installation, wasm\n"
        "print(wasm.WasmTimescale(installation.modules()).pid, flush=True)\n"
        "import signal; signal.pause()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    server = int(parent.stdout.readline())
    ended = os.pidfd_open(server)
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    parent.stdout.close()
    try:
        assert select.select([ended], [], [], 10.0)[0], "the server is still there"
    finally:
        os.close(ended)
