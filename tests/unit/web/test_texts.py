from __future__ import annotations

import json
import re
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "web/src"
TEXTS = SOURCE / "texts"


def dictionary(language: str) -> dict[str, str]:
    return json.loads((TEXTS / f"{language}.json").read_text(encoding="utf-8"))


def test_both_languages_have_the_same_texts_with_the_same_places_for_values() -> None:
    english, korean = dictionary("en"), dictionary("ko")

    assert list(english) == list(korean)
    for key, text in english.items():
        assert text.strip(), key
        assert korean[key].strip(), key
        places = (set(re.findall(r"\{(\w+)\}", each)) for each in (text, korean[key]))
        assert next(places) == next(places), key


def test_every_text_is_used() -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in sorted(SOURCE.rglob("*.ts*"))
        if path.parent != TEXTS
    )
    # Keys made of data: `t(`state.${state}`)`, named(t, "rule", …).
    made = set(re.findall(r"`(\w+)\.\$\{", code)) | set(re.findall(r'named\(t, "(\w+)"', code))

    unused = [
        key for key in dictionary("en") if f'"{key}"' not in code and key.split(".")[0] not in made
    ]

    assert unused == []
