from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.buffer import BufferBounds
from agent.collectors import CollectorSettings
from agent.options import BY_NAME, COLLECTED, MAX_INTERVAL_S, MIN_INTERVAL_S
from agent.overlay import overlay
from agent.plan import Plan
from collector_gateway import config_messages
from hostpulse.errors import ConfigError
from storage import config_fields, config_scopes
from storage.config_scopes import Revision, Scope, merge, parse
from storage.server_configs import Wanted

KEYS, VALUES, NAMES = ("env", "role"), ("a", "b"), ("web-1", "web-2")
GENERAL = [each for each in config_fields.FAMILIES if each != "disk_usage"]
LOCAL = Plan(
    intervals_s=dict.fromkeys(COLLECTED.values(), 10.0),
    collectors=CollectorSettings(),
    spool=BufferBounds(max_bytes=2**28),
)

scopes = st.one_of(
    st.just(Scope()),
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), min_size=1).map(
        lambda labels: Scope(labels=labels)
    ),
    st.sampled_from(NAMES).map(lambda name: Scope(server=name)),
)
some_fields = st.dictionaries(
    st.sampled_from(["interval_s", "cpu_interval_s", "disk_usage_interval_s", "process_top_n"]),
    st.integers(5, 60),
)


@st.composite
def histories(draw):
    """The newest revision of some scopes, numbers and priorities all different."""
    chosen = {str(scope): scope for scope in draw(st.lists(scopes, max_size=6))}
    numbers = draw(st.permutations(range(1, len(chosen) + 1)))
    priorities = draw(st.permutations(range(len(chosen))))
    return [
        Revision(
            revision=number,
            scope=scope,
            priority=priority if scope.labels else 0,
            fields=draw(some_fields),
            author="x",
            time=datetime.now(UTC),
            comment=None,
        )
        for scope, number, priority in zip(chosen.values(), numbers, priorities, strict=True)
    ]


def by_asking_for_each_field(revisions, name, labels):
    """What is in force, the slow way: for every field every scope, the nearest that says it."""
    found = {}
    for field in config_fields.FIELDS:
        if field == "interval_s":
            continue
        says = []
        for each in revisions:
            selected = dict(each.scope.labels)
            if each.scope.server is not None:
                nearness = (2, 0)
                if each.scope.server != name:
                    continue
            elif selected:
                nearness = (1, each.priority)
                if not all(key in labels and labels[key] == selected[key] for key in selected):
                    continue
            else:
                nearness = (0, 0)
            family = field.removesuffix("_interval_s")
            if field in each.fields:
                says.append((nearness, each.fields[field], each.revision))
            elif family != field and family in GENERAL and "interval_s" in each.fields:
                says.append((nearness, each.fields["interval_s"], each.revision))
        if says:
            _, value, revision = max(says, key=lambda one: one[0])
            found[field] = (value, revision)
    return found


@given(
    revisions=histories(),
    name=st.sampled_from(NAMES),
    labels=st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES)),
)
def test_the_nearer_scope_wins_field_by_field(revisions, name, labels):
    expected = by_asking_for_each_field(revisions, name, labels)

    assert merge(revisions, name=name, of=labels) == expected
    assert merge(revisions[::-1], name=name, of=labels) == expected


@given(scope=scopes)
def test_a_scope_is_read_as_it_is_written(scope):
    assert parse(str(scope)) == scope


