"""Hello and Welcome: what an agent says of itself, checked, and what it is told."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from uuid import UUID

from google.protobuf.message import DecodeError

from collector_gateway import config_messages
from collector_gateway.clocks import to_datetime
from hostpulse import errors
from hostpulse.v1 import telemetry_pb2 as pb
from storage import claims
from storage.servers import InvalidName, check_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

EXPECTED = "expected Hello as the first message"
HELLO_MAX_BYTES = 64 * 1024
EPOCHS_MAX = 1000
ENTRIES_MAX = 100  # capabilities, and families: far more than there are
TEXT_MAX_CHARS = 4096  # of a fact; what is no longer is cut to FACT_MAX_CHARS
EPOCH_MAX = (1 << 63) - 1  # a bigint
SEQ_MAX = EPOCH_MAX - 1  # the end of a range, which is one more, must fit, too
INTEGER_MAX = (1 << 31) - 1
MACHINE_ID_MAX_CHARS = 64
FACT_MAX_CHARS = 256
INTERVAL_S = (1.0, 3600.0)  # that an agent is believed
ANNOUNCED_MAX_SAMPLES = 100
ANNOUNCED_MAX_BYTES = 200 * 1024
HEARTBEAT_INTERVAL_S = 15.0


class InvalidHello(errors.Permanent):
    """Hello says something that can't be."""


def parse(data: bytes) -> pb.Hello:
    """Read the first message of a stream and check it.

    Raises:
        InvalidHello: naming the field, what was expected and what came.
    """
    if len(data) > HELLO_MAX_BYTES:
        raise InvalidHello(f"hello: expected at most {HELLO_MAX_BYTES} bytes, got {len(data)}")
    try:
        request = pb.StreamRequest.FromString(data)
    except DecodeError as error:
        raise InvalidHello(f"{EXPECTED}, got something that is no StreamRequest") from error
    kind = request.WhichOneof("message")
    if kind != "hello":
        raise InvalidHello(f"{EXPECTED}, got {kind}")
    _check(request.hello)
    return request.hello


def _check(hello: pb.Hello) -> None:
    """Refuse what can't be, and what is too much; what is merely long is cut later."""
    try:
        check_name(hello.server_name)
    except InvalidName as error:
        raise InvalidHello(f"hello.server_name: {error}") from error
    machine_id = hello.machine_id
    if not 1 <= len(machine_id) <= MACHINE_ID_MAX_CHARS or not machine_id.isprintable():
        raise InvalidHello(
            f"hello.machine_id: expected 1 to {MACHINE_ID_MAX_CHARS} printable characters, "
            f"got {machine_id[:MACHINE_ID_MAX_CHARS]!r}"
        )
    if len(hello.boot_id) not in (0, 16):
        raise InvalidHello(f"hello.boot_id: expected 16 bytes, got {len(hello.boot_id)}")
    counts = {"epochs": EPOCHS_MAX, "capabilities": ENTRIES_MAX, "intervals": ENTRIES_MAX}
    for field, most in counts.items():
        if (count := len(getattr(hello, field))) > most:
            raise InvalidHello(f"hello.{field}: expected at most {most}, got {count}")
    texts = {"agent_version": hello.agent_version} | {
        f"host.{field.name}": value
        for field, value in hello.host.ListFields()
        if isinstance(value, str)
    }
    for field, text in texts.items():
        if len(text) > TEXT_MAX_CHARS:
            raise InvalidHello(
                f"hello.{field}: expected at most {TEXT_MAX_CHARS} characters, got {len(text)}"
            )
    for field, epoch in (("epoch", hello.epoch), *(("epochs", e.epoch) for e in hello.epochs)):
        if not 1 <= epoch <= EPOCH_MAX:
            raise InvalidHello(f"hello.{field}: expected 1 to 2^63 - 1, got {epoch}")


