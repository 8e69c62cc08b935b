from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import batches, envelope
from hostpulse.v1 import telemetry_pb2 as pb

TICK_TIME_NS = 1_767_225_600_000_000_000


def tick_of(samples):
    return batches.Tick(time_unix_ns=TICK_TIME_NS, monotonic_ns=5, samples=samples)


def processes(count, *, padding=0):
    return [pb.ProcessSample(pid=each, name="x" * padding) for each in range(count)]


def numbering(*epochs):
    drawn = iter(epochs)
    return batches.Numbering(boot_id=b"b" * 16, new_epoch=lambda: next(drawn))


def test_a_tick_without_samples_is_no_batch():
    tick = tick_of({pb.FAMILY_CPU: [], pb.FAMILY_PROCESS: []})

    assert list(batches.split(tick, batches.BatchLimits())) == []


def test_families_of_one_moment_share_a_batch():
    tick = tick_of(
        {
            pb.FAMILY_CPU: [pb.CpuSample(load1=1.0)],
            pb.FAMILY_PROCESS: processes(3),
            pb.FAMILY_AGENT_HEALTH: [pb.AgentHealthSample(collect_ms=2.0)],
        }
    )

    (batch,) = batches.split(tick, batches.BatchLimits())

    assert batches.sample_counts(batch) == {
        pb.FAMILY_CPU: 1,
        pb.FAMILY_PROCESS: 3,
        pb.FAMILY_AGENT_HEALTH: 1,
    }


@given(
    st.lists(st.integers(min_value=0, max_value=3_000), max_size=60),
    st.integers(min_value=1, max_value=20),
    st.integers(min_value=100, max_value=10_000),
)
def test_every_sample_is_in_exactly_one_batch_within_the_limits(paddings, max_samples, max_bytes):
    samples = [pb.ProcessSample(pid=n, name="x" * size) for n, size in enumerate(paddings)]
    limits = batches.BatchLimits(max_samples=max_samples, max_bytes=max_bytes)
    numbers = numbering(1)
    tick = tick_of({pb.FAMILY_PROCESS: samples})

    made = list(batches.split(tick, limits))
    sent = [
        envelope.batch_request(
            numbers.number(each, tick).payload, lane=pb.LANE_LIVE, sent_monotonic_ns=2**60
        )
        for each in made
    ]

    assert [sample for batch in made for sample in batch.process] == samples
    for batch, request in zip(made, sent, strict=True):
        assert len(batch.process) <= max_samples
        assert len(request) <= max_bytes + 40 or len(batch.process) == 1


def test_a_sample_over_the_byte_limit_goes_alone():
    tick = tick_of(
        {pb.FAMILY_PROCESS: [*processes(2), *processes(1, padding=5_000), *processes(1)]}
    )

    made = list(batches.split(tick, batches.BatchLimits(max_bytes=1_000)))

    assert [len(each.process) for each in made] == [2, 1, 1]


def test_a_second_sample_of_a_single_family_starts_a_batch_instead_of_replacing_the_first():
    tick = tick_of({pb.FAMILY_CPU: [pb.CpuSample(load1=1.0), pb.CpuSample(load1=2.0)]})

    made = list(batches.split(tick, batches.BatchLimits()))

    assert [each.cpu.load1 for each in made] == [1.0, 2.0]


def test_every_family_of_the_wire_has_its_field():
    families = set(pb.Family.values()) - {pb.FAMILY_UNSPECIFIED}
    fields = {**batches.SINGLE_FIELDS, **batches.REPEATED_FIELDS}

    assert set(fields) == families
    for family, name in fields.items():
        field = pb.MetricBatch.DESCRIPTOR.fields_by_name[name]
        assert field.is_repeated == (family in batches.REPEATED_FIELDS)


@pytest.mark.parametrize(
    ("announced", "expected"),
    [
        pytest.param(pb.Limits(), (100, 204_800), id="none"),
        pytest.param(pb.Limits(max_samples_per_batch=50, max_batch_bytes=9), (50, 9), id="lower"),
        pytest.param(
            pb.Limits(max_samples_per_batch=1_000, max_batch_bytes=2**20),
            (100, 204_800),
            id="higher",
        ),
    ],
)
def test_a_gateway_can_lower_the_limits_and_not_raise_them(announced, expected):
    lowered = batches.BatchLimits().lowered(announced)

    assert (lowered.max_samples, lowered.max_bytes) == expected


def test_numbers_run_from_1_without_holes_and_the_header_is_complete():
    numbers = numbering(7)
    tick = tick_of({pb.FAMILY_PROCESS: processes(3)})
    made = batches.split(tick, batches.BatchLimits(max_samples=1))

    numbered = [numbers.number(each, tick) for each in made]

    assert [each.seq for each in numbered] == [1, 2, 3]
    stored = pb.MetricBatch.FromString(numbered[0].payload)
    assert (stored.epoch, stored.seq, stored.boot_id) == (7, 1, b"b" * 16)
    assert (stored.time_unix_ns, stored.monotonic_ns) == (TICK_TIME_NS, 5)
    assert (stored.lane, stored.sent_monotonic_ns) == (pb.LANE_UNSPECIFIED, 0)


def test_a_new_epoch_counts_anew_and_the_former_one_is_still_announced():
    numbers = numbering(7, 8)
    tick = tick_of({pb.FAMILY_PROCESS: processes(1)})
    (batch,) = batches.split(tick, batches.BatchLimits())

    numbers.number(batch, tick)
    numbers.restart()

    assert (numbers.epoch, numbers.last_seq) == (8, 0)
    assert [(each.epoch, each.last_seq) for each in numbers.states()] == [(7, 1), (8, 0)]


def test_epochs_are_positive_and_fit_a_bigint():
    assert all(0 < batches.random_epoch() < 2**63 for _ in range(1_000))


@given(st.binary(max_size=400), st.integers(min_value=0, max_value=2**64 - 1))
def test_the_envelope_is_what_protobuf_would_have_written(boot_id, sent_ns):
    stored = pb.MetricBatch(epoch=3, seq=2**40, boot_id=boot_id, cpu=pb.CpuSample(load1=1.0))

    request = pb.StreamRequest.FromString(
        envelope.batch_request(
            stored.SerializeToString(), lane=pb.LANE_BACKFILL, sent_monotonic_ns=sent_ns
        )
    )

    stored.lane = pb.LANE_BACKFILL
    stored.sent_monotonic_ns = sent_ns
    assert request == pb.StreamRequest(batch=stored)
