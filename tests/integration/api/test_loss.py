from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cli.commands import app


@pytest.fixture
async def lossy(connection):
    """A server with a gap of every kind, and one without."""
    await connection.execute("INSERT INTO server (name, watch_offline) VALUES ('b', true)")
    server_id = await connection.fetchval(
        "INSERT INTO server (name, watch_offline) VALUES ('a', true) RETURNING id"
    )
    await connection.execute(
        "INSERT INTO ingest_ledger (server_id, epoch, committed) VALUES ($1, 9, '{[1,8)}')",
        server_id,
    )
    await connection.execute(
        "INSERT INTO ingest_epoch (server_id, epoch, announced) VALUES ($1, 9, 10)", server_id
    )
    await connection.execute(
        """
        INSERT INTO ingest_gap (server_id, epoch, seqs, from_time, to_time, reason, detail) VALUES
          ($1, 9, '{[2,4)}', '2026-01-01T00:00:00Z', '2026-01-01T00:00:10Z', 'spool_full', NULL),
          ($1, 9, '{[5,6)}', '2026-01-01T01:00:00Z', '2026-01-01T01:00:00Z', 'parked', 'no table')
        """,
        server_id,
    )
    return connection


async def test_the_gaps_of_a_server_are_told_with_times_and_reasons(api, lossy):
    answer = (await api.client.get("/api/v1/servers/a/loss")).json()

    assert (answer["lost_batches"], answer["parked_batches"], answer["pending_batches"]) == (
        2,
        1,
        3,
    )
    by_state = {gap["state"]: gap for gap in answer["gaps"]}
    assert by_state["lost"] == {
        "state": "lost",
        "reason": "spool_full",
        "detail": None,
        "batches": 2,
        "from": "2026-01-01T00:00:00Z",
        "to": "2026-01-01T00:00:10Z",
        "epoch": "9",
        "first_seq": 2,
        "last_seq": 3,
    }
    assert (by_state["parked"]["reason"], by_state["parked"]["detail"]) == ("parked", "no table")
    assert (by_state["pending"]["first_seq"], by_state["pending"]["last_seq"]) == (8, 10)


async def test_since_leaves_out_what_ended_before(api, lossy):
    answer = await api.client.get(
        "/api/v1/servers/a/loss", params={"since": "2026-01-01T00:30:00Z"}
    )

    assert {gap["state"] for gap in answer.json()["gaps"]} == {"parked", "pending"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/api/v1/servers/nobody/loss", 404, id="unknown server"),
        pytest.param("/api/v1/servers/a/loss?since=yesterday", 400, id="no time"),
        pytest.param("/api/v1/servers/a/loss?sinc=2026-01-01T00:00:00Z", 400, id="misspelt"),
    ],
)
async def test_a_wrong_question_is_refused(api, lossy, path, status):
    answer = await api.client.get(path)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def run(*arguments):
    return CliRunner().invoke(app, ["loss", *arguments])


@pytest.fixture
def on_the_database(database, monkeypatch):
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", database)
    monkeypatch.setenv("COLUMNS", "200")


async def in_thread(*arguments):
    import asyncio

    return await asyncio.to_thread(run, *arguments)


async def test_the_command_prints_the_gaps_and_fails_where_something_is_lost(
    lossy, on_the_database
):
    result = await in_thread()

    assert result.exit_code == 1
    assert "spool_full" in result.stdout
    assert "a: batches: 2 lost, 1 parked" in result.stdout
    assert "b: nothing is missing" in result.stdout


async def test_the_command_says_that_nothing_is_missing(lossy, on_the_database):
    result = await in_thread("b")

    assert result.exit_code == 0
    assert result.stdout == "b: nothing is missing\n"


async def test_the_command_prints_json(lossy, on_the_database):
    result = await in_thread("a", "--json", "--since", "1h")

    document = json.loads(result.stdout)
    assert document["servers"] == [{"server": "a", "lost": 0, "parked": 0, "pending": 3}]
    assert [gap["state"] for gap in document["gaps"]] == ["pending"]


@pytest.mark.parametrize("arguments", [("nobody",), ("a", "--since", "yesterday")])
async def test_the_command_names_what_it_can_not_use(lossy, on_the_database, arguments):
    result = await in_thread(*arguments)

    assert result.exit_code == 2
    assert "expected" in result.output
