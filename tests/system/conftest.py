"""A browser for the run, four stacks, and a page that notices everything that goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from tests.e2e.processes import Ground
from tests.system import seed, stack
from tests.system.browser import Browser, launch

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture(scope="session")
def ground() -> Generator[Ground]:
    place = Ground()
    yield place
    place.close()


def lively(name: str, fill: stack.Work, go_on: stack.Work, *, every_s: float = 10.0):
    """Make a fixture: a stack whose servers go on sending."""

    @pytest.fixture(scope="session", name=name)
    def started(ground, template) -> Generator[stack.Stack]:
        begun = stack.start(ground, template, name, fill)
        with stack.going_on(begun, go_on, every_s=every_s) as made:
            yield made

    return started


small = lively("small", seed.fill_small, seed.go_on)  # twelve; one has two months behind it
own = lively("own", seed.fill_small, seed.go_on)  # the same, which tests may change
big = lively("big", seed.fill_big, seed.go_on_big, every_s=3.0)  # a thousand servers


@pytest.fixture(scope="session")
def empty(ground, template) -> stack.Stack:
    """A database in which nothing is yet."""
    return stack.start(ground, template, "empty")


@pytest.fixture(scope="session")
def chromium(template) -> Generator[object]:  # the template first: both run event loops
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def browser(chromium) -> Generator[Browser]:
    """Open pages; at the end no console may hold an error."""
    opened = Browser(chromium)
    yield opened
    opened.close()
