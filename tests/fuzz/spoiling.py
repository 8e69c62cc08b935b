"""Requests that were right, with one or two things in them that are not."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 10**30, 1e308, float("nan"), float("inf"), 2**31, 2**63),
    *("", " ", "\0", "a\0b", "\ud800", "x" * 5000, "' OR 1=1 --", "%", "\u202e", "-1", "1e9"),
    *("2026-02-30T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "2026-01-01"),
    *([], {}, [[]], [None], {"a": 1}, ["x"] * 500),
)
ODD_TEXTS = tuple(each for each in ODD if isinstance(each, str) and each.isprintable())


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One that is answered well as it stands; `{}` in its path is the name of something."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict[str, str])
    body: Any = None

    def spoiled(self, chance: random.Random) -> Request:
        """Return it with one or two things changed."""
        query, body = dict(self.query), copy.deepcopy(self.body)
        for _ in range(chance.choice((1, 1, 2))):
            if query and (body is None or chance.random() < 0.5):
                name = chance.choice((*query, "odd"))
                query[name] = chance.choice((*ODD_TEXTS, query.get(name, "")))
            elif body is not None:
                body = spoil(body, chance)
        return Request(method=self.method, path=self.path, query=query, body=body)

    def data(self) -> bytes | None:
        """Return the body as it is sent."""
        return None if self.body is None else json.dumps(self.body).encode()


def spoil(value: Any, chance: random.Random) -> Any:
    """Return JSON with one node of it replaced, left out or added."""
    if not isinstance(value, dict | list) or not value or chance.random() < 0.2:
        return copy.deepcopy(chance.choice(ODD))
    at: Any = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
    match chance.randrange(5):
        case 0:
            del value[at]
        case 1 if isinstance(value, dict):
            value[chance.choice(("odd", "\0", at + "x"))] = copy.deepcopy(chance.choice(ODD))
        case _:
            value[at] = spoil(value[at], chance)
    return value


def requests(from_: str, to: str) -> list[Request]:
    """Return requests whose bodies and queries the OpenAPI document says nothing of.

    Args:
        from_: a moment before samples.
        to: one after them.
    """
    span = {"from": from_, "to": to}
    server = "/api/v1/servers/{name}"
    return [
        Request(
            method="GET",
            path="/api/v1/metrics",
            query={"server_id": "web-1", "metric": "cpu.usage_percent", "step": "1m", **span},
        ),
        Request(
            method="GET",
            path="/api/v1/metrics",
            query={"server_id": "web-2", "metric": "disk.used_percent", "mount": "/", **span},
        ),
        Request(
            method="GET", path=f"{server}/history", query={"family": "cpu", "points": "50", **span}
        ),
        Request(method="GET", path=f"{server}/history", query={"family": "cores", **span}),
        Request(method="GET", path=f"{server}/timeline", query=span),
        Request(method="GET", path=f"{server}/processes", query={"by": "memory", **span}),
        Request(method="GET", path=f"{server}/processes", query={"at": to}),
        Request(method="GET", path=f"{server}/loss", query={"since": from_}),
        Request(
            method="PUT", path=f"{server}/labels", body={"labels": {"env": "prod", "tier": "web"}}
        ),
        Request(method="GET", path="/api/v1/alerts", query={"server": "web-1", "limit": "5"}),
        Request(
            method="GET",
            path="/api/v1/alerts/history",
            query={"rule": "cpu_usage", "before": "5", "since": from_},
        ),
        Request(
            method="GET",
            path="/api/v1/audit",
            query={"action": "key", "actor": "fuzz", "before": "50", "limit": "9", "since": from_},
        ),
        Request(
            method="PUT",
            path="/api/v1/config/{scope}",
            body={
                "fields": {"interval_s": 15, "process_top_n": 5, "mounts_exclude": ["/a*"]},
                "comment": "why",
            },
        ),
        Request(
            method="POST",
            path="/api/v1/config/{scope}/rollback",
            body={"revision": None, "comment": "back"},
        ),
        Request(
            method="POST",
            path="/api/v1/silences",
            body={
                "rules": ["cpu_usage"],
                "servers": ["web-1"],
                "server_labels": {"env": "prod"},
                "labels": {"mount": ["/"]},
                "reason": "work",
                "starts_at": from_,
                "ends_at": "2099-01-01T00:00:00Z",
                "recurrence": {"zone": "Asia/Seoul", "on": "mon-fri", "at": "22:00", "lasts": "2h"},
            },
        ),
        Request(
            method="PUT",
            path="/api/v1/rules/{name}",
            body={
                "metric": "cpu.usage_percent",
                "operator": ">",
                "levels": [
                    {"severity": "warning", "threshold": 80, "for": "5m"},
                    {"severity": "critical", "threshold": 95, "for": "1m"},
                ],
                "recovery_threshold": 70,
                "servers": {"names": ["web-1"], "labels": {"env": "prod"}},
                "channels": ["mail-0"],
                "no_data": "alert",
                "repeat": "4h",
                "annotations": {"runbook": "https://example.org"},
            },
        ),
        Request(
            method="POST",
            path="/api/v1/rules/{name}/test",
            body={"since": "1h", "thresholds": [10, 50]},
        ),
        Request(
            method="POST",
            path="/api/v1/channels",
            body={"name": "new", "kind": "email", "config": {"to": ["ops@example.org"]}},
        ),
        Request(
            method="POST",
            path="/api/v1/channels",
            body={"name": "hook", "kind": "webhook", "secret": "https://example.org/hook"},
        ),
        Request(
            method="PUT",
            path="/api/v1/channels/{name}",
            body={"config": {"to": ["ops@example.org"], "from": "a@b.org"}, "enabled": False},
        ),
        Request(
            method="POST",
            path="/api/v1/keys",
            body={"role": "agent", "servers": ["web-1"], "note": "n", "expires_at": to},
        ),
        Request(method="POST", path="/api/v1/keys/{prefix}/rotate", body={"grace": "1h"}),
        Request(
            method="POST",
            path="/api/v1/metrics",
            body={
                "server_id": "posted",
                "timestamp": to,
                "metrics": {
                    "cpu": {"usage_percent": 1, "cores": [1, 2], "load_average": [1, 2, 3]},
                    "memory": {"used_percent": 5},
                    "disk": {"/": {"used_percent": 5}},
                    "network": {"eth0": {"rx_bytes_per_s": 5}},
                },
            },
        ),
        Request(method="POST", path="/api/v1/session", body={"key": "hp_x"}),
        Request(method="POST", path="/api/v1/session", body={"link": "x"}),
    ]
