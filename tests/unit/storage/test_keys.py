from __future__ import annotations

import re
from datetime import datetime

import pytest

from storage import keys


class NoDatabase:
    """Fails whatever is asked of it: what is refused must be refused before."""


def test_a_key_shows_its_kind_and_prefix_and_hides_256_random_bits():
    plaintext = keys.generate()

    assert re.fullmatch(r"hp_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", plaintext)
    assert keys.prefix_of(plaintext) == plaintext[3:11]
    assert keys.generate() != plaintext


@pytest.mark.parametrize(
    "text",
    ["", "hp_", "hp_12345678_short", "xx_12345678_" + "a" * 43, keys.generate() + "a", "\ud800"],
    ids=["empty", "bare", "short", "other kind", "long", "surrogate"],
)
def test_anything_else_has_no_prefix(text):
    assert keys.prefix_of(text) is None
    assert len(keys.digest(text)) == 32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"role": keys.Role.AGENT}, "server_names must name a server for role agent"),
        ({"role": keys.Role.WRITER}, "server_names must name a server for role writer"),
        ({"role": keys.Role.AGENT, "server_names": ["a", "b"]}, "one name for role agent, got 2"),
        ({"role": keys.Role.ADMIN, "server_names": ["a"]}, "must be empty for role admin"),
        ({"role": keys.Role.AGENT, "server_names": ["a\nb"]}, "no control characters"),
        ({"role": keys.Role.ADMIN, "note": "n" * 201}, "note must be text of at most 200"),
        ({"role": keys.Role.ADMIN, "expires_at": datetime(2030, 1, 1)}, "must have an offset"),
    ],
    ids=["agent", "writer", "two", "admin", "name", "note", "naive"],
)
async def test_a_key_that_makes_no_sense_is_refused_before_the_database_is_asked(
    arguments, message
):
    with pytest.raises(keys.InvalidKey, match=message):
        await keys.create(NoDatabase(), created_by="test", **arguments)


async def test_only_a_well_formed_key_can_be_adopted():
    with pytest.raises(keys.InvalidKey, match="hp_<8 hexadecimal digits>"):
        await keys.adopt(NoDatabase(), "secret", role=keys.Role.ADMIN, created_by="test")
