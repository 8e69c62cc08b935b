"""Messages in words: pure functions from a notification to text.

A message says what, where, the value with its unit, the threshold and for how long, since when,
which rule, and how to look further.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from alerting.notifications import Kind, Notification
from alerting.rules import OFFLINE_METRIC

if TYPE_CHECKING:
    from datetime import datetime

KIBI = 1024.0
MINUTE_S = 60
HOUR_S = 3600
BIT_UNITS = {"mbps": "Mbit/s"}
RATE_UNITS = {"packets_per_s": "packets/s", "per_s": "/s"}
COLOURS = {"critical": "#c62828", "warning": "#ef6c00", "good": "#2e7d32", "unknown": "#546e7a"}


def title(notification: Notification) -> str:
    """Return one line: how bad, what, where; a mount's name may hold a line break."""
    line = f"[{_word(notification)}] {what(notification)} on {where(notification)}"
    return "".join(each if each.isprintable() else " " for each in line)


def sentence(notification: Notification) -> str:
    """Return what happened, in one sentence."""
    n = notification
    value = amount(n.value, n.unit)
    match n.kind:
        case Kind.TEST:
            return "This is a test: notifications of this channel arrive."
        case Kind.RESOLVED:
            return f"{_metric(n)} is {value}: no longer {condition(n)}."
        case Kind.NO_DATA:
            state = "stays open" if n.is_open else "is closed, though nobody saw it recover"
            return f"No samples of {_metric(n)} arrive any more. The alert {state}."
        case Kind.DATA_RETURNED:
            state = f"; the alert is still firing at {n.severity}" if n.is_open else ""
            return f"Samples of {_metric(n)} arrive again: {value}{state}."
        case Kind.WITHDRAWN:
            return "The rule no longer watches this. The alert is closed."
        case Kind.SEVERITY_CHANGED:
            return f"Now {n.severity}: {_metric(n)} is {value}, the limit is {condition(n)}."
        case Kind.ANNOUNCED | Kind.ESCALATED if n.metric != OFFLINE_METRIC:
            why = "It was muted until now" if n.kind is Kind.ANNOUNCED else "Nobody took it on"
            return f"{_metric(n)} is {value}, the limit is {condition(n)}. {why}."
        case Kind.FIRED | Kind.REPEATED | Kind.ANNOUNCED | Kind.ESCALATED if (
            n.metric == OFFLINE_METRIC
        ):
            who = "any server" if n.server is None else "it"
            return f"Nothing was heard from {who} for {duration(n.value or 0)}."
        case _:
            return f"{_metric(n)} is {value}, the limit is {condition(n)}."


def facts(notification: Notification) -> list[tuple[str, str]]:
    """Return what a reader wants to know, each with its name."""
    n = notification
    pairs = [("Where", where(n)), ("Rule", n.rule), ("Metric", n.metric)]
    if n.value is not None and n.kind is not Kind.WITHDRAWN:
        pairs.append(("Value", amount(n.value, n.unit)))
    pairs.append(("Limit", condition(n)))
    if n.since is not None:
        pairs.append(("Since", moment(n.since)))
    if n.fired_at is not None:
        pairs.append(("Fired", moment(n.fired_at)))
    if n.kind is Kind.RESOLVED and n.since is not None:
        pairs.append(("Lasted", duration((n.at - n.since).total_seconds())))
    pairs.append(("At", moment(n.at)))
    pairs += [(key.replace("_", " ").capitalize(), text) for key, text in n.annotations.items()]
    return pairs


def how_to_look(notification: Notification) -> list[str]:
    """Return commands that show more; they run wherever hostpulse reaches its database."""
    return ["hostpulse alert list", f"hostpulse rule show {notification.rule}"]


def text(notification: Notification) -> str:
    """Return the whole message as plain text."""
    width = max(len(name) for name, _ in facts(notification)) + 1
    lines = [sentence(notification), ""]
    lines += [f"{name + ':':<{width}} {value}" for name, value in facts(notification)]
    lines += ["", "To look further:", *(f"  {line}" for line in how_to_look(notification)), ""]
    return "\n".join(lines)


