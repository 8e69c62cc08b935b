"""From real load on one core to one e-mail, and one more when it is over."""

from __future__ import annotations

import email
import os
import sys
from datetime import UTC, datetime, timedelta
from email import policy
from typing import TYPE_CHECKING

import pytest
from aiosmtpd.controller import Controller

from tests.e2e.processes import free_port, until
from tests.e2e.system import SERVER, System, query

if TYPE_CHECKING:
    from collections.abc import Generator
    from email.message import EmailMessage

    from tests.e2e.processes import Ground

RULE = "cpu_usage"
LOAD_S = 70
FOR_S = 30
INTERVAL_S = 5
EVALUATION_S = 10.0  # between two
SLACK_S = 5.0  # for the evaluation itself, the outbox and the mail server
# Only niced work counts as `nice`, so what else this machine does can neither breach nor keep from
# recovering; one step down, so that the load still gets its share of a busy core.
METRIC = "cpu.nice_percent"
BURN = """
import os, sys, time
os.nice(1)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    sum(range(10_000))
"""


class Mailbox:
    """What a mail server was given, and when."""

    def __init__(self) -> None:
        self.mails: list[tuple[datetime, EmailMessage]] = []

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        content = getattr(envelope, "content", b"")
        mail = email.message_from_bytes(content, policy=policy.default)
        self.mails.append((datetime.now(UTC), mail))
        return "250 taken"

    def about(self, word: str) -> list[tuple[datetime, str]]:
        """Return the arrival and text of the mails of our rule; others may have their reasons."""
        return [
            (at, mail.get_body(("plain",)).get_content())
            for at, mail in list(self.mails)
            if mail["Subject"].startswith(f"[{word}] {RULE.replace('_', ' ')}")
        ]


@pytest.fixture
def mail_server() -> Generator[tuple[Mailbox, str]]:
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield mailbox, f"smtp://127.0.0.1:{controller.port}?from=hostpulse@example.org"
    controller.stop()


@pytest.mark.timeout(210)
def test_load_on_one_core_sends_one_mail_and_its_end_another(
    ground: Ground, mail_server: tuple[Mailbox, str]
) -> None:
    mailbox, smtp_url = mail_server
    threshold = 25 / (os.cpu_count() or 1)  # a quarter of one core
    system = System(
        ground,
        settings={"HOSTPULSE_INTERVAL_S": str(INTERVAL_S), "HOSTPULSE_SMTP_URL": smtp_url},
    )
    system.start()
    commands = (
        ("channel", "add", "email", "ops", "--to", "ops@example.org"),
        (
            *("rule", "set", RULE, "--metric", METRIC, "--channels", "ops"),
            *("--level", f"warning:{threshold}:{FOR_S}s", "--level", "critical:none"),
        ),
    )
    for command in commands:
        finished = system.hostpulse(*command)
        assert finished.popen.returncode == 0, finished.log
    system.wait_for_fresh_data(within_s=15)

    load = ground.start("load", [sys.executable, "-c", BURN, str(LOAD_S)], ground.environment())
    assert load.popen.wait(timeout=LOAD_S + 20) == 0
    until(
        lambda: mailbox.about("RESOLVED"),
        within_s=2 * INTERVAL_S + EVALUATION_S + SLACK_S,
        what="the recovery e-mail",
    )

    breaches = breaching_samples(system, threshold)
    completed = next(at for at in breaches if at - breaches[0] >= timedelta(seconds=FOR_S))
    ((fired_at, fired),) = mailbox.about("WARNING")
    ((resolved_at, _),) = mailbox.about("RESOLVED")
    assert completed < fired_at < completed + timedelta(seconds=EVALUATION_S + SLACK_S)
    assert breaches[-1] < resolved_at
    assert SERVER in fired
    assert "%" in fired
    (alert,) = query(
        system.dsn,
        "SELECT state, (SELECT count(*) FROM alert_history WHERE alert_id = a.id) AS changes"
        " FROM alert a JOIN alert_rule r ON r.id = a.rule_id WHERE r.name = $1",
        RULE,
    )
    assert alert["state"] in ("resolved", "ok")
    sent = query(system.dsn, NOTIFICATIONS, RULE)
    assert [tuple(row) for row in sent] == [("fired", "sent", 1), ("resolved", "sent", 1)]
    assert system.stop()[0] == 0


NOTIFICATIONS = """
SELECT n.kind, n.state, (SELECT count(*) FROM notification_attempt WHERE notification_id = n.id)
FROM notification n JOIN alert a ON a.id = n.alert_id JOIN alert_rule r ON r.id = a.rule_id
WHERE r.name = $1 ORDER BY n.id
"""


def breaching_samples(system: System, threshold: float) -> list[datetime]:
    """Return the times of the samples over the threshold, which must be one unbroken run."""
    rows = query(system.dsn, "SELECT time, nice_percent FROM cpu ORDER BY time")
    over = [row["time"] for row in rows if (row["nice_percent"] or 0.0) > threshold]
    between = [row for row in rows if over[0] <= row["time"] <= over[-1]]
    assert len(between) == len(over), "the load itself paused"
    assert over[-1] - over[0] >= timedelta(seconds=FOR_S)
    return over
