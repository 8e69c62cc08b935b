"""Enrolment: a token that a person makes is exchanged for keys of agents' own.

A token reads `hpe_<prefix>_<secret>`, and where the gateways' certificate comes from a private
authority `.<SHA-256 of its certificate>` after that, which is for the agent. It is a key of role
`enroll`: hashed, listed and revoked like one, good for nothing else.

    token ─▶ name is new ───────────────────────────────▶ key
        └──▶ name is known ─▶ pending ─▶ an admin's yes ─▶ key, the former keys of the name end
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from hostpulse.machines import fingerprint
from storage import audit, keys, servers

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from storage.database import Connection

PENDING_FOR = timedelta(days=7)  # upkeep forgets requests that nobody decided
REPEAT_FOR = timedelta(minutes=10)  # an agent that never got its key may ask again

_TOKEN = re.compile(r"(hpe_([0-9a-f]{8})_[A-Za-z0-9_-]{43})(?:\.[0-9a-f]{64})?")
_COLUMNS = """
    e.id, e.server_name, e.fingerprint, e.agent_version, e.address, e.state,
    e.requested_at, e.asked_at, e.decided_at, e.decided_by
"""

# What nobody decided, or nobody came for.
GIVE_UP = f"""
DELETE FROM enrollment
WHERE state IN ('pending', 'approved') AND asked_at < now() - interval '{PENDING_FOR.days} days'
"""  # noqa: S608 - a constant

# One statement: of two agents at once, one takes the last use.
TAKE_USE = """
UPDATE api_key SET uses_left = uses_left - 1, last_used_at = now()
WHERE id = $1 AND uses_left > 0 AND revoked_at IS NULL AND expires_at > now()
RETURNING uses_left
"""

IS_KNOWN = """
SELECT EXISTS (SELECT FROM server WHERE name = $1 AND machine_id <> $2)
    OR EXISTS (SELECT FROM api_key WHERE role = 'agent' AND $1 = ANY(server_names)
               AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()))
"""

FORMER_KEYS = """
SELECT prefix FROM api_key
WHERE role = 'agent' AND $1 = ANY(server_names) AND revoked_at IS NULL
  AND (expires_at IS NULL OR expires_at > now())
"""


class State(StrEnum):
    """What became of an agent's request."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    ENROLLED = "enrolled"


class UnknownEnrollment(LookupError):
    """No request of this number is pending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """An agent that asks; `server_name` is None where it leaves the name to the token."""

    server_name: str | None
    hostname: str
    machine_id: str
    agent_version: str
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """The agent's own key, this one time."""

    key: str
    server_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The name is known already: an admin has to say yes."""

    server_name: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No key; `token_prefix` is None where the token is not one of ours."""

    reason: str
    token_prefix: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrollment:
    """A request as an admin sees it."""

    id: int
    server_name: str
    fingerprint: str
    agent_version: str
    address: str | None
    state: State
    requested_at: datetime
    asked_at: datetime
    decided_at: datetime | None
    decided_by: str | None


async def create_token(
    connection: Connection,
    *,
    uses: int,
    expires_at: datetime,
    server_name: str | None,
    note: str | None,
    created_by: str,
) -> str:
    """Make a token and return it; it can't be shown again.

    Raises:
        InvalidKey: a value can't be.
    """
    for _ in range(keys.PREFIX_ATTEMPTS):
        token = keys.generate("hpe")
        if await keys.store(
            connection,
            token,
            role=keys.Role.ENROLL,
            server_names=[] if server_name is None else [server_name],
            note=note,
            created_by=created_by,
            expires_at=expires_at,
            uses=uses,
        ):
            return token
    raise RuntimeError(f"no free key prefix in {keys.PREFIX_ATTEMPTS} attempts")


def prefix_of(token: str) -> str | None:
    """Return the prefix of a well-formed token, which may be shown; None for anything else."""
    match = _TOKEN.fullmatch(token)
    return match[2] if match else None


