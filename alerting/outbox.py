"""The outbox: sends what the cycles have written down, beside them and at its own pace.

A row is *leased* in a short transaction, sent with nothing locked, and *settled* in another one. A
worker that dies in between leaves a lease that runs out, and somebody else sends again: at least
once outside, with the same dedup key. One task for each channel, so that a slow mail server
delays nobody but its own readers; messages of one alert go to a channel in their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import structlog

from alerting import channels, evidence, links, notifications
from alerting.notifications import Kind
from alerting.notifiers import UpdatingNotifier
from hostpulse import backoff, errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alerting.channels import Channel, StoredChannel
    from alerting.notifications import Notification
    from alerting.notifiers import Notifier
    from storage.database import Pool

POLL_S = 1.0
EVIDENCE_MAX_S = 3.0
LEASE = timedelta(seconds=180)  # longer than any send lasts
SEND_MAX_S = 120.0
SETTLE_MAX_S = 15.0
ACQUIRE_MAX_S = 5.0
MAX_AGE = timedelta(hours=24)
MAX_ATTEMPTS = 100
MAX_CHANNELS_AT_ONCE = 16
ERROR_MAX_CHARACTERS = 500
RETRY = backoff.BackoffPolicy(initial_s=5.0, maximum_s=900.0, multiplier=2.0, minimum_s=1.0)

log = structlog.stdlib.get_logger(__name__)

_DUE = """
    SELECT DISTINCT channel FROM notification
    WHERE state = 'pending' AND next_attempt_at <= now()
      AND (leased_until IS NULL OR leased_until < now())
"""

_LEASE = """
    WITH picked AS (
      SELECT n.id FROM notification n
      WHERE n.state = 'pending' AND n.channel = $1 AND n.next_attempt_at <= now()
        AND (n.leased_until IS NULL OR n.leased_until < now())
        AND NOT EXISTS (
          SELECT FROM notification earlier
          WHERE earlier.channel = n.channel AND earlier.queue = n.queue AND n.queue <> ''
            AND earlier.state = 'pending' AND earlier.id < n.id)
        -- A group (queue '') waits for what is earlier about any of its alerts, and they for it.
        AND NOT EXISTS (
          SELECT FROM notification earlier
          WHERE earlier.channel = n.channel AND earlier.queue = ''
            AND earlier.state = 'pending' AND earlier.id < n.id
            AND earlier.alert_ids && n.alert_ids)
        AND NOT (n.queue = '' AND EXISTS (
          SELECT FROM unnest(n.alert_ids) AS member(id)
          JOIN notification earlier
            ON earlier.channel = n.channel AND earlier.queue = 'alert ' || member.id
          WHERE earlier.state = 'pending' AND earlier.id < n.id))
      ORDER BY n.next_attempt_at, n.id
      LIMIT 1
      FOR UPDATE SKIP LOCKED
    )
    UPDATE notification n
    SET leased_until = now() + $2, lease = $3, attempts = attempts + 1
    FROM picked WHERE n.id = picked.id
    RETURNING n.id, n.channel, n.kind, n.payload, n.attempts, n.dedup_key,
              now() - n.created_at AS age
"""

# Nothing happens when the lease ran out and another worker took the row over.
_SETTLE = """
    WITH settled AS (
      UPDATE notification
      SET state = $3, last_error = $4, lease = NULL, leased_until = NULL,
          next_attempt_at = now() + $5,
          finished_at = CASE WHEN $3 <> 'pending' THEN now() END
      WHERE id = $1 AND lease = $2
      RETURNING id, attempts, channel
    ), counted AS (
      INSERT INTO alert_send_count AS known (kind, outcome, sends)
      SELECT coalesce((SELECT kind FROM channel c WHERE c.name = s.channel), 'removed'), $6, 1
      FROM settled s
      ON CONFLICT (kind, outcome) DO UPDATE SET sends = known.sends + 1
    )
    INSERT INTO notification_attempt (notification_id, attempt, outcome, error)
    SELECT id, attempts, $6, $4 FROM settled
    ON CONFLICT (notification_id, attempt) DO NOTHING
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """A notification that this worker alone may send until the lease runs out."""

    id: int
    lease: uuid.UUID
    channel: str
    kind: str
    payload: Mapping[str, object]
    attempts: int
    dedup_key: str
    age: timedelta


