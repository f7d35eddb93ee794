"""What is extracted is what the table holds, and then exactly what changed."""
from __future__ import annotations

import datetime as dt
import json

import pytest

from tests.extraction import Bench, create, generate, insert

WHEN = dt.datetime(2026, 11, 1, 8, 0, 0)


def row(key: str, status: str = "在", when: dt.datetime | None = WHEN, region: str = "640104", name: str = "张三", birth="1990-01-02") -> tuple:
    return key, name, birth, region, status, when


def text(one: tuple) -> dict[str, str]:
    """A row as landing should hold it."""
    return dict(zip(("sfzh", "xm", "csrq", "qh", "zt"), ["" if c is None else str(c) for c in one]))


def test_the_first_extraction_is_everything_and_only_what_the_contract_knows(server, tmp_path, monkeypatch):
    create(server)
    rows = [row("a"), row("b", "引'号\"\t\n😀"), row("c", None, birth=None)]
    insert(server, rows)
    bench = Bench.make(server, tmp_path, monkeypatch)
    found = bench.extract()
    assert (found["outcome"], found["read"], found["changed"], found["deleted"], found["moments"]) == ("landed", 3, 3, 0, 1)
    assert bench.landed(found) == [text(r) | {"操作": "U"} for r in rows]
    said = json.loads(bench.manifest(found))
    assert said["columns_not_read"] == ["gxsj", "secret"] and said["mode"] == "compare" and len(said["snapshots"]) == 1
    assert bench.extract(bench.days[0])["outcome"] == "there"
    assert bench.extract()["outcome"] == "unchanged"


def test_changes_and_deletions(server, tmp_path, monkeypatch):
    create(server)
    insert(server, [row("a"), row("b"), row("c")])
    bench = Bench.make(server, tmp_path, monkeypatch)
    bench.extract()
    server.run("DELETE FROM residence WHERE sfzh = 'a'", "UPDATE residence SET zt = NULL WHERE sfzh = 'b'", "UPDATE residence SET sfzh = 'z' WHERE sfzh = 'c'")
    found = bench.extract()
    assert bench.landed(found) == [text(row("b", None)) | {"操作": "U"}, text(row("z")) | {"操作": "U"},
                                   *({"sfzh": k, "xm": "", "csrq": "", "qh": "", "zt": "", "操作": "D"} for k in ("a", "c"))]


def test_generated(server, tmp_path, monkeypatch):
    generate(server, 20_000)
    bench = Bench.make(server, tmp_path, monkeypatch, range_rows=3_000)
    found = bench.extract()
    assert (found["read"], found["ranges"]) == (20_000, 7)
