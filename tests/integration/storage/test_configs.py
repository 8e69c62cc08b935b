"""Config in a real database: revisions, what servers are to run, conflicts, labels."""

from __future__ import annotations

import asyncio

import pytest

from hostpulse.errors import ConfigError
from storage import (
    config_fields,
    config_scopes,
    configs,
    database,
    labelling,
    server_configs,
    servers,
)

ALL = config_scopes.Scope()


async def set_fields(connection, scope, fields, **more):
    return await configs.change(
        connection, config_scopes.parse(scope), lambda _: fields, author="ann", **more
    )


async def fields_of(connection, name):
    state = await server_configs.state(connection, name)
    return {key: (value, scope) for key, (value, scope, _) in state.fields.items()}


@pytest.fixture
async def web(connection):
    for name in ("web-1", "web-2"):
        await servers.find_or_create(connection, name, watch_offline=True)
    return "web-1"


async def test_the_nearer_scope_wins_and_each_field_says_where_it_comes_from(connection, web):
    await labelling.label(connection, web, {"env": "prod", "role": "db"}, labelled_by="ann")
    await set_fields(connection, "all", {"cpu_interval_s": 30, "process_top_n": 5})
    await set_fields(connection, "labels:env=prod", {"cpu_interval_s": 20}, priority=1)
    await set_fields(connection, "labels:role=db", {"cpu_interval_s": 15}, priority=2)
    await set_fields(connection, "server:web-2", {"cpu_interval_s": 5})

    assert await fields_of(connection, "web-1") == {
        "cpu_interval_s": (15, "labels:role=db"),
        "process_top_n": (5, "all"),
    }
    assert await fields_of(connection, "web-2") == {
        "cpu_interval_s": (5, "server:web-2"),
        "process_top_n": (5, "all"),
    }


async def test_a_scope_of_the_most_that_there_may_be_can_still_be_changed(
    connection, web, monkeypatch
):
    monkeypatch.setattr(configs, "SCOPES_MAX", 2)
    await set_fields(connection, "all", {"process_top_n": 5})
    await set_fields(connection, "server:web-1", {"process_top_n": 6})

    await set_fields(connection, "all", {"process_top_n": 7})
    with pytest.raises(ConfigError, match="scope must be one of at most 2"):
        await set_fields(connection, "server:web-2", {"process_top_n": 8})


async def test_only_servers_whose_fields_change_get_the_new_revision(connection, web):
    first = await set_fields(connection, "all", {"process_top_n": 5})
    second = await set_fields(connection, "server:web-2", {"process_top_n": 5})
    third = await set_fields(connection, "server:web-2", {"process_top_n": 6})

    states = {each.server: each for each in await server_configs.states(connection)}

    assert [each.revision for each in (first, second, third)] == [1, 2, 3]
    assert states["web-1"].revision == 1
    assert states["web-2"].revision == 3
    assert states["web-2"].fields["process_top_n"] == (6, "server:web-2", 3)


async def test_a_label_changes_what_a_server_is_to_run_and_is_audited(connection, web):
    await set_fields(connection, "labels:env=prod", {"process_top_n": 3}, priority=1)
    assert await fields_of(connection, web) == {}

    await labelling.label(connection, web, {"env": "prod"}, labelled_by="ann")
    assert await fields_of(connection, web) == {"process_top_n": (3, "labels:env=prod")}
    before = (await server_configs.state(connection, web)).revision

    assert await labelling.label(connection, web, {"env": None}, labelled_by="ann") == {}
    assert await fields_of(connection, web) == {}
    assert (await server_configs.state(connection, web)).revision > before
    rows = await connection.fetch("SELECT detail FROM audit WHERE action = 'server.label'")
    assert [row["detail"]["after"] for row in rows] == [{"env": "prod"}, {}]
    assert await labelling.label(connection, "nobody", {}, labelled_by="ann") is None


async def test_a_wrong_label_is_refused(connection, web):
    for changes, reason in (({"a b": "x"}, "label must be"), ({"a": "x,y"}, "label a must be")):
        with pytest.raises(ConfigError, match=reason):
            await labelling.label(connection, web, changes, labelled_by="ann")


async def test_nothing_is_stored_of_a_change_that_is_wrong(connection, web):
    await set_fields(connection, "server:web-1", {"cpu_enabled": False})
    rest = [each for each in config_fields.FAMILIES if each != "cpu"]

    with pytest.raises(ConfigError, match="config of server web-1 must be one that leaves"):
        await set_fields(connection, "all", {f"{each}_enabled": False for each in rest})
    with pytest.raises(ConfigError, match="cpu_interval_s must be between 5 and 60 seconds, got 4"):
        await set_fields(connection, "all", {"cpu_interval_s": 4})

    assert await configs.history(connection, ALL) == []
    assert await connection.fetchval("SELECT count(*) FROM audit WHERE object = 'all'") == 0


