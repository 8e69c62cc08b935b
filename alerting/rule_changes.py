"""What applying rule files would change, and doing it: all of it or nothing. Removing a rule."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from alerting import parsing, rule_files
from hostpulse import errors
from storage import audit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.database import Connection

SUBJECT_MAX_CHARACTERS = 253
_HAS_OPEN = """
SELECT EXISTS (
  SELECT FROM alert WHERE rule_id = $1 AND state IN ('pending', 'firing', 'no_data'))
"""
COLUMNS = tuple(column for column in rule_files.COLUMNS.values() if column != "name")


class Kind(StrEnum):
    """What becomes of a rule."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """A column's value before and after; `before` is None for a new rule."""

    field: str
    before: object
    after: object


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChange:
    """What applying does to one rule."""

    name: str
    kind: Kind
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What applying does; `inhibitions` are the pairs (source, target) that come and go."""

    rules: tuple[RuleChange, ...]
    inhibitions_added: tuple[tuple[str, str], ...] = ()
    inhibitions_removed: tuple[tuple[str, str], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the database already is as the files say."""
        rules = any(change.kind is not Kind.UNCHANGED for change in self.rules)
        return not (rules or self.inhibitions_added or self.inhibitions_removed)


async def apply(
    connection: Connection, wanted: rule_files.Wanted, *, dry_run: bool, by: str
) -> Plan:
    """Compare the files with the database, and make it so unless this is a dry run.

    Rules that no file names are left alone. `by` is for the audit log, which gets one row for all
    of it. To be called outside a transaction.

    Raises:
        ConfigError: a channel does not exist; nothing is stored.
    """
    async with connection.transaction():
        plan = await _plan(connection, wanted)
        await _check_channels(connection, wanted)
        changed = [c.name for c in plan.rules if c.kind is not Kind.UNCHANGED]
        if not dry_run:
            await _store(connection, wanted, plan)
            await audit.record(
                connection,
                actor=by,
                action="rule.apply",
                subject=", ".join(changed)[:SUBJECT_MAX_CHARACTERS] or None,
                detail={
                    "rules": {c.name: str(c.kind) for c in plan.rules if c.name in changed},
                    "inhibitions_added": plan.inhibitions_added,
                    "inhibitions_removed": plan.inhibitions_removed,
                },
            )
    return plan


async def remove(connection: Connection, name: str, *, by: str) -> bool:
    """Forget a rule that is disabled, and its alerts; their history stays. False: there is none.

    `by` is for the audit log. What inhibits or is inhibited by the name goes, too.

    Raises:
        ConfigError: it is enabled, or something of it is still open, whose end is to be told first.
    """
    async with connection.transaction():
        rule = await connection.fetchrow(
            "SELECT id, enabled FROM alert_rule WHERE name = $1 FOR UPDATE", name
        )
        if rule is None:
            return False
        if rule["enabled"]:
            expectation = "one that is disabled, so that its alerts end first"
            raise errors.ConfigError("rule", expectation=expectation, value=name)
        if await connection.fetchval(_HAS_OPEN, rule["id"]):
            expectation = "one without open alerts: they end with the next evaluation"
            raise errors.ConfigError("rule", expectation=expectation, value=name)
        await connection.execute(
            "DELETE FROM inhibition WHERE source_rule = $1 OR target_rule = $1", name
        )
        await connection.execute("DELETE FROM alert_rule WHERE id = $1", rule["id"])
        await audit.record(connection, actor=by, action="rule.remove", subject=name)
    return True


async def _plan(connection: Connection, wanted: rule_files.Wanted) -> Plan:
    """Find the differences, with the rules locked."""
    rows = await connection.fetch("SELECT * FROM alert_rule ORDER BY name FOR UPDATE")
    present = {str(row["name"]): dict(row) for row in rows}
    changes = tuple(_compare(name, present.get(name), row) for name, row in wanted.rules.items())
    if wanted.inhibitions is None:
        return Plan(rules=changes)
    pairs = await connection.fetch("SELECT source_rule, target_rule FROM inhibition")
    known = {(row["source_rule"], row["target_rule"]) for row in pairs}
    return Plan(
        rules=changes,
        inhibitions_added=tuple(sorted(wanted.inhibitions - known)),
        inhibitions_removed=tuple(sorted(known - wanted.inhibitions)),
    )


def _compare(
    name: str, present: Mapping[str, object] | None, row: Mapping[str, object]
) -> RuleChange:
    """Compare one rule by meaning: 80 and 80.0, or the order of levels, are no difference."""
    if present is None:
        fields = tuple(
            FieldChange(field=column, before=None, after=row[column])
            for column in COLUMNS
            if row[column] != rule_files.DEFAULTS.get(column)
        )
        return RuleChange(name=name, kind=Kind.ADDED, fields=fields)
    fields = tuple(
        FieldChange(field=column, before=present[column], after=row[column])
        for column in COLUMNS
        if _meaning(column, present[column]) != _meaning(column, row[column])
    )
    return RuleChange(name=name, kind=Kind.CHANGED if fields else Kind.UNCHANGED, fields=fields)


def _meaning(column: str, value: object) -> object:
    """Return a value such that equal meanings are equal."""
    if column == "levels":
        levels = cast("list[dict[str, object]]", value)
        return sorted((str(e["severity"]), e["threshold"], e.get("for_s", 0)) for e in levels)
    if column == "label_filter":
        wanted = cast("dict[str, object]", value)
        return {k: [v] if isinstance(v, str) else v for k, v in wanted.items()}
    return value


async def _check_channels(connection: Connection, wanted: rule_files.Wanted) -> None:
    """Refuse channels that do not exist."""
    rows = await connection.fetch("SELECT name FROM channel ORDER BY name")
    known = [str(row["name"]) for row in rows]
    for name, row in wanted.rules.items():
        rule = parsing.parse(row)
        for field in ("channels", "escalate_channels"):
            for channel in rule.channels if field == "channels" else rule.escalate_channels:
                if channel not in known:
                    expectation = f"names of channels ({', '.join(known) or 'there are none'})"
                    raise errors.ConfigError(
                        f"{name}.{field}", expectation=expectation, value=channel
                    )


async def _store(connection: Connection, wanted: rule_files.Wanted, plan: Plan) -> None:
    """Write what differs."""
    names = ", ".join(COLUMNS)
    places = ", ".join(f"${n}" for n in range(2, len(COLUMNS) + 2))
    pairs = ", ".join(f"{column} = ${n}" for n, column in enumerate(COLUMNS, start=2))
    for change in plan.rules:
        values = [wanted.rules[change.name][column] for column in COLUMNS]
        if change.kind is Kind.ADDED:
            await connection.execute(
                f"INSERT INTO alert_rule (name, {names}, edited_at)"  # noqa: S608 - constants
                f" VALUES ($1, {places}, now())",
                change.name,
                *values,
            )
        elif change.kind is Kind.CHANGED:
            await connection.execute(
                f"UPDATE alert_rule SET {pairs}, edited_at = now() WHERE name = $1",  # noqa: S608
                change.name,
                *values,
            )
    await connection.executemany(
        "INSERT INTO inhibition (source_rule, target_rule) VALUES ($1, $2)", plan.inhibitions_added
    )
    await connection.executemany(
        "DELETE FROM inhibition WHERE source_rule = $1 AND target_rule = $2",
        plan.inhibitions_removed,
    )
