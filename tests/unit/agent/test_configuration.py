from __future__ import annotations

import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.batches import BatchLimits
from agent.buffer import BufferBounds
from agent.collectors import CollectorSettings, NameFilter
from agent.configuration import FILE, Configuration
from agent.overlay import overlay
from agent.plan import Plan
from agent.redaction import RedactionMode
from hostpulse.v1 import telemetry_pb2 as pb

CPU, MEMORY, PROCESS = pb.FAMILY_CPU, pb.FAMILY_MEMORY, pb.FAMILY_PROCESS
LOCAL = Plan(
    intervals_s={CPU: 10.0, MEMORY: 20.0},
    collectors=CollectorSettings(redaction=RedactionMode.FULL, redaction_patterns=("own-[0-9]+",)),
    spool=BufferBounds(max_bytes=2**28),
)


def interval(family, interval_s):
    return pb.FamilyInterval(family=family, interval_s=interval_s)


def test_what_is_pushed_beats_the_own_settings_and_the_rest_stays():
    pushed = pb.AgentConfig(
        revision=1,
        intervals=[interval(CPU, 5.0)],
        enabled_families=[PROCESS],
        process_top_n=3,
        mounts=pb.NameFilter(include=["/", "/data"]),
        interfaces=pb.NameFilter(),
        interface_speeds=[pb.InterfaceSpeed(interface="eth0", speed_mbps=1000)],
        max_samples_per_batch=50,
        spool_max_bytes=2**20,
    )

    plan = overlay(LOCAL, pushed)

    assert plan.intervals_s == {CPU: 5.0, MEMORY: 20.0, PROCESS: 10.0}
    assert plan.collectors.process_top_n == 3
    assert plan.collectors.mounts == NameFilter(include=("/", "/data"))
    assert plan.collectors.interfaces == NameFilter()
    assert plan.collectors.devices == LOCAL.collectors.devices
    assert plan.collectors.interface_speeds_mbps == {"eth0": 1000.0}
    assert plan.batch == BatchLimits(max_samples=50)
    assert plan.spool == BufferBounds(max_bytes=2**20, max_age_s=LOCAL.spool.max_age_s)


def test_an_empty_config_is_the_own_settings():
    assert overlay(LOCAL, pb.AgentConfig(revision=4)) == LOCAL


def test_a_family_can_be_switched_off():
    plan = overlay(LOCAL, pb.AgentConfig(disabled_families=[CPU]))

    assert plan.intervals_s == {MEMORY: 20.0}


@pytest.mark.parametrize(
    ("own", "pushed", "in_force"),
    [
        ("full", pb.REDACTION_MODE_UNSPECIFIED, "full"),
        ("full", pb.REDACTION_MODE_SECRETS, "redacted"),
        ("full", pb.REDACTION_MODE_NAMES_ONLY, "names"),
        ("redacted", pb.REDACTION_MODE_NAMES_ONLY, "names"),
        ("names", pb.REDACTION_MODE_SECRETS, "names"),
    ],
)
def test_redaction_can_only_be_tightened(own, pushed, in_force):
    local = Plan(
        intervals_s={CPU: 10.0},
        collectors=CollectorSettings(redaction=RedactionMode(own)),
        spool=BufferBounds(),
    )

    assert overlay(local, pb.AgentConfig(redaction=pushed)).collectors.redaction == in_force


def test_pushed_patterns_come_on_top_of_the_own_ones():
    plan = overlay(LOCAL, pb.AgentConfig(redaction_patterns=["acme-[a-z]+"]))

    assert plan.collectors.redaction_patterns == ("own-[0-9]+", "acme-[a-z]+")


def with_unknown(message, number):
    """Return the message with a field that this version does not know."""
    return type(message).FromString(message.SerializeToString() + bytes([number << 3, 1]))


