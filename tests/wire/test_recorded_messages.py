"""What agents and gateways said in the past is still understood, value for value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hostpulse.v1 import telemetry_pb2 as pb
from tests.wire import record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message

RECORDINGS = sorted(record.RECORDED.glob("*.bin"))
UNKNOWN_FIELD = b"\xfa\x7f\x03new"  # number 2047, three bytes
ALL_MESSAGES = list(pb.DESCRIPTOR.message_types_by_name.values())


def read(recording: Path) -> Message:
    return record.kind_of(recording.stem).FromString(recording.read_bytes())


def messages_in(message: Message) -> Iterator[Message]:
    """Yield a message and all messages in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None or is_map(field):
            continue
        for each in value if field.is_repeated else (value,):
            yield from messages_in(each)


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


@pytest.fixture(scope="module")
def everything() -> list[Message]:
    return [each for recording in RECORDINGS for each in messages_in(read(recording))]


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_recorded_bytes_are_read_into_the_values_written_beside_them(recording: Path) -> None:
    expected = json.loads(recording.with_suffix(".json").read_text(encoding="utf-8"))

    assert record.values_of(read(recording)) == expected


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_a_field_of_a_newer_peer_changes_nothing_else(recording: Path) -> None:
    newer = recording.read_bytes() + UNKNOWN_FIELD

    message = record.kind_of(recording.stem).FromString(newer)

    assert record.values_of(message) == record.values_of(read(recording))


def test_every_recording_has_a_maker_and_every_maker_a_recording() -> None:
    assert {path.stem for path in RECORDINGS} == set(record.MESSAGES)
    assert {path.stem for path in record.RECORDED.glob("*.json")} == set(record.MESSAGES)


@pytest.mark.parametrize("descriptor", ALL_MESSAGES, ids=lambda message: message.name)
def test_every_field_of_a_message_is_in_some_recording(
    descriptor: Descriptor, everything: list[Message]
) -> None:
    recorded = {
        field.name
        for message in everything
        if message.DESCRIPTOR.full_name == descriptor.full_name
        for field, _ in message.ListFields()
    }

    assert recorded == {field.name for field in descriptor.fields}


def test_every_value_of_every_enum_is_in_some_recording(everything: list[Message]) -> None:
    recorded = {
        (field.enum_type.name, number)
        for message in everything
        for field, value in message.ListFields()
        if field.enum_type is not None
        for number in (value if field.is_repeated else (value,))
    }
    known = {
        (enum.name, value.number)
        for enum in pb.DESCRIPTOR.enum_types_by_name.values()
        for value in enum.values
        if value.number  # zero is what no sender says
    }

    assert recorded == known


def test_zero_is_not_absence() -> None:
    zeros = read(record.RECORDED / "request-batch-zeros.bin")
    absent = read(record.RECORDED / "request-batch-absent.bin")
    assert isinstance(zeros, pb.StreamRequest)
    assert isinstance(absent, pb.StreamRequest)

    assert zeros.batch.cpu.HasField("usage_percent")
    assert zeros.batch.cpu.usage_percent == 0
    assert absent.batch.HasField("cpu")
    assert not absent.batch.cpu.HasField("usage_percent")
