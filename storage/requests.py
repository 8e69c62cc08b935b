"""HTTP requests that were stored: a repeat is known by its key and answered the same.

The row is written in the transaction of the samples, so it says exactly what is stored; its primary
key decides between two gateways that get the same request at once. It is kept for 24 hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storage.database import Connection

RECORD = """
INSERT INTO http_request (server_id, idempotency_key, body_sha256, status, response)
SELECT server_id, idempotency_key, body_sha256, status, response
FROM unnest($1::int[], $2::text[], $3::bytea[], $4::int[], $5::jsonb[])
  AS r (server_id, idempotency_key, body_sha256, status, response)
ORDER BY server_id, idempotency_key
ON CONFLICT DO NOTHING
RETURNING server_id, idempotency_key
"""

FIND = """
SELECT body_sha256, status, response FROM http_request
WHERE server_id = $1 AND idempotency_key = $2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request and its answer; the key is unique for its server."""

    key: str
    body_sha256: bytes
    status: int
    response: Mapping[str, Any]


async def record(
    connection: Connection, requests: Sequence[tuple[int, Request]]
) -> frozenset[tuple[int, str]]:
    """Write down requests by server; return (server, key) of those that were there before.

    In the transaction that stores their rows; whoever gets one back must roll back.
    """
    rows = await connection.fetch(
        RECORD,
        [server_id for server_id, _ in requests],
        [request.key for _, request in requests],
        [request.body_sha256 for _, request in requests],
        [request.status for _, request in requests],
        [request.response for _, request in requests],
    )
    written = {(row["server_id"], row["idempotency_key"]) for row in rows}
    return frozenset((server_id, request.key) for server_id, request in requests) - written


async def find(connection: Connection, server_id: int, key: str) -> Request | None:
    """Return a request that was stored; None for one that was not."""
    row = await connection.fetchrow(FIND, server_id, key)
    if row is None:
        return None
    return Request(
        key=key, body_sha256=row["body_sha256"], status=row["status"], response=row["response"]
    )
