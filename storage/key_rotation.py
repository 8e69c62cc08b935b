"""A new key in the place of an old one, which goes on for a while.

The new one may do what the old one may, and lives as long again. A key is rotated once; who lost
the new one rotates that.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from storage import keys

if TYPE_CHECKING:
    from storage.database import Connection

GRACE_MAX = timedelta(days=30)

_LOCK = f"""
    SELECT {keys.COLUMNS}, expires_at - created_at AS life,
           revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) AS valid,
           EXISTS (SELECT FROM api_key r WHERE r.replaces = k.prefix) AS replaced, now()
    FROM api_key k WHERE prefix = $1 FOR UPDATE
"""  # noqa: S608 - constants
_END = f"""
    UPDATE api_key SET expires_at = least(expires_at, now() + $2::interval)
    WHERE prefix = $1 RETURNING {keys.COLUMNS}
"""  # noqa: S608 - constants


async def rotate(
    connection: Connection, prefix: str, *, grace: timedelta, rotated_by: str
) -> tuple[str, keys.Key]:
    """Make a key that may do what this one may; the old one ends after `grace`.

    Returns the new key, which can't be shown again, and the old one. A key whose life was limited
    gets as long a life again.

    Raises:
        UnknownKey: no key has this prefix.
        InvalidKey: the key can't be rotated, or the grace is too long.
    """
    if not timedelta(0) <= grace <= GRACE_MAX:
        raise keys.InvalidKey(f"grace must be 0 s to {GRACE_MAX.days} days, got {grace}")
    keys.check_prefix(prefix)
    async with connection.transaction():
        row = await connection.fetchrow(_LOCK, prefix)
        if row is None:
            raise keys.UnknownKey(f"expected the prefix of a key, got {prefix!r}")
        if row["role"] == keys.Role.ENROLL or not row["valid"] or row["replaced"]:
            detail = f"{prefix} must be a key that is valid and was not rotated before"
            raise keys.InvalidKey(detail)
        plaintext = await keys.create(
            connection,
            role=keys.Role(row["role"]),
            server_names=row["server_names"],
            note=row["note"],
            created_by=rotated_by,
            expires_at=row["now"] + row["life"] if row["life"] else None,
            replaces=prefix,
        )
        old = await connection.fetchrow(_END, prefix, grace)
    assert old is not None  # noqa: S101 - locked above
    return plaintext, keys.read_row(old)
