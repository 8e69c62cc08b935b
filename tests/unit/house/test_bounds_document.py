"""ARCHITECTURE.md states the bounds that the code has."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import (
    batches,
    channel,
    checkpoints,
    dropped,
    enrolling,
    outgoing,
    overlay,
    quarantine,
    redaction,
    runner,
    session,
    spool_room,
    uplink,
    workers,
)
from agent import buffer as agent_buffer
from agent.collectors import CollectorSettings, process_table
from alerting import app as alerting_app
from alerting import outbox, worker
from api import bodies, cadence
from cli import children, prepare, up
from collector_gateway import app as gateway_app
from collector_gateway import (
    auth,
    buckets,
    claims,
    config_push,
    credits,
    denials,
    descriptors,
    flusher,
    greeting,
    holding,
    http_server,
    ingest,
    intake,
    lanes,
    limits,
    live,
    logins,
    service,
    tokens,
    upkeep,
)
from collector_gateway import enrolling as requests
from collector_gateway import session as gateway_session
from hostpulse import patterns
from storage import configs, enrollments, keys, lateness, reading
from storage.engines import postgres

DOCUMENT = (Path(__file__).parents[3] / "ARCHITECTURE.md").read_text(encoding="utf-8")
MIB = 1024 * 1024
KIB = 1024
NS = 1_000_000_000


def count(number: int) -> str:
    """Write a number as the document does: 20 000."""
    return f"{number:,}".replace(",", " ")


BUFFER = agent_buffer.BufferBounds()
SPOOL = agent_buffer.SPOOL
TIMEOUTS = session.Timeouts()
STATED = {
    "memory": f"| {BUFFER.max_bytes // MIB} MiB and {BUFFER.max_age_s / 3600:g} h (settable) |",
    "spool": f"| spool | {SPOOL.max_bytes // MIB} MiB and {SPOOL.max_age_s / 3600:g} h (settable), "
    f"{spool_room.EPOCHS_MAX} epochs",
    "broken files": f"| broken spool files kept | {quarantine.KEPT_FILES} |",
    "checkpoint": f"checkpoint every {checkpoints.CHECKPOINT_IDLE_S / 60:g} minutes",
    "ranges": f"| reported ranges | {dropped.MAX_DROPPED_RANGES} |",
    "threads": f"| threads of collectors | {workers.ORDINARY_THREADS}, and one",
    "tick": f"| one tick | {runner.COLLECT_DEADLINE_S:g} s |",
    "mount": f"`statvfs` | {CollectorSettings().mount_timeout_s:g} s |",
    "new batch": f"| {batches.MAX_SAMPLES} samples, {batches.MAX_BYTES // KIB} KiB (or less",
    "announced": f"| {greeting.ANNOUNCED_MAX_SAMPLES} samples, "
    f"{greeting.ANNOUNCED_MAX_BYTES // KIB} KiB (or less",
    "window": f"| {outgoing.WINDOW_BATCHES}, of them {outgoing.BACKLOG_WINDOW_BATCHES} of the",
    "welcome": f"| connecting and Welcome | {TIMEOUTS.welcome_s:g} s |",
    "verdict": f"| a verdict | {TIMEOUTS.verdict_s:g} s |",
    "heartbeat": f"a heartbeat after {greeting.HEARTBEAT_INTERVAL_S:g} s",
    "keepalive": f"ping after {channel.KEEPALIVE_TIME_S} s, an answer within "
    f"{channel.KEEPALIVE_TIMEOUT_S} s",
    "silent peer": f"noticed within {channel.KEEPALIVE_TIME_S + channel.KEEPALIVE_TIMEOUT_S} s",
    "reconnect": f"| {uplink.RECONNECT.initial_s:g} s, doubling to "
    f"{uplink.RECONNECT.maximum_s:g} s, full jitter; refused by the gateway: "
    f"{uplink.REFUSED.minimum_s:g} to {uplink.REFUSED.maximum_s:g} s |",
    "finish": f"| {TIMEOUTS.finish_s:g} s for outstanding verdicts",
    "batch": f"| {count(intake.BATCH_MAX_SAMPLES)} samples, {intake.BATCH_MAX_BYTES // KIB} KiB |",
    "hello": f"| within {service.HELLO_TIMEOUT_S:g} s; {greeting.HELLO_MAX_BYTES // KIB} KiB, "
    f"{count(greeting.EPOCHS_MAX)} epochs, {greeting.ENTRIES_MAX} capabilities and families, "
    f"{count(greeting.TEXT_MAX_CHARS)} characters a fact |",
    "request to enrol": f"| a request to enrol | {requests.REQUEST_MAX_BYTES // KIB} KiB |",
    "in flight": f"| unsettled batches of a stream | {intake.IN_FLIGHT_MAX}, "
    f"and {intake.IN_FLIGHT_MAX_BYTES // KIB} KiB by weight |",
    "answers": f"| unread answers of a stream | {count(gateway_session.ANSWERS_MAX)} |",
    "queue": f"| ingest queue | {count(lanes.LIVE_MAX_BATCHES)} batches, "
    f"{lanes.LIVE_MAX_BYTES // MIB} MiB |",
    "backlog": f"| queue of the backlog | {count(lanes.BACKLOG_MAX_BATCHES)} batches, "
    f"{lanes.BACKLOG_MAX_BYTES // MIB} MiB, and as many credits, {credits.STREAM_MAX} a stream |",
    "flush": f"| {count(lanes.LIVE_FLUSH_BATCHES)} batches ({lanes.BACKLOG_FLUSH_BATCHES} of the "
    f"backlog), every {ingest.FLUSH_EVERY_S * 1000:g} ms at most, 15 s",
    "flush time": f"{flusher.FLUSH_TIMEOUT_S:g} s in all | tried again after "
    f"{flusher.BACKOFF.initial_s:g} s, doubling to {flusher.BACKOFF.maximum_s:g} s",
    "slow": f"one that took too long {flusher.SLOW_TRIES} times, in halves |",
    "tries": f"| {flusher.UNKNOWN_ERROR_TRIES} tries |",
    "claims": f"| {count(claims.QUEUE_MAX)} waiting, {claims.BATCH_MAX} a transaction, "
    f"{claims.CLAIM_TIMEOUT_S:g} s",
    "post": f"| {bodies.MAX_BYTES // KIB} KiB, {bodies.TIMEOUT_S:g} s to arrive, "
    f"{ingest.HTTP_WAIT_S:g} s to be stored |",
    "points": f"| {count(reading.MAX_POINTS)} points, read {count(reading.ROWS_AT_ONCE)} rows at a",
    "connections of an address": f"| {http_server.ADDRESS_MAX_CONNECTIONS} | the newest is closed",
    "header": f"| an HTTP header | {http_server.HEADER_MAX_BYTES // KIB} KiB, "
    f"{http_server.HEADER_WITHIN_S:g} s to arrive |",
    "unread answer": f"| an HTTP answer that nobody reads | {http_server.READ_WITHIN_S:g} s |",
    "failed logins": f"| {logins.FAILED_LOGINS.per_s:g} a second, "
    f"{logins.FAILED_LOGINS.burst:g} at once |",
    "opening streams": f"| {limits.STREAMS_OF_ADDRESS.per_s:g} a second an address, "
    f"{count(round(limits.STREAMS_OF_ADDRESS.burst))} at once; "
    f"{limits.STREAMS_OF_SERVER.per_s:g} a server, {limits.STREAMS_OF_SERVER.burst:g} at once |",
    "agents' connections": f"| {count(limits.STREAMS_MAX + descriptors.OTHERS)}, or what the limit "
    f"of open files leaves; {gateway_app.HANDSHAKE_MS // 1000} s to shake hands, "
    f"{gateway_app.IDLE_MS // 1000} s without a stream |",
    "open streams": f"| open streams | {count(limits.STREAMS_MAX)}; "
    f"{count(limits.STREAMS_MAX_CONNECTION)} a connection |",
    "turns of logins": f"the others wait for their turn, {logins.TURN_WITHIN_S:g} s at most |",
    "held refusals": f"| held for {holding.HOLD_S:g} s, {count(holding.HELD_MAX)} at once |",
    "callers": f"| callers whose pace is remembered | {count(buckets.CALLERS_MAX)} of each kind |",
    "rhythms": f"| servers whose posts' rhythm is known | {count(cadence.SERVERS_MAX)} |",
    "keys": f"| {count(auth.REMEMBERED_MAX)} good, {count(auth.REFUSED_MAX)} refused; "
    f"looked up again after {auth.RECHECK_NS // NS} s |",
    "live keys": f"all in one query every {live.NET_INTERVAL_S:g} s | what has ended",
    "denials": f"| {denials.KINDS_MAX} kinds a minute, each at once",
    "tokens": f"| {count(tokens.TOKEN_MAX_CHARACTERS)} characters, its file "
    f"{tokens.FILE_MAX_BYTES // KIB} KiB, looked at once a second |",
    "enrolment": f"| {count(keys.USES_MAX)} uses a token; a request waits for "
    f"{enrollments.PENDING_FOR.days} days |",
    "enrolling": f"| a call {enrolling.CALL_TIMEOUT_S:g} s; asked again after "
    f"{enrolling.ASK_AGAIN.minimum_s:g} to {enrolling.ASK_AGAIN.maximum_s:g} s, for an hour |",
    "trust": f"good for {auth.TRUSTED_WITHOUT_DATABASE_NS // NS // 60} minutes after",
    "cycle": f"| {worker.CYCLE_MAX_S:g} s, {alerting_app.CYCLE_STATEMENT_S:g} s a statement |",
    "outage": f"| {worker.RETRY.initial_s:g} s, doubling to {worker.RETRY.maximum_s:g} s |",
    "channels": f"| {outbox.MAX_CHANNELS_AT_ONCE}, one message each |",
    "send": f"| {outbox.SEND_MAX_S:g} s; its lease {outbox.LEASE.total_seconds():g} s |",
    "retries": f"| {outbox.RETRY.initial_s:g} s, doubling to {outbox.RETRY.maximum_s / 60:g} "
    f"minutes; {outbox.MAX_AGE.total_seconds() / 3600:g} h or {outbox.MAX_ATTEMPTS} attempts |",
    "database at start": f"| the database at start | {prepare.WAIT_S:g} s |",
    "gateway at start": f"| the gateway at start | {up.READY_WITHIN_S:g} s |",
    "restarts": f"{children.FAILURES_MAX} failures in {children.FAILURES_WINDOW_S:g} s |",
    "upkeep": f"every {upkeep.MAINTENANCE_INTERVAL_S / 60:g}",
    "partitions": f"stand-alone {postgres.AHEAD.days} days ahead",
    "pushed config": f"| {overlay.NAMES_MAX} names of {overlay.NAME_MAX_CHARACTERS} characters a "
    f"list; answers that wait: {outgoing.MAX_CONFIG_RESULTS} |",
    "command line": f"| {count(redaction.INPUT_MAX)} characters and {redaction.ARGUMENTS_MAX} "
    f"arguments are looked at, {process_table.ARGUMENTS_BYTES // KIB} KiB is sent |",
    "patterns": f"| {patterns.PATTERNS_MAX} of {patterns.PATTERN_MAX_CHARACTERS} characters, "
    f"{count(patterns.TEXT_MAX)} characters searched at once, {count(patterns.COST_MAX)} ways",
    "config push": f"looked up again after {config_push.CHECK_INTERVAL_S:g} s",
    "config listens": f"again after {config_push.RECONNECT.initial_s:g} s, doubling to "
    f"{config_push.RECONNECT.maximum_s:g} s |",
    "config scopes": f"| {count(configs.SCOPES_MAX)} scopes;",
    "lateness": f"accepted up to\n{lateness.ACCEPT_LATE.days} days late, "
    f"kept for {lateness.RAW_RETENTION.days}.",
}


@pytest.mark.parametrize("name", STATED)
def test_a_bound_is_stated_as_it_is(name: str) -> None:
    assert STATED[name] in DOCUMENT
