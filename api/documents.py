"""What the OpenAPI document says of requests that are checked by hand."""

from __future__ import annotations

from alerting import alert_log
from storage import keys, reading

_TEXT = {"type": "string"}
_NUMBERS = {"type": "array", "items": {"type": "number", "minimum": 0}}
_FAMILY = {"type": "object", "additionalProperties": {"type": ["number", "null"], "minimum": 0}}


def _parameter(name: str, description: str, *, required: bool = False) -> dict[str, object]:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": _TEXT,
    }


GET_METRICS: dict[str, object] = {
    "parameters": [
        _parameter("server_id", "The server's name.", required=True),
        _parameter("metric", "A metric of the catalog, or an alias.", required=True),
        _parameter("from", "The first moment, RFC 3339 with an offset.", required=True),
        _parameter("to", "The moment after the last, RFC 3339 with an offset.", required=True),
        _parameter(
            "step",
            "One point for so long: seconds, or 30s, 5m, 1h, 1d. Under a minute it is answered"
            " from raw samples, under an hour from minutes, else from hours; without it, from the"
            " finest of them that goes back far enough and fits in an answer.",
        ),
        {
            **_parameter("agg", "What becomes of the samples of a step."),
            "schema": {"type": "string", "enum": list(reading.Aggregate), "default": "avg"},
        },
        {
            "name": "labels",
            "in": "query",
            "required": False,
            "style": "form",
            "explode": True,
            "description": "Any label of the metric, as a parameter of its own: mount=/.",
            "schema": {"type": "object", "additionalProperties": _TEXT},
        },
    ]
}

GET_SERVER: dict[str, object] = {
    "parameters": [{"name": "name", "in": "path", "required": True, "schema": _TEXT}]
}

GET_LOSS: dict[str, object] = {
    "parameters": [
        {"name": "name", "in": "path", "required": True, "schema": _TEXT},
        _parameter("since", "Only gaps that end then or later, RFC 3339 with an offset."),
    ]
}

GET_AUDIT: dict[str, object] = {
    "parameters": [
        _parameter("since", "Only entries from then on, RFC 3339 with an offset."),
        _parameter("actor", "Only of this actor, as the entries name it."),
        _parameter("action", "Only this action, like key.create, or all of a noun, like key."),
        _parameter("limit", "At most so many entries, 1 to 1000; 100 without it."),
        _parameter("before", "Only entries with a smaller id: goes on after a full answer."),
    ]
}


def _body(properties: dict[str, object], *, required: tuple[str, ...] = ()) -> dict[str, object]:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return {
        "requestBody": {
            "required": bool(required),
            "content": {"application/json": {"schema": schema}},
        }
    }


POST_KEY = _body(
    {
        "role": {"type": "string", "enum": list(keys.Role)},
        "servers": {"type": "array", "items": _TEXT},
        "note": {"type": ["string", "null"], "maxLength": keys.NOTE_MAX_CHARACTERS},
        "expires_at": {"type": ["string", "null"], "format": "date-time"},
        "uses": {"type": ["integer", "null"], "minimum": 1, "maximum": keys.USES_MAX},
    },
    required=("role",),
)
ROTATE_KEY = _body({"grace": {"type": ["string", "number"], "description": "0s to 30d"}})

_LIMIT = {
    **_parameter("limit", "At most so many, up to 1000; without it 200."),
    "schema": {"type": "integer", "minimum": 1, "maximum": 1000},
}
_OF_SERVER = _parameter("server", "Only of the server of this name.")
_OF_RULE = _parameter("rule", "Only of the rule of this name.")

GET_ALERTS: dict[str, object] = {
    "parameters": [
        {
            **_parameter("state", "In this state; may be repeated. Without it: what is wrong now."),
            "schema": {"type": "string", "enum": list(alert_log.STATES)},
        },
        _OF_SERVER,
        _OF_RULE,
        _parameter("since", "Only what changed then or later, RFC 3339 with an offset."),
        _LIMIT,
    ]
}

GET_ALERT_HISTORY: dict[str, object] = {
    "parameters": [
        _OF_SERVER,
        _OF_RULE,
        _parameter("alert", "Only of the alert of this number."),
        _parameter("since", "Only changes of then or later, RFC 3339 with an offset."),
        _parameter("before", "Only changes before the one of this id: the next page."),
        _LIMIT,
    ]
}

POST_METRICS: dict[str, object] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "A repeat with the same key within 24 hours is stored once.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["server_id", "timestamp", "metrics"],
                    "additionalProperties": False,
                    "properties": {
                        "server_id": {"type": "string", "minLength": 1, "maxLength": 253},
                        "timestamp": {"type": "string", "format": "date-time"},
                        "metrics": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {
                                "cpu": {
                                    "type": "object",
                                    "properties": {"cores": _NUMBERS, "load_average": _NUMBERS},
                                    "additionalProperties": {"type": ["number", "null"]},
                                },
                                "memory": _FAMILY,
                                "disk": {"type": "object", "additionalProperties": _FAMILY},
                                "network": {"type": "object", "additionalProperties": _FAMILY},
                            },
                        },
                    },
                }
            }
        },
    },
}

PUT_LABELS: dict[str, object] = {
    **GET_SERVER,
    **_body({"labels": {"type": "object", "additionalProperties": _TEXT}}, required=("labels",)),
}
