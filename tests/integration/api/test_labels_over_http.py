"""Labels over HTTP: a server has those that were given, and what chooses by them follows."""

from __future__ import annotations

import pytest

from storage import config_scopes, configs, keys

PATH = "/api/v1/servers/db-01/labels"


@pytest.fixture(autouse=True)
async def server(connection):
    await connection.execute(
        "INSERT INTO server (name, labels, watch_offline) VALUES ('db-01', $1, true)",
        {"env": "test", "role": "db"},
    )


async def test_labels_are_replaced_and_config_follows(api, connection):
    await configs.change(
        connection,
        config_scopes.parse("labels:env=prod"),
        lambda _: {"process_top_n": 3},
        author="test",
        priority=1,
    )

    answer = await api.client.put(PATH, json={"labels": {"env": "prod", "a": "b"}})

    assert answer.json() == {"server_id": "db-01", "labels": {"a": "b", "env": "prod"}}
    assert (await api.client.get("/api/v1/servers/db-01")).json()["labels"] == {
        "a": "b",
        "env": "prod",
    }
    config = (await api.client.get("/api/v1/servers/db-01/config")).json()
    assert config["fields"]["process_top_n"]["value"] == 3
    row = await connection.fetchrow("SELECT * FROM audit WHERE action = 'server.label'")
    assert row["actor"] == f"key {keys.prefix_of(api.admin_key)}"
    assert row["detail"] == {
        "before": {"env": "test", "role": "db"},
        "after": {"a": "b", "env": "prod"},
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ([], "body"),
        ({"labels": []}, "body"),
        ({"labels": {}, "more": 1}, "body"),
        ({"labels": {"a": 1}}, "label a"),
        ({"labels": {"a": "x,y"}}, "label a"),
        ({"labels": {"a b": "x"}}, "label"),
        ({"labels": {f"l{n}": "x" for n in range(33)}}, "labels"),
    ],
)
async def test_wrong_labels_change_nothing_and_the_field_is_named(api, connection, body, field):
    answer = await api.client.put(PATH, json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    kept = await connection.fetchval("SELECT labels FROM server WHERE name = 'db-01'")
    assert kept == {"env": "test", "role": "db"}


@pytest.mark.parametrize("name", ["nobody", "%00", "x" * 300], ids=["unknown", "nul", "long"])
async def test_unknown_server_is_not_labelled(api, name):
    answer = await api.client.put(f"/api/v1/servers/{name}/labels", json={"labels": {}})

    assert answer.status_code == 404
