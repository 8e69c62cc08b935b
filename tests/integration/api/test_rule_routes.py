"""Rules over HTTP: replaced, tried on what is stored, and removed."""

from __future__ import annotations


async def test_a_rule_is_removed_once_nothing_of_it_is_open(api, alert_id, connection):
    enabled = await api.client.delete("/api/v1/rules/cpu_usage")
    await connection.execute("UPDATE alert_rule SET enabled = false")
    still_open = await api.client.delete("/api/v1/rules/cpu_usage")
    await connection.execute("UPDATE alert SET state = 'ok' WHERE id = $1", alert_id)
    removed = await api.client.delete("/api/v1/rules/cpu_usage")
    again = await api.client.delete("/api/v1/rules/cpu_usage")

    answers = [enabled, still_open, removed, again]
    assert [answer.status_code for answer in answers] == [409, 409, 204, 404]
    assert "disabled" in enabled.json()["detail"]
    assert "open alerts" in still_open.json()["detail"]


async def test_a_rule_is_replaced_as_a_file_would_and_a_wrong_one_refused(api):
    rule = {
        "metric": "cpu.usage_percent",
        "operator": ">",
        "keep_firing_for": "5m",
        "levels": [{"severity": "warning", "threshold": 70, "for": "5m"}],
    }

    put = await api.client.put("/api/v1/rules/cpu_usage", json=rule)
    again = await api.client.put("/api/v1/rules/cpu_usage", json=rule)
    wrong = await api.client.put("/api/v1/rules/cpu_usage", json=rule | {"operator": "!"})
    shown = (await api.client.get("/api/v1/rules/cpu_usage")).json()
    count = len((await api.client.get("/api/v1/rules")).json()["rules"])

    assert (put.json()["result"], again.json()["result"]) == ("changed", "unchanged")
    assert wrong.status_code == 422
    assert "operator" in wrong.json()["errors"][0]["field"]
    assert (shown["keep_firing_for_s"], count) == (300, 13)


async def test_a_rule_is_tested_on_what_is_stored(api, alert_id, connection):
    server_id = await connection.fetchval("SELECT id FROM server")
    await connection.execute(
        "INSERT INTO cpu (time, server_id, usage_percent)"
        " SELECT now() - make_interval(secs => 10 * n), $1,"
        "   CASE WHEN n BETWEEN 20 AND 90 THEN 91 ELSE 20 END FROM generate_series(0, 120) n",
        server_id,
    )

    found = await api.client.post(
        "/api/v1/rules/cpu_usage/test", json={"since": "1h", "thresholds": [95, 85]}
    )
    unknown = await api.client.post("/api/v1/rules/none/test", json={})
    wrong = [
        (await api.client.post("/api/v1/rules/cpu_usage/test", json=body)).json()["errors"][0]
        for body in ({"since": "1 h"}, {"thresholds": ["1"]}, {"days": 1}, {"since": "9999d"})
    ]

    report = found.json()
    assert [(each["threshold"], each["firings"]) for each in report["trials"]] == [
        (80.0, 1),
        (85.0, 1),
        (95.0, 0),
    ]
    assert [each["server"] for each in report["episodes"]] == ["web"]
    assert unknown.status_code == 404
    assert [each["field"] for each in wrong] == ["since", "thresholds", "body", "since"]
