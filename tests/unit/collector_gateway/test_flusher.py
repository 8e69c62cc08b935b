from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import asyncpg
import pytest

from collector_gateway import flusher as module
from collector_gateway.flusher import Flusher
from collector_gateway.lanes import Outcome, Submission
from collector_gateway.metrics import Metrics
from hostpulse import backoff
from storage import ledger


class Pool:
    @asynccontextmanager
    async def acquire(self, timeout):
        yield self


class SlowTransactions:
    """A database that manages so many submissions before a statement times out."""

    def __init__(self, most, error):
        self.most = most
        self.error = error
        self.tried = []

    async def store(self, connection, work):
        self.tried.append(len(work))
        if len(work) > self.most:
            raise self.error
        for each in work:
            each.settle(Outcome.COMMITTED, "")
        return []


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(module, "BACKOFF", backoff.BackoffPolicy(initial_s=0.05, maximum_s=0.05))


def submissions(count, settled):
    return [
        Submission(
            server_id=1,
            taken=None,
            rows=dict,
            settle=lambda outcome, _detail, seq=seq: settled.append((seq, outcome)),
            batch=ledger.BatchId(server_id=1, epoch=5, seq=seq),
            touch=ledger.Touch(server_id=1),
        )
        for seq in range(1, count + 1)
    ]


@pytest.mark.parametrize(
    "error",
    [TimeoutError(), asyncpg.QueryCanceledError("statement timeout")],
    ids=["client", "server"],
)
async def test_a_transaction_that_never_ends_in_time_is_halved_until_it_does(error):
    transactions, settled = SlowTransactions(3, error), []
    flusher = Flusher(
        Pool(), transactions, repair=lambda: None, stop=asyncio.Event(), metrics=Metrics()
    )

    async with asyncio.timeout(10):
        await flusher.flush(submissions(8, settled))

    assert sorted(settled) == [(seq, Outcome.COMMITTED) for seq in range(1, 9)]
    assert transactions.tried == [8, 8, 8, 4, 4, 4, 2, 2, 4, 4, 4, 2, 2]


async def test_a_database_that_is_away_halves_nothing():
    settled, stop = [], asyncio.Event()
    transactions = SlowTransactions(0, ConnectionRefusedError())
    flusher = Flusher(Pool(), transactions, repair=lambda: None, stop=stop, metrics=Metrics())

    flushing = asyncio.create_task(flusher.flush(submissions(8, settled)))
    async with asyncio.timeout(10):
        while len(transactions.tried) < 8:
            await asyncio.sleep(0.01)
        stop.set()
        await flushing

    assert set(transactions.tried) == {8}
    assert settled == []
