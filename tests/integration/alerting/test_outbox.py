"""The outbox on a real database: leases, retries, order, restarts."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet

from alerting import channels, notifications
from alerting.outbox import Outbox
from hostpulse import backoff, errors
from storage import secrets
from tests import told

if TYPE_CHECKING:
    from alerting.notifications import Notification

AT_ONCE = backoff.BackoffPolicy(initial_s=0, maximum_s=0, minimum_s=0)


@dataclass
class Phone:
    """A notifier that does what it was told, and remembers what it was given."""

    name: str = "ops"
    answers: list[Exception | None] = field(default_factory=list)
    got: list[Notification] = field(default_factory=list)
    hold: asyncio.Event | None = None
    ringing: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, notification: Notification) -> None:
        self.got.append(notification)
        self.ringing.set()
        if self.hold is not None:
            await self.hold.wait()
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer


@pytest.fixture
async def queue(house, pool):
    """Put rows into the outbox, and make outboxes that send them by phone."""
    await house.connection.execute(
        "INSERT INTO channel (name, kind) VALUES ('ops', 'phone'), ('slow', 'phone')"
    )

    class Queue:
        def __init__(self) -> None:
            self.phones = {"ops": Phone(), "slow": Phone(name="slow")}

        async def put(self, key: str, *, alert: int = 1, channel: str = "ops", age_h: float = 0):
            payload = notifications.to_json(dataclasses.replace(told.CPU, dedup_key=key))
            await house.connection.execute(
                "INSERT INTO notification (created_at, alert_id, queue, channel, kind, dedup_key,"
                " payload, next_attempt_at) VALUES (now() - make_interval(secs => $5 * 3600), $1,"
                " 'alert ' || $1::bigint, $2, 'fired', $3, $4, now())",
                alert,
                channel,
                key,
                payload,
                float(age_h),
            )

        def outbox(self, **more) -> Outbox:
            box = secrets.SecretBox(Fernet.generate_key().decode())
            options = {"stop": asyncio.Event(), "retry": AT_ONCE, "poll_s": 0.01} | more
            return Outbox(
                pool,
                opener=channels.ChannelOpener(box=box, environment={}),
                notifiers={"phone": lambda channel: self.phones[channel.name]},
                **options,
            )

        async def rows(self) -> list[tuple]:
            rows = await house.connection.fetch(
                "SELECT dedup_key, state, attempts FROM notification ORDER BY id"
            )
            return [tuple(row) for row in rows]

        async def attempts(self) -> list[tuple]:
            rows = await house.connection.fetch(
                "SELECT attempt, outcome, error FROM notification_attempt ORDER BY 1"
            )
            return [tuple(row) for row in rows]

    return Queue()


async def test_what_is_sent_is_sent_once_and_recorded(queue):
    await queue.put("a")
    await queue.outbox().drain("ops")
    await queue.outbox().drain("ops")

    assert [n.dedup_key for n in queue.phones["ops"].got] == ["a"]
    assert await queue.rows() == [("a", "sent", 1)]
    assert await queue.attempts() == [(1, "sent", None)]


async def test_a_failure_for_now_is_tried_again_and_each_attempt_recorded(queue):
    queue.phones["ops"].answers = [errors.Retryable("busy"), errors.Retryable("busy"), None]
    await queue.put("a")

    await queue.outbox().drain("ops")

    assert await queue.rows() == [("a", "sent", 3)]
    assert await queue.attempts() == [(1, "retry", "busy"), (2, "retry", "busy"), (3, "sent", None)]


async def test_a_failure_for_good_ends_it(queue):
    queue.phones["ops"].answers = [errors.Permanent("no such mailbox")]
    await queue.put("a")

    await queue.outbox().drain("ops")

    assert await queue.rows() == [("a", "failed", 1)]
    assert await queue.attempts() == [(1, "failed", "no such mailbox")]


async def test_a_defect_of_a_notifier_stops_nobody_and_shows_no_secret(queue):
    queue.phones["ops"].answers = [RuntimeError("token=secret"), None]
    await queue.put("a")

    await queue.outbox().drain("ops")

    assert await queue.rows() == [("a", "sent", 2)]
    assert (await queue.attempts())[0] == (1, "retry", "unexpected RuntimeError")


async def test_the_other_sides_patience_is_honoured(queue, house):
    queue.phones["ops"].answers = [errors.Retryable("slow down", after_s=120)]
    await queue.put("a")

    await queue.outbox().drain("ops")

    wait = await house.connection.fetchval("SELECT next_attempt_at - now() FROM notification")
    assert timedelta(seconds=110) < wait <= timedelta(seconds=120)
    assert len(queue.phones["ops"].got) == 1


async def test_a_day_old_message_is_given_up(queue):
    queue.phones["ops"].answers = [errors.Retryable("busy")]
    await queue.put("a", age_h=24)

    await queue.outbox().drain("ops")

    assert await queue.rows() == [("a", "failed", 1)]


async def test_messages_of_one_alert_keep_their_order(queue):
    queue.phones["ops"].answers = [errors.Retryable("busy", after_s=60)]
    await queue.put("fired")
    await queue.put("resolved")
    await queue.put("other", alert=2)

    await queue.outbox().drain("ops")

    assert [n.dedup_key for n in queue.phones["ops"].got] == ["fired", "other"]


async def test_two_outboxes_never_send_the_same_message(queue):
    for n in range(20):
        await queue.put(f"{n}", alert=n)

    await asyncio.gather(*(queue.outbox().drain("ops") for _ in range(3)))

    assert sorted(int(n.dedup_key) for n in queue.phones["ops"].got) == list(range(20))


async def test_nothing_is_locked_during_a_send_and_a_dead_workers_lease_is_taken_over(queue, house):
    phone = queue.phones["ops"]
    phone.hold = asyncio.Event()
    await queue.put("a")
    dead = asyncio.create_task(queue.outbox().drain("ops"))
    await phone.ringing.wait()
    locked = await house.connection.fetchval(
        "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
        " WHERE c.relname = 'notification' AND l.pid <> pg_backend_pid()"
    )
    dead.cancel()
    await asyncio.gather(dead, return_exceptions=True)
    phone.hold = None
    await queue.outbox().drain("ops")
    before = await queue.rows()
    await house.connection.execute("UPDATE notification SET leased_until = now() - interval '1 s'")
    await queue.outbox().drain("ops")

    assert locked == 0
    assert before == [("a", "pending", 1)]
    assert await queue.rows() == [("a", "sent", 2)]
    assert [n.dedup_key for n in phone.got] == ["a", "a"]


async def test_a_slow_channel_delays_no_other(queue):
    queue.phones["slow"].hold = asyncio.Event()
    await queue.put("a", channel="slow")
    await queue.put("b", channel="ops")
    stop = asyncio.Event()
    running = asyncio.create_task(queue.outbox(stop=stop).run())

    async with asyncio.timeout(5):
        await queue.phones["slow"].ringing.wait()
        await queue.phones["ops"].ringing.wait()
    queue.phones["slow"].hold.set()
    stop.set()
    await running

    assert await queue.rows() == [("a", "sent", 1), ("b", "sent", 1)]


async def test_a_removed_channel_ends_its_messages(queue, house):
    await queue.put("a")
    await house.connection.execute("DELETE FROM channel")

    await queue.outbox().drain("ops")

    assert await queue.rows() == [("a", "failed", 1)]


async def test_who_lost_the_lease_records_nothing(queue, house):
    phone = queue.phones["ops"]
    phone.hold = asyncio.Event()
    await queue.put("a")
    sending = asyncio.create_task(queue.outbox().drain("ops"))
    await phone.ringing.wait()
    await house.connection.execute("UPDATE notification SET lease = gen_random_uuid()")
    phone.hold.set()

    await sending

    assert await queue.rows() == [("a", "pending", 1)]
    assert await queue.attempts() == []


async def test_the_hundredth_failure_is_the_last(queue, house):
    queue.phones["ops"].answers = [errors.Retryable("busy")] * 3
    await queue.put("a")
    await house.connection.execute("UPDATE notification SET attempts = 98")

    await queue.outbox().drain("ops")

    assert await queue.rows() == [("a", "failed", 100)]
