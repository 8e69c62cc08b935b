"""Writes down what v1 of the wire looks like in bytes, once and for all.

Each name in MESSAGES becomes `recorded/<name>.bin`, a serialized message, and
`recorded/<name>.json`, its values by their proto names. What is recorded is never written again:
agents that speak these bytes are out there. A new field gets a new name here.

    PYTHONPATH=. python tests/wire/record.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from hostpulse.v1 import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from google.protobuf.message import Message

RECORDED = Path(__file__).parent / "recorded"
BOOT_ID = bytes(range(16))
TIME_UNIX_NS = 1_770_042_600_000_000_001  # 2026-02-02T14:30:00.000000001Z
NAN = float("nan")

Make: TypeAlias = "Callable[[], Message]"


def fill(message: Message, *, zero: bool = False) -> Message:
    """Set every field that is no message, and those of all messages in it; values follow numbers.

    With `zero` the scalars that know presence are set to zero: present, and not the same as absent.
    """
    for described in message.DESCRIPTOR.fields:
        field = cast("FieldDescriptor", described)  # of the C implementation, with the same face
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name).update({"rack": "b4", "zone": "eu-1"})
        elif field.message_type is not None and field.is_repeated:
            for _ in range(2):
                fill(getattr(message, field.name).add(), zero=zero)
        elif field.message_type is not None:
            fill(getattr(message, field.name), zero=zero)
        elif field.is_repeated:
            getattr(message, field.name).extend([_scalar(field, each) for each in (1, 2)])
        elif zero and field.has_presence:
            setattr(message, field.name, type(_scalar(field, 0))())
        else:
            setattr(message, field.name, _scalar(field, 0))
    return message


def _scalar(field: FieldDescriptor, nth: int) -> object:
    """Return a value for a field that is neither zero nor equal to its neighbour's."""
    if field.enum_type is not None:
        return field.enum_type.values[max(nth, 1)].number
    number = field.number + 100 * nth
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return BOOT_ID
        case FieldDescriptor.CPPTYPE_STRING:
            return f"{field.name} {number} ü"
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return number + 0.5
        case _ if field.name.endswith("time_unix_ns"):
            return TIME_UNIX_NS + number
        case FieldDescriptor.CPPTYPE_UINT64:
            return (1 << 53) + number  # more than a double can tell apart
        case _:
            return 1000 + number


def _batch(lane: pb.Lane, *, zero: bool = False) -> pb.MetricBatch:
    """Make a batch with samples of every family."""
    batch = pb.MetricBatch()
    fill(batch, zero=zero)
    batch.lane = lane
    batch.cpu.core_usage_percent.append(NAN)
    return batch


def _hello() -> pb.StreamRequest:
    """Make a Hello that names every family and every capability."""
    hello = pb.Hello()
    fill(hello)
    del hello.intervals[:]
    hello.intervals.extend(
        pb.FamilyInterval(family=name, interval_s=5.0 + number)
        for name, number in pb.Family.items()
        if number
    )
    del hello.capabilities[:]
    hello.MergeFrom(pb.Hello(capabilities=pb.Capability.keys()[1:]))
    return pb.StreamRequest(hello=hello)


def _welcome() -> pb.StreamResponse:
    """Make a Welcome with a config and committed ranges of two epochs."""
    welcome = pb.Welcome()
    fill(welcome)
    return pb.StreamResponse(welcome=welcome)


def _ack(status: pb.BatchStatus) -> pb.StreamResponse:
    """Make a BatchAck with a rejected sample for every reason."""
    ack = pb.BatchAck()
    fill(ack)
    ack.status = status
    del ack.rejected[:]
    ack.rejected.extend(
        pb.RejectedSample(index=number, reason=name, detail=f"reason {number}")
        for name, number in pb.RejectReason.items()
        if number
    )
    return pb.StreamResponse(ack=ack)


def _config(redaction: pb.RedactionMode) -> pb.StreamResponse:
    """Make an AgentConfig."""
    config = pb.AgentConfig()
    fill(config)
    config.redaction = redaction
    return pb.StreamResponse(config=config)


