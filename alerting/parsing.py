"""Reading rules: from a row of `alert_rule`, or from JSON with the same keys.

Reading validates: an error names the field, what was expected there, and what came, so that it can
be shown to whoever wrote it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar, cast

from alerting import rules
from hostpulse import texts
from hostpulse.numbers import finite
from storage import catalog

M = TypeVar("M", bound=StrEnum)


def parse(row: Mapping[str, object]) -> rules.Rule:
    """Read a rule from a row of `alert_rule`, or from JSON with the same keys.

    Raises:
        rules.InvalidRule: a field is wrong.
    """
    name = _text(row, "name")
    metric = rules.metric_name(_text(row, "metric"))
    operator = _member(row, "operator", rules.Operator)
    rule = rules.Rule(
        id=cast("int", row.get("id", 0)),
        name=name,
        metric=metric,
        operator=operator,
        levels=_levels(row.get("levels"), operator),
        recovery_threshold=_optional_number(row, "recovery_threshold"),
        label_filter=_label_filter(row.get("label_filter", {}), metric),
        selector=_selector(row.get("server_selector", {})),
        no_data=_member(row, "no_data", rules.NoDataPolicy),
        repeat_interval_s=_number(
            "repeat_interval_s",
            row.get("repeat_interval_s", rules.REPEAT_DEFAULT_S),
            low=rules.REPEAT_MIN_S,
        ),
        channels=_texts("channels", row.get("channels", ())),
        keep_firing_for_s=_number(
            "keep_firing_for_s",
            row.get("keep_firing_for_s", 0),
            low=0,
            high=rules.KEEP_FIRING_MAX_S,
        ),
        group_by=_member({"group_by": rules.GroupBy.RULE, **row}, "group_by", rules.GroupBy),
        escalate_after_s=_optional_number(row, "escalate_after_s", low=rules.ESCALATE_MIN_S),
        escalate_channels=_texts("escalate_channels", row.get("escalate_channels", ())),
        annotations=_annotations(row.get("annotations", {})),
        enabled=bool(row.get("enabled", True)),
    )
    if metric == rules.OFFLINE_METRIC and operator is not rules.Operator.ABOVE:
        expectation = f"> for {rules.OFFLINE_METRIC}"
        raise rules.InvalidRule("operator", expectation=expectation, value=str(operator))
    if rule.escalate_after_s is not None and not rule.escalate_channels:
        expectation = "names of channels where escalate_after_s is set"
        raise rules.InvalidRule("escalate_channels", expectation=expectation, value=[])
    _check_recovery(rule)
    return rule


def _levels(raw: object, operator: rules.Operator) -> tuple[rules.Level, ...]:
    """Read the levels and order them; the worse one may not be easier to reach."""
    if (
        not isinstance(raw, Sequence)
        or isinstance(raw, str)
        or not 1 <= len(raw) <= rules.LEVELS_MAX
    ):
        expectation = f"a list of 1 to {rules.LEVELS_MAX} levels"
        raise rules.InvalidRule("levels", expectation=expectation, value=raw)
    levels = sorted(
        (_level(f"levels[{index}]", each) for index, each in enumerate(raw)),
        key=lambda level: level.severity.rank,
    )
    for mild, bad in itertools.pairwise(levels):
        if mild.severity is bad.severity:
            expectation = "levels of different severities"
            raise rules.InvalidRule("levels", expectation=expectation, value=str(mild.severity))
        if operator.breached(mild.threshold, bad.threshold) and mild.threshold != bad.threshold:
            side = "not below" if operator.upward else "not above"
            raise rules.InvalidRule(
                f"threshold of {bad.severity}",
                expectation=f"{side} the one of {mild.severity} ({mild.threshold:g})",
                value=bad.threshold,
            )
    return tuple(levels)


def _level(where: str, raw: object) -> rules.Level:
    """Read one level."""
    if not isinstance(raw, Mapping):
        expectation = "an object with severity, threshold and for_s"
        raise rules.InvalidRule(where, expectation=expectation, value=raw)
    entry = cast("Mapping[str, object]", raw)
    return rules.Level(
        severity=_member(entry, "severity", rules.Severity, where=f"{where}."),
        threshold=_number(f"{where}.threshold", entry.get("threshold")),
        for_s=_number(f"{where}.for_s", entry.get("for_s", 0), low=0, high=rules.FOR_MAX_S),
    )


def _check_recovery(rule: rules.Rule) -> None:
    """Refuse a recovery threshold beyond the mildest level: the alert could never be steady."""
    recovery, mildest = rule.recovery_threshold, rule.levels[0].threshold
    if recovery is None or recovery == mildest:
        return
    if (recovery > mildest) == rule.operator.upward:
        side = "at most" if rule.operator.upward else "at least"
        expectation = f"{side} the mildest threshold ({mildest:g})"
        raise rules.InvalidRule("recovery_threshold", expectation=expectation, value=recovery)


def _label_filter(raw: object, metric: str) -> Mapping[str, tuple[str, ...]]:
    """Read `{"mount": "/"}` or `{"mount": ["/", "/var"]}`."""
    if not isinstance(raw, Mapping):
        raise rules.InvalidRule("label_filter", expectation="an object", value=raw)
    known = () if metric == rules.OFFLINE_METRIC else catalog.find_metric(metric).label_names
    wanted: dict[str, tuple[str, ...]] = {}
    for label, values in cast("Mapping[str, object]", raw).items():
        if label not in known and not metric.startswith("custom."):
            expectation = f"by labels of {metric} ({', '.join(known) or 'it has none'})"
            raise rules.InvalidRule("label_filter", expectation=expectation, value=label)
        chosen = (values,) if isinstance(values, str) else values
        wanted[_storable("label_filter", label)] = _texts(f"label_filter.{label}", chosen)
        if not wanted[label]:
            raise rules.InvalidRule(f"label_filter.{label}", expectation="not empty", value=values)
    return MappingProxyType(wanted)


def _selector(raw: object) -> rules.Selector:
    """Read `{"names": […], "labels": {…}}`."""
    if not isinstance(raw, Mapping):
        raise rules.InvalidRule("server_selector", expectation="an object", value=raw)
    entry = cast("Mapping[str, object]", raw)
    if unknown := set(entry) - {"names", "labels"}:
        expectation = "made of names and labels"
        raise rules.InvalidRule("server_selector", expectation=expectation, value=min(unknown))
    return rules.Selector(
        names=_texts("server_selector.names", entry.get("names", ())),
        labels=_text_map("server_selector.labels", entry.get("labels", {})),
    )


def _annotations(raw: object) -> Mapping[str, str]:
    """Read texts for people; the runbook is a link."""
    annotations = _text_map("annotations", raw)
    if len(annotations) > rules.ANNOTATIONS_MAX:
        expectation = f"at most {rules.ANNOTATIONS_MAX} texts"
        raise rules.InvalidRule("annotations", expectation=expectation, value=len(annotations))
    for name, text in annotations.items():
        if not 1 <= len(name) <= rules.ANNOTATION_NAME_MAX_CHARACTERS:
            expectation = f"names of 1 to {rules.ANNOTATION_NAME_MAX_CHARACTERS} characters"
            raise rules.InvalidRule("annotations", expectation=expectation, value=name[:80])
        if len(text) > rules.ANNOTATION_MAX_CHARACTERS:
            expectation = f"at most {rules.ANNOTATION_MAX_CHARACTERS} characters"
            came = f"{len(text)} characters"
            raise rules.InvalidRule(f"annotations.{name}", expectation=expectation, value=came)
    runbook = annotations.get(rules.RUNBOOK, "https://")
    if not runbook.startswith(("https://", "http://")):
        raise rules.InvalidRule("annotations.runbook", expectation="a link", value=runbook)
    return annotations


def _text(row: Mapping[str, object], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise rules.InvalidRule(key, expectation="a text that is not empty", value=value)
    return _storable(key, value)


def _texts(where: str, raw: object) -> tuple[str, ...]:
    if isinstance(raw, str) or not isinstance(raw, Sequence):
        raise rules.InvalidRule(where, expectation="a list of texts", value=raw)
    for each in raw:
        if not isinstance(each, str) or not each:
            raise rules.InvalidRule(where, expectation="a list of texts", value=each)
        _storable(where, each)
    return tuple(cast("Sequence[str]", raw))


def _storable(where: str, text: str) -> str:
    """Refuse a text that no database takes."""
    if not texts.is_storable(text):
        expectation = "a text without NUL and halves of characters"
        raise rules.InvalidRule(where, expectation=expectation, value=text)
    return text


def _text_map(where: str, raw: object) -> Mapping[str, str]:
    if not isinstance(raw, Mapping):
        raise rules.InvalidRule(where, expectation="an object of texts", value=raw)
    for key, value in cast("Mapping[str, object]", raw).items():
        if not isinstance(value, str):
            raise rules.InvalidRule(f"{where}.{key}", expectation="a text", value=value)
        _storable(where, key)
        _storable(f"{where}.{key}", value)
    return MappingProxyType(dict(cast("Mapping[str, str]", raw)))


def _number(where: str, value: object, *, low: float = -math.inf, high: float = math.inf) -> float:
    if (number := finite(value)) is None:
        raise rules.InvalidRule(where, expectation="a finite number", value=value)
    if not low <= number <= high:
        bound = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise rules.InvalidRule(where, expectation=bound, value=value)
    return number


def _optional_number(
    row: Mapping[str, object], key: str, *, low: float = -math.inf
) -> float | None:
    return None if row.get(key) is None else _number(key, row[key], low=low)


def _member(row: Mapping[str, object], key: str, members: type[M], *, where: str = "") -> M:
    value = row.get(key)
    try:
        return members(cast("str", value))
    except ValueError:
        expectation = f"one of {', '.join(members)}"
        raise rules.InvalidRule(f"{where}{key}", expectation=expectation, value=value) from None
