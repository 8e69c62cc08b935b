from __future__ import annotations

import pytest

from alerting.channel_forms import is_address


@pytest.mark.parametrize("text", ["ops@example.org", "a.b+c@d-e.example", "o'hara@example.org"])
def test_an_address_is_one(text):
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "@",
        "a@",
        "@b",
        "a@[",
        "a@.",
        "a@b@c",
        "a b@c",
        '"',
        "(",
        "<>",
        ":;",
        "a\n@b",
        None,
        1,
    ],
)
def test_what_is_none_is_told_apart_whatever_the_parser_makes_of_it(text):
    assert not is_address(text)
