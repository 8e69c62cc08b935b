"""Rates from counters that only grow: pure arithmetic that answers None instead of nonsense.

A counter that is smaller than before was reset, wrapped, or belongs to another device. Nobody can
know how far it really went, so the answer is "no value": never a negative rate, never a spike.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeAlias, TypeVar

Counters: TypeAlias = Sequence[float | None]
"""What one device counted so far, in an order of its family's; None where it does not count."""

Steps: TypeAlias = tuple[float | None, ...]
"""How far each counter went between two readings."""

Key = TypeVar("Key", bound=Hashable)

# Kernels count time in ticks of 10 ms, of disks in ms: in ten seconds, a tenth and a hundredth of a
# percent. More digits say next to nothing, and a float32 of few binary ones compresses better:
# all samples of this machine together took 15 % less (bench/storage.py).
STEPS_OF_A_PERCENT = 128
LARGEST = 3.4028234663852886e38  # of a float32, which is what the wire carries


def step(before: float | None, after: float | None) -> float | None:
    """How far one counter went; None where it went backwards or was not read twice."""
    if before is None or after is None or not after >= before:  # also false for NaN
        return None
    difference = after - before
    return difference if math.isfinite(difference) else None


def steps(before: Counters, after: Counters) -> Steps | None:
    """How far all counters of one device went; None where a single one of them can't be trusted."""
    if len(before) != len(after):
        return None
    result: list[float | None] = []
    for old, new in zip(before, after, strict=True):
        went = step(old, new)
        if went is None and old is not None and new is not None:
            return None
        result.append(went)
    return tuple(result)


def common_steps(before: Mapping[Key, Counters], after: Mapping[Key, Counters]) -> dict[Key, Steps]:
    """How far each device went that both readings know and whose counters can be trusted."""
    result: dict[Key, Steps] = {}
    for key, new in after.items():
        old = before.get(key)
        went = None if old is None else steps(old, new)
        if went is not None:
            result[key] = went
    return result


def per_second(amount: float | None, seconds: float) -> float | None:
    """Spread a step over the time it took; None where there is no step or no time."""
    return ratio(amount, seconds)


def percent(part: float | None, whole: float | None) -> float | None:
    """Say how much of the whole a part is, at most 100; None where there is no whole."""
    if part is not None and whole is not None and part >= whole > 0:
        return 100.0
    of_one = ratio(part, whole)
    return None if of_one is None else of_one * 100


def time_percent(spent: float | None, seconds: float | None) -> float | None:
    """Say how much of a time was spent, as `percent` does, to 1/128 of a percent."""
    return to_step(percent(spent, seconds))


def to_step(percent_of_time: float | None) -> float | None:
    """Round a percentage of time to the nearest 1/128."""
    if percent_of_time is None:
        return None
    return round(percent_of_time * STEPS_OF_A_PERCENT) / STEPS_OF_A_PERCENT


def ratio(part: float | None, whole: float | None) -> float | None:
    """Divide what is known; None where the answer is not a number that the wire can carry."""
    if part is None or whole is None or not whole > 0 or not part >= 0:
        return None
    result = part / whole
    return result if result <= LARGEST else None