@pytest.mark.parametrize(
    "text",
    ["", "everybody", "labels:", "labels:x", "labels:a=1,a=2", "labels:=1", "server:", "server: x"],
)
def test_what_is_no_scope_is_refused(text):
    with pytest.raises(ConfigError, match=r"^scope must be"):
        config_scopes.parse(text)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"cpu_interval_s": 4}, "cpu_interval_s must be between 5 and 60 seconds, got 4"),
        ({"cpu_interval_s": float("nan")}, "cpu_interval_s must be between"),
        ({"cpu_interval_s": True}, "cpu_interval_s must be between"),
        ({"cpu_interval_s": "5"}, "cpu_interval_s must be between"),
        ({"cpu_enabled": "yes"}, "cpu_enabled must be true or false"),
        ({"process_top_n": 1.5}, "process_top_n must be a whole number"),
        ({"redaction": "full"}, "redaction must be any of redacted, names, got 'full'"),
        ({"redaction_patterns": ["(a+)+b"]}, "redaction_patterns must be a regular expression"),
        ({"mounts_include": "/"}, "mounts_include must be a list"),
        ({"mounts_include": ["a\0"]}, "mounts_include must be a list"),
        ({"interface_speeds_mbps": {"eth0": 0}}, "interface_speeds_mbps must be an object"),
        ({"spool_max_bytes": 10**30}, "spool_max_bytes must be a whole number"),
        ({"shell": "reboot"}, "field must be any of interval_s"),
        ({f"{each}_enabled": False for each in config_fields.FAMILIES}, "config must be one that"),
    ],
)
def test_a_field_that_can_not_be_is_refused_by_name(fields, reason):
    with pytest.raises(ConfigError) as refused:
        config_fields.check_all(fields)
    assert reason in str(refused.value)


def test_both_sides_agree_on_names_and_bounds():
    families = [f"{each}_enabled" for each in config_fields.FAMILIES]
    only_here = {*families, "max_samples_per_batch"}
    assert tuple(COLLECTED) == config_fields.FAMILIES
    assert set(config_fields.FIELDS) - only_here <= set(BY_NAME)
    interval = config_fields.FIELDS["interval_s"]
    assert (interval.low, interval.high) == (MIN_INTERVAL_S, MAX_INTERVAL_S)


names = st.lists(
    st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=10), max_size=3
)
values_of = {
    "number": lambda f: st.floats(f.low, f.high),
    "integer": lambda f: st.integers(int(f.low), int(f.high)),
    "switch": lambda _: st.booleans(),
    "choice": lambda f: st.sampled_from(f.choices),
    "names": lambda _: names,
    "speeds": lambda _: st.dictionaries(
        st.sampled_from(["eth0", "bond1"]), st.floats(0.1, 1e6), min_size=1
    ),
    "patterns": lambda _: st.lists(st.sampled_from(["acme-[0-9]+", "x{3}", "a|b"]), max_size=3),
}
good_fields = st.fixed_dictionaries(
    {}, optional={name: values_of[f.kind](f) for name, f in config_fields.FIELDS.items()}
)


@given(fields=good_fields)
def test_what_the_gateway_takes_every_agent_takes(fields):
    fields = fields | {"cpu_enabled": True}
    checked = config_fields.expand(config_fields.check_all(fields))

    plan = overlay(LOCAL, config_messages.to_message(Wanted(revision=1, fields=checked)))

    for family, number in COLLECTED.items():
        if checked.get(f"{family}_enabled") is False:
            assert number not in plan.intervals_s
        elif f"{family}_interval_s" in checked:
            assert plan.intervals_s[number] == checked[f"{family}_interval_s"]
        else:
            assert plan.intervals_s[number] == 10.0
    for kind in ("mounts", "interfaces", "devices"):
        for side in ("include", "exclude"):
            if f"{kind}_{side}" in checked:
                pushed = getattr(getattr(plan.collectors, kind), side)
                assert list(pushed) == checked[f"{kind}_{side}"]
    if "process_top_n" in checked:
        assert plan.collectors.process_top_n == checked["process_top_n"]
    if "spool_max_bytes" in checked:
        assert plan.spool.max_bytes == checked["spool_max_bytes"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("interval_s", "5", 5),
        ("interval_s", "7.5", 7.5),
        ("cpu_enabled", "off", False),
        ("cpu_enabled", "true", True),
        ("mounts_include", "/, /data", ["/", "/data"]),
        ("mounts_exclude", '["a,b"]', ["a,b"]),
        ("interface_speeds_mbps", "eth0=1000,eth1=2500", {"eth0": 1000, "eth1": 2500}),
        ("redaction_patterns", "a{1,3},b", ["a{1,3},b"]),
        ("redaction", "names", "names"),
    ],
)
def test_fields_are_written_on_a_command_line(name, text, value):
    field = config_fields.FIELDS[name]

    assert field.check(field.read(text)) == value
