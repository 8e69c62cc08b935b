"""Fields of config as the wire has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hostpulse.v1 import telemetry_pb2 as pb
from storage import config_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from storage.server_configs import Wanted

REDACTION = {
    "redacted": pb.REDACTION_MODE_SECRETS,
    "names": pb.REDACTION_MODE_NAMES_ONLY,
}
AS_THEY_ARE = ("process_top_n", "max_samples_per_batch", "spool_max_bytes", "spool_max_age_s")


def to_message(wanted: Wanted) -> pb.AgentConfig:
    """Write what a server is to run."""
    fields = wanted.fields
    config = pb.AgentConfig(revision=wanted.revision)
    for family in config_fields.FAMILIES:
        number = cast("pb.Family", pb.Family.Value(f"FAMILY_{family.upper()}"))
        if f"{family}_interval_s" in fields:
            interval_s = cast("float", fields[f"{family}_interval_s"])
            config.intervals.add(family=number, interval_s=interval_s)
        if (on := fields.get(f"{family}_enabled")) is not None:
            (config.enabled_families if on else config.disabled_families).append(number)
    for kind in ("mounts", "interfaces", "devices"):
        sides = {side: fields.get(f"{kind}_{side}") for side in ("include", "exclude")}
        if any(names is not None for names in sides.values()):
            chosen = {side: cast("list[str]", names or []) for side, names in sides.items()}
            getattr(config, kind).CopyFrom(pb.NameFilter(**chosen))
    speeds = cast("Mapping[str, float]", fields.get("interface_speeds_mbps") or {})
    for interface, speed_mbps in speeds.items():
        config.interface_speeds.add(interface=interface, speed_mbps=speed_mbps)
    if (mode := fields.get("redaction")) is not None:
        config.redaction = REDACTION[cast("str", mode)]
    config.redaction_patterns.extend(cast("list[str]", fields.get("redaction_patterns") or []))
    for name in AS_THEY_ARE:
        if name in fields:
            setattr(config, name, fields[name])
    return config


def intervals_of(entries: Iterable[pb.FamilyInterval]) -> dict[str, float]:
    """Return intervals by the name of their family; families of a newer agent are left out."""
    known = {pb.Family.Value(f"FAMILY_{each.upper()}"): each for each in config_fields.FAMILIES}
    return {known[e.family]: e.interval_s for e in entries if e.family in known}
