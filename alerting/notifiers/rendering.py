"""Messages in words: pure functions from a notification to text.

A message says what, where, the value with its unit, the threshold and for how long, since when,
which rule, and how to look further.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from alerting.notifications import Kind, Member, Notification
from alerting.rules import OFFLINE_METRIC

if TYPE_CHECKING:
    from datetime import datetime

CHART_ID = "chart@hostpulse"
KIBI = 1024.0
MINUTE_S = 60
HOUR_S = 3600
BIT_UNITS = {"mbps": "Mbit/s"}
RATE_UNITS = {"packets_per_s": "packets/s", "per_s": "/s"}
CAUSES = {
    "shutdown": "its agent said goodbye",
    "reboot": "the server is rebooting",
    "stream_lost": "nothing is heard from its agent",
    "no_samples": "its agent is heard, but sends none",
    "fleet": "many servers fell silent together, so look at the gateway and the database first",
}
COLOURS = {"critical": "#c62828", "warning": "#ef6c00", "good": "#2e7d32", "unknown": "#546e7a"}


def title(notification: Notification) -> str:
    """Return one line: how bad, what, where; a mount's name may hold a line break."""
    line = f"[{_word(notification)}] {what(notification)}"
    if notification.labels.get("scope") != "fleet":
        line += f" on {where(notification)}"
    return "".join(each if each.isprintable() else " " for each in line)


def sentence(notification: Notification) -> str:
    """Return what happened, in one sentence."""
    n = notification
    value = amount(n.value, n.unit)
    if n.members:
        return f"{n.member_count} alerts at once, {n.severity} at worst."
    match n.kind:
        case Kind.TEST:
            return "This is a test: notifications of this channel arrive."
        case Kind.ACKNOWLEDGED:
            return "Somebody took it on."
        case Kind.RESOLVED:
            return f"{_metric(n)} is {value}: no longer {condition(n)}."
        case Kind.NO_DATA:
            state = "stays open" if n.is_open else "is closed, though nobody saw it recover"
            why = f": {CAUSES[n.cause]}" if n.cause in CAUSES else ""
            return f"No samples of {_metric(n)} arrive any more{why}. The alert {state}."
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
            if n.labels.get("scope") == "fleet":
                return (
                    f"Many servers fell silent within a minute, {duration(n.value or 0)} ago:"
                    " look at the gateway, the network and the database first."
                )
            who = "any server" if n.server is None else "it"
            return f"Nothing was heard from {who} for {duration(n.value or 0)}."
        case _:
            return f"{_metric(n)} is {value}, the limit is {condition(n)}."


def facts(notification: Notification) -> list[tuple[str, str]]:
    """Return what a reader wants to know, each with its name."""
    n = notification
    if n.members:
        pairs = [("Rule", n.rule)] if len({each.rule for each in n.members}) == 1 else []
        return [("Where", where(n)), *pairs, ("At", moment(n.at)), *_annotations(n)]
    pairs = [("Where", where(n)), ("Rule", n.rule), ("Metric", n.metric)]
    if n.value is not None and n.kind is not Kind.WITHDRAWN:
        name = "Last value" if n.kind is Kind.NO_DATA else "Value"
        pairs.append((name, amount(n.value, n.unit)))
    pairs.append(("Limit", condition(n)))
    if n.since is not None:
        pairs.append(("Since", moment(n.since)))
    if n.fired_at is not None:
        pairs.append(("Fired", moment(n.fired_at)))
    if n.kind is Kind.RESOLVED and n.since is not None:
        pairs.append(("Lasted", duration((n.at - n.since).total_seconds())))
    pairs.append(("At", moment(n.at)))
    if n.flapping:
        pairs.append(("Flapping", "held firing until it has been well for 15 min"))
    return [*pairs, *_annotations(n)]


def paragraphs(notification: Notification) -> tuple[str, ...]:
    """Return what is worth more than a line: who is concerned, what is to blame, the course."""
    parts: list[str] = []
    if notification.members:
        lines = [_member(each, notification) for each in notification.members]
        if (hidden := notification.member_count - len(lines)) > 0:
            lines.append(f"… and {hidden} more")
        parts.append("\n".join(lines))
    if notification.evidence:
        parts.append("\n".join(notification.evidence))
    if notification.sparkline:
        parts.append(notification.sparkline)
    return tuple(parts)


def how_to_look(notification: Notification) -> list[str]:
    """Return commands that show more; they run wherever hostpulse reaches its database."""
    return ["hostpulse alert list", f"hostpulse rule show {notification.rule}"]