def to_claim(hello: pb.Hello, session: UUID) -> claims.Claim:
    """Turn a Hello that was checked into a claim.

    Raises:
        InvalidHello: an interval can't be.
    """
    return claims.Claim(
        server_name=hello.server_name,
        machine_id=hello.machine_id,
        boot_id=UUID(bytes=hello.boot_id) if hello.boot_id else None,
        agent_version=_text(hello.agent_version),
        session=session,
        epochs=tuple(dict.fromkeys((hello.epoch, *(e.epoch for e in hello.epochs)))),
        announced={e.epoch: min(e.last_seq, SEQ_MAX) for e in hello.epochs},
        config_revision=min(hello.config_revision, SEQ_MAX),
        facts=_facts(hello.host),
        intervals_s=_intervals(hello),
    )


def to_welcome(claimed: claims.Claimed, hello: pb.Hello, now_ns: int) -> pb.StreamResponse:
    """Tell the agent what is stored, by which limits it is bound, and what it is to run."""
    response = pb.StreamResponse(
        welcome=pb.Welcome(
            committed=[
                pb.CommittedRanges(
                    epoch=epoch,
                    ranges=[pb.SeqRange(first_seq=first, last_seq=last) for first, last in ranges],
                )
                for epoch, ranges in claimed.committed.items()
            ],
            limits=pb.Limits(
                max_samples_per_batch=ANNOUNCED_MAX_SAMPLES,
                max_batch_bytes=ANNOUNCED_MAX_BYTES,
                heartbeat_interval_s=HEARTBEAT_INTERVAL_S,
            ),
            capabilities=[
                pb.CAPABILITY_BACKFILL,
                pb.CAPABILITY_CUSTOM_METRICS,
                pb.CAPABILITY_CONFIG_PUSH,
            ],
            time_unix_ns=now_ns,
        )
    )
    wanted = claimed.config
    is_able = pb.CAPABILITY_CONFIG_PUSH in hello.capabilities
    # Also where the agent has this revision: its number may be of another database's history.
    if is_able and wanted is not None and (wanted.revision or hello.config_revision):
        response.welcome.config.CopyFrom(config_messages.to_message(wanted))
    return response


def count_backlog(hello: pb.Hello, claimed: claims.Claimed) -> int:
    """Return how many batches the agent may still have: numbered, and not committed."""
    return sum(
        max(0, state.last_seq - _committed_up_to(state.last_seq, claimed.committed[state.epoch]))
        for state in hello.epochs
    )


def _committed_up_to(last_seq: int, ranges: Sequence[tuple[int, int]]) -> int:
    return sum(max(0, min(last, last_seq) - first + 1) for first, last in ranges)


def _text(value: str) -> str:
    """Cut a fact to what is kept of it; PostgreSQL stores no NUL."""
    return value.replace("\0", "")[:FACT_MAX_CHARS]


def _facts(host: pb.HostFacts) -> dict[str, str | int | datetime | None]:
    """Return the facts that are known, as `server` names them."""
    facts: dict[str, str | int | datetime | None] = {}
    for descriptor, value in host.ListFields():
        if descriptor.name == "boot_time_unix_ns":
            facts["boot_time"] = to_datetime(value)
        elif isinstance(value, str):
            facts[descriptor.name] = _text(value)
        else:
            most = INTEGER_MAX if claims.FACTS.get(descriptor.name) == "int" else SEQ_MAX
            facts[descriptor.name] = min(value, most)
    return {name: value for name, value in facts.items() if name in claims.FACTS}


def _intervals(hello: pb.Hello) -> dict[str, float]:
    """Return the interval of each family that this gateway knows, within reason."""
    intervals: dict[str, float] = {}
    lowest, highest = INTERVAL_S
    for entry in hello.intervals:
        name = pb.Family.Name(entry.family) if entry.family in pb.Family.values() else ""
        family = name.removeprefix("FAMILY_").lower()
        if not family or family == "unspecified":
            continue
        if not (math.isfinite(entry.interval_s) and lowest <= entry.interval_s <= highest):
            raise InvalidHello(
                f"hello.intervals: expected {lowest:g} to {highest:g} seconds for {family}, "
                f"got {entry.interval_s}"
            )
        intervals[family] = entry.interval_s
    return intervals