BAD = [
    (pb.AgentConfig(intervals=[interval(CPU, 4.9)]), "cpu_interval_s must be between 5 and 60"),
    (pb.AgentConfig(intervals=[interval(CPU, 61.0)]), "cpu_interval_s must be between 5 and 60"),
    (pb.AgentConfig(intervals=[interval(CPU, float("nan"))]), "cpu_interval_s must be"),
    (pb.AgentConfig(intervals=[interval(CPU, 5)] * 2), "cpu_interval_s must be there once"),
    (pb.AgentConfig(intervals=[interval(pb.FAMILY_CUSTOM, 5)]), "intervals must be any of cpu"),
    (pb.AgentConfig(intervals=[interval(99, 5)]), "intervals must be any of cpu"),
    (pb.AgentConfig(disabled_families=[CPU, MEMORY]), "disabled_families must be a list that"),
    (pb.AgentConfig(disabled_families=[CPU], enabled_families=[CPU]), "enabled_families must be"),
    (pb.AgentConfig(process_top_n=101), "process_top_n must be a whole number between 0 and 100"),
    (pb.AgentConfig(mounts=pb.NameFilter(include=[""])), "mounts_include must be made of names"),
    (pb.AgentConfig(devices=pb.NameFilter(exclude=["x"] * 101)), "devices_exclude must be a list"),
    (
        pb.AgentConfig(interface_speeds=[pb.InterfaceSpeed(interface="e", speed_mbps=0)]),
        "interface_speeds_mbps must be",
    ),
    (pb.AgentConfig(redaction=7), "redaction must be any of redacted, names, got 7"),
    (pb.AgentConfig(redaction_patterns=["(a+)+b"]), "redaction_patterns must be"),
    (pb.AgentConfig(max_samples_per_batch=0), "max_samples_per_batch must be a whole number"),
    (pb.AgentConfig(max_samples_per_batch=101), "max_samples_per_batch must be a whole number"),
    (pb.AgentConfig(spool_max_bytes=1), "spool_max_bytes must be a whole number between 1048576"),
    (pb.AgentConfig(spool_max_age_s=1), "spool_max_age_s must be between 60 and 518400"),
    (with_unknown(pb.AgentConfig(), 15), "AgentConfig must be made of fields that this agent"),
    (
        pb.AgentConfig(mounts=with_unknown(pb.NameFilter(), 9)),
        "NameFilter must be made of fields that this agent",
    ),
]


