"""The page of planted facts: whole, the same bytes each time, and safe from the names in it."""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.results.planted import FAILED, HOSTILE, planted_facts
from yt8m_pipeline.dataset.typed_json import from_json
from yt8m_pipeline.errors import printable
from yt8m_pipeline.results.facts import Facts
from yt8m_pipeline.results.making import WRITERS
from yt8m_pipeline.results.page import as_html
from yt8m_pipeline.results.plain import CSV_COLUMNS, as_csv, as_json, as_markdown
from yt8m_pipeline.results.texts import MAX_NAME, name, per_cent

FACTS = planted_facts()
VOID = {"meta", "br", "img", "link"}


class Reader(HTMLParser):
    """What a browser would find: every element with its attributes, and all text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements, self.open, self.text = list[tuple[str, dict[str, str | None]]](), list[str](), ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page() -> Reader:
    return Reader(as_html(FACTS))


def test_every_element_is_closed_and_none_is_a_script(page: Reader) -> None:
    assert page.open == []
    tags = {tag for tag, _ in page.elements}
    assert tags.isdisjoint({"script", "img", "iframe", "object", "link", "form", "i"})
    assert not [attrs for _, attrs in page.elements if any(key.startswith("on") for key in attrs)]


def test_a_page_fetches_nothing(page: Reader) -> None:
    places = [value or "" for _, attrs in page.elements for key, value in attrs.items() if key in ("href", "src")]
    assert places
    assert all(place.startswith("#") for place in places)
    references = [value or "" for _, attrs in page.elements for key, value in attrs.items() if key == "xlink:href"]
    assert all(reference.startswith("#") for reference in references)
    assert not re.search(r"@import|url\((?!#)", as_html(FACTS).decode())
    policy = next(attrs for tag, attrs in page.elements if tag == "meta" and "http-equiv" in attrs)
    assert (policy["content"] or "").startswith("default-src 'none'")
    assert "script" not in (policy["content"] or "")


def test_every_anchor_leads_somewhere_and_ids_are_used_once(page: Reader) -> None:
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    linked = {value for _, attrs in page.elements for key, value in attrs.items() if key in ("href", "xlink:href")}
    assert {value.removeprefix("#") for value in linked if value} <= set(ids)


@pytest.mark.parametrize("text", HOSTILE)
def test_names_are_shown_as_what_they_are(page: Reader, text: str) -> None:
    assert printable(text) in page.text
    assert text.isprintable() or text not in page.text


def test_the_page_has_the_figures_of_both(page: Reader) -> None:
    table = FACTS.tables[0]
    for row in table.rows:
        assert per_cent(row.papers[0]["map"]) in page.text
        assert all(per_cent(figure.value) in page.text for figure in row.values.values())
    assert f"{HOSTILE[0]}" in page.text
    assert sum(tag == "svg" for tag, _ in page.elements) == 4
    assert "−0.4" in page.text


def test_the_page_is_for_phones_and_for_the_dark() -> None:
    text = as_html(FACTS).decode()
    assert 'name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text
    assert "currentColor" in text
    assert "#010203" not in text


@pytest.mark.parametrize("write", WRITERS.values())
def test_the_same_facts_give_the_same_bytes(write: object) -> None:
    assert callable(write)
    assert write(planted_facts()) == write(planted_facts())


def test_json_is_read_again() -> None:
    assert from_json(Facts, json.loads(as_json(FACTS))) == FACTS


def test_csv_has_a_line_for_each_figure_and_no_text_of_strangers() -> None:
    lines = list(csv.reader(io.StringIO(as_csv(FACTS).decode())))
    assert tuple(lines[0]) == CSV_COLUMNS
    assert len(lines) == 1 + 6 * 4 + 7 * 3 + 1
    found = {(line[1], line[3], line[4]): line[5] for line in lines[1:] if line[0] == "table-3"}
    assert found["lstm", "YouTube-8M", "hit@1"] == "0.645"
    assert (FAILED, "ours", "map") not in found
    assert not [cell for line in lines for cell in line if cell in HOSTILE or cell.startswith(("=", "+", "@"))]


def test_markdown_has_tables_that_names_do_not_break() -> None:
    text = as_markdown(FACTS).decode()
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(columns) == 1, block
    assert "<script>" not in text
    assert not re.search(r"(?<!\\)\]\(", text)
    assert "\x1b" not in text
    assert text.count("\n## ") == 6


def test_a_page_without_any_result_says_why() -> None:
    failed = tuple(replace(model, why="gone") for model in FACTS.models)
    rows = tuple(replace(row, values={}, why="gone") for row in FACTS.tables[0].rows)
    table = replace(FACTS.tables[0], rows=rows)
    facts = replace(FACTS, models=failed, tables=(table,), best=None, confusions=(), right=(), wrong=())
    page = Reader(as_html(facts))
    assert page.open == []
    assert page.text.count(": gone") == 7
    assert b": gone" in as_markdown(facts)


def test_a_long_name_is_cut() -> None:
    assert len(name("a" * 5000)) == MAX_NAME
