from __future__ import annotations

import pytest

from agent import options, sources
from alerting.settings import AlertingSettings
from collector_gateway.settings import GatewaySettings


@pytest.mark.parametrize("settings", [GatewaySettings, AlertingSettings])
def test_an_agent_passes_by_what_a_shared_file_says_to_the_other_processes(settings):
    known = {*options.BY_NAME, *sources.OTHER_KEYS}

    assert set(settings.model_fields) <= known
