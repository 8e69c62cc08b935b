"""Silences over HTTP: added, listed, ended, and refused with their field."""

from __future__ import annotations

import json

import pytest


async def test_a_silence_is_added_listed_and_ended(api):
    body = {
        "reason": "backup",
        "server_labels": {"env": "prod"},
        "labels": {"mount": ["/"]},
        "recurrence": {"zone": "Europe/Berlin", "on": "mon-fri", "at": "22:00", "lasts": "2h"},
    }

    added = await api.client.post("/api/v1/silences", json=body)
    (listed,) = (await api.client.get("/api/v1/silences")).json()["silences"]
    ended = await api.client.delete(f"/api/v1/silences/{added.json()['id']}")
    again = await api.client.delete(f"/api/v1/silences/{added.json()['id']}")

    assert added.status_code == 201
    assert listed["recurrence"]["lasts_s"] == 7200
    assert listed["author"].startswith("key ")
    assert (ended.status_code, again.status_code) == (204, 404)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({"reason": "x"}, "ends_at"),
        ({"reason": "x", "ends_at": "2026-01-01T00:00"}, "ends_at"),
        ({"reason": "", "ends_at": "2126-01-01T00:00Z"}, "reason"),
        ({"reason": "x", "ends_at": "0001-01-01T00:00:00+14:00"}, "ends_at"),
        ({"reason": "a\0b", "ends_at": "2126-01-01T00:00Z"}, "reason"),
        ({"reason": "x", "servers": ["\ud800"], "ends_at": "2126-01-01T00:00Z"}, "servers"),
        (
            {"reason": "x", "server_labels": {"a\0": ""}, "ends_at": "2126-01-01T00:00Z"},
            "server_labels",
        ),
        ({"reason": "x", "ends_at": "2126-01-01T00:00Z", "server": "web"}, "body"),
        ({"reason": "x", "recurrence": {"on": "someday", "at": "22:00", "lasts": "1h"}}, "on"),
        (
            {
                "reason": "x",
                "starts_at": "9995-01-01T00:00Z",
                "recurrence": {"on": "mon", "at": "22:00", "lasts": "1h"},
            },
            "start",
        ),
        (
            {"reason": "x", "recurrence": {"on": "mon", "at": "late", "lasts": "1h"}},
            "recurrence.at",
        ),
    ],
)
async def test_a_wrong_silence_is_refused_with_its_field(api, body, field):
    answer = await api.client.post("/api/v1/silences", content=json.dumps(body))

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
