"""Revisions of config: every change adds one, and nothing is ever edited.

A change is one transaction: the revision, what it means for each server (`server_configs`), its
audit row, and a notification that has gateways push it. One change is made at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostpulse import texts
from hostpulse.errors import ConfigError
from storage import audit, config_fields, server_configs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import asyncpg

    from storage.config_scopes import Revision, Scope
    from storage.database import Connection

    Edit = Callable[[Mapping[str, object]], Mapping[str, object]]

HISTORY_MAX = 1000
COMMENT_MAX_CHARACTERS = 500
PRIORITY_MAX = 1_000_000
SCOPES_MAX = 10_000  # that set something

HISTORY = """
SELECT * FROM config_revision WHERE scope = $1 ORDER BY revision DESC LIMIT $2
"""
FIND = "SELECT * FROM config_revision WHERE scope = $1 AND revision = $2"
ADD = """
INSERT INTO config_revision (revision, scope, priority, fields, author, comment)
VALUES ($1, $2, $3, $4, $5, $6) RETURNING *
"""


class Conflict(ConfigError):
    """Somebody else changed the scope meanwhile."""


async def history(connection: Connection, scope: Scope, *, limit: int = 100) -> list[Revision]:
    """Return the revisions of a scope, the newest first."""
    rows = await connection.fetch(HISTORY, str(scope), min(limit, HISTORY_MAX))
    return [server_configs.revision_of(row) for row in rows]


async def find(connection: Connection, scope: Scope, revision: int) -> Revision:
    """Return one revision of a scope.

    Raises:
        ConfigError: The scope has none of this number.
    """
    row: asyncpg.Record | None = None
    if 0 < revision < 1 << 63:
        row = await connection.fetchrow(FIND, str(scope), revision)
    if row is None:
        expectation = f"a revision of {scope}"
        raise ConfigError("revision", expectation=expectation, value=revision)
    return server_configs.revision_of(row)


async def change(
    connection: Connection,
    scope: Scope,
    edit: Edit,
    *,
    author: str,
    comment: str | None = None,
    priority: int | None = None,
    expected_revision: int | None = None,
) -> Revision:
    """Set the fields of a scope as a whole, to what `edit` makes of those in force.

    Args:
        connection: not in a transaction.
        scope: whom it is for.
        edit: gets the fields in force, which are none before the first change.
        author: shown in the history and the audit log.
        comment: why.
        priority: of a scope of labels: the higher wins. None leaves it.
        expected_revision: refuse where the newest of the scope is another one; 0 is none.

    Raises:
        ConfigError: A field is wrong, or a priority is taken; nothing is stored.
        Conflict: The scope has another revision than expected.
    """
    if comment is not None and not 0 < len(comment.strip()) <= COMMENT_MAX_CHARACTERS:
        expectation = f"a text of at most {COMMENT_MAX_CHARACTERS} characters"
        raise ConfigError("comment", expectation=expectation, value=comment[:100])
    if comment is not None and not texts.is_storable(comment):
        expectation = "a text without NUL and halves of characters"
        raise ConfigError("comment", expectation=expectation, value=comment)
    async with connection.transaction():
        await server_configs.lock(connection)
        current = {str(each.scope): each for each in await server_configs.current(connection)}
        before = current.get(str(scope))
        found = before.revision if before else 0
        if expected_revision is not None and expected_revision != found:
            expectation = f"the newest one of {scope}, {found}"
            raise Conflict("expected_revision", expectation=expectation, value=expected_revision)
        fields = config_fields.check_all(edit(before.fields if before else {}))
        ranked = _priority(scope, priority, before, current)
        others = sum(bool(each.fields) for name, each in current.items() if name != str(scope))
        if fields and others >= SCOPES_MAX:
            raise ConfigError("scope", expectation=f"one of at most {SCOPES_MAX}", value=str(scope))
        row = await connection.fetchrow(
            ADD,
            await server_configs.next_revision(connection),
            str(scope),
            ranked,
            fields,
            author,
            comment,
        )
        assert row is not None  # noqa: S101 - RETURNING
        made = server_configs.revision_of(row)
        await server_configs.evaluate(connection, made.revision)
        await audit.record(
            connection,
            actor=author,
            action="config.set",
            subject=str(scope),
            allowed=True,
            detail={
                "revision": made.revision,
                "before": found,
                "fields": fields,
                "priority": ranked,
                "comment": comment,
            },
        )
    return made


async def rollback(
    connection: Connection,
    scope: Scope,
    *,
    author: str,
    to: int | None = None,
    comment: str | None = None,
) -> Revision:
    """Set a scope to what one of its revisions said, as a new revision.

    Args:
        connection: not in a transaction.
        scope: whom it is for.
        author: shown in the history and the audit log.
        to: the revision; None is the one before the newest.
        comment: why; None says which revision it is.

    Raises:
        ConfigError: There is no such revision, or what it said is not accepted any more.
    """
    if to is None:
        newest = await history(connection, scope, limit=2)
        if len(newest) < 2:
            expectation = "one that has been changed more than once"
            raise ConfigError("scope", expectation=expectation, value=str(scope))
        wanted = newest[1]
    else:
        wanted = await find(connection, scope, to)
    return await change(
        connection,
        scope,
        lambda _: wanted.fields,
        author=author,
        comment=comment or f"back to revision {wanted.revision}",
        priority=wanted.priority if scope.labels else None,
    )


def _priority(
    scope: Scope,
    wanted: int | None,
    before: Revision | None,
    current: Mapping[str, Revision],
) -> int:
    """Return the priority of a scope; of labels it must be given once, and be no other's."""
    if not scope.labels:
        if wanted is not None:
            expectation = "left out where the scope is not one of labels"
            raise ConfigError("priority", expectation=expectation, value=wanted)
        return 0
    if wanted is None and before is not None:
        wanted = before.priority
    if wanted is None or not -PRIORITY_MAX <= wanted <= PRIORITY_MAX:
        expectation = "a whole number: of two scopes of labels the higher one wins"
        raise ConfigError("priority", expectation=expectation, value=wanted)
    for other in current.values():
        rivals = other.scope.labels and other.scope != scope and other.fields
        if rivals and other.priority == wanted:
            expectation = f"one that no other scope has ({other.scope} has it)"
            raise ConfigError("priority", expectation=expectation, value=wanted)
    return wanted


def shown(revision: Revision) -> dict[str, object]:
    """Write a revision as JSON."""
    return {
        "revision": revision.revision,
        "scope": str(revision.scope),
        "priority": revision.priority if revision.scope.labels else None,
        "fields": dict(revision.fields),
        "author": revision.author,
        "time": revision.time.isoformat(),
        "comment": revision.comment,
    }