async def enroll(connection: Connection, token: str, asker: Asker) -> Enrolled | Pending | Refused:
    """Exchange a token for a key of an agent's own, if that is to be.

    Raises:
        InvalidName: the server's name can't be.
    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        return Refused(reason="expected an enrolment token (hpe_…)", token_prefix=None)
    async with connection.transaction():
        row = await connection.fetchrow(
            "SELECT id, prefix, key_sha256, server_names, revoked_at FROM api_key"
            " WHERE prefix = $1 AND role = 'enroll'",
            match[2],
        )
        if row is None or not hmac.compare_digest(row["key_sha256"], keys.digest(match[1])):
            return Refused(reason="the token is unknown", token_prefix=None)
        refuse = partial(Refused, token_prefix=row["prefix"])
        if row["revoked_at"]:
            return refuse(reason="the token was revoked")
        bound = row["server_names"]
        if bound and asker.server_name not in (None, bound[0]):
            return refuse(
                reason=f"the token is for the server {bound[0]!r}, not {asker.server_name!r}"
            )
        name = bound[0] if bound else asker.server_name or asker.hostname
        servers.check_name(name)
        # Two tokens must not make two keys for one new name.
        await connection.execute("SELECT pg_advisory_xact_lock(7240012, hashtext($1))", name)
        return await _decide(connection, row, name, asker, refuse)


async def _decide(
    connection: Connection, token: asyncpg.Record, name: str, asker: Asker, refuse: partial[Refused]
) -> Enrolled | Pending | Refused:
    """Say what becomes of a request of a good token; in a transaction that holds the name."""
    before = await connection.fetchrow(
        """
        SELECT e.id, e.state, k.prefix AS key_prefix,
               k.last_used_at IS NULL AND k.revoked_at IS NULL
                 AND k.created_at > now() - $4::interval AS was_lost
        FROM enrollment e LEFT JOIN api_key k ON k.id = e.key_id
        WHERE e.token_id = $1 AND e.server_name = $2 AND e.machine_id = $3 FOR UPDATE OF e
        """,
        token["id"],
        name,
        asker.machine_id,
        REPEAT_FOR,
    )
    if before is None:
        if await connection.fetchval(TAKE_USE, token["id"]) is None:
            return refuse(reason="the token is used up or has expired")
        known = await connection.fetchval(IS_KNOWN, name, asker.machine_id)
        state = State.PENDING if known else State.APPROVED
        number = await _insert(connection, token["id"], name, asker, state)
    else:
        number, state = before["id"], State(before["state"])
        await connection.execute("UPDATE enrollment SET asked_at = now() WHERE id = $1", number)
    if state is State.PENDING:
        return Pending(server_name=name, fingerprint=fingerprint(asker.machine_id))
    if state is State.DENIED:
        return refuse(reason="an admin said no")
    if state is State.ENROLLED and not (before and before["was_lost"]):
        return refuse(reason="the token was exchanged for a key by this machine before")
    return await _give_key(connection, number, name, asker, by=f"token {token['prefix']}")


async def _insert(
    connection: Connection, token_id: int, name: str, asker: Asker, state: State
) -> int:
    """Record a request."""
    return await connection.fetchval(
        """
        INSERT INTO enrollment
          (token_id, server_name, machine_id, fingerprint, agent_version, address, state)
        VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id
        """,
        token_id,
        name,
        asker.machine_id,
        fingerprint(asker.machine_id),
        asker.agent_version,
        asker.address,
        state,
    )


async def _give_key(
    connection: Connection, number: int, name: str, asker: Asker, *, by: str
) -> Enrolled:
    """Make the agent's key; former keys of the name end, and another machine loses the name."""
    for row in await connection.fetch(FORMER_KEYS, name):
        await keys.revoke(connection, row["prefix"], revoked_by=by)
    await connection.execute(
        "UPDATE server SET machine_id = NULL, session = NULL WHERE name = $1 AND machine_id <> $2",
        name,
        asker.machine_id,
    )
    key = await keys.create(
        connection,
        role=keys.Role.AGENT,
        server_names=[name],
        note=f"enrolled by {fingerprint(asker.machine_id)}",
        created_by=by,
    )
    await connection.execute(
        "UPDATE enrollment SET state = 'enrolled', key_id = (SELECT id FROM api_key WHERE prefix"
        " = $2) WHERE id = $1",
        number,
        keys.prefix_of(key),
    )
    return Enrolled(key=key, server_name=name)


async def list_all(connection: Connection, *, everything: bool = False) -> list[Enrollment]:
    """Return the requests that wait for an admin, the oldest first; or all of them."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM enrollment e WHERE $1 OR state = 'pending' ORDER BY id",  # noqa: S608 - a constant
        everything,
    )
    return [_enrollment(row) for row in rows]


async def decide(
    connection: Connection, number: int, *, approve: bool, decided_by: str
) -> Enrollment:
    """Say yes or no to a request that is pending; the agent learns it when it asks again.

    Raises:
        UnknownEnrollment: none of this number is pending.
    """
    async with connection.transaction():
        row = await connection.fetchrow(
            f"""
            UPDATE enrollment e SET state = $2, decided_at = now(), decided_by = $3
            WHERE id = $1 AND state = 'pending' RETURNING {_COLUMNS}
            """,  # noqa: S608 - a constant
            number,
            State.APPROVED if approve else State.DENIED,
            decided_by,
        )
        if row is None:
            raise UnknownEnrollment(f"expected the number of a pending enrolment, got {number}")
        await audit.record(
            connection,
            actor=decided_by,
            action="enrollment.approve" if approve else "enrollment.deny",
            subject=row["server_name"],
            detail={"number": number, "fingerprint": row["fingerprint"]},
        )
    return _enrollment(row)


def describe(enrollment: Enrollment) -> dict[str, object]:
    """Return a request as JSON."""
    return {
        "id": enrollment.id,
        "server_id": enrollment.server_name,
        "fingerprint": enrollment.fingerprint,
        "agent_version": enrollment.agent_version,
        "address": enrollment.address,
        "state": enrollment.state,
        "requested_at": enrollment.requested_at.isoformat(),
        "asked_at": enrollment.asked_at.isoformat(),
        "decided_at": enrollment.decided_at.isoformat() if enrollment.decided_at else None,
        "decided_by": enrollment.decided_by,
    }


def _enrollment(row: asyncpg.Record) -> Enrollment:
    """Make an enrolment of a row."""
    values: dict[str, Any] = {**dict(row), "state": State(row["state"])}
    return Enrollment(**values)
