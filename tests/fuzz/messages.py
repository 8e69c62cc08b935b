"""Messages that no honest agent sends: of every field, with every kind of value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st

if TYPE_CHECKING:
    import random

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

DEPTH_MAX = 4
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Values that a field of this type can hold on the wire."""
    kind = field.cpp_type
    if kind in _INTEGERS:
        low, high = _INTEGERS[kind]
        return st.sampled_from([low, 0, 1, high]) | st.integers(low, high)
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return st.integers(-1, 12) | st.sampled_from([2**31 - 1, -(2**31)])
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return st.floats(width=32)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=40)
    odd = ["", "\0", "a\nb", "' OR 1=1 --", "x" * 5000, "\u202e", "é" * 300, "../../etc/passwd"]
    return st.sampled_from(odd) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def messages(draw: st.DrawFn, kind: type[Message], depth: int = 0) -> Message:
    """A message of this kind with some of its fields."""
    message = kind()
    descriptor: Descriptor = message.DESCRIPTOR
    fields = list(descriptor.fields)
    chosen = [draw(st.sampled_from(fields)) for _ in range(draw(st.integers(0, 4)))]
    if depth == 0 and fields:
        chosen = chosen[:1] or [fields[0]]
    for field in chosen:
        _fill(draw, message, field, depth)
    return message


def _fill(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int) -> None:
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    if is_map:
        values = field.message_type.fields_by_name
        for _ in range(draw(st.integers(0, 3))):
            getattr(message, field.name)[draw(scalars(values["key"]))] = draw(
                scalars(values["value"])
            )
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        if depth >= DEPTH_MAX:
            return
        inner = messages(field.message_type._concrete_class, depth + 1)
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(inner, max_size=3)))
        else:
            getattr(message, field.name).CopyFrom(draw(inner))
    elif field.is_repeated:
        getattr(message, field.name).extend(draw(st.lists(scalars(field), max_size=4)))
    else:
        setattr(message, field.name, draw(scalars(field)))


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Flip, cut, repeat or insert some bytes."""
    changed = bytearray(data or b"\0")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << chance.randrange(8)
            case 1:
                del changed[at:]
            case 2:
                changed[at:at] = chance.randbytes(chance.randint(1, 8))
            case 3:
                changed[at:at] = changed[: chance.randint(0, 50)]
            case _:
                changed[at : at + chance.randint(1, 8)] = b""
    return bytes(changed)
