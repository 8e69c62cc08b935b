"""What the OpenAPI document says of alerts, rules, silences and channels."""

from __future__ import annotations

from alerting import alert_log, backtest, rules
from alerting.notifiers import NOTIFIERS
from api import schemas
from storage import catalog

_LIMIT = {
    **schemas.parameter("limit", "At most so many, up to 1000; without it 200."),
    "schema": {"type": "integer", "minimum": 1, "maximum": 1000},
}
_OF_SERVER = schemas.parameter("server", "Only of the server of this name.")
_OF_RULE = schemas.parameter("rule", "Only of the rule of this name.")

GET_ALERTS: dict[str, object] = {
    "parameters": [
        {
            **schemas.parameter(
                "state", "In this state; may be repeated. Without it: what is wrong now."
            ),
            "schema": {"type": "string", "enum": list(alert_log.STATES)},
        },
        _OF_SERVER,
        _OF_RULE,
        schemas.parameter("since", "Only what changed then or later, RFC 3339 with an offset."),
        _LIMIT,
    ]
}

GET_ALERT_HISTORY: dict[str, object] = {
    "parameters": [
        _OF_SERVER,
        _OF_RULE,
        schemas.parameter("alert", "Only of the alert of this number."),
        schemas.parameter("since", "Only changes of then or later, RFC 3339 with an offset."),
        schemas.parameter("before", "Only changes before the one of this id: the next page."),
        _LIMIT,
    ]
}

_SAME_UNIT = [name for name, metric in catalog.ALIASES.items() if metric.factor == 1.0]
_LEVEL = schemas.table(
    {
        "severity": {"type": "string", "enum": list(rules.Severity)},
        "threshold": {"type": "number"},
        "for": schemas.SPAN,
    },
    required=("severity", "threshold"),
)
PUT_RULE = schemas.body(
    {
        "name": schemas.TEXT,
        "metric": {"type": "string", "enum": [rules.OFFLINE_METRIC, *catalog.METRICS, *_SAME_UNIT]},
        "operator": {"type": "string", "enum": list(rules.Operator)},
        "levels": {
            "type": "array",
            "items": _LEVEL,
            "minItems": 1,
            "maxItems": rules.LEVELS_MAX,
        },
        "recovery_threshold": {"type": ["number", "null"]},
        "keep_firing_for": schemas.SPAN,
        "no_data": {"type": "string", "enum": list(rules.NoDataPolicy)},
        "repeat": schemas.SPAN,
        "channels": schemas.TEXTS,
        "group_by": {"type": "string", "enum": list(rules.GroupBy)},
        "escalate_after": schemas.SPAN,
        "escalate_channels": schemas.TEXTS,
        "labels": {
            "type": "object",
            "description": "Of the series: a value, or several.",
            "additionalProperties": {"anyOf": [schemas.TEXT, schemas.TEXTS]},
        },
        "servers": schemas.table({"names": schemas.TEXTS, "labels": schemas.BY_NAME}),
        "annotations": schemas.BY_NAME,
        "enabled": {"type": "boolean"},
    },
    required=("metric", "operator", "levels"),
)
TEST_RULE = schemas.body(
    {
        "since": schemas.SPAN,
        "thresholds": {
            "type": "array",
            "items": {"type": "number"},
            "maxItems": backtest.THRESHOLDS_MAX,
        },
    }
)

POST_SILENCE = schemas.body(
    {
        "rules": schemas.TEXTS,
        "servers": schemas.TEXTS,
        "server_labels": schemas.BY_NAME,
        "labels": {"type": "object", "additionalProperties": schemas.TEXTS},
        "starts_at": schemas.MOMENT,
        "ends_at": schemas.MOMENT,
        "recurrence": schemas.table(
            {
                "zone": {"type": "string", "description": "Of the IANA's, like Europe/Berlin."},
                "on": {"type": "string", "description": "Days of the week, like mon-fri,sun."},
                "at": {"type": "string", "description": "A local time, like 22:00."},
                "lasts": schemas.SPAN,
            },
            required=("on", "at", "lasts"),
        ),
        "reason": schemas.TEXT,
        "author": schemas.TEXT,
    },
    required=("reason",),
)

_CHANNEL: dict[str, object] = {
    "name": schemas.TEXT,
    "kind": {"type": "string", "enum": list(NOTIFIERS)},
    "config": {
        "type": "object",
        "description": "E-mail: `to`, a list, and `from`. Slack: `channel`, for a bot.",
    },
    "secret": {
        "type": ["string", "null"],
        "description": "An address, token or key, or env:NAME of the alert worker's variable.",
    },
    "enabled": {"type": "boolean"},
}
POST_CHANNEL = schemas.body(_CHANNEL, required=("name", "kind"))
PUT_CHANNEL = schemas.body(_CHANNEL)
