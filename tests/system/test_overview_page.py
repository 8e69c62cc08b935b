from __future__ import annotations

from tests.system.browser import picture


def test_overview_shows_every_server_with_its_state(browser, small):
    page = browser.open(small)

    page.get_by_role("link", name="web-01", exact=True).wait_for()
    picture(page, "overview")
