"""The append-only record of who did what, and of what was denied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.database import Connection

RECORD = """
INSERT INTO audit (actor, action, object, allowed, address, detail)
VALUES ($1, $2, $3, $4, $5, $6)
"""


async def record(
    connection: Connection,
    *,
    actor: str,
    action: str,
    subject: str | None,
    allowed: bool,
    address: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write one line; `action` is `noun.verb`, `subject` is what it was done to."""
    await connection.execute(RECORD, actor, action, subject, allowed, address, dict(detail or {}))
