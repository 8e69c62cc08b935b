"""How heavy and how quick the page is: measured, printed, and held to its budget."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.e2e.processes import say
from tests.system.browser import until_true

WEIGHT_MAX_BYTES = 500_000
INTERACTIVE_MAX_MS = 1000
LONG_TASK_MAX_MS = 100
OVERVIEW_MAX_MS = 100
CHART_COUNT = 16

# Long tasks since the page began, and the moment at which something could be clicked.
WATCH = """
window.tasks = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.tasks.push(entry.duration);
}).observe({ type: 'longtask', buffered: true });
const look = () => {
  if (READY) window.readyMs = performance.now();
  else requestAnimationFrame(look);
};
look();
"""


def told(name: str, value: float, unit: str, limit: float) -> None:
    say(f"{name}: {value:.0f} {unit} (limit {limit:g})")


def opened(browser, stack, place: str, ready: str, sent: list[int] | None = None):
    """Open a page that was never seen, and return it with when `ready` was true and drawn."""
    page = browser.open(stack, place, before=WATCH.replace("READY", ready), sent=sent)
    until_true(page, "() => window.readyMs > 0")
    page.locator(".link-live").wait_for()
    return page, page.evaluate("window.readyMs")


def quickest(browser, stack, place: str, ready: str):
    """Open a page three times after a first one; the best counts, for others use the machine."""
    times = []
    for _ in range(4):
        for context in browser.contexts:
            context.close()
        page, took_ms = opened(browser, stack, place, ready)
        times.append(took_ms)
    return page, min(times[1:])


def test_first_view_is_light_and_quick(browser, small):
    ready = "document.querySelectorAll('td.name a').length >= 12"
    sent: list[int] = []

    _, took_ms = quickest(browser, small, "", ready)
    opened(browser, small, "", ready, sent)

    told("first view: interactive after", took_ms, "ms", INTERACTIVE_MAX_MS)
    told("first view: bytes sent, all together", sum(sent), "B", WEIGHT_MAX_BYTES)
    assert took_ms < INTERACTIVE_MAX_MS
    assert 10_000 < sum(sent) < WEIGHT_MAX_BYTES


def test_thirty_days_of_a_server_are_quick(browser, small):
    # All charts are there, and none is waiting for its values.
    ready = (
        f"document.querySelectorAll('.u-over').length >= {CHART_COUNT}"
        " && document.querySelectorAll('.nothing').length === 0"
        " && document.querySelectorAll('section.processes tbody tr').length >= 20"
    )

    _, took_ms = quickest(browser, small, "server/web-01?range=30d", ready)

    told("30 days of a server: all charts after", took_ms, "ms", INTERACTIVE_MAX_MS)
    assert took_ms < INTERACTIVE_MAX_MS


def test_thousand_servers_are_smooth(browser, big):
    ready = "document.querySelectorAll('td.name a').length > 10"

    page, took_ms = quickest(browser, big, "", ready)
    longest_ms = min(longest_task_ms(page) for _ in range(3))

    told("1000 servers: interactive after", took_ms, "ms", INTERACTIVE_MAX_MS)
    told("1000 servers: longest task", longest_ms, "ms", LONG_TASK_MAX_MS)
    assert took_ms < INTERACTIVE_MAX_MS
    assert longest_ms < LONG_TASK_MAX_MS


def longest_task_ms(page) -> float:
    """Scroll, sort, search and be told of a thousand new values; return the longest task."""
    page.evaluate("window.tasks = []")
    for _ in range(10):
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(30)  # as people scroll
    page.mouse.wheel(0, -40_000)
    page.get_by_role("button", name="Memory").click()
    page.get_by_role("searchbox").press_sequentially("node-0500")
    page.get_by_role("link", name="node-0500").wait_for()
    page.get_by_role("searchbox").fill("")
    cell = page.locator("td.value").first
    before = cell.inner_text()  # all thousand have something new
    until_true(page, "text => document.querySelector('td.value').innerText !== text", before)
    return max(page.evaluate("window.tasks"), default=0.0)


def test_list_of_a_thousand_draws_what_is_in_sight(browser, big):
    page = browser.open(big)
    page.get_by_text("1000", exact=True).first.wait_for()

    rows = page.locator("tbody tr[role=row]").count()
    height = page.evaluate("document.querySelector('table.list tbody').offsetHeight")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.locator("tr[aria-rowindex='1001']").wait_for()

    assert rows < 60
    assert height == pytest.approx(1000 * 44, rel=0.05)


def test_overview_of_a_thousand_servers_is_answered_in_time(big):
    """While nobody has looked for a while, so that it has to be read."""
    headers = {"Authorization": f"Bearer {big.admin_key}"}
    with httpx.Client(base_url=big.url, headers=headers) as client:
        client.get("/api/v1/overview")
        took = []
        for _ in range(5):
            time.sleep(2.1)  # a snapshot lives for two seconds
            begun = time.perf_counter()
            answer = client.get("/api/v1/overview")
            took.append((time.perf_counter() - begun) * 1000)

    assert len(answer.json()["servers"]) == 1000
    told("overview of 1000 servers, read anew", min(took), "ms", OVERVIEW_MAX_MS)
    assert min(took) < OVERVIEW_MAX_MS