def text(notification: Notification) -> str:
    """Return the whole message as plain text."""
    width = max(len(name) for name, _ in facts(notification)) + 1
    lines = [sentence(notification), ""]
    lines += [f"{name + ':':<{width}} {value}" for name, value in facts(notification)]
    for paragraph in paragraphs(notification):
        lines += ["", paragraph]
    if notification.ack_url:
        lines += ["", f"Acknowledge: {notification.ack_url}"]
    lines += ["", "To look further:", *(f"  {line}" for line in how_to_look(notification)), ""]
    return "\n".join(lines)


def html_page(notification: Notification) -> str:
    """Return the whole message as HTML that mail programs show: tables and inline styles only."""
    escape = html.escape
    rows = "".join(
        f'<tr><td style="padding:4px 16px 4px 0;color:#607d8b">{escape(name)}</td>'
        f'<td style="padding:4px 0">{_linked(value)}</td></tr>'
        for name, value in facts(notification)
    )
    more = "".join(
        '<pre style="margin:16px 0 0;padding:12px;background:#eceff1;font-size:13px;'
        f'white-space:pre-wrap">{escape(each)}</pre>'
        for each in paragraphs(notification)
        if each != notification.sparkline or notification.chart is None
    )
    if notification.chart is not None:
        more += (
            f'<img src="cid:{CHART_ID}" alt="the last hour" width="552" '
            'style="display:block;margin:16px 0 0;max-width:100%">'
        )
    if notification.ack_url:
        more += (
            f'<p style="margin:20px 0 0"><a href="{escape(notification.ack_url)}" '
            'style="display:inline-block;padding:10px 18px;background:#263238;color:#ffffff;'
            'text-decoration:none">Acknowledge</a></p>'
        )
    commands = "<br>".join(f"<code>{escape(line)}</code>" for line in how_to_look(notification))
    return (
        '<!doctype html><html><body style="margin:0;padding:24px;background:#eceff1;'
        'font-family:Helvetica,Arial,sans-serif;font-size:15px;color:#263238">'
        '<table role="presentation" style="width:100%;max-width:600px;margin:0 auto;'
        "background:#ffffff;"
        f'border-top:6px solid {colour(notification)}"><tr><td style="padding:24px">'
        f'<h1 style="margin:0 0 12px;font-size:19px">{escape(title(notification))}</h1>'
        f'<p style="margin:0 0 16px">{escape(sentence(notification))}</p>'
        f'<table role="presentation" style="border-collapse:collapse">{rows}</table>{more}'
        f'<p style="margin:16px 0 0;color:#607d8b">To look further:<br>{commands}</p>'
        "</td></tr></table></body></html>"
    )


def colour(notification: Notification) -> str:
    """Return the colour of a message as #rrggbb."""
    if notification.kind in {Kind.RESOLVED, Kind.TEST, Kind.ACKNOWLEDGED}:
        return COLOURS["good"]
    if notification.kind in {Kind.NO_DATA, Kind.WITHDRAWN, Kind.DATA_RETURNED}:
        return COLOURS["unknown"]
    return COLOURS[notification.severity]


def what(notification: Notification) -> str:
    """Return what is wrong, in short."""
    if notification.metric == OFFLINE_METRIC:
        if notification.labels.get("scope") == "fleet":
            return "many servers lost at once"
        return "ingest stalled" if notification.server is None else "agent offline"
    rules = {each.rule for each in notification.members}
    if len(rules) > 1:
        return f"{notification.member_count} alerts"
    return notification.rule.replace("_", " ")


def where(notification: Notification) -> str:
    """Return the server and what tells the series apart there."""
    if notification.members:
        servers = len({each.server for each in notification.members})
        everyone = len(notification.members) == notification.member_count
        if servers == len(notification.members):
            return f"{notification.member_count} servers"
        if servers > 1 or not everyone:
            return f"{servers} servers" if everyone else f"{notification.member_count} series"
        return notification.server or "all servers"
    if notification.server is None:
        return "many servers" if notification.labels.get("scope") == "fleet" else "all servers"
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


def _annotations(notification: Notification) -> list[tuple[str, str]]:
    return [
        (key.replace("_", " ").capitalize(), text) for key, text in notification.annotations.items()
    ]


def _member(member: Member, notification: Notification) -> str:
    """Write one of several alerts in a line."""
    labels = ", ".join(f"{key} {value}" for key, value in member.labels.items())
    place = f"{member.server or 'all servers'}{f' ({labels})' if labels else ''}"
    rule = "" if member.rule == notification.rule else f"{member.rule.replace('_', ' ')}, "
    return f"{member.severity:<8} {place}: {rule}{amount(member.value, member.unit)}"


def _linked(value: str) -> str:
    """Write a value in HTML; an address as a link, and no other scheme than that of the web."""
    text = html.escape(value)
    if value.startswith(("https://", "http://")) and " " not in value:
        return f'<a href="{text}" style="color:#1565c0">{text}</a>'
    return text


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
