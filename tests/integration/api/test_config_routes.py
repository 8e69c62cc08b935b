from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cli.commands import app
from hostpulse.errors import ConfigError
from storage import keys, server_configs, servers
from tests.integration.api.test_key_and_server_commands import ask


async def put(api, scope, fields, *, status=200, **more):
    answer = await api.client.put(f"/api/v1/config/{scope}", json={"fields": fields, **more})
    assert answer.status_code == status, answer.text
    return answer.json()


async def get(api, path, status=200):
    answer = await api.client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.fixture
async def db_1(connection):
    await servers.find_or_create(connection, "script", watch_offline=False)  # has no agent
    await servers.find_or_create(connection, "db-1", watch_offline=True)
    await connection.execute("UPDATE server SET machine_id = 'm1' WHERE name = 'db-1'")
    return "db-1"


async def test_config_is_set_read_and_taken_back_over_http(api, db_1):
    made = await put(api, "all", {"interval_s": 5, "redaction": "names"}, comment="calm")
    await put(api, "labels:env=prod,role=db", {"process_top_n": 3}, priority=7)
    await put(api, "server:db-1", {"cpu_interval_s": 7})
    await put(api, "server:db-1", {})

    whole = await get(api, "/api/v1/config")
    of_server = await get(api, "/api/v1/servers/db-1/config")
    of_all = await get(api, "/api/v1/config/servers")
    history = await get(api, "/api/v1/config/server:db-1/history")
    back = await api.client.post("/api/v1/config/server:db-1/rollback", json={"revision": 3})

    assert (made["revision"], made["scope"], made["comment"]) == (1, "all", "calm")
    assert made["author"].startswith("key ")
    assert [(each["scope"], each["priority"]) for each in whole["scopes"]] == [
        ("all", None),
        ("labels:env=prod,role=db", 7),
        ("server:db-1", None),
    ]
    assert whole["servers"] == {"applied": 0, "rejected": 0, "pending": 1, "none": 1}
    assert {"interval_s", "redaction"} <= {each["name"] for each in whole["fields"]}
    assert of_server["fields"]["cpu_interval_s"] == {"value": 5, "scope": "all", "revision": 1}
    assert of_server["agent"] == {
        "revision": 0,
        "status": "pending",
        "detail": None,
        "time": None,
    }
    assert [each["server_id"] for each in of_all["servers"]] == ["db-1", "script"]
    assert of_all["servers"][0] == of_server
    assert of_all["servers"][1]["agent"]["status"] == "none"
    assert [each["revision"] for each in history["revisions"]] == [4, 3]
    assert back.json()["fields"] == {"cpu_interval_s": 7}


@pytest.mark.parametrize(
    ("scope", "body", "field", "got"),
    [
        ("all", {"fields": {"cpu_interval_s": 4}}, "cpu_interval_s", "4"),
        ("all", {"fields": {"shell": "x"}}, "field", '"shell"'),
        ("all", {"fields": {"redaction": "full"}}, "redaction", '"full"'),
        ("all", {"fields": []}, "fields", "an array of 0"),
        ("all", {"fields": {}, "run": "x"}, "body", '"run"'),
        ("all", {"fields": {}, "comment": 1}, "comment", "1"),
        ("all", {"fields": {}, "comment": ""}, "comment", '""'),
        ("all", {"fields": {}, "comment": "a\0"}, "comment", '"a\\u0000"'),
        ("all", {"fields": {}, "comment": "\ud800"}, "comment", '"\\ud800"'),
        ("all", {"fields": {}, "priority": 1}, "priority", "1"),
        ("all", {"fields": {}, "expected_revision": "x"}, "expected_revision", '"x"'),
        ("every", {"fields": {}}, "scope", '"every"'),
        ("labels:a=1", {"fields": {}}, "priority", "null"),
    ],
)
async def test_what_is_wrong_is_named_with_field_expectation_and_value(
    api, connection, scope, body, field, got
):
    answer = await api.client.put(f"/api/v1/config/{scope}", content=json.dumps(body))

    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["field"], error["got"]) == (field, got)
    assert error["expected"]
    assert await connection.fetchval("SELECT count(*) FROM config_revision") == 0


async def test_a_change_over_one_that_was_not_seen_is_a_conflict(api):
    await put(api, "all", {"process_top_n": 3}, expected_revision=0)

    refused = await put(api, "all", {"process_top_n": 4}, expected_revision=0, status=409)

    assert refused["errors"][0]["field"] == "expected_revision"