def _enum_messages() -> Iterator[tuple[str, Make]]:
    """Yield a recording for every value of the enums that stand alone in a message."""
    for value in pb.ConfigStatus.keys()[1:]:
        result = pb.ConfigResult(revision=7, status=value, detail="interval_s: expected 5 to 60")
        name = _name("request-config", value, "CONFIG_STATUS_")
        yield name, lambda r=result: pb.StreamRequest(config_result=r)
    for value in pb.DropReason.keys()[1:]:
        dropped = pb.DroppedRange()
        fill(dropped)
        dropped.MergeFrom(pb.DroppedRange(reason=value))
        name = _name("request-dropped", value, "DROP_REASON_")
        yield name, lambda d=dropped: pb.StreamRequest(dropped_range=d)
    for value in pb.GoodbyeReason.keys()[1:]:
        goodbye = pb.Goodbye(reason=value)
        name = _name("request-goodbye", value, "GOODBYE_REASON_")
        yield name, lambda g=goodbye: pb.StreamRequest(goodbye=g)


def _name(kind: str, value: str, prefix: str) -> str:
    """Return the name of a recording for one value of an enum."""
    return f"{kind}-{value.removeprefix(prefix).lower().replace('_', '-')}"


MESSAGES: Mapping[str, Make] = {
    "request-hello": _hello,
    "request-batch-live": lambda: pb.StreamRequest(batch=_batch(pb.LANE_LIVE)),
    "request-batch-backfill": lambda: pb.StreamRequest(batch=_batch(pb.LANE_BACKFILL)),
    "request-batch-zeros": lambda: pb.StreamRequest(batch=_batch(pb.LANE_LIVE, zero=True)),
    "request-batch-absent": lambda: pb.StreamRequest(
        batch=pb.MetricBatch(
            epoch=1, seq=1, cpu=pb.CpuSample(), disk_io=[pb.DiskIoSample(device="sda")]
        )
    ),
    "request-batch-unspooled": lambda: pb.StreamRequest(
        batch=pb.MetricBatch(
            epoch=1,
            seq=2,
            agent_health=pb.AgentHealthSample(spool_batches=3, unspooled_batches=2),
        )
    ),
    "request-heartbeat": lambda: pb.StreamRequest(
        heartbeat=pb.Heartbeat(time_unix_ns=TIME_UNIX_NS, monotonic_ns=1)
    ),
    **dict(_enum_messages()),
    "response-welcome": _welcome,
    "response-ack-committed": lambda: _ack(pb.BATCH_STATUS_COMMITTED),
    "response-ack-rejected": lambda: _ack(pb.BATCH_STATUS_REJECTED),
    "response-config-secrets": lambda: _config(pb.REDACTION_MODE_SECRETS),
    "response-config-names-only": lambda: _config(pb.REDACTION_MODE_NAMES_ONLY),
    "request-config-result-with-intervals": lambda: pb.StreamRequest(
        config_result=fill(pb.ConfigResult())
    ),
    "response-config-enabling": lambda: _config(pb.REDACTION_MODE_SECRETS),
    "response-backfill-credit": lambda: pb.StreamResponse(
        backfill_credit=pb.BackfillCredit(batches=64)
    ),
    "response-drain": lambda: pb.StreamResponse(
        drain=pb.Drain(reconnect_after_s=1.5, detail="gateway stops")
    ),
    "enroll-request": lambda: fill(pb.EnrollRequest()),
    "enroll-response": lambda: fill(pb.EnrollResponse()),
    "enroll-request-hostname": lambda: fill(pb.EnrollRequest()),
    "authority-request": lambda: pb.GetAuthorityRequest(),
    "authority-response": lambda: fill(pb.GetAuthorityResponse()),
}


def kind_of(name: str) -> type[Message]:
    """Return the message that a recording's name begins with."""
    kinds: dict[str, type[Message]] = {
        "request-": pb.StreamRequest,
        "response-": pb.StreamResponse,
        "enroll-request": pb.EnrollRequest,
        "enroll-response": pb.EnrollResponse,
        "authority-request": pb.GetAuthorityRequest,
        "authority-response": pb.GetAuthorityResponse,
    }
    return next(kind for prefix, kind in kinds.items() if name.startswith(prefix))


def values_of(message: Message) -> object:
    """Return a message's values as JSON has them: 64-bit numbers are text, bytes are base64."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def main() -> None:
    """Record what is not recorded yet."""
    RECORDED.mkdir(exist_ok=True)
    for name, make in MESSAGES.items():
        binary = RECORDED / f"{name}.bin"
        if binary.exists():
            continue
        message = make()
        binary.write_bytes(message.SerializeToString(deterministic=True))
        text = json.dumps(values_of(message), indent=1, sort_keys=True, ensure_ascii=False)
        binary.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
