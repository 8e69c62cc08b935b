"""The rows of a spool: what is written there, and whether it still is what was written."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

from agent.batches import BufferedBatch, NumberedBatch
from agent.dropped import Dropped
from hostpulse import errors
from hostpulse.v1 import telemetry_pb2

VERSION = 1
ROW_BYTES = 900  # what a row takes beside its payload, about: header, index, the unused end
SCHEMA = f"""
CREATE TABLE batch (
  place INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
  time_unix_ns INTEGER NOT NULL, monotonic_ns INTEGER NOT NULL, samples INTEGER NOT NULL,
  crc INTEGER NOT NULL, payload BLOB NOT NULL
);
CREATE UNIQUE INDEX batch_number ON batch (epoch, seq);
CREATE TABLE epoch (
  epoch INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, boot_id BLOB NOT NULL,
  from_time_unix_ns INTEGER NOT NULL, to_time_unix_ns INTEGER NOT NULL
);
CREATE TABLE dropped (
  epoch INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
  from_time_unix_ns INTEGER NOT NULL, to_time_unix_ns INTEGER NOT NULL, reason INTEGER NOT NULL
);
PRAGMA user_version = {VERSION};
"""


class SpoolCorruptError(errors.HostpulseError):
    """The file holds what nobody wrote there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A spooled batch without its payload; `boot_id` is empty where its epoch is not known."""

    place: int
    epoch: int
    seq: int
    time_unix_ns: int
    monotonic_ns: int
    samples: int
    cost_bytes: int
    boot_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledEpoch:
    """How far an epoch got, and between which times."""

    epoch: int
    last_seq: int
    boot_id: bytes
    from_time_unix_ns: int
    to_time_unix_ns: int


def cost_bytes(payload_bytes: int) -> int:
    """Return what a batch takes on disk, about."""
    return payload_bytes + ROW_BYTES


def crc(numbers: tuple[int, int, int, int, int], payload: bytes) -> int:
    """Return the checksum of a batch's columns."""
    return zlib.crc32(payload, zlib.crc32(struct.pack("<5q", *numbers)))


def read_batch(row: tuple[Any, ...]) -> BufferedBatch:
    """Make a batch of a row.

    Raises:
        SpoolCorruptError: It is not what was written.
    """
    place, *numbers, expected, payload = row
    try:
        sound = expected == crc(tuple(numbers), payload)  # pyright: ignore[reportArgumentType]
    except (struct.error, TypeError):
        sound = False
    if not sound:
        raise SpoolCorruptError(f"the row at place {place} is not what was written there")
    epoch, seq, time_unix_ns, monotonic_ns, samples = numbers
    return BufferedBatch(
        place=place,
        batch=NumberedBatch(
            epoch=epoch,
            seq=seq,
            time_unix_ns=time_unix_ns,
            monotonic_ns=monotonic_ns,
            samples=samples,
            payload=payload,
        ),
    )


def read_head(row: tuple[Any, ...]) -> Head:
    """Make a head of a row.

    Raises:
        SpoolCorruptError: It can't be one.
    """
    place, epoch, seq, time_unix_ns, monotonic_ns, samples, payload_bytes, boot_id = row
    _check_numbers(place, epoch, seq, time_unix_ns, monotonic_ns, samples, payload_bytes)
    return Head(
        place=place,
        epoch=epoch,
        seq=seq,
        time_unix_ns=time_unix_ns,
        monotonic_ns=monotonic_ns,
        samples=samples,
        cost_bytes=cost_bytes(payload_bytes),
        boot_id=boot_id if isinstance(boot_id, bytes) else b"",
    )


def read_epoch(row: tuple[Any, ...]) -> SpooledEpoch:
    """Make an epoch of a row.

    Raises:
        SpoolCorruptError: It can't be one.
    """
    epoch, last_seq, boot_id, begun, ended = row
    _check_numbers(epoch, last_seq, begun, ended)
    if not isinstance(boot_id, bytes) or epoch < 1 or last_seq < 1 or begun < 0 or ended < 0:
        raise SpoolCorruptError(f"epoch {epoch!r} is not what was written")
    return SpooledEpoch(
        epoch=epoch,
        last_seq=last_seq,
        boot_id=boot_id,
        from_time_unix_ns=begun,
        to_time_unix_ns=ended,
    )


def read_dropped(row: tuple[Any, ...]) -> Dropped:
    """Make a dropped range of a row.

    Raises:
        SpoolCorruptError: It can't be one.
    """
    epoch, first, last, begun, ended, reason = row
    _check_numbers(*row)
    if reason not in telemetry_pb2.DropReason.values() or not 1 <= first <= last:
        raise SpoolCorruptError(f"the dropped range of epoch {epoch!r} is not what was written")
    return Dropped(
        epoch=epoch,
        first_seq=first,
        last_seq=last,
        from_time_unix_ns=begun,
        to_time_unix_ns=ended,
        reason=reason,
    )


def _check_numbers(*values: object) -> None:
    if not all(isinstance(value, int) for value in values):
        raise SpoolCorruptError(f"expected numbers, got {values!r}")
