"""What a Hello may say, and how much of it."""

from __future__ import annotations

import uuid

import pytest

from collector_gateway import greeting
from hostpulse.v1 import telemetry_pb2 as pb


def hello(**fields) -> pb.Hello:
    return pb.Hello(**({"server_name": "web-1", "machine_id": "m", "epoch": 1} | fields))


def parse(**fields) -> pb.Hello:
    return greeting.parse(pb.StreamRequest(hello=hello(**fields)).SerializeToString())


def epochs(count: int) -> list[pb.EpochState]:
    return [pb.EpochState(epoch=n + 1, last_seq=2**63 - 1) for n in range(count)]


def test_all_that_an_honest_agent_can_say_is_taken():
    said = parse(
        server_name="w" * 253,
        machine_id="m" * 64,
        boot_id=bytes(16),
        agent_version="1" * 64,
        host=pb.HostFacts(
            **dict.fromkeys(("hostname", "os_name", "os_version", "cpu_model"), "é" * 300)
        ),
        capabilities=list(range(1, 20)),
        epochs=epochs(1000),
        intervals=[pb.FamilyInterval(family=n, interval_s=10) for n in range(20)],
    )

    claim = greeting.to_claim(said, uuid.uuid4())

    assert len(claim.epochs) == 1000
    assert claim.facts["cpu_model"] == "é" * greeting.FACT_MAX_CHARS


TOO_MUCH = [
    ({"server_name": "w" * 254}, "server_name"),
    ({"server_name": "a\nb"}, "server_name"),
    ({"machine_id": ""}, "machine_id"),
    ({"machine_id": "m" * 65}, "machine_id"),
    ({"boot_id": bytes(15)}, "boot_id"),
    ({"agent_version": "1" * 5000}, "agent_version"),
    ({"host": pb.HostFacts(cpu_model="x" * 5000)}, "host.cpu_model"),
    ({"capabilities": [1] * 101}, "capabilities"),
    ({"intervals": [pb.FamilyInterval(family=1, interval_s=10)] * 101}, "intervals"),
    ({"epochs": epochs(1001)}, "epochs"),
    ({"epochs": [pb.EpochState(epoch=1)] * 1001}, "epochs"),
    ({"epochs": [pb.EpochState(epoch=2**63)]}, "epochs"),
    ({"epoch": 0}, "epoch"),
]


@pytest.mark.parametrize(("fields", "named"), TOO_MUCH)
def test_what_is_too_much_is_refused_with_its_field(fields, named):
    with pytest.raises(greeting.InvalidHello) as refused:
        parse(**fields)

    assert str(refused.value).startswith(f"hello.{named}: ")
    assert len(str(refused.value)) < 300


def test_a_hello_that_is_too_large_is_not_even_read():
    large = pb.StreamRequest(hello=hello(agent_version="x" * 70_000)).SerializeToString()
    with pytest.raises(greeting.InvalidHello, match="hello: expected at most 65536 bytes, got 700"):
        greeting.parse(large)


def test_an_interval_that_can_not_be_is_refused():
    said = parse(intervals=[pb.FamilyInterval(family=pb.FAMILY_CPU, interval_s=0.5)])
    with pytest.raises(greeting.InvalidHello, match=r"hello\.intervals: expected 1 to 3600"):
        greeting.to_claim(said, uuid.uuid4())
