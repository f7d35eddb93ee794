"""What the pages say is what the ledger says: links lead somewhere, numbers equal the views, a rule's page follows its rule."""
from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pypdf
import pytest
import sqlalchemy as sa
from markupsafe import Markup

from pipelines import ledger_tables as tables, pages, site
from pipelines.settings import WrongUse
from pipelines.site import health, ledger_views, marks, rendering
from tests.site.world import BAD, DEPARTMENTS, HELD, LATE, NEW_VALUES, TODAY, months, world


class Links(HTMLParser):
    """Addresses and ids of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.ids, self.twice = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for key, value in attrs:
            if key in ("href", "src"):
                self.links.append(value)
            if key == "id":
                self.twice += [value] if value in self.ids else []
                self.ids.add(value)


def test_every_link_leads_somewhere_and_none_outside(at):
    found = {p: Links(p.read_text(encoding="utf-8")) for p in at.lake.reports.rglob("*.html") if "gx" not in p.parts}
    assert len(found) > 1_400
    wrong, checked = [], set()
    for page, parsed in found.items():
        wrong += [(page.name, "id twice", i) for i in parsed.twice]
        for link in parsed.links:
            parts = urlsplit(link)
            if link == "data:,":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if parts.scheme or parts.netloc or not target.is_file() or (parts.fragment and "=" not in parts.fragment and parts.fragment not in found[target].ids):
                wrong.append((page.name, link))
            checked.add((target, parts.fragment))
    assert wrong == [] and len(checked) > 1_400
    assert not [p for p in found if re.search(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//""", p.read_text(encoding="utf-8"))]


def test_the_overview_shows_the_views_numbers(at):
    text = (at.lake.reports / "index.html").read_text(encoding="utf-8")
    heat = json.loads(re.search(r'<script type="application/json" id="heat">(.*?)</script>', text, re.DOTALL)[1])
    assert heat["x"] == months() and len(heat["y"]) == 50
    with ledger_views.connect(at) as con:
        scores = {(d, m): s for d, m, s in con.execute("SELECT dataset, month, score FROM governance.dataset_scores").fetchall()}
        order = [d for d, in con.execute("SELECT dataset FROM governance.datasets ORDER BY dataset").fetchall()]
        moms = dict(con.execute("SELECT dataset, mom FROM governance.dataset_scores WHERE month = '2026-11'").fetchall())
        lights = dict(con.execute("SELECT light, count(*) FROM governance.health_check WHERE scope = 'dataset' AND indicator = 'all' AND month = '2026-11' GROUP BY ALL").fetchall())
    assert heat["values"] == [[None if (d, m) not in scores else round(scores[d, m], 5) for m in months()] for d in order]
    for dataset, mom in moms.items():
        row = re.search(rf'<tr>(?:(?!</tr>).)*datasets/{re.escape(dataset)}\.html.*?</tr>', text[text.index('id="datasets"'):], re.DOTALL)[0]
        assert marks.relative(mom) in row and rendering.rate(scores[dataset, "2026-11"]) in row, dataset
    tally = [int(n) for n in re.findall(r'<li class="(?:fail|warn|pass)"><b>(\d+)</b>', text)[:3]]
    assert sum(tally) == 50 and abs(tally[0] - lights.get("red", 0)) <= 1, "the late dataset shows the light of its own newest month"


def test_what_waits_for_somebody_is_named(at):
    text = (at.lake.reports / "index.html").read_text(encoding="utf-8")
    waiting = text[text.index('id="waiting"'):text.index('id="datasets"')]
    assert waiting.count('<li class="fail">') == 1 and f"population.d{HELD:02}/" in waiting
    assert f"datasets/population.d{LATE:02}.html#freshness" in waiting and "迟报 80 天" in waiting, "2026-08-01 and a month, and eighty days"
    rule = (at.lake.reports / f"rules/population.d{BAD:02}/name.masked.html").read_text(encoding="utf-8")
    assert "不达标" in rule and "银川市兴庆区" in rule and "姓名未被遮盖" in rule


