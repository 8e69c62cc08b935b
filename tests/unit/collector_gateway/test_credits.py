from __future__ import annotations

import random

from collector_gateway.credits import IDLE_S, STREAM_MAX, Credits, Holder


class Stream:
    """An agent that notes what it may send."""

    def __init__(self, wanted):
        self.granted = 0
        self.holder = Holder(self.grant, wanted)

    def grant(self, batches):
        self.granted += batches


class Time:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def test_one_stream_gets_no_more_than_it_may_hold_and_more_as_its_batches_settle():
    credits, stream = Credits(1000), Stream(wanted=100)

    credits.join(stream.holder)
    assert stream.granted == STREAM_MAX

    for _ in range(STREAM_MAX):
        credits.spent(stream.holder)
        credits.settled(stream.holder)
    assert stream.granted == 100
    assert credits.free == 1000 - (100 - STREAM_MAX)


def test_a_stream_without_backlog_gets_nothing():
    credits, stream = Credits(1000), Stream(wanted=0)

    credits.join(stream.holder)

    assert (stream.granted, credits.free) == (0, 1000)


def test_streams_share_a_pool_that_is_too_small_in_turn():
    credits = Credits(100)
    streams = [Stream(wanted=1000) for _ in range(3)]
    for stream in streams:
        credits.join(stream.holder)
    assert [stream.granted for stream in streams] == [64, 36, 0]

    for _ in range(40):
        credits.spent(streams[0].holder)
    for _ in range(40):
        credits.settled(streams[0].holder)

    assert streams[2].granted == 40 or streams[2].granted > 0


def test_what_comes_as_fresh_or_never_needs_no_credit():
    credits, stream = Credits(100), Stream(wanted=70)
    credits.join(stream.holder)

    credits.unneeded(stream.holder, 10)

    assert stream.holder.wanted == 0
    assert stream.holder.unspent == 60
    assert credits.free == 40


def test_a_stream_that_ends_gives_back_what_it_did_not_use_at_once_and_the_rest_later():
    credits, stream = Credits(100), Stream(wanted=70)
    credits.join(stream.holder)
    credits.spent(stream.holder)

    credits.leave(stream.holder)
    assert credits.free == 99

    credits.settled(stream.holder)
    assert credits.free == 100


def test_credits_that_nobody_uses_go_to_others():
    time = Time()
    credits = Credits(64, now_s=time)
    idle, busy = Stream(wanted=64), Stream(wanted=10)
    credits.join(idle.holder)
    credits.join(busy.holder)
    assert busy.granted == 0

    time.now_s = IDLE_S + 1
    late = Stream(wanted=1)
    credits.join(late.holder)

    assert (busy.granted, late.granted) == (10, 1)


def test_the_pool_is_never_overdrawn_and_everything_comes_back():
    chance = random.Random(7)
    credits = Credits(200)
    streams = [Stream(wanted=chance.randrange(400)) for _ in range(30)]
    for stream in streams:
        credits.join(stream.holder)
    while active := [s for s in streams if s.holder.held or s.holder.wanted]:
        holder = chance.choice(active).holder
        if holder.queued and chance.random() < 0.5:
            credits.settled(holder)
        elif holder.unspent:
            credits.spent(holder)
        held = sum(stream.holder.held for stream in streams)
        assert credits.free == 200 - held >= 0

    assert credits.free == 200
