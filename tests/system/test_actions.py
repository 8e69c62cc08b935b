"""What people do on the page, and what comes of it in the database."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import httpx

from tests.e2e.system import System
from tests.system.browser import Browser


def test_new_samples_show_without_a_reload(browser, own):
    page = browser.open(own)
    page.locator(".link-live").wait_for()

    answer = httpx.post(
        f"{own.url}/api/v1/metrics",
        headers={"Authorization": f"Bearer {own.admin_key}"},
        json={
            "server_id": "posted-01",
            "timestamp": datetime.now(UTC).isoformat(),
            "metrics": {"cpu": {"usage_percent": 73}},
        },
    )

    assert answer.status_code == 202, answer.text
    row = page.get_by_role("row").filter(has_text="posted-01")
    row.get_by_text("73 %").wait_for()


def test_server_page_goes_on_by_itself(browser, small):
    page = browser.open(small, "server/web-02?range=5m")
    with page.expect_response(re.compile(r"family=cpu&")) as first:
        page.locator(".u-over").nth(1).wait_for()
    with page.expect_response(re.compile(r"family=cpu&"), timeout=15_000) as second:
        pass

    assert first.value.url != second.value.url


def test_alert_is_acknowledged_silenced_and_the_silence_ended(browser, own):
    page = browser.open(own, "alerts")
    line = page.get_by_role("listitem").filter(has_text="db-01")

    line.get_by_role("button", name="Acknowledge").click()
    line.get_by_text("acknowledged by key").wait_for()
    page.get_by_title("3 not acknowledged").wait_for()
    line.get_by_role("button", name="Silence").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Labels of servers").fill("env=prod")
    dialog.locator("select[name=span]").select_option("until")
    dialog.get_by_label("Until", exact=True).fill("2099-01-01T00:00")
    dialog.get_by_label("Reason").fill("swapping its memory")
    dialog.get_by_role("button", name="Add a silence").click()
    dialog.wait_for(state="detached")
    page.get_by_role("link", name="Silences").click()
    silence = page.get_by_role("listitem").filter(has_text="swapping its memory")
    silence.get_by_text("memory_usage · db-01").wait_for()
    silence.get_by_role("button", name="End now").click()
    page.get_by_text("No silences.").wait_for()

    page.get_by_role("button", name="Add a silence").click()
    dialog.locator("select[name=span]").select_option("again")
    dialog.get_by_label("Days").fill("mon-fr")
    dialog.get_by_label("From (local time)").fill("22:30")
    dialog.get_by_label("Each time for").fill("90m")
    dialog.get_by_label("Time zone").fill("Europe/Berlin")
    dialog.get_by_label("Reason").fill("backups")
    dialog.get_by_role("button", name="Add a silence").click()
    dialog.get_by_role("alert").filter(has_text="mon-fri").wait_for()
    browser.complaints.clear()  # the refusal, 422
    dialog.get_by_label("Days").fill("mon-wed")
    dialog.get_by_role("button", name="Add a silence").click()
    silence = page.get_by_role("listitem").filter(has_text="backups")
    silence.get_by_text("mon, tue, wed 22:30 Europe/Berlin").wait_for()
    silence.get_by_role("button", name="End now").click()
    page.get_by_text("No silences.").wait_for()

    async def read(connection):
        return (
            await connection.fetchval(
                "SELECT count(*) FROM alert WHERE acknowledged_at > now()-'1m'::interval"
            ),
            await connection.fetchrow("SELECT reason, ended_by FROM silence"),
        )

    acknowledged, (reason, ended_by) = own.run(read)
    assert acknowledged == 1
    assert reason == "swapping its memory"
    assert ended_by.startswith("key ")


def test_rule_is_edited_switched_off_and_what_is_wrong_is_said(browser, own):
    page = browser.open(own, "rules/cpu_usage")

    page.get_by_label("Warning at").fill("70")
    page.get_by_label("Recovers at").fill("65")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    page.get_by_label("Recovers at").fill("99")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("alert").filter(has_text="recovery").wait_for()
    browser.complaints.clear()  # the browser reports the refusal, 422, as an error too
    page.goto("/#/rules")
    page.get_by_role("switch", name="Load per core is on").click()
    page.get_by_text("Load per core is off.").wait_for()

    async def read(connection):
        return await connection.fetch(
            "SELECT name, levels, recovery_threshold, enabled, no_data, repeat_interval_s"
            " FROM alert_rule WHERE name IN ('cpu_usage', 'load') ORDER BY name"
        )

    cpu, load = own.run(read)
    assert [level["threshold"] for level in cpu["levels"]] == [70, 95]
    assert (cpu["recovery_threshold"], cpu["enabled"], cpu["no_data"]) == (65, True, "keep")
    assert cpu["repeat_interval_s"] == 14_400
    assert load["enabled"] is False


def test_rule_is_made_with_everything_that_a_rule_can_say(browser, own):
    async def add_channels(connection):
        await connection.execute(
            "INSERT INTO channel (name, kind, config) VALUES"
            " ('ops', 'email', '{\"to\": [\"a@example.org\"]}'),"
            " ('pager', 'email', '{\"to\": [\"b@example.org\"]}')"
        )

    async def read(connection):
        row = await connection.fetchrow(
            "DELETE FROM alert_rule WHERE name = 'root_disk' RETURNING *"
        )
        await connection.execute("DELETE FROM channel")
        return row

    own.run(add_channels)
    page = browser.open(own, "rules")
    page.get_by_role("link", name="New rule").click()

    page.get_by_label("Name", exact=True).fill("root_disk")
    page.get_by_label("Metric").fill("disk.nonsense")
    page.get_by_label("Warning at").fill("80")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("alert").filter(has_text="metric").wait_for()
    browser.complaints.clear()  # the refusal, 422
    page.get_by_label("Metric").fill("disk.used_percent")
    page.get_by_label("Labels of the servers").fill("env=prod\nrole=web")
    page.get_by_label("Labels of the series").fill("mount=/, /var")
    page.get_by_role("group", name="Channels; none").get_by_label("ops").check()
    page.get_by_role("group", name="Channels to").get_by_label("pager").check()
    page.get_by_label("Escalate when").fill("1800")
    page.get_by_label("One message for each").select_option("server")
    page.get_by_label("Notes").fill("runbook: https://example.org/disk")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="root disk").wait_for()
    page.get_by_role("heading", name="Test against history").wait_for()

    assert page.get_by_label("Labels of the series").input_value() == "mount=/, /var"
    row = own.run(read)
    assert (row["metric"], row["group_by"]) == ("disk_usage.used_percent", "server")
    assert row["server_selector"] == {"labels": {"env": "prod", "role": "web"}}
    assert row["label_filter"] == {"mount": ["/", "/var"]}
    assert (row["channels"], row["escalate_channels"]) == (["ops"], ["pager"])
    assert row["escalate_after_s"] == 1800
    assert row["annotations"] == {"runbook": "https://example.org/disk"}


def test_key_signs_in_and_out(browser, small):
    page = browser.open(small, signed_in=False)

    page.get_by_label("Key").fill("hp_nonsense")
    page.get_by_role("button", name="Sign in with a key").click()
    page.get_by_role("alert").filter(has_text="API key").wait_for()
    page.get_by_label("Key").fill(small.admin_key)
    page.get_by_role("button", name="Sign in with a key").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in to hostpulse").wait_for()

    assert page.context.cookies() == []
    browser.complaints.clear()  # the refusal, 403


def test_link_of_up_signs_in_once(browser, ground):
    """With the real supervisor: the link that it prints, clicked, and clicked again."""
    system = System(ground)
    system.start()
    link = re.search(r"http://\S+/#/sign-in/\S+", system.up.log)[0]
    page = browser.open_url(link)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("link", name="e2e-server").wait_for()

    again = browser.open_url(link)
    again.get_by_role("button", name="Sign in", exact=True).click()
    again.get_by_role("alert").filter(has_text="used").wait_for()
    browser.complaints.clear()  # the refusal, 410
    page.context.close()  # its stream ends with the gateway, which it would complain about

    assert system.stop()[0] == 0


def test_signed_in_page_may_try_the_api_out(browser, small):
    page = browser.open(small)
    page.goto("/docs")

    page.get_by_text("/api/v1/overview").first.wait_for()


def test_nothing_comes_from_other_sites(chromium, small):
    opened = Browser(chromium)
    page = opened.open(small, signed_in=True)
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))

    page.goto("/docs")
    page.get_by_text("/api/v1/overview").first.wait_for()
    page.goto("/#/server/web-01")
    page.get_by_text("redis-server").first.wait_for()

    assert hosts == {small.url.split("/")[2]}
    opened.close()
