"""From the samples of one moment to numbered, immutable, serialized batches.

    Tick ── split() ──▶ MetricBatch … ── Numbering.number() ──▶ NumberedBatch (bytes)

What is stored of a batch holds neither the lane nor `sent_monotonic_ns`: both are known only when
it is sent (see `agent.envelope`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from google.protobuf.message import Message

MAX_SAMPLES = 100  # of a new batch; a gateway takes 1 000
MAX_BYTES = 200 * 1024  # of a new batch; a gateway takes 256 KiB
SAMPLE_OVERHEAD_BYTES = 6  # tag (2) and length (at most 4) of an embedded message
HEADER_BYTES = 64  # epoch, seq, times and boot id, rounded up
EPOCH_BITS = 63  # a PostgreSQL bigint

SINGLE_FIELDS: Mapping[telemetry_pb2.Family, str] = {
    telemetry_pb2.FAMILY_CPU: "cpu",
    telemetry_pb2.FAMILY_MEMORY: "memory",
    telemetry_pb2.FAMILY_TCP: "tcp",
    telemetry_pb2.FAMILY_PRESSURE: "pressure",
    telemetry_pb2.FAMILY_AGENT_HEALTH: "agent_health",
}
REPEATED_FIELDS: Mapping[telemetry_pb2.Family, str] = {
    telemetry_pb2.FAMILY_DISK_USAGE: "disk_usage",
    telemetry_pb2.FAMILY_DISK_IO: "disk_io",
    telemetry_pb2.FAMILY_NETWORK: "network",
    telemetry_pb2.FAMILY_PROCESS: "process",
    telemetry_pb2.FAMILY_CUSTOM: "custom",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """All samples of one moment, by family; times in nanoseconds of the agent's clocks."""

    time_unix_ns: int
    monotonic_ns: int
    samples: Mapping[telemetry_pb2.Family, Sequence[Message]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """The most that a new batch may hold."""

    max_samples: int = MAX_SAMPLES
    max_bytes: int = MAX_BYTES

    def within(self, other: BatchLimits) -> BatchLimits:
        """Return the tighter of two limits."""
        return BatchLimits(
            max_samples=min(self.max_samples, other.max_samples),
            max_bytes=min(self.max_bytes, other.max_bytes),
        )

    def lowered(self, announced: telemetry_pb2.Limits) -> BatchLimits:
        """Return the tighter of these limits and a gateway's; 0 there means none."""
        return BatchLimits(
            max_samples=min(self.max_samples, announced.max_samples_per_batch or self.max_samples),
            max_bytes=min(self.max_bytes, announced.max_batch_bytes or self.max_bytes),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedBatch:
    """A batch that has its number: from now on nothing in `payload` changes."""

    epoch: int
    seq: int
    time_unix_ns: int
    monotonic_ns: int
    samples: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferedBatch:
    """A batch and its place in the order of arrival; places rise and are never reused."""

    place: int
    batch: NumberedBatch


def split(tick: Tick, limits: BatchLimits) -> Iterator[telemetry_pb2.MetricBatch]:
    """Yield batches that hold every sample of the tick once; none for a tick without samples.

    A single sample bigger than the limit goes alone: the gateway rejects it and records why.
    """
    batch = telemetry_pb2.MetricBatch()
    count, size = 0, HEADER_BYTES
    for family, samples in tick.samples.items():
        single, repeated = SINGLE_FIELDS.get(family), REPEATED_FIELDS.get(family)
        for sample in samples:
            cost = sample.ByteSize() + SAMPLE_OVERHEAD_BYTES
            full = count >= limits.max_samples or size + cost > limits.max_bytes
            if count and (full or (single is not None and batch.HasField(single))):
                yield batch
                batch = telemetry_pb2.MetricBatch()
                count, size = 0, HEADER_BYTES
            if single is not None:
                getattr(batch, single).CopyFrom(sample)
            elif repeated is not None:
                getattr(batch, repeated).append(sample)
            else:
                raise ValueError(f"family must have a field in MetricBatch, got {family!r}")
            count, size = count + 1, size + cost
    if count:
        yield batch


def sample_counts(batch: telemetry_pb2.MetricBatch) -> Mapping[telemetry_pb2.Family, int]:
    """Return how many samples of each family a batch holds, families without any left out."""
    counts = {family: len(getattr(batch, name)) for family, name in REPEATED_FIELDS.items()}
    counts |= {family: int(batch.HasField(name)) for family, name in SINGLE_FIELDS.items()}
    return {family: count for family, count in sorted(counts.items()) if count}


def random_epoch() -> int:
    """Return a number from 1 to 2^63 - 1 that no other agent process ever draws."""
    return secrets.randbits(EPOCH_BITS) or 1


class Numbering:
    """The epoch of this process and the numbers it has given out, from 1 without holes."""

    def __init__(self, *, boot_id: bytes, new_epoch: Callable[[], int] = random_epoch) -> None:
        self._boot_id = boot_id
        self._new_epoch = new_epoch
        self._last_seqs: dict[int, int] = {}
        self.epoch = 0
        self.restart()

    @property
    def last_seq(self) -> int:
        """The last number given out in the epoch; 0 is none."""
        return self._last_seqs[self.epoch]

    def states(self) -> Sequence[telemetry_pb2.EpochState]:
        """Say, for Hello, how far every epoch of this process got, the present one last."""
        return [
            telemetry_pb2.EpochState(epoch=epoch, last_seq=last_seq)
            for epoch, last_seq in self._last_seqs.items()
        ]

    def restart(self) -> None:
        """Begin a new epoch; numbers of the former one are never given out again."""
        self.epoch = self._new_epoch()
        self._last_seqs[self.epoch] = 0

    def number(self, batch: telemetry_pb2.MetricBatch, tick: Tick) -> NumberedBatch:
        """Give a batch its number and header and make it immutable."""
        seq = self.last_seq + 1
        batch.epoch = self.epoch
        batch.seq = seq
        batch.time_unix_ns = tick.time_unix_ns
        batch.monotonic_ns = tick.monotonic_ns
        batch.boot_id = self._boot_id
        payload = batch.SerializeToString()
        self._last_seqs[self.epoch] = seq
        return NumberedBatch(
            epoch=self.epoch,
            seq=seq,
            time_unix_ns=tick.time_unix_ns,
            monotonic_ns=tick.monotonic_ns,
            samples=sum(sample_counts(batch).values()),
            payload=payload,
        )