class Outbox:
    """Sends what is due until stopped.

    Args:
        pool: of the outbox alone.
        opener: gets the secrets of channels.
        notifiers: makes the notifier of a channel, by kind.
        stop: set once; the send in progress is then finished.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        opener: channels.ChannelOpener,
        notifiers: Mapping[str, Callable[[Channel], Notifier]],
        stop: asyncio.Event,
        retry: backoff.BackoffPolicy = RETRY,
        poll_s: float = POLL_S,
        lease: timedelta = LEASE,
        pause: backoff.Pause = backoff.pause,
    ) -> None:
        self._pool = pool
        self._opener = opener
        self._notifiers = notifiers
        self._stop = stop
        self._retry = retry
        self._poll_s = poll_s
        self._lease_time = lease
        self._pause = pause
        self._busy: dict[str, asyncio.Task[int]] = {}

    async def run(self) -> None:
        """Look for work every second, and give each channel that has some a task of its own.

        Raises:
            PostgresError, OSError, TimeoutError: the database is away; call again later.
        """
        try:
            while not self._stop.is_set():
                await self._start_channels()
                await self._pause(self._poll_s, self._stop)
            await asyncio.gather(*self._busy.values())
        except Exception:
            if self._busy:  # what is being sent may still be recorded
                await asyncio.wait(self._busy.values(), timeout=SETTLE_MAX_S)
            raise
        finally:
            for task in self._busy.values():
                task.cancel()  # the leases run out and are taken over
            await asyncio.gather(*self._busy.values(), return_exceptions=True)
            self._busy.clear()

    async def _start_channels(self) -> None:
        """Start a task for each channel with work that has none; see how the others ended."""
        for name, task in list(self._busy.items()):
            if task.done():
                del self._busy[name]
                task.result()
        async with self._pool.acquire(timeout=ACQUIRE_MAX_S) as connection:
            due = await connection.fetch(_DUE)
        for row in due:
            if row["channel"] not in self._busy and len(self._busy) < MAX_CHANNELS_AT_ONCE:
                name = row["channel"]
                self._busy[name] = asyncio.create_task(self.drain(name), name=f"outbox {name}")

    async def drain(self, channel: str) -> int:
        """Send what is due on one channel, one after the other; return how many were tried."""
        tried = 0
        while not self._stop.is_set() and (leased := await self._lease(channel)) is not None:
            await self._deliver(leased)
            tried += 1
        return tried

    async def _lease(self, channel: str) -> Leased | None:
        """Take the next message of a channel; None when there is none."""
        token = uuid.uuid4()
        async with self._pool.acquire(timeout=ACQUIRE_MAX_S) as connection:
            row = await connection.fetchrow(_LEASE, channel, self._lease_time, token)
        return None if row is None else Leased(lease=token, **dict(row))

    async def _deliver(self, leased: Leased) -> None:
        """Send one message and record what came of it."""
        failure: errors.HostpulseError | None = None
        try:
            async with asyncio.timeout(SEND_MAX_S):
                await self._send(leased)
        except (errors.Retryable, errors.Permanent) as error:
            failure = error
        except TimeoutError:
            failure = errors.Retryable(f"not sent within {SEND_MAX_S:g} s")
        except Exception as error:
            # A defect of a notifier must not stop the others. Its text might hold a secret.
            log.exception("notifier_failed", channel=leased.channel, notification=leased.id)
            failure = errors.Retryable(f"unexpected {type(error).__name__}")
        # The message may be out: what came of it is worth waiting for, also during a stop.
        async with asyncio.timeout(SETTLE_MAX_S):
            await asyncio.shield(self._settle(leased, failure))

    async def _send(self, leased: Leased) -> None:
        """Find the channel and let its notifier send."""
        async with self._pool.acquire(timeout=ACQUIRE_MAX_S) as connection:
            stored = await channels.find(connection, leased.channel)
        notification = _read(leased)
        if stored is None:
            raise errors.Permanent("the channel was removed")
        if not stored.enabled:
            raise errors.Permanent("the channel is disabled")
        notification = self._with_link(await self._with_evidence(notification))
        notifier = self._notifier(stored)
        if isinstance(notifier, UpdatingNotifier):
            posted = await self._posted(leased.channel, notification.thread)
            place = await notifier.send_after(notification, posted)
            await self._remember(leased.channel, notification.thread, place)
        else:
            await notifier.send(notification)

    async def _with_evidence(self, notification: Notification) -> Notification:
        """Add what is to blame; a message without it is better than none."""
        try:
            async with (
                asyncio.timeout(EVIDENCE_MAX_S),
                self._pool.acquire(timeout=ACQUIRE_MAX_S) as connection,
            ):
                return await evidence.add(connection, notification)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            log.warning("evidence_missing", error=f"{type(error).__name__}: {error}"[:300])
            return notification

    def _with_link(self, notification: Notification) -> Notification:
        """Add the link that acknowledges, where there is something to acknowledge."""
        if self._opener.public_url is None or not notification.is_open:
            return notification
        if notification.kind in {Kind.TEST, Kind.ACKNOWLEDGED, Kind.RESOLVED, Kind.WITHDRAWN}:
            return notification
        now = datetime.now(UTC)
        link = links.make(self._opener.box, self._opener.public_url, notification, now)
        return dataclasses.replace(notification, ack_url=link)

    async def _posted(self, channel: str, thread: str) -> Mapping[str, str] | None:
        """Return where the message of a firing is; None when there is none yet."""
        async with self._pool.acquire(timeout=ACQUIRE_MAX_S) as connection:
            return await connection.fetchval(
                "SELECT place FROM posted_message WHERE channel = $1 AND thread = $2",
                channel,
                thread,
            )

    async def _remember(self, channel: str, thread: str, place: Mapping[str, str]) -> None:
        """Keep where the message of a firing is."""
        async with self._pool.acquire(timeout=ACQUIRE_MAX_S) as connection:
            await connection.execute(
                "INSERT INTO posted_message (channel, thread, place) VALUES ($1, $2, $3)"
                " ON CONFLICT (channel, thread) DO UPDATE SET place = excluded.place,"
                " posted_at = now()",
                channel,
                thread,
                dict(place),
            )

    def _notifier(self, stored: StoredChannel) -> Notifier:
        """Make the notifier of a channel."""
        make = self._notifiers.get(stored.kind)
        if make is None:
            raise errors.Permanent(f"this version knows no channels of kind {stored.kind}")
        try:
            return make(self._opener.open(stored))
        except errors.ConfigError as error:
            raise errors.Retryable(str(error)) from error

    async def _settle(self, leased: Leased, failure: errors.HostpulseError | None) -> None:
        """Record an attempt, and when to try again if it failed for now."""
        state, outcome, delay_s = "sent", "sent", 0.0
        if failure is not None:
            server_delay_s = failure.after_s if isinstance(failure, errors.Retryable) else None
            delays = backoff.delays(self._retry)
            nth = next(itertools.islice(delays, leased.attempts - 1, None))
            delay_s = backoff.honoured(nth, server_delay_s)
            is_final = (
                isinstance(failure, errors.Permanent)
                or leased.kind == Kind.TEST  # whoever waits for it wants to know now
                or leased.attempts >= MAX_ATTEMPTS
                or leased.age + timedelta(seconds=delay_s) >= MAX_AGE
            )
            state, outcome = ("failed", "failed") if is_final else ("pending", "retry")
        message = None if failure is None else str(failure)[:ERROR_MAX_CHARACTERS]
        async with self._pool.acquire(timeout=ACQUIRE_MAX_S) as connection:
            await connection.execute(
                _SETTLE,
                leased.id,
                leased.lease,
                state,
                message,
                timedelta(seconds=delay_s),
                outcome,
            )
        self._tell(leased, outcome, message)

    def _tell(self, leased: Leased, outcome: str, message: str | None) -> None:
        """Log what people must know: the first failure, the last one, and what arrived."""
        facts = {"channel": leased.channel, "dedup_key": leased.dedup_key}
        if outcome == "sent":
            log.info("notification_sent", attempts=leased.attempts, **facts)
        elif outcome == "failed":
            log.error("notification_failed", attempts=leased.attempts, error=message, **facts)
        elif leased.attempts == 1:
            log.warning("notification_delayed", error=message, **facts)


def _read(leased: Leased) -> Notification:
    """Read the stored message.

    Raises:
        Permanent: it can't be read, and never will be.
    """
    with contextlib.suppress(ValueError, TypeError):
        return notifications.from_json(leased.payload)
    raise errors.Permanent("the stored notification can't be read")