async def test_scopes_of_labels_need_a_priority_of_their_own(connection):
    with pytest.raises(ConfigError, match="priority must be a whole number"):
        await set_fields(connection, "labels:env=prod", {"process_top_n": 3})
    await set_fields(connection, "labels:env=prod", {"process_top_n": 3}, priority=1)
    with pytest.raises(ConfigError, match=r"no other scope has \(labels:env=prod has it\)"):
        await set_fields(connection, "labels:role=db", {"process_top_n": 4}, priority=1)
    kept = await set_fields(connection, "labels:env=prod", {"process_top_n": 5})
    assert kept.priority == 1
    with pytest.raises(ConfigError, match="priority must be left out"):
        await set_fields(connection, "all", {}, priority=1)


async def test_a_scope_goes_back_to_any_of_its_revisions(connection, web):
    with pytest.raises(ConfigError, match="scope must be one that has been changed more than once"):
        await configs.rollback(connection, ALL, author="bob")
    first = await set_fields(connection, "all", {"process_top_n": 3}, comment="calm")
    await set_fields(connection, "all", {"process_top_n": 50})
    other = await set_fields(connection, "server:web-1", {"process_top_n": 9})

    made = await configs.rollback(connection, ALL, author="bob")

    assert (made.revision, made.fields, made.author) == (4, {"process_top_n": 3}, "bob")
    assert made.comment == f"back to revision {first.revision}"
    assert [each.revision for each in await configs.history(connection, ALL)] == [4, 2, 1]
    with pytest.raises(ConfigError, match="revision must be a revision of all, got 3"):
        await configs.rollback(connection, ALL, author="bob", to=other.revision)
    assert (await fields_of(connection, "web-2")) == {"process_top_n": (3, "all")}


async def test_who_saw_another_revision_is_told_so(connection):
    await set_fields(connection, "all", {"process_top_n": 3}, expected_revision=0)

    with pytest.raises(configs.Conflict, match="expected_revision must be the newest one of all"):
        await set_fields(connection, "all", {"process_top_n": 4}, expected_revision=0)


async def test_changes_at_once_are_made_one_after_the_other(database_connections, web):
    made = await asyncio.gather(
        *(
            configs.change(
                each,
                ALL,
                lambda before: {"process_top_n": before.get("process_top_n", 0) + 1},
                author="ann",
            )
            for each in database_connections
        )
    )

    assert sorted(each.revision for each in made) == [1, 2, 3, 4, 5]
    assert sorted(each.fields["process_top_n"] for each in made) == [1, 2, 3, 4, 5]


@pytest.fixture
async def database_connections(database_dsn):
    opened = [await database.connect(database_dsn, "test") for _ in range(5)]
    yield opened
    for each in opened:
        await each.close()


@pytest.fixture
def database_dsn(database):
    return database


async def test_every_change_is_in_the_audit_log(connection):
    await set_fields(connection, "all", {"process_top_n": 3}, comment="why")

    row = await connection.fetchrow("SELECT * FROM audit")
    assert (row["actor"], row["action"], row["object"]) == ("ann", "config.set", "all")
    assert row["allowed"]
    assert row["detail"] == {
        "revision": 1,
        "before": 0,
        "fields": {"process_top_n": 3},
        "priority": 0,
        "comment": "why",
    }


async def test_a_server_that_comes_later_is_settled(connection):
    await set_fields(connection, "all", {"process_top_n": 3})
    number = await servers.find_or_create(connection, "new", watch_offline=True)
    assert await server_configs.missing(connection, [number]) == [number]

    await server_configs.settle(connection, [number])

    wanted = await server_configs.read(connection, [number])
    assert wanted[number] == server_configs.Wanted(revision=1, fields={"process_top_n": 3})
    assert await server_configs.missing(connection, [number]) == []


async def test_ten_thousand_servers_are_evaluated_in_a_moment(connection):
    await connection.execute(
        "INSERT INTO server (name, watch_offline, labels)"
        " SELECT 's' || n, true, jsonb_build_object('env', 'e' || n % 10)"
        " FROM generate_series(1, 10000) AS n"
    )
    await set_fields(connection, "labels:env=e3", {"process_top_n": 3}, priority=1)
    loop = asyncio.get_running_loop()
    begun = loop.time()

    await set_fields(connection, "all", {"interval_s": 5})

    assert loop.time() - begun < 5
    count = await connection.fetchval(
        "SELECT count(*) FROM server_config"
        " WHERE revision = 2 AND fields ->> 'cpu_interval_s' = '5'"
    )
    assert count == 10_000
