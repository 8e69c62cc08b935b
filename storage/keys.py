"""API keys: made once, shown once, kept as hashes.

A key reads `hp_<prefix>_<secret>`: eight characters that name it in lists and logs, then 256 random
bits in base64url. The database has the prefix and the SHA-256 of the whole key; a slow hash would
add nothing to 256 random bits. Making, rotating and revoking a key writes its audit row in the same
transaction, and a trigger tells every gateway, which ends the streams of a key that has ended.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from storage import audit, servers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import asyncpg

    from storage.database import Connection

PREFIX_BYTES = 4  # two hexadecimal digits each
SECRET_BYTES = 32
PREFIX_ATTEMPTS = 5  # 32 bits collide about once in 4 000 000 keys made beside 1 000 others
NOTE_MAX_CHARACTERS = 200
USES_MAX = 10_000  # of one enrolment token
CHANNEL = "hostpulse_key"  # NOTIFY with the id of a key that ended or will

_KEY = re.compile(r"hp_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_PREFIX = re.compile(r"[0-9a-f]{8}")
COLUMNS = """
    id, prefix, role, server_names, note, created_at, created_by, expires_at, last_used_at,
    revoked_at, replaces, uses_left
"""


class Role(StrEnum):
    """What the bearer of a key may do."""

    ADMIN = "admin"  # everything
    READER = "reader"  # read every server
    AGENT = "agent"  # stream and post for its one server
    WRITER = "writer"  # post for its servers
    ENROLL = "enroll"  # nothing but be exchanged for an agent's key: see storage/enrollments.py


BOUND_ROLES = frozenset({Role.AGENT, Role.WRITER})  # worth nothing without server names


class InvalidKey(ValueError):
    """A key can't be made like this; the message names the field."""


class UnknownKey(LookupError):
    """No key has this prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as the database knows it, which is without its secret."""

    id: int
    prefix: str
    role: Role
    server_names: tuple[str, ...]
    note: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    replaces: str | None = None
    uses_left: int | None = None


def generate(kind: str = "hp") -> str:
    """Return a new key."""
    return f"{kind}_{secrets.token_hex(PREFIX_BYTES)}_{secrets.token_urlsafe(SECRET_BYTES)}"


def prefix_of(plaintext: str) -> str | None:
    """Return the prefix of a well-formed key, which may be shown; None for anything else."""
    match = _KEY.fullmatch(plaintext)
    return match[1] if match else None


def digest(plaintext: str) -> bytes:
    """Return what is stored in the place of a key."""
    return hashlib.sha256(plaintext.encode("utf-8", "surrogatepass")).digest()


async def create(
    connection: Connection,
    *,
    role: Role,
    server_names: Sequence[str] = (),
    note: str | None = None,
    created_by: str,
    expires_at: datetime | None = None,
    replaces: str | None = None,
) -> str:
    """Make a key, in the place of one where `replaces` names it; it can't be shown again.

    Raises:
        InvalidKey: the role and the names don't go together, or a name or the note can't be.
    """
    for _ in range(PREFIX_ATTEMPTS):
        plaintext = generate()
        if await store(
            connection,
            plaintext,
            role=role,
            server_names=server_names,
            note=note,
            created_by=created_by,
            expires_at=expires_at,
            replaces=replaces,
        ):
            return plaintext
    raise RuntimeError(f"no free key prefix in {PREFIX_ATTEMPTS} attempts")


async def adopt(
    connection: Connection,
    plaintext: str,
    *,
    role: Role,
    server_names: Sequence[str] = (),
    note: str | None = None,
    created_by: str,
    expires_at: datetime | None = None,
) -> bool:
    """Make a key valid that exists already, in a file that outlived its database.

    Returns whether it was added. A key that the database knows is left alone, also when it is
    revoked or expired: adopting undoes no decision.

    Raises:
        InvalidKey: `plaintext` is not a key of ours, or as `create`.
    """
    if prefix_of(plaintext) is None:
        raise InvalidKey("key must read hp_<8 hexadecimal digits>_<43 characters>")
    return await store(
        connection,
        plaintext,
        role=role,
        server_names=server_names,
        note=note,
        created_by=created_by,
        expires_at=expires_at,
    )


async def verify(connection: Connection, plaintext: str) -> Key | None:
    """Return the key if it is one of ours, not revoked and not expired by the database's clock."""
    prefix = prefix_of(plaintext)
    if prefix is None:
        return None
    row = await connection.fetchrow(
        f"""
        SELECT {COLUMNS}, key_sha256,
               revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) AS valid
        FROM api_key WHERE prefix = $1 AND role <> 'enroll'
        """,  # noqa: S608 - a constant
        prefix,
    )
    if row is None or not hmac.compare_digest(row["key_sha256"], digest(plaintext)):
        return None
    return read_row(row) if row["valid"] else None


