"""The page of one server: charts of everything, zoomed and read together."""

from __future__ import annotations

import json

import pytest

from tests.system.browser import CHART_COUNT, PHONE, until_true


def test_server_page_has_every_chart_and_its_numbers(browser, small):
    page = browser.open(small, "server/web-01?range=1h")
    page.get_by_text("redis-server").first.wait_for()
    page.locator(".u-over").nth(CHART_COUNT - 1).wait_for()

    charts = {
        figure.get_attribute("aria-label").partition(".")[0]: figure.get_attribute("aria-label")
        for figure in page.locator("figure.chart").all()
    }

    assert {
        *("CPU time", "Load", "Cores", "Memory", "Swap", "Page faults", "Space used"),
        *("Throughput", "Operations", "Latency (await)", "Queue length", "Traffic"),
        *("Packets lost", "Errors and drops", "TCP connections by state"),
    } <= set(charts)
    assert all("no values" not in label for label in charts.values()), charts
    assert page.locator("section.processes tbody tr").count() == 20
    assert page.locator(".gauge").count() == 3
    gauge = page.locator(".gauge").first.inner_text()
    assert "83 %" in gauge
    assert "inodes 27 %" in gauge
    assert "full in 5.9 days" in gauge
    assert "31 lost" in page.locator("section.family").last.inner_text()


def test_memory_stack_makes_up_the_whole(browser, small):
    page = browser.open(small, "server/web-01?range=1h")
    legend = page.locator("figure.chart", has_text="buffers").locator(".legend")
    page.locator(".u-over").nth(4).wait_for()
    until_true(
        page, "() => document.querySelector('#memory ~ .charts b').textContent.includes('B')"
    )
    lines = legend.locator("li").all_text_contents()

    parts = [float(each.split()[-2]) / (1024 if "MiB" in each else 1) for each in lines]

    assert lines[0].startswith("programs")
    assert sum(parts) == pytest.approx(32, abs=0.1)


def test_gaps_alerts_and_events_are_on_the_charts(browser, small):
    page = browser.open(small, "server/web-01?range=1h")
    page.get_by_text("Alerts and events in this range").click()

    happened = page.locator(".happened").inner_text()

    for text in ("Disk usage", "started", "another agent version", "config applied"):
        assert text in happened
    history = json.loads(
        page.evaluate(
            """async () => (await fetch('/api/v1/servers/web-01/history?family=cpu&points=500'
              + '&from=' + new Date(Date.now() - 3.6e6).toISOString()
              + '&to=' + new Date().toISOString())).text()"""
        )
    )
    assert None in history["series"][0]["columns"]["usage_percent"]


def test_dragging_zooms_in_and_a_double_click_out(browser, small):
    page = browser.open(small, "server/web-01?range=1h")
    page.locator(".u-over").nth(1).wait_for()
    plot = page.locator("figure.chart", has_text="CPU time").locator(".u-over")
    box = plot.bounding_box()

    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 40, steps=5)
    page.mouse.up()
    page.wait_for_url("**from=*")
    start, end = (int(part.split("=")[1]) for part in page.url.split("?")[1].split("&")[:2])
    plot.dblclick()
    until_true(page, "from => !location.hash.includes(from)", f"from={start}")

    assert end - start == pytest.approx(900, abs=30)


def test_a_finger_zooms_sideways_and_scrolls_otherwise(browser, small):
    page = browser.open(small, "server/web-01?range=1h", size=PHONE, touch=True)
    page.locator(".u-over").nth(1).wait_for()
    over = page.locator("figure.chart", has_text="CPU time").locator(".u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    client = page.context.new_cdp_session(page)

    def drag(points):
        for number, (x, y) in enumerate(points):
            kind = "touchMove" if number else "touchStart"
            touch = {"type": kind, "touchPoints": [{"x": x, "y": y}]}
            client.send("Input.dispatchTouchEvent", touch)
        client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    x, y = box["x"] + box["width"] * 0.3, box["y"] + 60
    drag([(x, y - step * 12) for step in range(10)])
    until_true(page, "() => scrollY > 0")
    assert "range=1h" in page.url
    box = over.bounding_box()
    y = box["y"] + 60
    drag([(x + step * box["width"] * 0.05, y) for step in range(10)])
    page.wait_for_url("**from=*")
    start, end = (int(part.split("=")[1]) for part in page.url.split("?")[1].split("&")[:2])

    assert end - start == pytest.approx(3600 * 0.45, rel=0.15)


def test_range_moves_and_marks_say_what_they_are(browser, small):
    page = browser.open(small, "server/web-01?range=1h")
    page.locator(".u-over").nth(1).wait_for()
    over = page.locator("figure.chart", has_text="CPU time").locator(".u-over")
    box = over.bounding_box()
    titles = set()
    for x in range(0, int(box["width"]), 5):
        page.mouse.move(box["x"] + x, box["y"] + 40)
        titles.add(over.get_attribute("title"))
    assert {"", "config applied"} < titles

    page.get_by_role("button", name="Earlier").click()
    page.wait_for_url("**from=*")
    earlier = int(page.url.split("from=")[1].split("&")[0])
    page.get_by_role("button", name="Later").click()
    until_true(page, "from => !location.hash.includes(from)", f"from={earlier}")

    later = int(page.url.split("from=")[1].split("&")[0])
    assert later - earlier == pytest.approx(1800, abs=30)


def test_all_charts_share_one_cursor(browser, small):
    page = browser.open(small, "server/web-01?range=1h")
    page.locator(".u-over").nth(CHART_COUNT - 1).wait_for()
    box = page.locator("figure.chart", has_text="CPU time").locator(".u-over").bounding_box()
    load = page.locator("figure.chart", has_text="15 min").locator(".legend b").first
    before = load.inner_text()

    page.mouse.move(box["x"] + box["width"] * 0.05, box["y"] + 40)

    until_true(
        page,
        "([path, text]) => document.querySelector(path).textContent !== text",
        ["#cpu ~ .charts figure:nth-of-type(2) .legend b", before],
    )
    shown = page.evaluate(
        "[...document.querySelectorAll('.u-cursor-x')].filter(e => e.style.transform).length"
    )
    assert shown >= CHART_COUNT - 1


def test_range_is_chosen_absolutely_too(browser, small):
    page = browser.open(small, "server/web-01?range=15m")
    page.get_by_text("From … to …").click()

    page.get_by_label("From", exact=True).fill("2026-01-02T03:00:00")
    page.get_by_label("To", exact=True).fill("2026-01-02T04:00:00")
    page.get_by_role("button", name="Show", exact=True).click()

    page.wait_for_url("**from=1767322800&to=1767326400**")
    page.get_by_text("no values").first.wait_for()
