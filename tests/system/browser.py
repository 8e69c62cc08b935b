"""A page in Chromium, signed in, whose errors are counted."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import playwright.sync_api as playwright_api

    from tests.system.stack import Stack

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
IMAGES = Path(__file__).parents[2] / "docs/images"
TIMEOUT_MS = 15_000
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
CHART_COUNT = 16  # on the page of a server


def launch(playwright: playwright_api.Playwright) -> playwright_api.Browser:
    """Start Debian's Chromium, with a profile that is new and empty."""
    return playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(ARGUMENTS))


@dataclass
class Browser:
    """Opens pages in contexts of their own, and collects what their consoles say."""

    chromium: playwright_api.Browser
    complaints: list[str] = field(default_factory=list)
    contexts: list[playwright_api.BrowserContext] = field(default_factory=list)

    def open(
        self,
        stack: Stack,
        place: str = "",
        *,
        size: dict[str, int] | None = None,
        theme: str = "light",
        locale: str = "en-GB",
        signed_in: bool = True,
        touch: bool = False,
        before: str | None = None,
        sent: list[int] | None = None,
    ) -> playwright_api.Page:
        """Open a page at `#/place`, with nothing in its cache.

        `before` is a script that runs first; `sent` gets the bytes of each answer, as sent.
        """
        context = self.chromium.new_context(
            viewport=size or DESKTOP,
            color_scheme=theme,
            locale=locale,
            timezone_id="UTC",
            reduced_motion="reduce",
            has_touch=touch,
            base_url=stack.url,
        )
        self.contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        if signed_in:
            answer = context.request.post(
                "/api/v1/session",
                data={"key": stack.admin_key},
                headers={"X-Hostpulse-Page": "1", "Origin": stack.url},
            )
            assert answer.ok, answer.text()
        return self._goto(context, f"/#/{place}", before=before, sent=sent)

    def open_url(self, url: str) -> playwright_api.Page:
        """Open any address, without a session."""
        context = self.chromium.new_context(viewport=DESKTOP, locale="en-GB", timezone_id="UTC")
        self.contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        return self._goto(context, url)

    def _goto(
        self,
        context: playwright_api.BrowserContext,
        url: str,
        *,
        before: str | None = None,
        sent: list[int] | None = None,
    ) -> playwright_api.Page:
        page = context.new_page()
        if before:
            page.add_init_script(before)
        if sent is not None:
            client = context.new_cdp_session(page)
            client.send("Network.enable")
            client.on("Network.dataReceived", lambda each: sent.append(each["encodedDataLength"]))
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(url)
        return page

    def _hear(self, message: playwright_api.ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text} {message.location}")

    def close(self) -> None:
        for context in self.contexts:
            context.close()
        assert self.complaints == [], self.complaints


def until_true(page: playwright_api.Page, expression: str, argument: object = None) -> None:
    """Wait until an expression is true; the page's policy forbids Playwright's own way."""
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while not page.evaluate(expression, argument):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(20)


def picture(page: playwright_api.Page, name: str, *, whole: bool = False) -> None:
    """Write a screenshot to docs/images."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=IMAGES / f"{name}.png", full_page=whole, animations="disabled")