def test_new_codes_stand_on_the_pages_of_their_dataset_and_batch_and_nowhere_else(at):
    dataset, pages = f"population.d{HELD:02}", at.lake.reports
    shown = {p.relative_to(pages).parts[0] for p in pages.rglob("*.html") if "accept-value" in p.read_text("utf-8")}
    whole = (pages / "datasets" / f"{dataset}.html").read_text("utf-8")
    assert shown == {"datasets", dataset} and [p.stem for p in (pages / "datasets").glob("*.html") if 'id="new-values"' in p.read_text("utf-8")] == [dataset]
    assert all(f"accept-value {dataset} status {value}" in whole for value, _ in NEW_VALUES) and ">62<" in whole, "of both batches"


def test_a_departments_page_has_its_own_problems_and_record(at):
    rows = at.ledger.rows(sa.select(tables.problems))
    for name in DEPARTMENTS:
        page = next(p for p in (at.lake.reports / "departments").glob("*.html") if f"<h1>{name}</h1>" in p.read_text(encoding="utf-8"))
        text = page.read_text(encoding="utf-8")
        for row in (r for r in rows if r["department"] == name):
            assert f"#{row['id']} · {row['rule']}" in text
        assert not any(f"#{r['id']} · " in text for r in rows if r["department"] != name)


def test_a_page_that_says_the_same_is_not_written_again(at):
    before = {p: p.stat().st_mtime_ns for p in at.lake.reports.rglob("*.html")}
    site.build(at, today=TODAY)
    assert {p: p.stat().st_mtime_ns for p in at.lake.reports.rglob("*.html")} == before


@pytest.mark.parametrize("page", ["rules/population.d01/name.required.html", "datasets/population.d01.html"])
def test_a_page_that_went_is_made_again(small, page):
    site.build(small, today=TODAY)
    file = small.lake.reports / page
    shown = file.read_bytes()
    file.rename(file.with_name("left.html"))
    site.build(small, today=TODAY)
    assert file.read_bytes() == shown and not file.with_name("left.html").exists()


@pytest.fixture
def small(tmp_path):
    return world(tmp_path, 3)


def test_a_held_batch_a_changed_count_and_a_dropped_dataset_are_followed(small):
    site.build(small, today=TODAY)
    reports, b, r = small.lake.reports, tables.batches, tables.rule_results
    rule = reports / "rules/population.d01/name.required.html"
    other, shown = reports / "rules/population.d01/name.masked.html", rule.read_text(encoding="utf-8")
    untouched = other.stat().st_mtime_ns
    with small.ledger.transaction() as con:
        key = "population.d01~police~640100~2026-11-01~1"
        con.execute(b.update().where(b.c.batch_id == key).values(state="held", reason="x"))
        con.execute(r.update().where(r.c.batch_id == key, r.c.rule == "name.required").values(failed=777))
    left = reports / "rules/population.d01/no_longer.html"
    left.write_text("x")
    site.build(small, today=TODAY)
    assert rule.read_text(encoding="utf-8") != shown and "777" in rule.read_text(encoding="utf-8") and other.stat().st_mtime_ns == untouched
    assert not left.exists() and "暂缓入库" in (reports / "index.html").read_text(encoding="utf-8")
    (small.project.contracts / "population/d02.yaml").unlink()
    site.build(small, today=TODAY)
    assert not (reports / "datasets/population.d02.html").exists() and "population.d02" not in (reports / "index.html").read_text(encoding="utf-8")


def test_compiled_templates_are_kept_for_the_account_and_never_needed(tmp_path, monkeypatch):
    page = {"kept": [], "month": None, "names": {}, "today": TODAY}
    shown = set()
    monkeypatch.setattr(rendering, "_templates", lru_cache(maxsize=1)(rendering._templates.__wrapped__))      # the others keep theirs
    for cache in ("new", "kept", "torn", "no folder"):
        place = tmp_path / ("file" if cache == "no folder" else "cache")
        if cache == "torn":
            for file in place.glob("*/templates/*/*"):
                file.write_bytes(file.read_bytes()[:400])
        if cache == "no folder":
            place.write_text("a file where a folder should be")
        monkeypatch.setenv("XDG_CACHE_HOME", str(place))
        rendering._templates.cache_clear()
        before = {f: f.stat().st_mtime_ns for f in place.glob("*/templates/*/*")}
        shown.add(rendering.write(tmp_path, tmp_path / f"{cache}.html", "months.html.j2", **page).read_bytes())
        after = {f: f.stat().st_mtime_ns for f in place.glob("*/templates/*/*")}
        assert (before == after) == (cache in ("kept", "no folder")) and (bool(after) or cache == "no folder"), cache
    assert len(shown) == 1


