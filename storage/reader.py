"""The role that people and dashboards read with: metrics, servers, events, alerts, and no more.

Roles belong to a whole server, grants to one database. The role is `hostpulse_reader`, or
`hostpulse_reader_<database>` where another database of the same server has that name already. Its
password is made here and kept in `setting`, which only the owner reads, so that whoever has the
owner's address can tell people theirs. PostgreSQL itself gets the SCRAM verifier only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import asyncpg

from hostpulse.errors import HostpulseError
from storage import chunks

if TYPE_CHECKING:
    from storage.database import Connection

ROLE = "hostpulse_reader"
KEY = "reader.login"
MARK = "reads the hostpulse database "  # and its name: the role's comment
ADVISORY_LOCK = 7_240_004
CONNECTIONS_MAX = 20  # of the database's, which gateways and alert workers need
ATTEMPTS = 3
NAME_MAX = 63  # bytes; PostgreSQL cuts longer names off
SCRAM_ITERATIONS = 4096  # PostgreSQL's own default
SETTINGS = {
    "default_transaction_read_only": "on",
    "statement_timeout": "30s",
    # A transaction that is left open keeps old row versions alive, for everybody.
    "idle_in_transaction_session_timeout": "60s",
}
RELATIONS = ("event", "family_interval", "alert_current", "alert_log")
# The fencing token of a live stream is nobody's business.
SERVER_COLUMNS = """
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
WHERE attrelid = 'server'::regclass AND attnum > 0 AND NOT attisdropped
  AND attname !~ '^session'
"""

FIND = """
SELECT current_database() AS database,
  (SELECT value FROM setting WHERE key = $1) AS login,
  (SELECT jsonb_object_agg(rolname, jsonb_build_array(
     r.oid::bigint, mark,
     mark LIKE $2 || '%' AND NOT EXISTS (SELECT FROM pg_database WHERE mark = $2 || datname)))
   FROM pg_roles r CROSS JOIN LATERAL shobj_description(r.oid, 'pg_authid') AS mark
   WHERE rolname LIKE 'hostpulse\\_reader%') AS roles
"""
KEEP = """
INSERT INTO setting (key, value) VALUES ($1, $2)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
CONFIGURED = """
SELECT coalesce((SELECT setconfig FROM pg_db_role_setting s
  WHERE s.setrole = r.oid AND s.setdatabase = d.oid), '{}') @> $2::text[]
FROM pg_roles r, pg_database d WHERE r.rolname = $1 AND d.datname = current_database()
"""


REMEMBER = """
UPDATE setting SET value = value || jsonb_build_object('oid', r.oid::bigint)
FROM pg_roles r WHERE key = $1 AND r.rolname = value ->> 'role'
"""


class ReaderMissing(HostpulseError):
    """The role can't be made by the database's owner; the message is what an administrator runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How readers log in."""

    role: str
    password: str
    database: str

    def dsn(self, owner_dsn: str) -> str:
        """Return the readers' DSN, to the same server as the owner's."""
        parts = urlsplit(owner_dsn)
        hosts = parts.netloc.rpartition("@")[2]
        names = {"user", "password", "passfile", "dbname", "database"}
        query = urlencode([each for each in parse_qsl(parts.query) if each[0] not in names])
        address = f"{quote(self.role)}:{quote(self.password)}@{hosts}/{quote(self.database)}"
        return f"postgresql://{address}{'?' if query else ''}{query}"


async def ensure(connection: Connection) -> Login:
    """See that the role is there and may read what there is, and nothing else; safe to repeat.

    To be called after each migration: tables that came with it are granted too. Not in a
    transaction.

    Raises:
        ReaderMissing: the owner may not make or configure roles, and nobody else has.
    """
    for _ in range(ATTEMPTS):
        async with connection.transaction():
            # Committed before anything may be refused: what an administrator is told must stay so.
            await connection.execute("SELECT pg_advisory_xact_lock($1)", ADVISORY_LOCK)
            login, missing = await _choose(connection)
        try:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", ADVISORY_LOCK)
                for statement in missing:
                    await connection.execute(statement)
                await connection.execute(REMEMBER, KEY)
                for statement in await _grants(connection, login):
                    await connection.execute(statement)
        except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            continue  # another database of this server was faster: choose again
        except asyncpg.InsufficientPrivilegeError as error:
            lines = "\n".join(f"  {each};" for each in missing)
            raise ReaderMissing(
                "the owner of this database may not make the role that reads it. Let an "
                f"administrator run this, then try again:\n{lines}"
            ) from error
        return login
    raise ReaderMissing("roles of this server are being made by others just now: try again")


