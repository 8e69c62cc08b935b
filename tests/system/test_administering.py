"""What admins do on the page, and what comes of it in the database and on an agent."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta

import pytest

from storage import enrollments, keys

HOOK = "https://discord.com/api/webhooks/1/s3cr3t-of-the-channel"
AGENT = "pushed-01"


@pytest.fixture
def agent(ground, own):
    """A real agent that is connected to the gateway of `own`."""

    async def make_key(connection):
        return await keys.create(
            connection, role=keys.Role.AGENT, server_names=[AGENT], created_by="test"
        )

    key = own.run(make_key)
    running = ground.start(
        "agent-own",
        [sys.executable, "-m", "agent", "--gateway", own.grpc_address],
        ground.environment(
            HOSTPULSE_API_KEY=key,
            HOSTPULSE_SERVER_NAME=AGENT,
            HOSTPULSE_DATA_DIR=ground.folder / "agent-own",
        ),
    )
    yield running
    assert running.end() == 0


def test_rule_is_tested_against_history(browser, small):
    page = browser.open(small, "rules/cpu_usage")

    page.get_by_label("Samples of").select_option("24h")
    page.get_by_label("Other thresholds").fill("30, 99.9")
    page.get_by_role("button", name="Test", exact=True).click()
    report = page.get_by_role("status").filter(has_text="samples since")
    report.wait_for()

    rows = {
        cells[0]: [int(each) for each in cells[1:3]]
        for row in report.locator("tbody tr").all()
        if (cells := row.locator("td").all_inner_texts())
    }
    assert list(rows) == ["30.0 %", "80.0 %", "99.9 %"]
    assert rows["30.0 %"][0] > rows["99.9 %"][0] == 0
    assert rows["30.0 %"][1] >= 1

    page.get_by_label("Other thresholds").fill("nonsense")
    page.get_by_role("button", name="Test", exact=True).click()
    page.get_by_role("alert").filter(has_text="thresholds").wait_for()
    browser.complaints.clear()  # the refusal, 422


def test_rule_is_made_switched_off_and_removed(browser, own):
    page = browser.open(own, "rules/+")
    page.get_by_label("Name", exact=True).fill("short_lived")
    page.get_by_label("Metric").fill("cpu.load1")
    page.get_by_label("Warning").fill("1000")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="short lived").wait_for()
    assert page.get_by_role("button", name="Remove").count() == 0

    page.get_by_label("On", exact=True).uncheck()
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Remove").click()

    page.get_by_text("short lived is removed.").wait_for()
    page.get_by_role("heading", name="Rules").wait_for()
    assert page.get_by_role("link", name="short lived").count() == 0


def test_config_is_pushed_to_an_agent_which_runs_it(browser, own, agent):
    page = browser.open(own, "settings/config")
    row = page.get_by_role("row").filter(has_text=AGENT)
    row.get_by_text("nothing set").wait_for()

    page.get_by_role("button", name="Set a scope").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Scope").fill(f"server:{AGENT}")
    dialog.get_by_label("Add a field").select_option("process_top_n")
    dialog.locator("input[name=process_top_n]").fill("1000000")
    dialog.get_by_role("button", name="Push").click()
    dialog.get_by_role("alert").filter(has_text="process_top_n").wait_for()
    browser.complaints.clear()  # the refusal, 422
    dialog.locator("input[name=process_top_n]").fill("3")
    dialog.get_by_label("Comment").fill("fewer of them")
    dialog.get_by_role("button", name="Push").click()
    dialog.wait_for(state="detached")

    page.get_by_text("fewer of them").wait_for()
    row.get_by_text("applied", exact=True).wait_for()
    cells = row.locator("td").all_inner_texts()
    assert cells[2] == cells[3]
    wanted = int(cells[2])
    page.get_by_role("button", name=AGENT, exact=True).click()
    dialog.get_by_text("process_top_n = 3").wait_for()
    assert f"wanted: revision {wanted} · runs: revision {wanted} · applied" in dialog.inner_text()
    dialog.get_by_role("button", name="Close").click()

    async def read(connection):
        return await connection.fetchrow(
            "SELECT c.* FROM server_config c JOIN server s ON s.id = c.server_id WHERE s.name = $1",
            AGENT,
        )

    found = own.run(read)
    assert (found["result_revision"], found["applied"]) == (wanted, True)

    page.get_by_role("button", name=f"Edit server:{AGENT}").click()
    dialog.locator("input[name=process_top_n]").fill("5")
    dialog.get_by_role("button", name="Push").click()
    dialog.wait_for(state="detached")
    page.get_by_text("process_top_n = 5").wait_for()
    page.get_by_role("button", name=f"History of server:{AGENT}").click()
    page.get_by_role("button", name=f"Set again what revision {wanted} said").click()
    dialog.wait_for(state="detached")
    page.locator("b", has_text="process_top_n = 3").wait_for()
    row.get_by_text("applied", exact=True).wait_for()


def test_channel_is_added_changed_and_its_secret_is_never_shown_again(browser, own):
    page = browser.open(own, "settings/channels")
    page.get_by_role("button", name="Add a channel").click()
    dialog = page.get_by_role("dialog")

    for kind, label in (
        ("email", "To, with commas"),
        ("slack", "Id of the channel"),
        ("pagerduty", "Routing key"),
        ("webhook", "Address, or key"),
    ):
        dialog.get_by_label("Kind").select_option(kind)
        dialog.get_by_label(label).wait_for()
    dialog.get_by_label("Kind").select_option("discord")
    dialog.get_by_label("Name", exact=True).fill("ops")
    secret = dialog.get_by_label("Address of the webhook")
    assert secret.get_attribute("type") == "password"
    secret.fill("http://not-encrypted.example/s3cr3t")
    dialog.get_by_role("button", name="Add a channel").click()
    refusal = dialog.get_by_role("alert").filter(has_text="https://")
    refusal.wait_for()
    assert "s3cr3t" not in refusal.inner_text()
    browser.complaints.clear()  # the refusal, 422
    secret.fill(HOOK)
    dialog.get_by_role("button", name="Add a channel").click()
    dialog.wait_for(state="detached")
    line = page.get_by_role("listitem").filter(has_text="ops")
    line.get_by_text("stored, encrypted").wait_for()

    assert "s3cr3t" not in page.content()

    async def read(connection):
        return await connection.fetchrow("SELECT kind, secret FROM channel WHERE name = 'ops'")

    kind, stored = own.run(read)
    assert kind == "discord"
    assert b"s3cr3t" not in stored

    page.get_by_role("button", name="Add a channel").click()
    dialog.get_by_label("Kind").select_option("email")
    dialog.get_by_label("Name", exact=True).fill("mail")
    dialog.get_by_label("To, with commas").fill("a@example.org, b@example.org")
    dialog.get_by_role("button", name="Add a channel").click()
    page.get_by_text("to: a@example.org, b@example.org").wait_for()
    page.get_by_role("button", name="Change mail").click()
    assert dialog.get_by_label("To, with commas").input_value() == "a@example.org, b@example.org"
    dialog.get_by_label("To, with commas").fill("nobody")
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_role("alert").filter(has_text="e-mail addresses").wait_for()
    browser.complaints.clear()  # the refusal, 422
    dialog.get_by_label("To, with commas").fill("c@example.org")
    dialog.get_by_role("button", name="Save").click()
    page.get_by_text("mail is changed.").wait_for()
    page.get_by_role("button", name="Change ops").click()
    dialog.get_by_role("button", name="Save").click()  # its secret stays
    page.get_by_text("ops is changed.").wait_for()
    page.get_by_role("switch", name="Send to ops").click()
    page.get_by_text("ops is off.").wait_for()

    async def read_all(connection):
        return await connection.fetch("SELECT config, secret, enabled FROM channel ORDER BY name")

    mail, ops = own.run(read_all)
    assert tuple(mail) == ({"to": ["c@example.org"]}, None, True)
    assert tuple(ops) == ({}, stored, False)
    page.get_by_role("switch", name="Send to ops").click()
    page.get_by_text("ops is on.").wait_for()

    for name in ("ops", "mail"):
        page.get_by_role("button", name=f"Remove {name}").click()
        page.get_by_text(f"{name} is removed.").wait_for()
    page.get_by_text("No channels: nobody is told of alerts.").wait_for()


def test_enrolments_are_approved_and_denied(browser, own):
    async def ask(connection):
        token = await enrollments.create_token(
            connection,
            uses=2,
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            server_name=None,
            note=None,
            created_by="test",
        )
        await connection.execute(
            "UPDATE server SET machine_id = 'the old one' WHERE name IN ('web-02', 'web-03')"
        )
        for name in ("web-02", "web-03"):
            asker = enrollments.Asker(
                server_name=name, hostname=name, machine_id=f"new {name}", agent_version="0.1.0"
            )
            assert isinstance(
                await enrollments.enroll(connection, token, asker), enrollments.Pending
            )
        return await enrollments.list_all(connection)

    fingerprints = [each.fingerprint for each in own.run(ask)]
    page = browser.open(own, "settings/enrollments")
    for name, fingerprint in zip(("web-02", "web-03"), fingerprints, strict=True):
        page.get_by_role("listitem").filter(has_text=name).get_by_text(fingerprint).wait_for()

    page.get_by_role("button", name=re.compile(r"Approve \d+ web-02")).click()
    page.get_by_text("web-02 gets its key when it asks again.").wait_for()
    page.get_by_role("button", name=re.compile(r"Deny \d+ web-03")).click()
    page.get_by_text("No machine is waiting.").wait_for()
    page.get_by_label("Also those that are over").check()
    page.get_by_role("listitem").filter(has_text="web-03").get_by_text("denied").wait_for()

    async def read(connection):
        return await connection.fetch(
            "SELECT server_name, state, decided_by FROM enrollment ORDER BY id"
        )

    rows = own.run(read)
    assert [tuple(row)[:2] for row in rows] == [("web-02", "approved"), ("web-03", "denied")]
    assert all(row["decided_by"].startswith("key ") for row in rows)


def test_labels_of_a_server_are_edited(browser, own):
    page = browser.open(own, "server/vpn-01?range=5m")
    page.get_by_role("button", name="Edit labels").click()
    dialog = page.get_by_role("dialog")
    lines = dialog.get_by_label("One a line")
    assert lines.input_value() == "role=net"

    lines.fill("role=net\nenv=a,b")
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_role("alert").filter(has_text="env").wait_for()
    browser.complaints.clear()  # the refusal, 422
    lines.fill("site=berlin\nenv=prod")
    dialog.get_by_role("button", name="Save").click()
    dialog.wait_for(state="detached")
    page.locator(".server-head").get_by_text("site=berlin").wait_for()

    assert page.locator(".server-head .badge").all_inner_texts() == ["env=prod", "site=berlin"]

    async def read(connection):
        return await connection.fetchval("SELECT labels FROM server WHERE name = 'vpn-01'")

    assert own.run(read) == {"env": "prod", "site": "berlin"}


def test_reader_is_offered_nothing_to_change(browser, own):
    async def make_key(connection):
        return await keys.create(connection, role=keys.Role.READER, created_by="test")

    page = browser.open(own, signed_in=False)
    page.get_by_label("Key").fill(own.run(make_key))
    page.get_by_role("button", name="Sign in with a key").click()
    page.get_by_role("link", name="web-01", exact=True).wait_for()

    for place, text in (
        ("settings/channels", "Secrets are stored encrypted"),
        ("server/web-01?range=5m", "role=web"),
    ):
        page.goto(f"/#/{place}")
        page.get_by_text(text).first.wait_for()
        for button in ("Add a channel", "Edit labels"):
            assert page.get_by_role("button", name=button).count() == 0