def test_words_that_are_markup_and_words_that_are_not_stay_apart():
    assert "<b>" in marks.t(Markup("<b>"), "x") and "<b>" not in marks.t("<b>", "x") and "<b>" in marks.t(Markup("<b>"), "x")


def test_hostile_text_is_shown_as_text(small):
    hostile = '</script><script>alert(1)</script><img src=x onerror=alert(1)>'
    with small.ledger.transaction() as con:
        con.execute(tables.rule_results.update().values(zh=hostile, en=hostile, owner=hostile))
        con.execute(tables.problems.update().values(note=hostile, department=hostile))
    site.build(small, today=TODAY)
    pages.write_all(small)
    for page in small.lake.reports.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<script>alert" not in text and "<img" not in text, page.name


def test_a_lake_without_any_batch_has_its_pages(tmp_path):
    from tests.support import RESIDENCE, desk, project

    made = desk(tmp_path, project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    assert site.build(made, today=TODAY)["pages"] > 20
    assert "流动人口居住登记" in (made.lake.reports / "index.html").read_text(encoding="utf-8")


def _printed(folder) -> dict[str, object]:
    """Pages by their bytes; PDFs by what stands on each page, because Chromium numbers a PDF's parts as it comes to them."""
    return {p.name: [page.extract_text() for page in pypdf.PdfReader(p).pages] if p.suffix == ".pdf" else p.read_bytes() for p in folder.iterdir()}


def test_health_checks_are_printed_kept_and_the_same_every_time(small, printer):
    done = health.write(small, "2026-11")
    folder = small.lake.reports / "months/2026-11"
    assert done["pages"] == done["pdfs"] == done["printed"] == len(list(folder.glob("*.pdf"))) >= 6 and done["message"] is None
    region = folder / "region-640104.pdf"
    text = unicodedata.normalize("NFKC", re.sub(r"\s", "", "".join(page.extract_text() for page in pypdf.PdfReader(region).pages)))
    with ledger_views.connect(small) as con:
        score, name = con.execute("SELECT value, name FROM governance.health_check WHERE month = '2026-11' AND subject = '640104' AND indicator = 'all'").fetchone()
    assert rendering.rate(score).replace(" ", "") in text and name in text and "2026年11月数据体检报告" in text
    first = _printed(folder)
    assert health.write(small, "2026-11")["printed"] == 0
    for page in (folder / "region-640104.html", folder / "region-640100.html"):
        page.with_suffix(".pdf").unlink()
    assert health.write(small, "2026-11")["printed"] == 2
    assert _printed(folder) == first
    site.build(small, today=TODAY)
    assert 'href="2026-11/index.html"' in (small.lake.reports / "months/index.html").read_text(encoding="utf-8")


def test_without_chromium_there_are_pages_and_a_message(small, monkeypatch):
    monkeypatch.setattr(health, "chromium", lambda: None)
    done = health.write(small, "2026-10")
    assert done["pages"] >= 6 and done["pdfs"] == 0 and "LAKE_CHROMIUM" in done["message"]
    assert ".pdf" not in (small.lake.reports / "months/2026-10/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("month, says", [("2026-13", "is no month"), ("2031-01", "Nothing was judged for 2031-01. Months with results: 2024-12")])
def test_a_month_without_results_is_refused(small, month, says):
    with pytest.raises(WrongUse, match=says):
        health.write(small, month)


def test_the_browser_of_the_tests_is_the_one_that_prints(printer):
    assert printer == health.chromium()
