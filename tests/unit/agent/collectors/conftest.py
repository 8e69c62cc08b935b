from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.collectors.testing import FakeHost

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(folder=tmp_path)
