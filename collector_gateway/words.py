"""The words that enum values of the wire are stored as."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper


def to_word(enum: EnumTypeWrapper, value: int, prefix: str) -> str:
    """Turn a value into its name without the prefix; a newer agent's may have no name here."""
    if value not in enum.values():
        return f"unknown_{value}"
    return enum.Name(value).removeprefix(prefix).lower()
