"""A place for each test's processes, and the proof that none of them outlives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.processes import Ground

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture
def ground() -> Generator[Ground]:
    """Return a folder and a mark; at the end no process of the test may be left."""
    ground = Ground()
    left = None
    try:
        yield ground
    finally:
        left = ground.close()
    assert not left, f"processes were left behind: {left}"
