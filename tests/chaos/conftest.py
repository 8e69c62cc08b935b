"""A place for the processes of chaos, and the proof that none of them outlives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.cluster import Cluster
from tests.e2e.processes import Ground

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture
def cluster() -> Generator[Cluster]:
    """Return a running cluster; at the end no process of it may be left."""
    ground = Ground()
    made = Cluster(ground)
    try:
        yield made
    finally:
        made.close()
        ground.close()