async def _choose(connection: Connection) -> tuple[Login, list[str]]:
    """Return the login, kept or made, and what needs more than an owner to have it work."""
    row = await connection.fetchrow(FIND, KEY, MARK)
    assert row is not None  # noqa: S101 - a select without FROM has one row
    database: str = row["database"]
    kept: dict[str, object] = row["login"] or {}
    roles: dict[str, tuple[int, str | None, bool | None]] = row["roles"] or {}

    def is_ours(name: str) -> bool:
        oid, mark, orphaned = roles.get(name, (None, None, None))
        return oid is None or oid == kept.get("oid") or mark == MARK + database or bool(orphaned)

    if kept and is_ours(str(kept["role"])):
        login = Login(role=str(kept["role"]), password=str(kept["password"]), database=database)
        missing = await _missing(connection, login)
        oid = roles.get(login.role, (None, None, None))[0]
        if oid is not None and kept.get("oid") not in {oid, None}:
            # The settings came from another server: our role is here, with another password.
            await connection.execute(KEEP, KEY, {"role": login.role, "password": login.password})
            missing = [_password(login), *missing]
        return login, missing
    of_its_own = f"{ROLE}_{database}".encode()[:NAME_MAX].decode(errors="ignore")
    login = Login(
        role=ROLE if is_ours(ROLE) else of_its_own,
        password=secrets.token_urlsafe(24),
        database=database,
    )
    await connection.execute(KEEP, KEY, {"role": login.role, "password": login.password})
    missing = await _missing(connection, login)
    if login.role in roles:  # of a database that is gone: so is the password
        missing = [_password(login), _comment(login), *missing]
    return login, missing


async def _missing(connection: Connection, login: Login) -> list[str]:
    """Return the statements that need more than a database's owner, as far as they are needed."""
    role = _quoted(login.role)
    statements: list[str] = []
    if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", login.role):
        statements = [
            f"CREATE ROLE {role} LOGIN CONNECTION LIMIT {CONNECTIONS_MAX}",
            _password(login),
            _comment(login),
        ]
    wanted = [f"{key}={value}" for key, value in SETTINGS.items()]
    if not await connection.fetchval(CONFIGURED, login.role, wanted):
        statements += [
            f"ALTER ROLE {role} IN DATABASE {_quoted(login.database)} SET {key} = '{value}'"
            for key, value in SETTINGS.items()
        ]
    return statements


async def _grants(connection: Connection, login: Login) -> list[str]:
    """Return what the owner grants: partitions and chunks are read through their parents."""
    role = _quoted(login.role)
    columns = await connection.fetchval(SERVER_COLUMNS)
    relations = ", ".join([*(name for name, _ in chunks.relations()), *RELATIONS])
    return [
        f"GRANT CONNECT ON DATABASE {_quoted(login.database)} TO {role}",
        f"GRANT USAGE ON SCHEMA public TO {role}",
        f"GRANT SELECT ON {relations} TO {role}",
        f"GRANT SELECT ({columns}) ON server TO {role}",
    ]


def _password(login: Login) -> str:
    """Return the statement that sets the password, without the password."""
    return f"ALTER ROLE {_quoted(login.role)} PASSWORD '{_scram(login.password)}'"


def _scram(password: str) -> str:
    """Return PostgreSQL's SCRAM-SHA-256 verifier of an ASCII password (RFC 5802, section 3)."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    texts = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(SCRAM_ITERATIONS, *texts)


def _comment(login: Login) -> str:
    """Return the statement by which the role says whose it is."""
    return f"COMMENT ON ROLE {_quoted(login.role)} IS {_literal(MARK + login.database)}"


def _quoted(name: str) -> str:
    """Quote an identifier."""
    return '"{}"'.format(name.replace('"', '""'))


def _literal(text: str) -> str:
    """Quote a string."""
    return "'{}'".format(text.replace("'", "''"))
