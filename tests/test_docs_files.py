"""docs/files.md says what the readers do: every example is staged, every reason code in the source has its row."""
from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from pipelines import sidecars
from pipelines.contract import Source, dataset
from pipelines.deliveries import CODES
from tests.corpus.bench import DATASET, Bench
from tests.corpus.model import Case
from tests.support import REPOSITORY, RESIDENCE, project

FILES = (REPOSITORY / "docs/files.md").read_text(encoding="utf-8")
_FENCED = re.compile(r"(?:```yaml\n(?P<keys>.*?)```\n)?```(?:csv|txt|json|xml|html)\n(?P<text>.*?)```\n\*\*(?P<outcome>.*?)\*\*", re.DOTALL)
_WRITTEN = ("format", "encoding", "delimiter", "quote", "escape", "header", "widths", "record_path", "trailer", "aliases")


@dataclass(frozen=True)
class Example:
    """A file in the document, the contract's keys above it and the outcome below."""

    number: int
    keys: str
    text: str
    outcome: str


EXAMPLES = [Example(n, m["keys"] or "format: auto", m["text"], m["outcome"]) for n, m in enumerate(_FENCED.finditer(FILES), 1)]


def declared(keys: str, root: Any) -> Source:
    """The source of a contract with these keys, as the contract's reader gives it."""
    contract = yaml.safe_load(RESIDENCE.replace("LOAD", "upsert"))
    server, given = contract["servers"][0], yaml.safe_load(keys)
    server["customProperties"] = server["customProperties"][:2] + given.pop("customProperties", [])
    server |= {"encoding": "auto"} | given
    made = project(root, population__residence=yaml.safe_dump(contract, allow_unicode=True))
    return dataset(DATASET, made).source("police")


def said(outcome: str) -> tuple[int, list[tuple[int, tuple[str, ...]]], str | None]:
    """(rows accepted, quarantined rows with their rules, code) of an outcome."""
    if found := re.fullmatch(r"(?:Refused|Held): `(\w+)`\.", outcome):
        return 0, [], found[1]
    found = re.fullmatch(r"(\d+) rows? accepted(?:; in quarantine: (.+))?\.", outcome)
    rows = re.findall(r"(\d+) ((?:`[\w.]+`(?: and )?)+)", found[2] or "")
    return int(found[1]), [(int(n), tuple(re.findall(r"`([\w.]+)`", rules))) for n, rules in rows], None


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with ExitStack() as stack:
        yield Bench(tmp_path_factory.mktemp("files"), stack)


def test_no_example_is_left_out():
    assert len(EXAMPLES) == len(re.findall(r"^\*\*(?:\d+ row|Refused|Held)", FILES, re.MULTILINE)) >= 18


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: str(e.number))
def test_every_example_ends_as_the_document_says(bench, tmp_path, example):
    source = declared(example.keys, tmp_path / "project")
    keys = {name: getattr(source, name) for name in _WRITTEN}
    codec = "utf-8" if source.encoding == "auto" else source.encoding
    got = bench.stage(Case("example", str(example.number), {"a": example.text.encode(codec)}, keys))
    rows, quarantined, code = said(example.outcome)
    assert got.code == code, got.message
    assert (len(got.good or ()), got.bad or []) == (rows, quarantined)


def table(title: str) -> list[str]:
    """The first cells of the table below a heading."""
    section = FILES.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def test_the_tables_of_codes_are_those_of_the_source():
    source = "".join(p.read_text(encoding="utf-8") for p in sorted((REPOSITORY / "pipelines").rglob("*.py")))
    codes = set(re.findall(r'Refused\(\s*"(\w+)"', source)) | {"missing_column", "ambiguous_column"}
    listed = table("Files that are not read")
    assert (set(listed), len(listed)) == (codes, len(codes))
    assert sorted(table("Rows that cannot be read")) == ["cut", "encoding", "json", "nul", "quote", "repeat", "width"]


def test_the_table_of_the_inbox_is_that_of_the_source():
    assert table("Inbox") == list(CODES)


def test_the_manifest_in_the_document_is_one():
    [example] = re.findall(r"```json\n(\{\"batch_date\".*?)```", FILES, re.DOTALL)
    [(name, stated)] = sidecars.manifest(example.encode()).items()
    assert (name, stated.rows, stated.bytes, stated.batch_date, stated.part) == ("person_640100.csv", 1204, 88123, "2026-11-01", "640100")
