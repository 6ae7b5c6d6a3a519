"""The page: whole, alone, escaped, and open to readers who see no pictures."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from outcome_sample import sample_outcome

from negawatt.core.outcome import Outcome
from negawatt.reports import webpage

VOID = {"meta", "br", "link", "img", "input", "hr"}
FETCHING = {"src", "srcset", "action", "data", "poster", "background", "ping"}


class Reader(HTMLParser):
    """Checks nesting and collects what the tests ask about."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.scripts: dict[str, str] = {}
        self._script = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements.append((tag, given))
        self._script = given.get("id", "") if tag == "script" else ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        elif self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return sample_outcome()


@pytest.fixture(scope="module")
def page(outcome: Outcome) -> Reader:
    return _read(webpage.page(outcome))


def _read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def test_nothing_is_fetched_and_the_browser_is_told_to_fetch_nothing(page: Reader) -> None:
    for tag, given in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        assert not FETCHING & given.keys(), (tag, given)
        assert given.get("href", "#").startswith("#")
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_our_style_asks_for_nothing_either(outcome: Outcome) -> None:
    html = webpage.page(outcome)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_it_has_language_title_and_headings_in_order(page: Reader) -> None:
    tags = dict(page.elements)
    assert tags["html"]["lang"] == "en"
    assert "sample-135m" in page.text
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_picture_has_words_and_every_table_a_caption_and_scopes(page: Reader) -> None:
    tags = [tag for tag, _ in page.elements]
    pictures = [given for _, given in page.elements if "data-plot" in given]
    assert len(pictures) == 5
    for given in pictures:
        assert given["role"] == "img"
        assert len(given["aria-label"]) > 40
    assert tags.count("caption") == tags.count("table") >= 7
    assert all("scope" in given for tag, given in page.elements if tag == "th")


def test_inner_links_and_labels_lead_somewhere(page: Reader) -> None:
    names = [given["id"] for _, given in page.elements if "id" in given]
    assert len(names) == len(set(names))
    for _, given in page.elements:
        if given.get("href", "#") != "#":
            assert given["href"][1:] in names, given["href"]
        if "aria-labelledby" in given:
            assert given["aria-labelledby"] in names


def test_every_number_in_a_cell_shows_interval_kind_and_source(
    page: Reader, outcome: Outcome
) -> None:
    marks = [given for _, given in page.elements if given.get("class") == "kind"]
    assert len(marks) > 100
    for given in marks:
        assert re.match(r".*\d.*, (measured|modelled|assumed): .+", given["title"], re.DOTALL)
        assert re.fullmatch(r"(measured|modelled|assumed), source \d+", given["aria-label"])
    assert "0.092 to 0.317" in page.text
    for step in outcome.steps:
        assert step.name in page.text


def test_the_whole_story_is_on_the_page(page: Reader, outcome: Outcome) -> None:
    told = [
        outcome.decision.because, *outcome.facts.notes, outcome.facts.digest,
        *outcome.facts.machine.values(), *outcome.facts.versions.values(),
        *(check.detail for check in outcome.checks), outcome.sample_prompt,
        *(choice.layer.name for choice in outcome.layers), "one request at a time",
        "perplexity at most 1 % above the base", "taken from an earlier run", "gCO2e",
    ]  # fmt: skip
    for words in told:
        assert " ".join(words.split()) in page.text


def test_pictures_are_valid_json_that_no_text_can_break_out_of(outcome: Outcome) -> None:
    trap = "</script><script>alert(1)</script><!--"
    odd = replace(
        outcome,
        sample_text=trap,
        facts=replace(outcome.facts, model=trap, notes=(trap,)),
        layers=(replace(outcome.layers[1], because=trap), *outcome.layers[2:]),
    )
    html = webpage.page(odd)
    assert trap not in html
    reader = _read(html)
    for name in ("front", "accuracy", "layers", "sensitivity", "parts"):
        spec = json.loads(reader.scripts[f"spec-{name}"])
        assert spec["data"]
        assert spec["layout"]["height"] > 100
    assert sum(tag == "script" for tag, _ in reader.elements) == 7


def test_colours_are_named_and_the_style_knows_each(outcome: Outcome) -> None:
    html = webpage.page(outcome)
    style = html[html.index("<style>") : html.index("</style>")]
    specs = "".join(_read(html).scripts[f"spec-{n}"] for n in ("front", "layers", "parts"))
    used = set(re.findall(r"var\((--[\w-]+)\)", specs))
    assert len(used) > 10
    assert not re.findall(r'"#[0-9a-fA-F]{3,8}"', specs)
    for name in used:
        assert f"{name}:" in style


def test_buttons_choose_between_views_that_exist(page: Reader) -> None:
    views = [json.loads(given["data-view"]) for tag, given in page.elements if tag == "button"]
    assert len(views) == 2
    assert all(set(view) == {"xaxis.range", "yaxis.range"} for view in views)


def test_an_outcome_without_pictures_carries_no_plotting_library(outcome: Outcome) -> None:
    bare = replace(
        outcome, layers=(), before=(), after=(), checks=(), steps=(), artifacts={},
        payback_tokens=None,
        points=tuple(
            replace(p, predicted_energy=None, variant=replace(p.variant, quality=None, cost=None))
            for p in outcome.points
        ),
    )  # fmt: skip
    html = webpage.page(bare)
    assert len(html) < 100_000
    assert "<script" not in html
    text = _read(html).text
    assert "No number of tokens was found" in text
    assert "No checks were recorded" in text


def test_parts_that_round_to_nothing_are_not_called_zero(page: Reader) -> None:
    assert "< 0.1 %" in page.text
