"""Labelling servers: what they are to run by their labels changes with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage import audit, labels, server_configs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from storage.database import Connection


async def replace(
    connection: Connection,
    name: str,
    given: Mapping[str, str],
    *,
    labelled_by: str,
) -> dict[str, str] | None:
    """Give a server these labels and no others; else like `label`."""
    return await _change(connection, name, lambda _: given, labelled_by)


async def label(
    connection: Connection,
    name: str,
    changes: Mapping[str, str | None],
    *,
    labelled_by: str,
) -> dict[str, str] | None:
    """Set labels, and drop those that are None; return all, None if there is no such server.

    What the server is to run by its labels changes in the same transaction.

    Raises:
        ConfigError: a label can't be, or the server would be left with nothing to read.
    """

    def merge(before: Mapping[str, str]) -> Mapping[str, str]:
        merged = {**before, **changes}
        return {key: value for key, value in merged.items() if value is not None}

    return await _change(connection, name, merge, labelled_by)


async def _change(
    connection: Connection,
    name: str,
    change: Callable[[Mapping[str, str]], Mapping[str, str]],
    labelled_by: str,
) -> dict[str, str] | None:
    """Change the labels of a server, and what it is to run, in one transaction."""
    async with connection.transaction():
        await server_configs.lock(connection)
        before = await connection.fetchval(
            "SELECT labels FROM server WHERE name = $1 FOR NO KEY UPDATE", name
        )
        if before is None:
            return None
        after = labels.check(dict(sorted(change(before).items())))
        if after != before:
            await connection.execute("UPDATE server SET labels = $2 WHERE name = $1", name, after)
            await server_configs.evaluate(
                connection, await server_configs.next_revision(connection)
            )
        await audit.record(
            connection,
            actor=labelled_by,
            action="server.label",
            subject=name,
            allowed=True,
            detail={"before": before, "after": after},
        )
    return after
