"""The alert worker's composition root: pools, cycles and outbox, until a signal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import structlog

from alerting import dead_man, late, notifiers, worker
from alerting.channels import ChannelOpener
from alerting.outbox import Outbox
from hostpulse import lifecycle
from storage import database, schema, secrets

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from alerting.settings import AlertingSettings

STOP_GRACE_S = 5.0
HARD_STOP_S = 8.0
CYCLE_STATEMENT_S = 30.0
OUTBOX_STATEMENT_S = 10.0
OUTBOX_CONNECTIONS = 4

log = structlog.stdlib.get_logger(__name__)


async def run(
    settings: AlertingSettings, *, environment: Mapping[str, str] = os.environ, stop: asyncio.Event
) -> None:
    """Run until `stop` is set; evaluation and outbox never share a connection.

    Raises:
        ConfigError: the secret key is none.
        SchemaMismatch: migrations are missing.
    """
    keys = dict(environment)
    if settings.secret_key is not None:
        keys[secrets.VARIABLE] = settings.secret_key.get_secret_value()
    opener = ChannelOpener(
        box=secrets.SecretBox.load(keys, settings.data_dir),
        environment=environment,
        smtp_url=settings.smtp_url.get_secret_value() if settings.smtp_url else None,
        public_url=settings.public_url,
    )
    dsn = settings.database_url.get_secret_value()
    async with (
        database.open_pool(
            dsn, "alert cycle", max_size=1, statement_timeout_s=CYCLE_STATEMENT_S
        ) as cycle_pool,
        database.open_pool(
            dsn, "outbox", max_size=OUTBOX_CONNECTIONS, statement_timeout_s=OUTBOX_STATEMENT_S
        ) as outbox_pool,
    ):
        await worker.through_outages("start", lambda: _check_schema(cycle_pool), stop)
        cycles = worker.Worker(cycle_pool, interval_s=settings.alert_interval_s, stop=stop)
        outbox = Outbox(outbox_pool, opener=opener, notifiers=notifiers.NOTIFIERS, stop=stop)
        looker = late.LateLooker(outbox_pool, stop=stop)
        tasks = {
            "cycles": worker.through_outages("cycles", cycles.run, stop),
            "outbox": worker.through_outages("outbox", outbox.run, stop),
            "late": worker.through_outages("late", looker.run, stop),
        }
        if settings.heartbeat_url is not None:
            url = settings.heartbeat_url.get_secret_value()
            switch = dead_man.DeadMan(outbox_pool, url=url, stop=stop)
            tasks["heartbeat"] = worker.through_outages("heartbeat", switch.run, stop)
        log.info("alerting_started", interval_s=settings.alert_interval_s)
        await lifecycle.run_until_stopped(
            tasks,
            stop,
            grace_s=STOP_GRACE_S,
        )
    log.info("alerting_stopped")


async def _check_schema(pool: database.Pool) -> None:
    """Refuse a database that was not migrated, or that asks for a newer hostpulse."""
    async with pool.acquire(timeout=worker.ACQUIRE_MAX_S) as connection:
        await schema.check(connection)


async def serve(settings: AlertingSettings) -> None:
    """Run until SIGINT or SIGTERM."""
    async with lifecycle.until_signalled(end_within_s=HARD_STOP_S) as stop:
        await run(settings, stop=stop)
