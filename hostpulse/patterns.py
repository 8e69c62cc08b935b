"""Patterns of the operator's own: regular expressions that can't be made to hang the agent.

A backtracking matcher tries every way in which the choices of a pattern can be combined. The number
of ways is bounded here, before a pattern is used: with COST_MAX of them and a text of TEXT_MAX
characters a search takes some 10 ms at worst, whatever the text is.
"""

from __future__ import annotations

import re
from re import _constants as ops  # pyright: ignore[reportAttributeAccessIssue]
from re import _parser as parser  # pyright: ignore[reportAttributeAccessIssue]
from typing import TYPE_CHECKING

from hostpulse import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

PATTERNS_MAX = 16
PATTERN_MAX_CHARACTERS = 200
TEXT_MAX = 1024  # characters that are searched at once
COST_MAX = 4096  # ways that a match may be tried from one place: one open end, and a few choices
EXPECTED = (
    "a regular expression with at most one open-ended repeat (`*`, `+`, `{n,}`), no repeat of a "
    "group that varies, and no lookaround or reference back"
)


def compile_all(field: str, texts: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    """Compile patterns that are safe to search with.

    Raises:
        ConfigError: There are too many, or one is too long, wrong, or too dear.
    """
    wanted = tuple(dict.fromkeys(texts))
    if len(wanted) > PATTERNS_MAX:
        expectation = f"at most {PATTERNS_MAX} patterns"
        raise errors.ConfigError(field, expectation=expectation, value=len(wanted))
    return tuple(_compile(field, text) for text in wanted)


def _compile(field: str, text: str) -> re.Pattern[str]:
    if not 0 < len(text) <= PATTERN_MAX_CHARACTERS:
        expectation = f"patterns of 1 to {PATTERN_MAX_CHARACTERS} characters"
        raise errors.ConfigError(field, expectation=expectation, value=text[:50])
    try:
        compiled = re.compile(text)
        cost = _sequence(parser.parse(text))
    except (re.error, OverflowError, RecursionError) as error:
        expectation = f"a regular expression ({error})"
        raise errors.ConfigError(field, expectation=expectation, value=text) from error
    if cost > COST_MAX:
        raise errors.ConfigError(field, expectation=EXPECTED, value=text)
    if compiled.search(""):
        expectation = "a pattern that does not match nothing at all"
        raise errors.ConfigError(field, expectation=expectation, value=text)
    return compiled


def _sequence(nodes: Sequence[tuple[Any, Any]]) -> int:
    """Bound the ways to match one part after the other."""
    cost = 1
    for operator, argument in nodes:
        cost = min(cost * _node(operator, argument), COST_MAX + 1)
    return cost


def _node(operator: Any, argument: Any) -> int:
    """Bound the ways to match one part; COST_MAX + 1 for what is not allowed."""
    if operator in (ops.LITERAL, ops.NOT_LITERAL, ops.IN, ops.ANY, ops.AT):
        return 1
    if operator is ops.SUBPATTERN:
        return _sequence(argument[-1])
    if operator is ops.BRANCH:
        return sum(_sequence(each) for each in argument[1])
    if operator in (ops.MAX_REPEAT, ops.MIN_REPEAT):
        return _repeat(*argument)
    return COST_MAX + 1


def _repeat(low: int, high: int, what: Sequence[tuple[Any, Any]]) -> int:
    """Bound the ways to repeat something."""
    high = min(int(high), TEXT_MAX)
    if low > TEXT_MAX:
        return COST_MAX + 1
    single = len(what) == 1 and what[0][0] in (ops.LITERAL, ops.NOT_LITERAL, ops.IN, ops.ANY)
    if single:
        return high - low + 1
    if high > 16:
        return COST_MAX + 1
    cost = _sequence(what)
    return min(sum(cost**times for times in range(low, high + 1)), COST_MAX + 1)