@pytest.mark.parametrize(("pushed", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_a_bad_config_is_refused_with_its_field_and_the_one_before_stays(pushed, reason):
    applied = []
    configuration = Configuration(LOCAL)
    configuration.apply = applied.append
    good = pb.AgentConfig(revision=3, intervals=[interval(CPU, 5.0)])
    configuration.offer(good)

    pushed.revision = 4
    result = configuration.offer(pushed)

    assert result.status == pb.CONFIG_STATUS_REJECTED
    assert result.revision == 4
    assert reason in result.detail
    assert {each.family: each.interval_s for each in result.intervals} == {CPU: 5.0, MEMORY: 20.0}
    assert configuration.revision == 3
    assert applied[-1] == configuration.plan == overlay(LOCAL, good)


def test_a_config_that_can_not_be_applied_is_taken_back():
    seen = []

    def apply(plan):
        seen.append(plan)
        if plan != LOCAL:
            raise RuntimeError("no such thing")

    configuration = Configuration(LOCAL)
    configuration.apply = apply

    result = configuration.offer(pb.AgentConfig(revision=1, intervals=[interval(CPU, 5.0)]))

    assert (result.status, result.detail) == (pb.CONFIG_STATUS_REJECTED, "no such thing")
    assert seen[-1] == configuration.plan == LOCAL
    assert configuration.revision == 0


def test_a_restart_without_a_gateway_goes_on_with_what_was_pushed(tmp_path):
    path = tmp_path / "data" / FILE
    pushed = pb.AgentConfig(revision=9, intervals=[interval(CPU, 5.0)])
    Configuration(LOCAL, path=path).offer(pushed)

    restarted = Configuration(LOCAL, path=path)
    restarted.restore()

    assert restarted.revision == 9
    assert restarted.plan == overlay(LOCAL, pushed)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_revision_0_takes_back_what_was_pushed(tmp_path):
    path = tmp_path / FILE
    configuration = Configuration(LOCAL, path=path)
    configuration.offer(pb.AgentConfig(revision=9, intervals=[interval(CPU, 5.0)]))

    assert configuration.offer(pb.AgentConfig()).status == pb.CONFIG_STATUS_APPLIED

    restarted = Configuration(LOCAL, path=path)
    restarted.restore()
    assert (restarted.revision, restarted.plan) == (0, LOCAL)
    assert configuration.plan == LOCAL


def test_a_file_that_was_damaged_or_does_not_fit_any_more_is_no_config(tmp_path):
    path = tmp_path / FILE
    Configuration(LOCAL, path=path).offer(
        pb.AgentConfig(revision=9, disabled_families=[CPU], process_top_n=1)
    )
    only_cpu = Plan(intervals_s={CPU: 10.0}, collectors=CollectorSettings(), spool=BufferBounds())
    other = Configuration(only_cpu, path=path)
    other.restore()
    assert (other.revision, other.plan) == (0, only_cpu)

    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[:20], whole + b"x", bytes(len(whole))):
        path.write_bytes(damaged)
        configuration = Configuration(LOCAL, path=path)
        configuration.restore()
        assert (configuration.revision, configuration.plan) == (0, LOCAL)


def test_a_disk_that_takes_nothing_does_not_keep_a_config_from_being_applied(tmp_path):
    (tmp_path / "file").write_text("")
    configuration = Configuration(LOCAL, path=tmp_path / "file" / FILE)

    result = configuration.offer(pb.AgentConfig(revision=9, process_top_n=1))

    assert result.status == pb.CONFIG_STATUS_APPLIED
    assert "not kept on disk" in result.detail
    assert configuration.plan.collectors.process_top_n == 1


def test_the_same_config_again_is_answered_and_changes_nothing():
    applied = []
    configuration = Configuration(LOCAL)
    configuration.apply = applied.append
    pushed = pb.AgentConfig(revision=2, process_top_n=1)

    assert configuration.offer(pushed) == configuration.offer(pushed)
    assert len(applied) == 1


families = st.one_of(st.sampled_from(list(pb.Family.values())), st.integers(0, 300))
texts = st.text(max_size=8)
filters = st.builds(
    pb.NameFilter, include=st.lists(texts, max_size=3), exclude=st.lists(texts, max_size=3)
)
anything = st.builds(
    pb.AgentConfig,
    revision=st.integers(0, 2**64 - 1),
    intervals=st.lists(
        st.builds(pb.FamilyInterval, family=families, interval_s=st.floats()), max_size=3
    ),
    disabled_families=st.lists(families, max_size=3),
    enabled_families=st.lists(families, max_size=3),
    process_top_n=st.none() | st.integers(0, 2**32 - 1),
    mounts=st.none() | filters,
    interfaces=st.none() | filters,
    devices=st.none() | filters,
    interface_speeds=st.lists(
        st.builds(pb.InterfaceSpeed, interface=texts, speed_mbps=st.floats()), max_size=2
    ),
    redaction=st.integers(0, 5),
    redaction_patterns=st.lists(texts, max_size=3),
    max_samples_per_batch=st.none() | st.integers(0, 2**32 - 1),
    spool_max_bytes=st.none() | st.integers(0, 2**64 - 1),
    spool_max_age_s=st.none() | st.floats(),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(pushed=st.lists(anything, max_size=4), noise=st.binary(max_size=20))
def test_no_config_whatever_stops_an_agent_or_loosens_its_redaction(pushed, noise):
    configuration = Configuration(LOCAL)
    for each in pushed:
        before = configuration.plan
        result = configuration.offer(each)

        assert result.revision == each.revision
        assert result.status in (pb.CONFIG_STATUS_APPLIED, pb.CONFIG_STATUS_REJECTED)
        if result.status == pb.CONFIG_STATUS_REJECTED:
            assert result.detail
            assert configuration.plan == before
        plan = configuration.plan
        assert plan.intervals_s
        assert all(5 <= seconds <= 60 for seconds in plan.intervals_s.values())
        assert plan.collectors.redaction.tightened(LOCAL.collectors.redaction) is (
            plan.collectors.redaction
        )
        plan.collectors.mounts.admits("/")
    try:
        mutated = pb.AgentConfig.FromString(pb.AgentConfig(revision=1).SerializeToString() + noise)
    except Exception:
        return  # no message at all: the stream ends, not the agent
    configuration.offer(mutated)
