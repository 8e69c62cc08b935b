"""A pushed config laid over the agent's own settings: checked as those are, or refused whole.

Pure. Each field goes through the parser of the setting of its name, so that what may be pushed is
what may be set.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from google.protobuf.unknown_fields import UnknownFieldSet

from agent import options
from agent.collectors import NameFilter
from agent.redaction import RedactionMode
from hostpulse import errors
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from google.protobuf.message import Message

    from agent.batches import BatchLimits
    from agent.buffer import BufferBounds
    from agent.collectors import CollectorSettings
    from agent.plan import Plan

FAMILY_DEFAULT_S = 10.0  # of a family that is off on the host and switched on without an interval
NAMES_MAX = 100
NAME_MAX_CHARACTERS = 256
MIN_SAMPLES_PER_BATCH = 10
FAMILY_NAMES = {family: name for name, family in options.COLLECTED.items()}
MODES = {
    telemetry_pb2.REDACTION_MODE_SECRETS: RedactionMode.REDACTED,
    telemetry_pb2.REDACTION_MODE_NAMES_ONLY: RedactionMode.NAMES,
}


def overlay(local: Plan, config: telemetry_pb2.AgentConfig) -> Plan:
    """Return the plan that a pushed config makes of the agent's own.

    Raises:
        ConfigError: It names the field, what is expected there, and what came.
    """
    _check_known(config)
    return replace(
        local,
        intervals_s=_intervals(local.intervals_s, config),
        collectors=_collectors(local.collectors, config),
        spool=_spool(local.spool, config),
        batch=_batch(local.batch, config),
    )


def _check_known(config: telemetry_pb2.AgentConfig) -> None:
    """Refuse what a newer gateway says beyond what this agent understands."""
    messages: list[Message] = [
        config,
        *config.intervals,
        *config.interface_speeds,
        config.mounts,
        config.interfaces,
        config.devices,
    ]
    for message in messages:
        unknown = [each.field_number for each in UnknownFieldSet(message)]
        if unknown:
            expectation = "made of fields that this agent knows (a newer one may know more)"
            name = message.DESCRIPTOR.name
            raise errors.ConfigError(name, expectation=expectation, value=unknown[:10])


def _intervals(
    local: Mapping[telemetry_pb2.Family, float], config: telemetry_pb2.AgentConfig
) -> Mapping[telemetry_pb2.Family, float]:
    pushed: dict[telemetry_pb2.Family, float] = {}
    for entry in config.intervals:
        field = f"{_family('intervals', entry.family)}_interval_s"
        if entry.family in pushed:
            raise errors.ConfigError(field, expectation="there once", value=entry.interval_s)
        pushed[entry.family] = cast("float", _parse(field, entry.interval_s))
    off, on = set(config.disabled_families), set(config.enabled_families)
    for field, families in (("disabled_families", off), ("enabled_families", on)):
        for family in families:
            _family(field, family)
    if both := off & on:
        names = [FAMILY_NAMES[family] for family in both]
        raise errors.ConfigError("enabled_families", expectation="on or off, not both", value=names)
    intervals = {
        family: pushed.get(family, local.get(family, FAMILY_DEFAULT_S))
        for family in options.COLLECTED.values()
        if family in on or (family in local and family not in off)
    }
    if not intervals:
        expectation = "a list that leaves at least one family on"
        raise errors.ConfigError(
            "disabled_families",
            expectation=expectation,
            value=",".join(sorted(FAMILY_NAMES[family] for family in off)),
        )
    return intervals


def _family(field: str, family: telemetry_pb2.Family) -> str:
    if family not in FAMILY_NAMES:
        expectation = f"any of {', '.join(options.COLLECTED)}"
        raise errors.ConfigError(field, expectation=expectation, value=int(family))
    return FAMILY_NAMES[family]


def _collectors(local: CollectorSettings, config: telemetry_pb2.AgentConfig) -> CollectorSettings:
    changes: dict[str, object] = {}
    for kind in ("mounts", "interfaces", "devices"):
        if config.HasField(kind):
            changes[kind] = _filter(kind, getattr(config, kind))
    if config.interface_speeds:
        speeds = {each.interface: each.speed_mbps for each in config.interface_speeds}
        _names("interface_speeds_mbps", speeds)
        changes["interface_speeds_mbps"] = _parse("interface_speeds_mbps", speeds)
    if config.HasField("process_top_n"):
        changes["process_top_n"] = _parse("process_top_n", config.process_top_n)
    if config.redaction:
        changes["redaction"] = local.redaction.tightened(_mode(config.redaction))
    if config.redaction_patterns:
        patterns = [*local.redaction_patterns, *config.redaction_patterns]
        changes["redaction_patterns"] = _parse("redaction_patterns", patterns)
    return replace(local, **changes)


def _filter(kind: str, pushed: telemetry_pb2.NameFilter) -> NameFilter:
    for side in ("include", "exclude"):
        _names(f"{kind}_{side}", getattr(pushed, side))
    made = NameFilter(include=tuple(pushed.include), exclude=tuple(pushed.exclude))
    made.admits(kind)  # compiles it
    return made


def _names(field: str, names: Iterable[str]) -> None:
    listed: Sequence[str] = list(names)
    if len(listed) > NAMES_MAX:
        expectation = f"a list of at most {NAMES_MAX} names"
        raise errors.ConfigError(field, expectation=expectation, value=len(listed))
    for name in listed:
        if not 0 < len(name) <= NAME_MAX_CHARACTERS or not name.isprintable():
            expectation = f"made of names of 1 to {NAME_MAX_CHARACTERS} printable characters"
            raise errors.ConfigError(field, expectation=expectation, value=name[:50])


def _mode(pushed: telemetry_pb2.RedactionMode) -> RedactionMode:
    if pushed not in MODES:
        expectation = f"any of {', '.join(MODES.values())}"
        raise errors.ConfigError("redaction", expectation=expectation, value=int(pushed))
    return MODES[pushed]


def _spool(local: BufferBounds, config: telemetry_pb2.AgentConfig) -> BufferBounds:
    changes = {
        of: _parse(f"spool_{of}", getattr(config, f"spool_{of}"))
        for of in ("max_bytes", "max_age_s")
        if config.HasField(f"spool_{of}")
    }
    return replace(local, **changes)


def _batch(local: BatchLimits, config: telemetry_pb2.AgentConfig) -> BatchLimits:
    if not config.HasField("max_samples_per_batch"):
        return local
    parse = options.whole(MIN_SAMPLES_PER_BATCH, local.max_samples, "samples")
    samples = parse("max_samples_per_batch", config.max_samples_per_batch)
    return replace(local, max_samples=cast("int", samples))


def _parse(name: str, raw: object) -> options.Parsed:
    return options.BY_NAME[name].parse(name, raw)
