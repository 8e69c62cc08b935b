from __future__ import annotations

import uuid

import pytest

from collector_gateway import greeting
from hostpulse.v1 import telemetry_pb2 as pb

GIB = 1 << 30


def facts(**told):
    hello = pb.Hello(
        server_name="db-01", machine_id="m1", boot_id=bytes(16), epoch=7, host=pb.HostFacts(**told)
    )
    return greeting.to_claim(hello, uuid.uuid4()).facts


@pytest.mark.parametrize("memory_bytes", [GIB, 3 * GIB, 4 * GIB - 1, 4 * GIB, 64 * GIB])
def test_the_memory_of_a_host_of_any_size_is_taken_as_it_is(memory_bytes):
    assert facts(memory_total_bytes=memory_bytes) == {"memory_total_bytes": memory_bytes}


def test_a_number_that_no_column_holds_is_the_greatest_that_it_does():
    told = facts(cpu_cores_logical=(1 << 32) - 1, memory_total_bytes=(1 << 64) - 1)

    assert told["cpu_cores_logical"] == (1 << 31) - 1
    assert told["memory_total_bytes"] < 1 << 63
