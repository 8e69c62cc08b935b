from __future__ import annotations

import re
import shlex
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.redaction import INPUT_MAX, MASK, RedactionMode, Redactor
from hostpulse import errors
from hostpulse.patterns import compile_all

LINES = [
    line
    for line in (Path(__file__).parent / "command_lines.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]
MARKED = re.compile(r"«(.*?)»")


def argv_of(line):
    """Split as a shell does where quotes are closed; titles that processes gave themselves stay."""
    return shlex.split(line) if not re.match(r"[\w-]+: ", line) else [line]


def test_the_corpus_is_big_enough_to_mean_something():
    assert len(LINES) >= 150
    assert sum("«" in line for line in LINES) >= 80
    assert sum("«" not in line for line in LINES) >= 40


@pytest.mark.parametrize("line", LINES)
def test_secrets_of_real_command_lines_go_and_the_rest_stays(line):
    expected = MARKED.sub(MASK, " ".join(argv_of(line)))
    argv = [argument.replace("«", "").replace("»", "") for argument in argv_of(line)]

    assert Redactor().command_line(argv) == expected


def test_a_push_can_only_tighten_what_is_sent():
    full, redacted, names = RedactionMode
    for one in RedactionMode:
        for other in RedactionMode:
            assert one.tightened(other) is other.tightened(one)
    assert full.tightened(redacted) is redacted
    assert names.tightened(redacted) is names
    assert redacted.tightened(full) is redacted


@given(argv=st.lists(st.text(max_size=200), max_size=20))
def test_any_command_line_can_be_redacted(argv):
    shown = Redactor(compile_all("patterns", ["ab+c"])).command_line(argv)

    assert len(shown) <= 2 * INPUT_MAX


WORDS = ("shop", "db.example.org", "-h", "--verbose", "run", "5432", "/etc/x.conf", "a b")
HOLDERS = (
    "--password={}",
    "--api-key={}",
    "DB_PASSWORD={}",
    "-Dapp.secret={}",
    "https://app:{}@example.org/",
    "postgresql://app:{}@db/shop",
    "Authorization: Bearer {}",
    "sh -c 'PGPASSWORD={} psql'",
    '{{"token": "{}"}}',
    "user=app password={} host=db",
    "https://example.org/?token={}&x=1",
)


@given(
    before=st.lists(st.sampled_from(WORDS)),
    after=st.lists(st.sampled_from(WORDS)),
    holder=st.sampled_from(HOLDERS),
    secret=st.text("abcdefghijkmnopqrstuvwxyzABCDEFG0123456789+/._~-", min_size=8, max_size=40),
)
def test_a_secret_goes_wherever_it_stands(before, after, holder, secret):
    shown = Redactor().command_line(["run", *before, holder.format("Z" + secret), *after])

    assert "Z" + secret not in shown
    assert MASK in shown


def test_a_secret_that_is_cut_off_does_not_show_its_head():
    padding = "x" * 900
    pattern = compile_all("patterns", ["acme_[a-z]{200}"])

    shown = Redactor(pattern).command_line(["run", padding + "acme_" + "s" * 300])

    assert "acme_s" not in shown


@pytest.mark.parametrize(
    "nasty",
    [
        "=" * 4096,
        "a" * 4096,
        "a=" * 2048,
        "a." * 2048,
        "://" * 1365,
        "x://a:" * 682,
        "x://" + "a@" * 2000,
        '"' * 4096,
        "'\"" * 2048,
        "password " * 455,
        "bearer " * 585,
        "eyJ" * 1365,
        "-----BEGIN " * 372,
        '{"' * 2048,
        "\\" * 4096,
        "--token " * 512,
        "identified with " * 256,
    ],
)
def test_no_command_line_holds_the_agent_up(nasty):
    redactor = Redactor()
    took = []
    for _ in range(3):
        begun = time.thread_time()
        redactor.command_line(["run", *(nasty[n : n + 1000] for n in range(0, 4000, 1000))])
        redactor.command_line(["run", nasty])
        took.append(time.thread_time() - begun)

    assert min(took) < 0.15


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|a)*b",
        "(.*)(.*)x",
        ".*secret.*",
        "(?=a)b",
        r"(a)\1",
        "a{1,5000}b{1,5000}",
        "(ab?){1,12}c+",
        "(",
        "",
        "a*",
        "x" * 201,
    ],
)
def test_a_pattern_that_could_hang_the_agent_is_refused(pattern):
    with pytest.raises(errors.ConfigError, match=r"^redaction_patterns must be"):
        compile_all("redaction_patterns", [pattern])


@pytest.mark.parametrize(
    "pattern", ["acme_[A-Za-z0-9]{32}", r"corp-\d+", "(?i)(foo|bar)-[a-z]{4,8}", r"\bx[0-9a-f]+\b"]
)
def test_patterns_as_people_write_them_are_taken(pattern):
    assert compile_all("redaction_patterns", [pattern])


def test_the_dearest_pattern_that_is_taken_takes_no_time_to_speak_of():
    dearest = compile_all("redaction_patterns", ["a+[ab]{1,4}b", "(a?){11}b", "(aa|a){11}b"])
    text = "a" * 1024
    for pattern in dearest:
        begun = time.thread_time()
        pattern.search(text)
        assert time.thread_time() - begun < 0.5


def test_too_many_patterns_are_refused():
    with pytest.raises(errors.ConfigError, match="at most 16"):
        compile_all("redaction_patterns", [f"a{n}" for n in range(17)])
