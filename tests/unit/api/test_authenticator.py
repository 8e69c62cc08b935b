from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from collector_gateway import auth
from hostpulse import clock, errors
from storage import keys


class KeyTable:
    """A pool whose one table is api_key, and which counts how often it is asked."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, object]] = {}
        self.away: Exception | None = None
        self.asked = 0
        self.touched: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def add(self, plaintext: str, **columns: object) -> None:
        self.rows[plaintext[3:11]] = {
            "id": len(self.rows) + 1,
            "prefix": plaintext[3:11],
            "role": "admin",
            "server_names": [],
            "note": None,
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
            "created_by": "test",
            "expires_at": None,
            "last_used_at": None,
            "revoked_at": None,
            "replaces": None,
            "uses_left": None,
            "key_sha256": hashlib.sha256(plaintext.encode()).digest(),
            "valid": True,
        } | columns

    @asynccontextmanager
    async def acquire(self, *, timeout: float):
        if self.away:
            raise self.away
        yield self

    async def fetchrow(self, _query: str, prefix: str):
        self.asked += 1
        await self.gate.wait()
        return self.rows.get(prefix)

    async def execute(self, _query: str, key_ids: list[int]) -> None:
        self.touched.append(key_ids)


@pytest.fixture
def time() -> clock.ManualClock:
    return clock.ManualClock()


@pytest.fixture
def table() -> KeyTable:
    return KeyTable()


@pytest.fixture
def authenticator(table, time) -> auth.Authenticator:
    return auth.Authenticator(table, clock=time)


async def test_a_good_key_is_its_principal(authenticator, table):
    key = keys.generate()
    table.add(key, role="agent", server_names=["web-1"])

    who = await authenticator.authenticate(key)

    assert (who.role, who.server_names) == (keys.Role.AGENT, {"web-1"})
    assert who.may_write("web-1")
    assert not who.may_write("web-2")
    assert not who.may_read
    assert not who.is_admin


@pytest.mark.parametrize("key", [None, "", "nonsense", "hp_12345678_short", "\0"])
async def test_what_is_no_key_costs_no_query(authenticator, table, key):
    with pytest.raises(auth.Unauthenticated):
        await authenticator.authenticate(key)

    assert table.asked == 0


async def test_a_good_key_is_looked_up_at_most_once_a_second(authenticator, table, time):
    key = keys.generate()
    table.add(key)
    for _ in range(10):
        await authenticator.authenticate(key)
    assert table.asked == 1

    time.advance(1)
    await authenticator.authenticate(key)

    assert table.asked == 2


async def test_a_revoked_key_is_refused_within_a_second(authenticator, table, time):
    key = keys.generate()
    table.add(key)
    await authenticator.authenticate(key)

    table.add(key, valid=False)
    time.advance(1)

    with pytest.raises(auth.Unauthenticated):
        await authenticator.authenticate(key)
    table.away = ConnectionRefusedError()
    time.advance(1)
    with pytest.raises(errors.Retryable):
        await authenticator.authenticate(key)


async def test_an_unknown_key_costs_one_query_a_second(authenticator, table, time):
    key = keys.generate()
    for _ in range(10):
        with pytest.raises(auth.Unauthenticated):
            await authenticator.authenticate(key)
    assert table.asked == 1

    time.advance(1)
    table.add(key)

    assert (await authenticator.authenticate(key)).is_admin


async def test_those_who_ask_for_the_same_key_at_once_share_one_query(authenticator, table):
    key = keys.generate()
    table.add(key)
    table.gate.clear()
    asking = [asyncio.create_task(authenticator.authenticate(key)) for _ in range(10)]
    await asyncio.sleep(0)

    asking[0].cancel()
    await asyncio.sleep(0)
    table.gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(isinstance(each, auth.Principal) for each in answers[1:])
    assert table.asked == 1


@pytest.mark.parametrize(
    "away", [ConnectionRefusedError(), TimeoutError(), OSError("no route")], ids=lambda e: str(e)
)
async def test_without_the_database_a_key_stays_good_for_five_minutes(
    authenticator, table, time, away
):
    key = keys.generate()
    table.add(key)
    await authenticator.authenticate(key)
    table.away = away

    for _ in range(299):
        time.advance(1)
        assert (await authenticator.authenticate(key)).is_admin
    time.advance(1)

    with pytest.raises(errors.Retryable):
        await authenticator.authenticate(key)
    table.away = None
    assert (await authenticator.authenticate(key)).is_admin


async def test_without_the_database_an_unknown_key_is_neither_good_nor_refused(
    authenticator, table
):
    table.away = ConnectionRefusedError()

    with pytest.raises(errors.Retryable):
        await authenticator.authenticate(keys.generate())


async def test_a_key_that_expires_between_two_looks_is_refused(authenticator, table, time):
    key = keys.generate()
    now = datetime.fromtimestamp(time.wall_ns() / 1e9, UTC)
    table.add(key, expires_at=now + timedelta(seconds=0.5))
    await authenticator.authenticate(key)

    time.advance(0.6)

    with pytest.raises(auth.Unauthenticated):
        await authenticator.authenticate(key)
    assert table.asked == 1


async def test_use_is_written_down_once_a_minute(authenticator, table, time):
    key = keys.generate()
    table.add(key)

    for _ in range(90):
        await authenticator.authenticate(key)
        time.advance(1)

    assert table.touched == [[1], [1]]


async def test_what_is_remembered_is_bounded(authenticator, table, monkeypatch):
    monkeypatch.setattr(auth, "REMEMBERED_MAX", 3)
    monkeypatch.setattr(auth, "REFUSED_MAX", 3)
    good = [keys.generate() for _ in range(5)]
    for key in good:
        table.add(key)

    for key in good:
        await authenticator.authenticate(key)
        with pytest.raises(auth.Unauthenticated):
            await authenticator.authenticate(keys.generate())
    asked = table.asked
    await authenticator.authenticate(good[-1])
    assert table.asked == asked
    await authenticator.authenticate(good[0])

    assert table.asked == asked + 1


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearer k", "k"),
        ("bearer  k ", "k"),
        ("Basic k", None),
    ],
)
def test_the_key_is_what_follows_bearer(header, key):
    assert auth.bearer(header) == key
