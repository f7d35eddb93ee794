"""The site in headless Chromium, as files and through a server: nothing is asked for elsewhere, nothing goes wrong, everybody can use it."""
from __future__ import annotations

import pytest

from pipelines.site import rendering

PAGES = ("index.html", "problems.html", "datasets/population.d03.html", "departments/", "rules/population.d03/name.masked.html", "months/index.html",
         "months/2026-11/index.html", "months/2026-11/region-640104.html", "population.d32/", "datasets/population.d32.html")
ROWS = "#list tbody tr:not([hidden])"


def place(at, start: str) -> str:
    """The first page whose path starts so."""
    if (at.lake.reports / start).is_file():
        return start
    return min(p.relative_to(at.lake.reports).as_posix() for p in at.lake.reports.rglob("*.html") if p.relative_to(at.lake.reports).as_posix().startswith(start))


@pytest.mark.parametrize("start", PAGES)
def test_nothing_goes_wrong_and_nothing_is_asked_for_elsewhere(at, origin, watched, start):
    watched.page.goto(f"{origin}/{place(at, start)}", wait_until="load")
    watched.page.click("[data-set-lang=en]")
    assert watched.wrong == []
    assert [url for url in watched.asked if not url.startswith((origin, "data:"))] == []
    assert watched.page.locator("main").inner_text().strip()
    for figure in watched.page.locator("[data-chart]").all():
        figure.scroll_into_view_if_needed()
        figure.locator("svg").wait_for()
    assert watched.wrong == []


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("start", PAGES)
def test_axe_finds_nothing_serious(at, watched, start, language):
    watched.page.goto(f"{at.lake.reports.as_uri()}/{place(at, start)}")
    watched.page.click(f"[data-set-lang={language}]")
    watched.page.add_script_tag(path=str(rendering.BUILT / "axe.min.js"))
    found = watched.page.evaluate("async () => (await axe.run()).violations.map(v => [v.impact, v.id, v.nodes.slice(0, 3).map(n => n.html.slice(0, 200))])")
    assert [v for v in found if v[0] in ("serious", "critical")] == []


def test_filters_by_each_field_and_all_together(at, origin, watched):
    page = watched.page
    page.goto(f"{origin}/problems.html")
    total = page.locator(ROWS).count()
    assert total == int(page.inner_text("[data-shown]")) > 20
    for field in ("state", "department", "dataset", "severity"):
        value = page.locator(f"select[name={field}] option").nth(1).get_attribute("value") or page.locator(f"select[name={field}] option").nth(1).inner_text()
        page.select_option(f"select[name={field}]", value)
        shown = page.eval_on_selector_all(ROWS, f"rows => rows.map(r => r.dataset.{field})")
        assert shown and set(shown) == {value} and len(shown) < total and page.inner_text("[data-shown]") == str(len(shown)), field
        page.click("button[type=reset]")
        page.wait_for_function("n => document.querySelector('[data-shown]').textContent == n", arg=str(total))
    page.fill("input[name=text]", "NAME.")
    assert 0 < page.locator(ROWS).count() < total
    assert all("name." in text for text in page.locator(ROWS).all_inner_texts())
    page.fill("input[name=text]", "no such thing")
    assert page.locator(ROWS).count() == 0 and page.is_visible("[data-empty]")
    page.fill("input[name=text]", "")
    page.select_option("select[name=state]", "open")
    page.select_option("select[name=severity]", "reject")
    both, address = page.locator(ROWS).count(), page.url
    assert 0 < both < total and address.endswith("#state=open&severity=reject")
    page.goto("about:blank")
    page.goto(address)
    assert page.locator(ROWS).count() == both, "an address keeps its filters"
    assert watched.wrong == []


def test_columns_are_sorted_by_number_and_by_keyboard(at, watched):
    page = watched.page
    page.goto(f"{at.lake.reports.as_uri()}/problems.html")
    failed = "rows => rows.map(r => Number(r.cells[5].dataset.v))"
    page.locator("#list thead button").nth(5).focus()
    page.keyboard.press("Enter")
    rising = page.eval_on_selector_all("#list tbody tr", failed)
    assert rising == sorted(rising) and len(set(rising)) > 3 and page.get_attribute("#list th[aria-sort]", "aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert page.eval_on_selector_all("#list tbody tr", failed) == sorted(rising, reverse=True)


def test_the_language_is_switched_and_remembered(at, origin, watched):
    page = watched.page
    page.goto(f"{origin}/index.html")
    assert "数据质量总览" in page.inner_text("h1") and "overview" not in page.inner_text("h1") and page.get_attribute("html", "lang") == "zh-CN"
    page.click("[data-set-lang=en]")
    assert page.inner_text("h1").strip() == "Data quality overview" and page.get_attribute("html", "lang") == "en"
    assert page.get_attribute("[data-set-lang=en]", "aria-pressed") == "true"
    page.goto(f"{origin}/datasets/population.d03.html")
    assert "Dimension profile" in page.inner_text("#profile") and "维度画像" not in page.inner_text("#profile")
    page.locator("[data-chart=radar] svg").wait_for()
    assert "Completeness" in page.locator("[data-chart=radar] svg").text_content()
    page.click("[data-set-lang=zh]")
    page.locator("[data-chart=radar] svg").wait_for()
    assert "完整性" in page.locator("[data-chart=radar] svg").text_content()


def test_the_keyboard_reaches_the_content_first(at, watched):
    page = watched.page
    page.goto(f"{at.lake.reports.as_uri()}/index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip" and page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")


def test_the_print_view_has_content_only(at, watched):
    page = watched.page
    page.goto(f"{at.lake.reports.as_uri()}/datasets/population.d03.html")
    page.emulate_media(media="print")
    assert not page.is_visible(".tools") and not page.is_visible(".jump") and page.is_visible("#rules")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 1 and page.pdf().startswith(b"%PDF")


def test_every_page_can_be_read_without_script_and_without_charts(at, browser, tmp_path, monkeypatch):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{at.lake.reports.as_uri()}/datasets/population.d03.html")
    text = page.inner_text("main")
    assert "维度画像" in text and "Dimension profile" in text, "both languages stand there"
    assert page.locator("[data-chart]").first.is_hidden() and page.locator("table").first.is_visible()
    context.close()
    monkeypatch.setattr(rendering, "BUILT", tmp_path)
    rendering.put_assets(tmp_path / "reports")
    assert sorted(p.name for p in (tmp_path / "reports/assets").iterdir()) == ["dictionary.js", "site.css", "site.js"]
    bare = rendering.write(tmp_path / "reports", tmp_path / "reports/months/index.html", "months.html.j2", kept=[], month=None)
    assert "echarts" not in bare.read_text(encoding="utf-8")


def test_the_overview_of_fifty_datasets_and_two_years_is_small_and_quick(at, served, browser):
    seconds, sizes = [], []
    for _ in range(5):
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        page = context.new_page()
        got = []
        page.on("response", lambda r, got=got: got.append(r))
        page.goto(f"{served}/index.html", wait_until="load")
        seconds.append(page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd") / 1000)
        sizes.append(sum(len(r.body()) for r in got if r.url.startswith(served)))
        assert page.locator("#datasets ~ .wrap tbody tr").count() == 50
        context.close()
    assert max(sizes) < 1_000_000
    assert min(seconds) < 1.0, seconds      # the quickest: other work on the machine can only add