async def list_all(connection: Connection) -> list[Key]:
    """Return all keys, the oldest first."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM api_key ORDER BY id"  # noqa: S608 - a constant
    )
    return [read_row(row) for row in rows]


async def revoke(connection: Connection, prefix: str, *, revoked_by: str) -> Key:
    """Make a key worthless for ever; revoking twice keeps the first time.

    Raises:
        UnknownKey: no key has this prefix.
    """
    check_prefix(prefix)
    async with connection.transaction():
        row = await connection.fetchrow(
            f"""
            UPDATE api_key SET revoked_at = coalesce(revoked_at, now())
            WHERE prefix = $1 RETURNING {COLUMNS}
            """,  # noqa: S608 - a constant
            prefix,
        )
        if row is None:
            raise UnknownKey(f"expected the prefix of a key, got {prefix!r}")
        detail = {"role": row["role"], "server_names": list(row["server_names"])}
        await audit.record(
            connection, actor=revoked_by, action="key.revoke", subject=prefix, detail=detail
        )
    return read_row(row)


async def check_ids(
    connection: Connection, ids: Sequence[int]
) -> dict[int, tuple[bool, datetime | None]]:
    """Return which of these keys have ended or will: id to (still good, when it expires)."""
    rows = await connection.fetch(
        """
        SELECT i.id, k.expires_at, k.id IS NOT NULL AND k.revoked_at IS NULL
               AND (k.expires_at IS NULL OR k.expires_at > now()) AS valid
        FROM unnest($1::int[]) AS i (id) LEFT JOIN api_key k USING (id)
        WHERE k.id IS NULL OR k.revoked_at IS NOT NULL OR k.expires_at IS NOT NULL
        """,
        list(ids),
    )
    return {row["id"]: (row["valid"], row["expires_at"]) for row in rows}


async def touch(connection: Connection, ids: Sequence[int]) -> None:
    """Note that keys are in use on streams; never waits for another who notes the same."""
    await connection.execute(
        """
        UPDATE api_key SET last_used_at = now() WHERE id IN (
          SELECT id FROM api_key WHERE id = ANY($1::int[]) FOR UPDATE SKIP LOCKED
        )
        """,
        list(ids),
    )


async def store(
    connection: Connection,
    plaintext: str,
    *,
    role: Role,
    server_names: Sequence[str],
    note: str | None,
    created_by: str,
    expires_at: datetime | None,
    replaces: str | None = None,
    uses: int | None = None,
) -> bool:
    """Insert a key, or a token with its uses, unless its prefix or hash is there.

    Raises:
        InvalidKey: as `create`.
    """
    _check(role, server_names, note, expires_at, uses)
    prefix = plaintext.split("_")[1]
    async with connection.transaction():
        key_id = await connection.fetchval(
            """
            INSERT INTO api_key
              (prefix, key_sha256, role, server_names, note, created_by, expires_at, replaces,
               uses_left)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING id
            """,
            prefix,
            digest(plaintext),
            role,
            list(server_names),
            note,
            created_by,
            expires_at,
            replaces,
            uses,
        )
        if key_id is None:
            return False
        detail: dict[str, object] = {"role": role, "server_names": list(server_names), "note": note}
        if uses is not None:
            detail["uses"] = uses
        if replaces is not None:
            detail["replaces"] = replaces
        await audit.record(
            connection,
            actor=created_by,
            action="key.create" if replaces is None else "key.rotate",
            subject=prefix,
            detail=detail,
        )
    return True


def _check(
    role: Role,
    server_names: Sequence[str],
    note: str | None,
    expires_at: datetime | None,
    uses: int | None,
) -> None:
    """Refuse what the table or the meaning of the role does not allow."""
    if (role is Role.ENROLL) != (uses is not None):
        raise InvalidKey("role must be admin, reader, agent or writer; tokens are made with uses")
    if uses is not None and not 1 <= uses <= USES_MAX:
        raise InvalidKey(f"uses must be 1 to {USES_MAX}, got {uses}")
    if uses is not None and expires_at is None:
        raise InvalidKey("expires_at must be given for an enrolment token")
    if role in BOUND_ROLES and not server_names:
        raise InvalidKey(f"server_names must name a server for role {role}, got none")
    if role in {Role.AGENT, Role.ENROLL} and len(server_names) > 1:
        raise InvalidKey(f"server_names must be one name for role {role}, got {len(server_names)}")
    if role not in {*BOUND_ROLES, Role.ENROLL} and server_names:
        raise InvalidKey(f"server_names must be empty for role {role}, got {list(server_names)}")
    for name in server_names:
        try:
            servers.check_name(name)
        except servers.InvalidName as error:
            raise InvalidKey(f"server_names: {error}") from error
    if note is not None and (len(note) > NOTE_MAX_CHARACTERS or not note.isprintable()):
        raise InvalidKey(f"note must be text of at most {NOTE_MAX_CHARACTERS} printable characters")
    if expires_at is not None and expires_at.tzinfo is None:
        raise InvalidKey(f"expires_at must have an offset, got {expires_at.isoformat()}")


def check_prefix(prefix: str) -> None:
    """Refuse what is no prefix before the database is asked.

    Raises:
        UnknownKey: it is none.
    """
    if not _PREFIX.fullmatch(prefix):
        raise UnknownKey(f"expected the prefix of a key, got {prefix[:100]!r}")


def describe(key: Key) -> dict[str, object]:
    """Return a key as JSON."""
    moments = {
        name: moment.isoformat() if moment else None
        for name, moment in (
            ("created_at", key.created_at),
            ("expires_at", key.expires_at),
            ("last_used_at", key.last_used_at),
            ("revoked_at", key.revoked_at),
        )
    }
    return {
        "prefix": key.prefix,
        "role": key.role,
        "server_names": list(key.server_names),
        "note": key.note,
        "created_by": key.created_by,
        **moments,
        "replaces": key.replaces,
        "uses_left": key.uses_left,
    }


def read_row(row: asyncpg.Record) -> Key:
    """Make a key of a row."""
    return Key(
        id=row["id"],
        prefix=row["prefix"],
        role=Role(row["role"]),
        server_names=tuple(row["server_names"]),
        note=row["note"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
        replaces=row["replaces"],
        uses_left=row["uses_left"],
    )
