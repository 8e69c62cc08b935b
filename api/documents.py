"""What the OpenAPI document says of requests that are checked by hand."""

from __future__ import annotations

from api import schemas
from storage import config_fields, keys, reading

_NUMBERS = {"type": "array", "items": {"type": "number", "minimum": 0}}
_FAMILY = {"type": "object", "additionalProperties": {"type": ["number", "null"], "minimum": 0}}


GET_METRICS: dict[str, object] = {
    "parameters": [
        schemas.parameter("server_id", "The server's name.", required=True),
        schemas.parameter("metric", "A metric of the catalog, or an alias.", required=True),
        schemas.parameter("from", "The first moment, RFC 3339 with an offset.", required=True),
        schemas.parameter(
            "to", "The moment after the last, RFC 3339 with an offset.", required=True
        ),
        schemas.parameter(
            "step",
            "One point for so long: seconds, or 30s, 5m, 1h, 1d. Under a minute it is answered"
            " from raw samples, under an hour from minutes, else from hours; without it, from the"
            " finest of them that goes back far enough and fits in an answer.",
        ),
        {
            **schemas.parameter("agg", "What becomes of the samples of a step."),
            "schema": {"type": "string", "enum": list(reading.Aggregate), "default": "avg"},
        },
        {
            "name": "labels",
            "in": "query",
            "required": False,
            "style": "form",
            "explode": True,
            "description": "Any label of the metric, as a parameter of its own: mount=/.",
            "schema": schemas.BY_NAME,
        },
    ]
}

GET_SERVER: dict[str, object] = {
    "parameters": [{"name": "name", "in": "path", "required": True, "schema": schemas.TEXT}]
}

GET_LOSS: dict[str, object] = {
    "parameters": [
        {"name": "name", "in": "path", "required": True, "schema": schemas.TEXT},
        schemas.parameter("since", "Only gaps that end then or later, RFC 3339 with an offset."),
    ]
}

GET_AUDIT: dict[str, object] = {
    "parameters": [
        schemas.parameter("since", "Only entries from then on, RFC 3339 with an offset."),
        schemas.parameter("actor", "Only of this actor, as the entries name it."),
        schemas.parameter(
            "action", "Only this action, like key.create, or all of a noun, like key."
        ),
        schemas.parameter("limit", "At most so many entries, 1 to 1000; 100 without it."),
        schemas.parameter("before", "Only entries with a smaller id: goes on after a full answer."),
    ]
}


POST_KEY = schemas.body(
    {
        "role": {"type": "string", "enum": list(keys.Role)},
        "servers": schemas.TEXTS,
        "note": {"type": ["string", "null"], "maxLength": keys.NOTE_MAX_CHARACTERS},
        "expires_at": schemas.MOMENT,
        "uses": {"type": ["integer", "null"], "minimum": 1, "maximum": keys.USES_MAX},
    },
    required=("role",),
)
POST_SESSION = schemas.body({"key": schemas.TEXT, "link": schemas.TEXT})
ROTATE_KEY = schemas.body({"grace": {"type": ["string", "number"], "description": "0s to 30d"}})

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
    **schemas.body({"labels": schemas.BY_NAME}, required=("labels",)),
}

_COMMENT = {"type": ["string", "null"], "minLength": 1}
PUT_CONFIG = schemas.body(
    {
        "fields": {
            "type": "object",
            "properties": {
                field.name: {"description": f"{field.help} Expected: {field.expectation}."}
                for field in config_fields.FIELDS.values()
            },
            "additionalProperties": False,
        },
        "comment": _COMMENT,
        "priority": {
            "type": ["integer", "null"],
            "description": "Of a scope of labels: the higher wins.",
        },
        "expected_revision": {
            "type": ["integer", "null"],
            "description": "409 where the newest of the scope is another one.",
        },
    },
    required=("fields",),
)
ROLLBACK_CONFIG = schemas.body(
    {
        "revision": {
            "type": ["integer", "null"],
            "description": "Without it: the one before the newest.",
        },
        "comment": _COMMENT,
    }
)