def html_page(notification: Notification) -> str:
    """Return the whole message as HTML that mail programs show: tables and inline styles only."""
    escape = html.escape
    rows = "".join(
        f'<tr><td style="padding:4px 16px 4px 0;color:#607d8b">{escape(name)}</td>'
        f'<td style="padding:4px 0">{escape(value)}</td></tr>'
        for name, value in facts(notification)
    )
    commands = "<br>".join(f"<code>{escape(line)}</code>" for line in how_to_look(notification))
    return (
        '<!doctype html><html><body style="margin:0;padding:24px;background:#eceff1;'
        'font-family:Helvetica,Arial,sans-serif;font-size:15px;color:#263238">'
        '<table role="presentation" style="max-width:600px;margin:0 auto;background:#ffffff;'
        f'border-top:6px solid {colour(notification)}"><tr><td style="padding:24px">'
        f'<h1 style="margin:0 0 12px;font-size:19px">{escape(title(notification))}</h1>'
        f'<p style="margin:0 0 16px">{escape(sentence(notification))}</p>'
        f'<table role="presentation" style="border-collapse:collapse">{rows}</table>'
        f'<p style="margin:16px 0 0;color:#607d8b">To look further:<br>{commands}</p>'
        "</td></tr></table></body></html>"
    )


def colour(notification: Notification) -> str:
    """Return the colour of a message as #rrggbb."""
    if notification.kind in {Kind.RESOLVED, Kind.TEST}:
        return COLOURS["good"]
    if notification.kind in {Kind.NO_DATA, Kind.WITHDRAWN, Kind.DATA_RETURNED}:
        return COLOURS["unknown"]
    return COLOURS[notification.severity]


def what(notification: Notification) -> str:
    """Return what is wrong, in short."""
    if notification.metric == OFFLINE_METRIC:
        return "ingest stalled" if notification.server is None else "agent offline"
    return notification.rule.replace("_", " ")


def where(notification: Notification) -> str:
    """Return the server and what tells the series apart there."""
    if notification.server is None:
        return "all servers"
    labels = ", ".join(f"{key} {value}" for key, value in notification.labels.items())
    return f"{notification.server} ({labels})" if labels else notification.server


def condition(notification: Notification) -> str:
    """Return the threshold as a condition, with the time it has to last."""
    n = notification
    limit = f"{n.operator} {amount(n.threshold, n.unit)}"
    return f"{limit} for {duration(n.for_s)}" if n.for_s else limit


def amount(value: float | None, unit: str) -> str:
    """Return a value with its unit, as people write it."""
    if value is None:
        return "unknown"
    match unit:
        case "percent":
            return f"{value:.1f} %"
        case "bytes":
            return _bytes(value)
        case "bytes_per_s":
            return f"{_bytes(value)}/s"
        case "s":
            return duration(value)
        case "1":
            return _plain(value)
        case _:
            return f"{_plain(value)} {BIT_UNITS.get(unit) or RATE_UNITS.get(unit, unit)}"


def duration(seconds: float) -> str:
    """Return a duration in its two biggest units."""
    whole = round(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        minutes, rest = divmod(whole, MINUTE_S)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(whole // MINUTE_S, MINUTE_S)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def moment(time: datetime) -> str:
    """Return a time to the second, in the zone it has (UTC in messages)."""
    return f"{time:%Y-%m-%d %H:%M:%S} {time.tzname()}"


def _word(notification: Notification) -> str:
    """Return how a message is marked."""
    match notification.kind:
        case Kind.FIRED | Kind.SEVERITY_CHANGED | Kind.ANNOUNCED:
            return notification.severity.upper()
        case Kind.ESCALATED:
            return f"NOT ACKNOWLEDGED {notification.severity.upper()}"
        case Kind.REPEATED:
            return f"STILL {notification.severity.upper()}"
        case _:
            return notification.kind.replace("_", " ").upper()


def _metric(notification: Notification) -> str:
    if notification.metric == OFFLINE_METRIC:
        return "The silence"
    return notification.metric


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < KIBI:
            return f"{_plain(value)} {unit}"
        value /= KIBI
    return f"{_plain(value)} TiB"


def _plain(value: float) -> str:
    """Write a number without an exponent or needless digits."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"