async def test_only_an_admin_changes_config_and_a_reader_may_look(api, connection, db_1):
    for role, names, may_read in (
        (keys.Role.READER, [], True),
        (keys.Role.AGENT, ["db-1"], False),
        (keys.Role.WRITER, ["db-1"], False),
    ):
        key = await keys.create(connection, role=role, server_names=names, created_by="test")
        api.client.headers["Authorization"] = f"Bearer {key}"
        read = 200 if may_read else 403
        await get(api, "/api/v1/config", read)
        await get(api, "/api/v1/servers/db-1/config", read)
        await get(api, "/api/v1/config/all/history", read)
        await put(api, "all", {"process_top_n": 3}, status=403)
        answer = await api.client.post("/api/v1/config/all/rollback", json={})
        assert answer.status_code == 403


async def test_what_is_not_there_is_said_so(api):
    await get(api, "/api/v1/servers/nobody/config", 404)
    assert (await get(api, "/api/v1/config/all/history"))["revisions"] == []
    await get(api, "/api/v1/config/every/history", 422)
    for body in ({"revision": 9}, {}):
        answer = await api.client.post("/api/v1/config/all/rollback", json=body)
        assert answer.status_code == 422


@pytest.fixture
def run(database, monkeypatch):
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", database)
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments):
        result = CliRunner().invoke(app, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    return invoke


def test_config_is_set_shown_compared_and_taken_back_by_command(run, database):
    ask(database, lambda c: servers.find_or_create(c, "web-1", watch_offline=True))
    ask(database, lambda c: c.execute("UPDATE server SET machine_id = 'm1'"))

    assert run("server", "label", "web-1", "env=prod") == "web-1: env=prod\n"
    first = run("config", "set", "all", "interval_s=5", "mounts_include=/,/data", "--comment", "x")
    assert first == 'revision 1: all sets interval_s=5, mounts_include=["/", "/data"]\n'
    run("config", "set", "labels:env=prod", "process_top_n=3", "--priority", "1")
    run("config", "set", "all", "interval_s=7", "mounts_include=none", "tcp_enabled=off")

    shown = run("config", "show", "--servers")
    of_server = json.loads(run("config", "show", "--server", "web-1", "--json"))
    whole = json.loads(run("config", "show", "--json"))
    changed = run("config", "diff", "all")
    as_json = json.loads(run("config", "diff", "all", "1", "3", "--json"))
    history = json.loads(run("config", "history", "all", "--json"))
    listed = run("config", "history", "all")
    back = run("config", "rollback", "all")

    assert "labels:env=prod" in shown
    assert "1 pending" in shown
    assert of_server["fields"]["cpu_interval_s"]["value"] == 7
    assert of_server["fields"]["process_top_n"]["scope"] == "labels:env=prod"
    assert [each["scope"] for each in whole["scopes"]] == ["all", "labels:env=prod"]
    assert whole["servers"][0]["server_id"] == "web-1"
    assert changed == (
        'interval_s: 5 -> 7\ntcp_enabled: not set -> false\nmounts_include: ["/", "/data"]'
        " -> not set\n"
    )
    assert as_json["interval_s"] == {"from": 5, "to": 7}
    assert [each["revision"] for each in history] == [3, 1]
    assert "tcp_enabled" in listed
    assert back.startswith("revision 4: all sets interval_s=5")
    assert run("config", "diff", "all", "1", "4") == "no difference\n"
    assert run("server", "label", "web-1", "env-") == "web-1: no labels\n"
    state = ask(database, lambda c: server_configs.state(c, "web-1"))
    assert "process_top_n" not in state.fields


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["set", "all", "interval_s=4"], "interval_s must be between 5 and 60 seconds, got 4"),
        (["set", "all", "interval_s=often"], "interval_s must be between 5 and 60 seconds"),
        (["set", "all", "nonsense=1"], "field must be FIELD=VALUE with any of interval_s"),
        (["set", "some", "interval_s=5"], "scope must be `all`"),
        (["show", "--server", "nobody"], "--server must be the name of a server, got 'nobody'"),
        (["rollback", "all"], "scope must be one that has been changed more than once"),
        (["diff", "all", "7"], "revision must be a revision of all, got 7"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(run, arguments, reason):
    with pytest.raises(ConfigError) as refused:
        run("config", *arguments)
    assert reason in str(refused.value)
