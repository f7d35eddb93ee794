"""The dictionary of a release: whatever is in `lake.duckdb` has its place in it, and it is found, in Chromium, by everybody, without any network."""
from __future__ import annotations

import json
import re
import time
from urllib.parse import unquote

import duckdb
import pytest

from pipelines import compiler, ledger_tables as tables, release, site
from pipelines.contract import datasets
from pipelines.site import building, dictionary, rendering
from pipelines.site.described import MOST_CODES
from tests.site.test_content import Links
from tests.states import state
from tests.support import RESIDENCE, desk, project, resident_id

PAGES = ("index.html", "index.html#q=性别", "population.person.html#sex_code", "credit.legal_rep_defaulter.html", "reference.sex.html#code-1",
         "macros.html#is_resident_id", "words.html")
HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(1)>'
FOUND = "[data-found] li"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A release of the real contracts with two persons, an open problem, and the site over it."""
    at = desk(tmp_path_factory.mktemp("dictionary"))
    plans = {d.id: compiler.plan(d, ()) for d in datasets(at.project)}
    persons = [{"id_number": resident_id(n), "name": "赵某", "sex_code": "1" if n == 1 else None, "birth_date": "1990-01-01"} for n in (1, 2)]
    with at.ledger.transaction() as con:
        con.execute(tables.problems.insert(), {
            "dataset": "population.person", "rule": "sex_code.code", "department": "公安厅", "source": "public_security", "state": "open", "zh": f"性别{HOSTILE}", "en": HOSTILE,
            "severity": "reject", "opened_at": "2026-11-03T00:00:00Z", "applicable": 2, "failed": 1, "reopened": 0, "changed_at": "2026-11-03T00:00:00Z", "changed_by": "gate"})
    assert release.publish(at.lake, at.project, plans, {"population.person": state(at.lake, plans["population.person"], persons)}, at.ledger, "test")
    building.describe(at)
    rendering.write(at.lake.reports, at.lake.reports / "months/index.html", "months.html.j2", kept=[], month=None)
    return at


@pytest.fixture
def pages(made):
    return made.lake.reports / dictionary.FOLDER


def index_of(folder) -> dict:
    text = (folder / "search.js").read_text("utf-8")
    text = re.fullmatch(r"window\.lakeDictionary = (.*);\n", text, re.DOTALL)[1]
    return json.loads(re.sub(r"([{ ])(kinds|entries|codes): ", r'\1"\2": ', text))


def addresses(index: dict) -> list[str]:
    """Every address that a search can lead to."""
    return [e[1] for e in index["entries"]] + [f"{view}.html#{row[3] if len(row) > 3 else f'code-{row[0]}'}" for view, rows in index["codes"].items() for row in rows]


def test_everything_in_the_file_has_its_place_and_is_found(made, pages):
    index, ids = index_of(pages), {p.name: Links(p.read_text("utf-8")) for p in pages.glob("*.html")}
    names = {(e[0], e[2]) for e in index["entries"]}
    start = {unquote(link) for link in ids["index.html"].links}
    with duckdb.connect(str(made.lake.database), read_only=True) as con:
        columns = con.execute("SELECT schema_name || '.' || table_name, column_name FROM duckdb_columns() WHERE NOT internal").fetchall()
        macros = [m for m, in con.execute("SELECT DISTINCT function_name FROM duckdb_functions() WHERE NOT internal").fetchall()]
        lists = con.execute("SELECT 'reference.' || list, rows FROM governance.lists").fetchall()
        codes = con.execute("SELECT 'reference.' || list, code FROM reference.code").fetchall()
        declared = con.execute("SELECT dataset, \"column\" FROM governance.columns WHERE dataset IN (SELECT dataset FROM governance.datasets)").fetchall()
    views = {view for view, _ in columns}
    assert len(views) > 80 and len(columns) > 800 and len(macros) > 100 and len(codes) > 800
    assert [v for v in views if f"{v}.html" not in start] == [] and views == {name for kind, name in names if kind in ("dataset", "view", "list", "governance")}
    assert [c for c in {*columns, *declared} if c[1] not in ids[f"{c[0]}.html"].ids] == [], "contract columns too, also those that are published under another name or not"
    assert [c for c in columns if ("column", ".".join(c)) not in names] == []
    assert [m for m in macros if m not in ids["macros.html"].ids] == [] and {m for m in macros if m[0] != "_"} == {name for kind, name in names if kind == "macro"}
    short = {view for view, rows in lists if rows <= MOST_CODES}
    assert [c for c in codes if c[0] in short and f"code-{c[1]}" not in ids[f"{c[0]}.html"].ids] == [] and {v for v, _ in codes} <= set(index["codes"])
    assert [w["word"] for w in dictionary.words() if ("word", w["word"]) not in names or w["anchor"] not in ids["words.html"].ids] == []
    wrong = [a for a in addresses(index) for page, _, anchor in [a.partition("#")] if anchor and anchor not in ids[page].ids]
    assert wrong == [] and [p for p, links in ids.items() if links.twice] == []


def test_every_view_binds_in_less_than_a_tenth_of_a_second(made):
    slow = []
    with duckdb.connect(str(made.lake.database), read_only=True) as con:
        for schema, view in con.execute("SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal").fetchall():
            began = time.process_time()      # of this process: other work on the machine only adds to the clock
            con.execute(f'PREPARE bound AS FROM "{schema}"."{view}"')
            took = time.process_time() - began
            slow += [(view, took)] if took > 0.1 else []
    assert slow == []


def test_a_page_tells_what_to_know(pages):
    text = (pages / "population.person.html").read_text("utf-8")
    row = re.search(r'<tr id="sex_code">.*?</tr>', text, re.DOTALL)[0]
    assert "GB/T 2261.1" in row and "50.0 %" in row and "2 条中 1 条不成立" in row and "（问题单 1，公安厅，待整改）" in row and 'href="reference.sex.html"' in row
    assert "<script>alert" not in text and "<img" not in text and "</script" not in (pages / "search.js").read_text("utf-8")
    theme = (pages / "credit.legal_rep_defaulter.html").read_text("utf-8")
    assert "一企业一人一案件一行" in theme and "FROM credit.judgment_defaulter" in theme and 'href="legal_entity.enterprise.html"' in theme


@pytest.mark.parametrize(("scheme", "start"), [*(("file", page) for page in PAGES), ("http", PAGES[1]), ("http", PAGES[2])])
def test_nothing_goes_wrong_and_nothing_is_asked_for_elsewhere(made, serving, watched, scheme, start):
    origin = made.lake.reports.as_uri() if scheme == "file" else serving(made.lake.reports)
    watched.page.goto(f"{origin}/dictionary/{start}", wait_until="load")
    watched.page.click("[data-set-lang=en]")
    assert watched.page.locator("main").inner_text().strip() and watched.page.get_attribute("html", "lang") == "en"
    assert watched.wrong == [] and [url for url in watched.asked if not url.startswith((origin, "data:"))] == []


@pytest.mark.parametrize("start", PAGES)
def test_axe_finds_nothing(pages, watched, start):
    watched.page.goto(f"{pages.as_uri()}/{start}")
    watched.page.add_script_tag(path=str(rendering.BUILT / "axe.min.js"))
    for language in ("zh", "en"):
        watched.page.click(f"[data-set-lang={language}]")
        found = watched.page.evaluate("async () => (await axe.run()).violations.map(v => [v.impact, v.id, v.nodes.slice(0, 3).map(n => n.html.slice(0, 200))])")
        assert [v for v in found if v[0] in ("serious", "critical")] == [], language


def search(page, query: str) -> list[str]:
    page.fill("#q", query)
    return page.locator(FOUND).all_inner_texts()


@pytest.mark.parametrize("query, name", [
    ("性别", "population.person.sex_code"), ("人口基础", "population.person"), ("失信 企业", "credit.legal_rep_defaulter"), ("sex_code", "population.person.sex_code"),
    ("date of birth", "population.person.birth_year"), ("GB/T 2261.1", "reference.sex"), ("gb/t2261.1", "reference.sex"), ("ＧＢ／Ｔ ２２６１", "reference.sex"),
    ("640104", "640104"), ("兴庆区", "640104"), ("is_resident_id", "is_resident_id"), ("假名", "pseudonym"), ("id_number", "population.person.person_id"),
    ("religion", "population.person.religion_code"), ("dataset_scores", "governance.dataset_scores")])
def test_search_finds(pages, watched, query, name):
    watched.page.goto(f"{pages.as_uri()}/index.html")
    found = search(watched.page, query)
    assert any(name in one.split() for one in found[:25]), found[:25]
    assert watched.page.is_hidden("[data-contents]") and watched.wrong == []


def test_searching_by_kind_by_keyboard_and_by_address(pages, watched):
    page = watched.page
    page.goto(f"{pages.as_uri()}/index.html")
    page.keyboard.press("/")
    page.keyboard.type("性别")
    whole = page.locator(FOUND).count()
    page.locator("[data-kinds] button", has_text="代码表").click()
    assert 0 < page.locator(FOUND).count() < whole and page.get_attribute("[data-kinds] button[aria-pressed=true]", "aria-pressed") == "true"
    assert page.locator(f"{FOUND} .kind.list").count() == page.locator(FOUND).count()
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    assert page.input_value("#q") == "性别" and page.locator(FOUND).count() == whole, "an address keeps its search"
    page.focus("#q")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement === document.querySelectorAll('[data-found] a')[1]")
    page.keyboard.press("Escape")
    assert page.is_visible("[data-contents]") and page.is_hidden("[data-results]")
    assert search(page, "no such thing at all") == [] and page.is_visible("[data-none]")
    page.fill("#q", "sex_code")
    page.keyboard.press("Enter")
    page.wait_for_url("**/*.html#sex_code")
    assert page.locator("tr:target").get_attribute("id") == "sex_code"
    page.fill("#q", "民族")
    page.keyboard.press("Enter")
    page.wait_for_url("**/index.html?q=*")
    assert page.locator(FOUND).count() > 1 and watched.wrong == []


def test_a_deep_link_leads_to_its_row_in_either_language(pages, watched):
    page = watched.page
    for address, words in (("population.person.html#religion_code", "宗教"), ("reference.admin_division.html#code-640104", "兴庆区"), ("words.html#match-level", "match level")):
        page.goto(f"{pages.as_uri()}/{address}")
        row = page.locator("tr:target")
        assert words in row.inner_text() and page.evaluate("document.querySelector('tr:target').getBoundingClientRect().top < innerHeight")
    page.goto(f"{pages.as_uri()}/population.person.html#id_number")
    assert page.locator(":target").inner_text().endswith("id_number") and "person_id" in page.locator("tr:has(:target)").inner_text()
    page.click("[data-set-lang=en]")
    assert "Before use" in page.inner_text("#p-notes") and "使用须知" not in page.inner_text("#p-notes")
    page.goto(f"{pages.as_uri()}/index.html#q=GB 11643")
    first = page.locator(f"{FOUND} a").first.inner_text()
    assert "Citizen identity number" in first and "公民" not in first


def test_pages_can_be_read_without_script(pages, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{pages.as_uri()}/index.html")
    page.click("text=人口基础信息")
    assert "公民身份号码" in page.inner_text("main") and "Citizen identity number" in page.inner_text("main")
    context.close()


@pytest.fixture
def small(tmp_path):
    """Two datasets without anything in them."""
    given = RESIDENCE.replace("LOAD", "upsert")
    return desk(tmp_path, project(tmp_path / "project", population__residence=given, population__other=given.replace("residence", "other")))


def publish(at, rows):
    """A release in which `population.residence` holds these rows."""
    plans = {d.id: compiler.plan(d, ()) for d in datasets(at.project)}
    states = {d: state(at.lake, p, rows if d == "population.residence" else [], version=f"v{len(rows)}") for d, p in plans.items()}
    assert release.publish(at.lake, at.project, plans, states, at.ledger, "test")


def test_every_link_leads_somewhere_and_the_two_sites_lead_to_each_other(small):
    publish(small, [])
    site.build(small, today="2026-11-20")
    reports = small.lake.reports
    ids = {p: Links(p.read_text("utf-8")) for p in reports.rglob("*.html")}
    wrong, seen = [], set()
    for page, parsed in ids.items():
        for link in (link for link in parsed.links if link != "data:,"):
            path, _, anchor = unquote(link).partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.is_file() or (anchor and "=" not in anchor and anchor not in ids[target].ids):
                wrong.append((page.name, link))
            seen.add((page, target))
    quality, described = reports / "datasets/population.residence.html", reports / "dictionary/population.residence.html"
    assert wrong == [] and {(quality, described), (described, quality), (reports / "index.html", reports / "dictionary/index.html")} <= seen


def test_nothing_is_made_twice_and_what_changed_or_went_is_followed(small):
    folder = small.lake.reports / dictionary.FOLDER
    building.describe(small)
    assert "尚无发布" in (folder / "index.html").read_text("utf-8")
    publish(small, [{"id_number": resident_id(1), "status": "在住"}])
    building.describe(small)
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}
    began = time.process_time()
    building.describe(small)
    assert time.process_time() - began < 0.5 and {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()} == before
    (folder / "macros.html").unlink()
    building.describe(small)
    assert (folder / "macros.html").read_bytes() == before[folder / "macros.html"][1], "a page that is missing is made again"
    publish(small, [{"id_number": resident_id(1), "status": "在住"}, {"id_number": resident_id(2)}])
    building.describe(small)
    changed = {p.name for p in folder.glob("*.html") if p != folder / "macros.html" and p.stat().st_mtime_ns != before[p][0]}
    assert changed == {"index.html", "population.residence.html", "population.residence_changes.html", "population.other_changes.html"} and "50.0 %" in (folder / "population.residence.html").read_text("utf-8")
    release.rollback(small.lake, small.project, small.ledger)
    building.describe(small)
    assert (folder / "population.residence.html").read_bytes() == before[folder / "population.residence.html"][1]
    (small.project.contracts / "population/other.yaml").unlink()
    publish(small, [])
    building.describe(small)
    assert not (folder / "population.other.html").exists() and "population.other" not in (folder / "search.js").read_text("utf-8")
