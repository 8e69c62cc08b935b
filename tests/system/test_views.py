"""Every view, as people see it, without errors and without serious accessibility faults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.system.browser import CHART_COUNT, PHONE, picture, until_true

AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"

# what is opened, and a text that is there when the view is
VIEWS = {
    "": "web-01",
    "server/web-01?range=1h": "redis-server",
    "server/cache-01?range=1h": "cache-01",
    "capacity": "build-07.eu-west.internal.example.org",
    "alerts": "Memory usage",
    "alerts/history": "Packet loss",
    "alerts/1": "Evidence",
    "alerts/silences": "Silences",
    "rules": "TIME_WAIT sockets",
    "rules/cpu_usage": "Test against history",
    "rules/+": "New rule",
    "settings/keys": "Make a key",
    "settings/enrollments": "No machine is waiting",
    "settings/audit": "session.begin",
    "settings/config": "Who runs what",
    "settings/channels": "nobody is told of alerts",
    "settings/database": "PostgreSQL",
}


def serious(page) -> list[str]:
    """Return what axe finds serious or critical."""
    page.evaluate(AXE.read_text(encoding="utf-8"))  # not a tag: the policy would refuse it
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {node['target']} {node.get('failureSummary', '')}"
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
    ]


def overflowing(page) -> list[str]:
    """Return what sticks out of the page sideways."""
    return page.evaluate(
        """() => {
          const wide = document.documentElement.clientWidth + 1;
          const inScroller = (e) => e.closest('.scroll, .plot, .hidden, .list') !== null;
          return [...document.querySelectorAll('body *')]
            .filter((e) => e.getBoundingClientRect().right > wide && !inScroller(e))
            .map((e) => e.outerHTML.slice(0, 120));
        }"""
    )


def cut(page) -> list[str]:
    """Return what is cut off, and nowhere told in full."""
    return page.evaluate(
        """() => [...document.querySelectorAll('body *')]
            .filter((e) => e.clientWidth > 0 && e.scrollWidth > e.clientWidth + 1
              && getComputedStyle(e).overflowX === 'hidden'
              && e.textContent.trim() !== '' && e.closest('.hidden, .skip, .dense thead') === null
              && e.closest('[title]') === null && e.querySelector('[title]') === null)
            .map((e) => e.outerHTML.slice(0, 160))"""
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("place", VIEWS)
def test_view_is_there_and_accessible(browser, small, place, theme):
    page = browser.open(small, place, theme=theme)

    page.get_by_text(VIEWS[place]).locator("visible=true").first.wait_for()

    assert serious(page) == []
    assert overflowing(page) == []
    assert cut(page) == []


@pytest.mark.parametrize("locale", ["en-GB", "ko-KR"])
@pytest.mark.parametrize("place", VIEWS)
def test_view_fits_on_a_phone(browser, small, place, locale):
    page = browser.open(small, place, size=PHONE, locale=locale)
    name = VIEWS[place] if place in {"", "capacity"} or place.startswith("server") else None

    page.get_by_text(name).first.wait_for() if name else page.locator("main h1").wait_for()

    assert page.evaluate("document.documentElement.lang") == locale[:2]
    assert overflowing(page) == []
    assert cut(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("place", "button"),
    [
        ("alerts/silences", "Add a silence"),
        ("settings/keys", "Make a key"),
        ("settings/channels", "Add a channel"),
        ("settings/config", "Set a scope"),
        ("settings/config", "web-02"),
        ("server/web-02?range=5m", "Edit labels"),
    ],
)
def test_dialog_is_accessible_and_fits_on_a_phone(browser, small, place, button, theme):
    page = browser.open(small, place, theme=theme, size=PHONE)
    page.get_by_role("button", name=button, exact=True).click()
    page.get_by_role("dialog").wait_for()

    assert serious(page) == []
    assert overflowing(page) == []


def test_pictures(browser, small):
    """What the documentation shows."""
    for name, place, options in (
        ("overview", "", {}),
        ("overview-dark", "", {"theme": "dark"}),
        ("overview-phone", "", {"size": PHONE}),
        ("server", "server/web-01?range=1h", {}),
        ("server-dark", "server/web-01?range=30d&compare=1", {"theme": "dark"}),
        ("server-phone", "server/web-01?range=6h", {"size": PHONE, "locale": "ko-KR"}),
        ("alerts", "alerts", {}),
        ("rule", "rules/cpu_usage", {}),
    ):
        page = browser.open(small, place, **options)
        page.get_by_text(VIEWS.get(place, "redis-server")).first.wait_for()
        page.locator(".link-live").wait_for()
        page.wait_for_load_state("load")
        if "server/" in place:
            page.locator(".u-over").nth(CHART_COUNT - 1).wait_for()
        picture(page, name)


def test_offline_server_says_since_when(browser, small):
    page = browser.open(small)

    row = page.get_by_role("row").filter(has_text="cache-01")
    row.wait_for()

    assert "Offline" in row.inner_text()
    assert re.search(r"last heard 2\d min", row.inner_text())
    stopped = page.get_by_role("row").filter(has_text="batch-01").inner_text()
    assert "the agent was stopped: shutdown" in stopped


def test_empty_database_says_what_to_do(browser, empty):
    page = browser.open(empty)

    page.get_by_text("hostpulse key create --role agent").wait_for()

    assert serious(page) == []
    for place in ("capacity", "alerts", "alerts/silences", "rules"):
        page.goto(f"/#/{place}")
        page.locator("main h1").wait_for()


def test_servers_are_found_filtered_and_sorted(browser, small):
    page = browser.open(small)
    names = page.locator("td.name a")
    names.first.wait_for()
    assert names.first.inner_text() == "db-01"  # the worst first

    page.get_by_role("button", name="CPU").click()
    busiest = names.first.inner_text()
    page.get_by_role("searchbox").fill("web")
    searched = names.all_inner_texts()
    page.get_by_role("searchbox").fill("")
    page.get_by_label("Filter by label").select_option("role=db")
    labelled = names.all_inner_texts()
    page.get_by_label("Filter by label").select_option("")
    page.get_by_role("button", name="Offline").click()
    offline = names.all_inner_texts()

    assert busiest == "api-01"
    assert sorted(searched) == ["web-01", "web-02", "web-03"]
    assert sorted(labelled) == ["db-01", "db-02"]
    assert sorted(offline) == ["batch-01", "cache-01"]


def test_history_of_alerts_is_filtered(browser, small):
    page = browser.open(small, "alerts/history")
    rows = page.locator("tbody tr")
    rows.first.wait_for()
    before = rows.count()

    page.get_by_label("Server").select_option("web-01")
    fewer = "count => (n => n > 0 && n < count)(document.querySelectorAll('tbody tr').length)"
    until_true(page, fewer, before)
    servers = [row.locator("td").nth(2).inner_text() for row in rows.all()]
    page.get_by_label("Rule").select_option("CPU usage")
    until_true(page, fewer, len(servers))

    assert set(servers) == {"web-01"}
    assert {row.locator("td").nth(3).inner_text().strip() for row in rows.all()} == {"CPU usage"}


def test_audit_log_is_filtered_and_read_back(browser, own):
    async def add(connection):
        await connection.execute(
            "INSERT INTO audit (time, actor, action, object, allowed)"
            " SELECT now() - n * interval '1 min', 'somebody', 'key.create', n::text, true"
            " FROM generate_series(150, 1, -1) n"
        )

    own.run(add)
    page = browser.open(own, "settings/audit")
    page.get_by_label("Who").fill("somebody")
    page.get_by_label("What").fill("key")
    page.get_by_role("button", name="Show").click()
    rows = page.locator("tbody tr")
    until_true(page, "() => document.querySelectorAll('tbody tr').length === 100")

    assert "session.begin" not in page.locator("tbody").inner_text()
    page.get_by_role("button", name="More").click()
    until_true(page, "() => document.querySelectorAll('tbody tr').length === 150")
    assert rows.last.locator("td").nth(3).inner_text() == "150"


def test_language_and_theme_are_chosen_and_kept(browser, small):
    page = browser.open(small)
    page.get_by_role("button", name="한국어").click()
    page.get_by_role("button", name="어둡게").click()
    page.reload()

    page.get_by_role("link", name="개요").wait_for()

    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_page_is_used_with_the_keyboard(browser, small):
    page = browser.open(small)
    page.get_by_role("link", name="web-01", exact=True).wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"

    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "db-01":
            break
    page.keyboard.press("Enter")

    page.get_by_role("heading", name="db-01").wait_for()


def test_names_of_servers_are_never_html(browser, small):
    async def rename(connection):
        await connection.execute(
            "INSERT INTO server (name, labels, watch_offline) VALUES ($1, $2, false)",
            "<img src=x onerror=alert(1)>",
            {"a": "<b>"},
        )

    small.run(rename)
    page = browser.open(small)

    page.get_by_text("<img src=x onerror=alert(1)>").wait_for()

    async def forget(connection):
        await connection.execute("DELETE FROM server WHERE name LIKE '<img%'")

    small.run(forget)
