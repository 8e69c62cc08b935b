"""Sessions of the web page, and the one-time links that begin one.

A token is 256 random bits; the database has its SHA-256. A session is worth what its key is worth:
when the key is revoked or expires, so does it. It ends after 12 hours without use, and after
7 days in any case.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from storage import audit
from storage.keys import Role

if TYPE_CHECKING:
    from storage.database import Connection

TOKEN_BYTES = 32
IDLE = timedelta(hours=12)
LIFETIME = timedelta(days=7)
LINK_LIFETIME = timedelta(minutes=15)
TOUCH = timedelta(minutes=1)  # how often the last use is written down
PEOPLE = (Role.ADMIN, Role.READER)  # the roles that the page is for

_GOOD_KEY = "k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())"

_FIND = f"""
    SELECT k.id AS key_id, k.prefix, k.role, s.expires_at,
           s.last_used_at < now() - $3::interval AS stale
    FROM web_session s JOIN api_key k ON k.id = s.key_id
    WHERE s.token_sha256 = $1 AND s.expires_at > now() AND s.last_used_at > now() - $2::interval
      AND {_GOOD_KEY}
"""  # noqa: S608 - constants

_TAKE_LINK = f"""
    DELETE FROM sign_in_link l USING api_key k
    WHERE l.token_sha256 = $1 AND l.expires_at > now() AND k.id = l.key_id AND {_GOOD_KEY}
    RETURNING k.id, k.prefix
"""  # noqa: S608 - constants

_END = """
    DELETE FROM web_session s USING api_key k
    WHERE s.token_sha256 = $1 AND k.id = s.key_id RETURNING k.prefix
"""

_ADD_LINK = f"""
    INSERT INTO sign_in_link (token_sha256, key_id, expires_at)
    SELECT $1, k.id, now() + $3::interval FROM api_key k
    WHERE k.prefix = $2 AND k.role = ANY($4::text[]) AND {_GOOD_KEY}
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Whose session it is."""

    key_id: int
    prefix: str
    role: Role


def new_token() -> str:
    """Return a token for a session or a link."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def digest(token: str) -> bytes:
    """Return what is stored in the place of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


async def begin(connection: Connection, key_id: int, *, actor: str, by: str = "key") -> str:
    """Begin a session and return its token; what has expired goes.

    Args:
        connection: of the gateway.
        key_id: whose session it is.
        actor: the same, for the audit log.
        by: what was shown, `key` or `link`.
    """
    token = new_token()
    async with connection.transaction():
        await connection.execute(
            "DELETE FROM web_session"
            " WHERE expires_at < now() OR last_used_at < now() - $1::interval",
            IDLE,
        )
        await connection.execute(
            "INSERT INTO web_session (token_sha256, key_id, expires_at)"
            " VALUES ($1, $2, now() + $3::interval)",
            digest(token),
            key_id,
            LIFETIME,
        )
        await audit.record(
            connection,
            actor=actor,
            action="session.begin",
            subject=None,
            allowed=True,
            detail={"by": by},
        )
    return token


async def begin_by_link(connection: Connection, link: str) -> str | None:
    """Use a link up and begin a session of its key; None if it is unknown, used or too old."""
    async with connection.transaction():
        key = await connection.fetchrow(_TAKE_LINK, digest(link))
        if key is None:
            return None
        actor = f"key {key['prefix']}"
        return await begin(connection, key["id"], actor=actor, by="link")


async def find(connection: Connection, token: str) -> SignedIn | None:
    """Return whose session this is, and note its use; None if it has ended."""
    row = await connection.fetchrow(_FIND, digest(token), IDLE, TOUCH)
    if row is None:
        return None
    if row["stale"]:
        await connection.execute(
            "UPDATE web_session SET last_used_at = now() WHERE token_sha256 = $1", digest(token)
        )
    return SignedIn(key_id=row["key_id"], prefix=row["prefix"], role=Role(row["role"]))


async def end(connection: Connection, token: str) -> None:
    """Sign out; without such a session nothing happens."""
    async with connection.transaction():
        prefix = await connection.fetchval(_END, digest(token))
        if prefix is not None:
            await audit.record(
                connection,
                actor=f"key {prefix}",
                action="session.end",
                subject=None,
                allowed=True,
            )


async def add_link(connection: Connection, token: str, *, key_prefix: str, made_by: str) -> bool:
    """Let a token begin one session of a key, within 15 minutes.

    Returns whether the key can sign in: it is there, good, and of a role that the page is for.
    """
    async with connection.transaction():
        await connection.execute("DELETE FROM sign_in_link WHERE expires_at < now()")
        done = await connection.execute(_ADD_LINK, digest(token), key_prefix, LINK_LIFETIME, PEOPLE)
        if done != "INSERT 0 1":
            return False
        await audit.record(
            connection, actor=made_by, action="session.link", subject=key_prefix, allowed=True
        )
    return True
