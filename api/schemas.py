"""JSON schemas of what requests are made of, for the OpenAPI document."""

from __future__ import annotations

TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
BY_NAME = {"type": "object", "additionalProperties": TEXT}
MOMENT = {"type": ["string", "null"], "format": "date-time"}
SPAN = {
    "type": ["string", "number"],
    "pattern": r"^[0-9]+(\.[0-9]+)?[smhd]?$",
    "description": "Seconds, or 30s, 5m, 1h, 1d.",
}


def parameter(name: str, description: str, *, required: bool = False) -> dict[str, object]:
    """Describe a parameter of the query."""
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": TEXT,
    }


def table(properties: dict[str, object], *, required: tuple[str, ...] = ()) -> dict[str, object]:
    """Describe an object of known keys."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def body(properties: dict[str, object], *, required: tuple[str, ...] = ()) -> dict[str, object]:
    """Describe a request whose body is an object; it may be left out where nothing is required."""
    schema = table(properties, required=required)
    return {
        "requestBody": {
            "required": bool(required),
            "content": {"application/json": {"schema": schema}},
        }
    }
