from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

import asyncpg
import pytest

from storage import catalog, chunks, database, engines, reader
from storage.reader import ReaderMissing

SECRET = ("api_key", "audit", "channel", "notification", "setting", "alert", "hostpulse_meta")


@pytest.fixture
async def login(connection):
    return await reader.ensure(connection)


@pytest.fixture
async def reading(login, database):
    opened = await asyncpg.connect(login.dsn(database))
    yield opened
    await opened.close()


@pytest.fixture
async def admin(postgres):
    opened = await asyncpg.connect(f"{postgres.url.rpartition('/')[0]}/postgres")
    yield opened
    await opened.close()


@pytest.fixture
async def plain_owner(admin, template):
    """Return the DSN of a migrated database whose owner may make no roles."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    await admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'plain'")
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE template_hostpulse")
    base = template.rpartition("/")[0]
    inside = await asyncpg.connect(f"{base}/{name}")
    # As if this owner had migrated: REASSIGN OWNED would take the bootstrap superuser's own too.
    for kind, relation in await inside.fetch(
        "SELECT CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, oid::regclass::text"
        " FROM pg_class WHERE relkind IN ('r', 'p', 'v')"
        " AND relnamespace IN ('public'::regnamespace, 'hostpulse_internal'::regnamespace)"
    ):
        await inside.execute(f"ALTER {kind} {relation} OWNER TO {name}")
    await inside.execute(f"ALTER SCHEMA hostpulse_internal OWNER TO {name}")
    await inside.execute(f"ALTER DATABASE {name} OWNER TO {name}")
    await inside.close()
    yield f"postgresql://{name}:plain@{base.rpartition('@')[2]}/{name}"
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.execute(f"DROP ROLE {name}")


async def test_the_reader_reads_metrics_rollups_events_and_alerts(reading):
    for relation, _ in chunks.relations():
        await reading.fetch(f"SELECT * FROM {relation} LIMIT 1")
    for relation in reader.RELATIONS:
        await reading.fetch(f"SELECT * FROM {relation} LIMIT 1")


async def test_the_reader_sees_servers_without_the_token_of_their_stream(reading):
    await reading.fetch("SELECT id, name, labels, last_seen, status FROM server")

    for column in ("session", "session_gateway", "session_since"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reading.fetch(f"SELECT {column} FROM server")


@pytest.mark.parametrize("table", SECRET)
async def test_the_reader_sees_nothing_else(reading, table):
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reading.fetch(f"SELECT * FROM {table}")


async def test_every_table_is_either_public_or_closed_to_the_reader(connection, login):
    open_to_it = await connection.fetch(
        """
        SELECT c.oid::regclass::text FROM pg_class c
        WHERE relkind IN ('r', 'p', 'v', 'm', 'S')
          AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN
            ('public', 'hostpulse_internal'))
          AND has_table_privilege($1, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
        """,
        login.role,
    )

    assert {row[0] for row in open_to_it} == {
        *(relation for relation, _ in chunks.relations()),
        *reader.RELATIONS,
    }
    assert not await connection.fetchval(
        "SELECT has_schema_privilege($1, 'hostpulse_internal', 'USAGE')", login.role
    )


async def test_the_reader_can_neither_write_nor_run_for_long(reading):
    assert await reading.fetchval("SHOW statement_timeout") == "30s"
    assert await reading.fetchval("SHOW idle_in_transaction_session_timeout") == "1min"
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await reading.execute("CREATE TEMPORARY TABLE t (i int)")
    await reading.execute("SET default_transaction_read_only = off")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reading.execute("DELETE FROM event")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reading.execute("CREATE TABLE t (i int)")


async def test_samples_in_partitions_made_later_are_read(connection, reading):
    engine = await engines.of(connection)
    now = await connection.fetchval("SELECT now() + interval '20 days'")
    await engine.maintain(connection, now)
    await connection.execute(
        "INSERT INTO cpu (time, server_id, usage_percent) VALUES ($1, 1, 50)", now
    )

    assert await reading.fetchval("SELECT usage_percent FROM cpu") == 50
    assert await reading.fetchval("SELECT usage_percent FROM cpu_1m") == 50


async def test_a_relation_of_a_later_migration_is_granted_by_asking_again(connection, reading):
    await connection.execute("DROP VIEW alert_log")
    await connection.execute("CREATE VIEW alert_log AS SELECT 1 AS id")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reading.fetch("SELECT * FROM alert_log")

    await reader.ensure(connection)

    assert await reading.fetchval("SELECT id FROM alert_log") == 1


async def test_asking_again_and_at_once_gives_the_same_login(database, login):
    async def ask():
        opened = await open_connection(database)
        try:
            return await reader.ensure(opened)
        finally:
            await opened.close()

    assert await asyncio.gather(*(ask() for _ in range(4))) == [login] * 4


async def open_connection(dsn):
    return await database.connect(dsn, "test")


async def test_settings_that_came_from_another_server_keep_their_password(
    connection, database, login
):
    await connection.execute(
        "UPDATE setting SET value = value || $2 WHERE key = $1",
        reader.KEY,
        {"oid": 1, "password": "theirs"},
    )

    moved = await reader.ensure(connection)

    assert (moved.role, moved.password) == (login.role, "theirs")
    await (await asyncpg.connect(moved.dsn(database))).close()


@pytest.fixture
async def other_database(admin, template):
    name = f"test_{uuid.uuid4().hex[:12]}"
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE template_hostpulse")
    yield f"{template.rpartition('/')[0]}/{name}"
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_another_database_of_the_server_gets_a_reader_of_its_own(
    connection, database, login, other_database
):
    opened = await open_connection(other_database)
    other = await reader.ensure(opened)
    await opened.close()

    # The plain name goes to whichever database of the server came first.
    assert login.role in {reader.ROLE, f"{reader.ROLE}_{login.database}"}
    assert other.role == f"{reader.ROLE}_{other.database}"
    for_this = replace(other, database=login.database)
    stranger = await asyncpg.connect(for_this.dsn(database))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await stranger.fetch("SELECT * FROM cpu")
    await stranger.close()


async def test_the_role_of_a_database_that_is_gone_is_taken_over(connection, database, login):
    mark = f"COMMENT ON ROLE {login.role} IS '{reader.MARK}gone'"
    await connection.execute(mark)
    await connection.execute("DELETE FROM setting WHERE key = $1", reader.KEY)

    again = await reader.ensure(connection)

    assert again.role == login.role
    assert again.password != login.password
    await (await asyncpg.connect(again.dsn(database))).close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(login.dsn(database))


async def test_a_role_that_was_dropped_comes_back_with_its_password(connection, database, admin):
    await connection.execute("DELETE FROM setting WHERE key = $1", reader.KEY)
    before = await reader.ensure(connection)
    await connection.execute(f'DROP OWNED BY "{before.role}"')
    await connection.execute(f'DROP ROLE "{before.role}"')

    after = await reader.ensure(connection)

    try:
        assert after == before
        await (await asyncpg.connect(after.dsn(database))).close()
    finally:
        await connection.execute(f'DROP OWNED BY "{after.role}"')
        await connection.execute(f'DROP ROLE "{after.role}"')


async def test_where_the_owner_may_make_no_roles_it_says_what_an_administrator_runs(
    plain_owner, admin, postgres
):
    connection = await open_connection(plain_owner)
    await connection.execute("DELETE FROM setting WHERE key = $1", reader.KEY)
    with pytest.raises(ReaderMissing) as refused:
        await reader.ensure(connection)
    statements = [line.strip() for line in str(refused.value).splitlines()[1:]]
    for statement in statements:
        await admin.execute(statement)

    login = await reader.ensure(connection)

    opened = await asyncpg.connect(login.dsn(plain_owner))
    assert await opened.fetchval("SELECT count(*) FROM cpu_1h") == 0
    await opened.close()
    await connection.close()
    inside = await asyncpg.connect(f"{postgres.url.rpartition('/')[0]}/{login.database}")
    await inside.execute(f'DROP OWNED BY "{login.role}"')
    await inside.close()
    await admin.execute(f'DROP ROLE "{login.role}"')


@pytest.mark.parametrize(
    ("owner_dsn", "expected"),
    [
        ("postgresql://o:p@h:5432/d", "postgresql://r:pw@h:5432/my%20db"),
        ("postgres://h", "postgresql://r:pw@h/my%20db"),
        (
            "postgresql://o:p@a:1,b:2/d?sslmode=require&user=o&password=p",
            "postgresql://r:pw@a:1,b:2/my%20db?sslmode=require",
        ),
    ],
)
def test_the_readers_address_is_the_owners_with_another_name(owner_dsn, expected):
    login = reader.Login(role="r", password="pw", database="my db")

    assert login.dsn(owner_dsn) == expected


def test_a_table_of_the_catalog_is_readable():
    assert {name for name, tier in chunks.relations() if tier == "raw"} == set(catalog.TABLES)
