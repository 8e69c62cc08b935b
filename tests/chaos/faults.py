"""What can go wrong: each fault strikes one target, and is over some time later."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg

from tests.chaos.cluster import Agent, pass_time
from tests.e2e.processes import children_of, say

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from tests.chaos.cluster import Cluster
    from tests.chaos.proxy import Proxy
    from tests.e2e.fleet import Gateway

STOP_WITHIN_S = 15.0  # a gateway takes 8 s at most, an agent 5
PAUSE_S = (0.1, 1.3)  # between the beginnings of two faults


@dataclass
class Fault:
    """A fault that has begun: what it is, what it strikes, and what ends it when."""

    kind: str
    target: str
    until_s: float
    end: Callable[[], None]


@dataclass
class Chaos:
    """A seeded schedule of faults on one cluster."""

    cluster: Cluster
    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    going_on: list[Fault] = field(default_factory=list)

    def strike(self, faults: int) -> None:
        """Let so many faults happen, several at once, and all of them end."""
        for number in range(faults):
            pass_time(self.chance.uniform(*PAUSE_S), self.cluster)
            self._end_those_over()
            fault = self._begin()
            if fault is None:
                number -= 1
                continue
            self.counts[fault.kind] += 1
            say(f"{time.strftime('%X')} {fault.kind} {fault.target}")
            self.going_on.append(fault)
        while self.going_on:
            pass_time(0.1, self.cluster)
            self._end_those_over()
        self.cluster.postgres.wait()

    def _end_those_over(self) -> None:
        for fault in [each for each in self.going_on if each.until_s <= time.monotonic()]:
            fault.end()
            self.going_on.remove(fault)

    def _begin(self) -> Fault | None:
        """Begin a fault on something that none strikes just now."""
        busy = {each.target for each in self.going_on}
        makers: list[tuple[float, str, Callable[[], Fault]]] = []
        for agent in self.cluster.agents:
            makers.append((2, agent.name, lambda a=agent: self._kill_agent(a)))
            makers.append((1, agent.name, lambda a=agent: self._freeze(a.name, [a.pid])))
            makers.append((1, agent.name, lambda a=agent: self._stop(a, 0.0, 2.0)))
        for gateway in self.cluster.gateways:
            makers.append((3, gateway.name, lambda g=gateway: self._kill_gateway(g)))
            makers.append((2, gateway.name, lambda g=gateway: self._freeze_gateway(g)))
            makers.append((1, gateway.name, lambda g=gateway: self._stop(g, 2.0, 6.0)))
        for number, proxy in enumerate(self.cluster.proxies):
            name = f"proxy-{number}"
            makers.append((2, name, lambda p=proxy, n=name: self._cut(p, n)))
            makers.append((2, name, lambda p=proxy, n=name: self._hold(p, n)))
            makers.append((1, name, lambda p=proxy, n=name: self._refuse(p, n)))
        makers.append((2, "postgres", self._kill_postgres))
        makers.append((2, "postgres", self._slow_database))
        makers.append((1, "postgres", self._freeze_postgres))
        free = [(weight, make) for weight, target, make in makers if target not in busy]
        if not free:
            return None
        (make,) = self.chance.choices([m for _, m in free], [weight for weight, _ in free])
        return make()

    def _fault(
        self, kind: str, target: str, least_s: float, most_s: float, end: Callable[[], None]
    ) -> Fault:
        until_s = time.monotonic() + self.chance.uniform(least_s, most_s)
        return Fault(kind=kind, target=target, until_s=until_s, end=end)

    def _kill_agent(self, agent: Agent) -> Fault:
        agent.end(signal.SIGKILL)
        return self._fault("kill agent", agent.name, 0.1, 1.5, agent.start)

    def _kill_gateway(self, gateway: Gateway) -> Fault:
        gateway.end(signal.SIGKILL)
        return self._fault("kill gateway", gateway.name, 0.1, 1.5, lambda: _ignore(gateway.start()))

    def _stop(self, stopped: Agent | Gateway, least_s: float, most_s: float) -> Fault:
        """Have a process end in order, and start it again once it is gone."""
        assert stopped.process is not None
        ending = stopped.process.popen
        ending.send_signal(signal.SIGTERM)

        def end() -> None:
            ending.wait(timeout=STOP_WITHIN_S)
            stopped.start()

        kind = "stop agent" if isinstance(stopped, Agent) else "stop gateway"
        return self._fault(kind, stopped.name, least_s, most_s, end)

    def _freeze_gateway(self, gateway: Gateway) -> Fault:
        assert gateway.process is not None
        return self._freeze(gateway.name, [gateway.process.pid])

    def _freeze_postgres(self) -> Fault:
        process = self.cluster.postgres.process
        assert process is not None
        return self._freeze("postgres", [process.pid, *children_of(process.pid)])

    def _freeze(self, target: str, pids: Sequence[int]) -> Fault:
        for pid in pids:
            _signal(pid, signal.SIGSTOP)

        def end() -> None:
            for pid in pids:
                _signal(pid, signal.SIGCONT)

        # Longer than idle_in_transaction_session_timeout now and then.
        kind = "freeze postgres" if target == "postgres" else "freeze"
        return self._fault(kind, target, 0.3, 6.0, end)

    def _cut(self, proxy: Proxy, name: str) -> Fault:
        proxy.cut()
        return self._fault("cut connections", name, 0.0, 0.1, proxy.heal)

    def _hold(self, proxy: Proxy, name: str) -> Fault:
        proxy.hold()
        return self._fault("black hole", name, 0.3, 5.0, proxy.heal)

    def _refuse(self, proxy: Proxy, name: str) -> Fault:
        proxy.refuse()
        return self._fault("refuse connections", name, 0.3, 3.0, proxy.heal)

    def _kill_postgres(self) -> Fault:
        self.cluster.postgres.kill()

        def end() -> None:
            self.cluster.postgres.start()
            self.cluster.postgres.wait()

        return self._fault("kill postgres", "postgres", 0.0, 1.5, end)

    def _slow_database(self) -> Fault:
        seconds = self.chance.uniform(0.5, 3.0)
        thread = threading.Thread(
            target=lambda: asyncio.run(_lock_ledger(self.cluster.postgres.dsn, seconds))
        )
        thread.start()
        return self._fault("slow database", "postgres", seconds, seconds + 0.5, thread.join)


async def _lock_ledger(dsn: str, seconds: float) -> None:
    """Hold a lock that every flush needs."""
    try:
        connection = await asyncpg.connect(dsn, timeout=2)
        async with connection.transaction():
            await connection.execute("LOCK ingest_ledger IN EXCLUSIVE MODE")
            await asyncio.sleep(seconds)
        await connection.close(timeout=2)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return  # it is down already


def _signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone, as a connection of PostgreSQL."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _ignore(_result: object) -> None:
    """Forget what came back."""
