"""What follows from posted values; a value that was given is never replaced."""

from __future__ import annotations

from storage import catalog

Values = dict[str, "int | float | list[float]"]

# What can't be more than what, in one family.
PARTS = {
    "used_bytes": "total_bytes",
    "available_bytes": "total_bytes",
    "free_bytes": "total_bytes",
    "swap_used_bytes": "swap_total_bytes",
    "inodes_used": "inodes_total",
}
LOSS_MIN_PACKETS_PER_S = 10.0  # below, one dropped packet would look like an outage


def cpu(values: Values) -> Values:
    """Add the load per core where the cores were given."""
    cores, load1 = values.get("core_usage_percent"), values.get("load1")
    if isinstance(cores, list) and isinstance(load1, float):
        values.setdefault("load1_per_core", load1 / len(cores))
    return values


def memory(values: Values) -> Values:
    """Add used, available and their shares; used is total - available."""
    total = values.get("total_bytes")
    used_percent = values.get("used_percent")
    if isinstance(total, int):
        available = values.get("available_bytes")
        if isinstance(available, int):
            values.setdefault("used_bytes", total - available)
        elif isinstance(used_percent, float):
            values.setdefault("used_bytes", round(total * used_percent / 100))
        used = values.get("used_bytes")
        if isinstance(used, int):
            values.setdefault("available_bytes", total - used)
    _add_share(values, "used_percent", "used_bytes", "total_bytes")
    _add_share(values, "available_percent", "available_bytes", "total_bytes")
    used_percent, available_percent = values.get("used_percent"), values.get("available_percent")
    if isinstance(used_percent, float):
        values.setdefault("available_percent", 100 - used_percent)
    if isinstance(available_percent, float):
        values.setdefault("used_percent", 100 - available_percent)
    _add_part(values, "swap_used_bytes", "swap_used_percent", "swap_total_bytes")
    _add_share(values, "swap_used_percent", "swap_used_bytes", "swap_total_bytes")
    return values


def disk_usage(values: Values) -> Values:
    """Add used, free and their share, which is used / (used + free) as df(1) prints it."""
    _add_part(values, "used_bytes", "used_percent", "total_bytes")
    total, used, free = (values.get(f"{name}_bytes") for name in ("total", "used", "free"))
    if isinstance(total, int) and isinstance(used, int):
        free = values.setdefault("free_bytes", total - used)
    elif isinstance(total, int) and isinstance(free, int):
        used = values.setdefault("used_bytes", total - free)
    if isinstance(used, int) and isinstance(free, int) and used + free > 0:
        values.setdefault("used_percent", 100 * used / (used + free))
    _add_share(values, "inodes_used_percent", "inodes_used", "inodes_total")
    return values


def network(values: Values) -> Values:
    """Add loss and utilization where everything that they are made of was given."""
    found = [values.get(f"{way}_{what}_per_s") for what in ("packets", "drops") for way in _WAYS]
    numbers = [each for each in found if isinstance(each, float)]
    if len(numbers) == len(found) and sum(numbers[:2]) >= LOSS_MIN_PACKETS_PER_S:
        values.setdefault("packet_loss_percent", 100 * sum(numbers[2:]) / sum(numbers))
    speed = values.get("speed_mbps")
    rates = [each for way in _WAYS if isinstance(each := values.get(f"{way}_bytes_per_s"), float)]
    if isinstance(speed, float) and speed > 0 and len(rates) == len(_WAYS):
        share = 100 * max(rates) / (speed * catalog.BYTES_PER_S_PER_MBPS)
        values.setdefault("utilization_percent", min(100.0, share))
    return values


_WAYS = ("rx", "tx")


def _add_share(values: Values, name: str, part: str, whole: str) -> None:
    """Add part / whole in percent."""
    small, big = values.get(part), values.get(whole)
    if isinstance(small, int) and isinstance(big, int) and big > 0:
        values.setdefault(name, 100 * small / big)


def _add_part(values: Values, name: str, share: str, whole: str) -> None:
    """Add the part that a share is of a whole."""
    percent, big = values.get(share), values.get(whole)
    if isinstance(percent, float) and isinstance(big, int):
        values.setdefault(name, round(big * percent / 100))
