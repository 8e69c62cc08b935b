"""The dashboards in the tree are those that the catalog makes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dashboards import __main__ as program
from dashboards.panels import UNITS
from dashboards.statements import Curve, history, unit_of
from storage import catalog

CHECKOUT = Path(__file__).parents[3]


def test_regenerating_gives_the_committed_files() -> None:
    for name, text in program.render().items():
        assert (program.FOLDER / name).read_text("utf-8") == text, "run 'make dashboards'"
    assert {file.name for file in program.FOLDER.iterdir()} == set(program.render())


def test_the_check_fails_where_a_file_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "FOLDER", tmp_path)
    assert program.run([]) == 0
    assert program.run(["--check"]) == 0
    (tmp_path / "main.json").write_text("{}")
    assert program.run(["--check"]) == 1
    assert "main.json is stale" in capsys.readouterr().err


def test_every_unit_of_the_catalog_is_known_to_grafana() -> None:
    assert {metric.unit for metric in catalog.METRICS.values()} <= set(UNITS)


def test_a_metric_that_is_not_in_the_catalog_makes_no_dashboard() -> None:
    with pytest.raises(catalog.UnknownMetric, match=r"cpu\.usage_percent"):
        history(Curve(title="CPU", metric="cpu.usage_percents"))
    with pytest.raises(ValueError, match="too many values"):
        unit_of(
            (Curve(title="a", metric="cpu.load1"), Curve(title="b", metric="cpu.usage_percent"))
        )


def test_panels_have_ids_of_their_own_and_lie_beside_one_another() -> None:
    for file in program.FOLDER.iterdir():
        panels = json.loads(file.read_text("utf-8"))["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        taken: set[tuple[int, int]] = set()
        for place in (panel["gridPos"] for panel in panels):
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert place["x"] + place["w"] <= 24
            assert not cells & taken
            taken |= cells


def test_links_lead_to_dashboards_that_are_there() -> None:
    texts = [file.read_text("utf-8") for file in program.FOLDER.iterdir()]
    uids = {json.loads(text)["uid"] for text in texts}
    assert {uid for text in texts for uid in re.findall(r"/d/([\w-]+)", text)} <= uids
