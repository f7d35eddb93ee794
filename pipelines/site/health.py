"""月度体检报告: one page per division and department for a month, as HTML and PDF, kept under reports/months/<YYYY-MM>/.

The same ledger gives the same pages, byte for byte. PDFs are printed by Chromium (`LAKE_CHROMIUM`, or one on the path) without any network; without it the pages stand alone.
A page that did not change keeps its PDF.
"""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from pipelines.desk import Desk
from pipelines.lifecycle import ACTIVE
from pipelines.locks import writer
from pipelines.settings import WrongUse
from pipelines.site import rendering
from pipelines.site.building import Site
from pipelines.site.facts import Facts, Row
from pipelines.site.ledger_views import connect

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_CHROMIUM = "No Chromium was found, so there are pages and no PDF. Install chromium, or name its program in LAKE_CHROMIUM, and run the command again."
PRINT_SECONDS = 60
WORST = 15
_DATES = re.compile(rb"/(CreationDate|ModDate) \(D:\d{14}[^)]*\)")
_WORST = """
    SELECT s.dataset, s.rule, n.zh, n.en, s.severity, s.applicable, s.failed, (s.applicable - s.failed) / nullif(s.applicable, 0) AS pass_rate, s.at_least,
        (b.applicable - b.failed) / nullif(b.applicable, 0) AS previous, s.applicable - s.failed < s.at_least::DECIMAL(9, 6) * s.applicable AS below
    FROM governance.scope_rules s
    LEFT JOIN governance.scope_rules b ON b.scope = s.scope AND b.subject = s.subject AND b.dataset = s.dataset AND b.rule = s.rule
        AND b.month = strftime(($month || '-01')::DATE - INTERVAL 1 MONTH, '%Y-%m')
    JOIN (SELECT dataset, rule, arg_max(zh, month) AS zh, arg_max(en, month) AS en FROM governance.rule_scores GROUP BY ALL) n
        ON n.dataset = s.dataset AND n.rule = s.rule
    WHERE s.month = $month AND s.scope = $scope AND s.subject = $subject AND s.failed > 0
    ORDER BY coalesce(below, false) DESC, s.severity = 'warn', pass_rate, s.failed DESC, s.dataset, s.rule LIMIT $worst"""


def write(desk: Desk, month: str, pdf: bool = True) -> dict[str, Any]:
    """Write the health checks of a month and their list.

    Args:
        month: of batch dates, YYYY-MM.
        pdf: print them as well.

    Returns:
        month, pages, pdfs, printed (PDFs made now), index, message (why there is no PDF, None otherwise).

    Raises:
        WrongUse: nothing was judged for that month.
    """
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise WrongUse(f"{month!r} is no month. Give it as YYYY-MM, such as 2026-11.")
    folder, reports = desk.lake.reports / "months" / month, desk.lake.reports
    with writer(desk.lake, "reports"), connect(desk, once=True) as con:
        rendering.put_assets(reports)
        site = Site(Facts(con, desk.ledger, f"{month}-28"), desk)
        subjects = site.facts.ask("FROM governance.health_check WHERE month = $month AND scope IN ('department', 'region') AND indicator = 'all' "
                                  "AND checks > 0 ORDER BY scope, subject", month=month)
        if not subjects:
            raise WrongUse(f"Nothing was judged for {month}. Months with results: {', '.join(site.facts.months) or 'none'}.")
        pages = [_page(site, folder, month, one) for one in subjects]
        program = chromium() if pdf else None
        printed = sum(print_page(program, page) for page in pages) if program else 0
        _list(site, folder, month, subjects)
        site.month_list()
    return {"month": month, "pages": len(pages), "pdfs": sum(p.with_suffix(".pdf").is_file() for p in pages), "printed": printed,
            "index": str(folder / "index.html"), "message": None if program or not pdf else NO_CHROMIUM}


def of_lake(month: str) -> dict[str, Any]:
    """`write` for the lake of LAKE_HOME."""
    return write(Desk.open(), month)


def _slug(site: Site, one: Row) -> str:
    return f"region-{one['subject']}" if one["scope"] == "region" else f"department-{site.facts.slugs.get(one['subject'], one['subject'])}"


def _page(site: Site, folder: Path, month: str, one: Row) -> Path:
    facts, subject = site.facts, one["subject"]
    scores = facts.scores[one["scope"], subject]
    months = [m for m in facts.months if m <= month]
    parts = [(code, scores[code][month]) for code in sorted(scores) if code != "all" and month in scores[code]]
    problems = None
    if one["scope"] == "department":
        problems = [p for p in facts.problems if p["department"] == subject and p["state"] in ACTIVE and p["opened_at"][:7] <= month]
    return rendering.write(
        site.reports, folder / f"{_slug(site, one)}.html", "health.html.j2", one=one, month=month, names=site.names, problems=problems,
        dimensions=[(c, r) for c, r in parts if len(c) == 2], measures=[(c, r) for c, r in parts if len(c) == 4],
        history=[(m, scores["all"].get(m)) for m in months[-12:]], drawn=[(scores["all"].get(m) or {}).get("value") for m in months[-12:]],
        worst=facts.ask(_WORST, month=month, scope=one["scope"], subject=subject, worst=WORST))


def _list(site: Site, folder: Path, month: str, subjects: list[Row]) -> None:
    rows = [one | {"page": f"{_slug(site, one)}.html", "pdf": (folder / f"{_slug(site, one)}.pdf").is_file()} for one in subjects]
    rendering.write(site.reports, folder / "index.html", "health_list.html.j2", month=month,
                    departments=[r for r in rows if r["scope"] == "department"], regions=[r for r in rows if r["scope"] == "region"])


def chromium() -> str | None:
    """The program that prints: LAKE_CHROMIUM, or the first of `PROGRAMS` on the path.

    Raises:
        WrongUse: LAKE_CHROMIUM names no program.
    """
    named = os.environ.get("LAKE_CHROMIUM")
    if named and not shutil.which(named):
        raise WrongUse(f"LAKE_CHROMIUM names {named}, which is no program.")
    return next(filter(None, map(shutil.which, [named] if named else PROGRAMS)), None)


def print_page(program: str, page: Path) -> bool:
    """Print a page unless its PDF is younger; True when it was printed.

    Raises:
        WrongUse: Chromium does not make the PDF.
    """
    target = page.with_suffix(".pdf")
    if target.is_file() and target.stat().st_mtime >= page.stat().st_mtime:
        return False
    with tempfile.TemporaryDirectory(prefix="lake-print") as scratch:
        made = Path(scratch) / "page.pdf"
        options = ["--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                   "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND", "--no-pdf-header-footer", f"--user-data-dir={scratch}/profile", f"--print-to-pdf={made}",
                   *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        try:
            subprocess.run([program, *options, page.resolve().as_uri()], env=os.environ | {"HOME": scratch}, capture_output=True, timeout=PRINT_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        if not made.is_file() or not made.read_bytes().rstrip().endswith(b"%%EOF"):
            raise WrongUse(f"{program} did not print {page.name}. The pages are written; mend Chromium, or set LAKE_CHROMIUM to another one, "
                           "and run the command again.")
        day = page.parent.name.replace("-", "").encode() + b"01000000"
        rendering.put(target, _DATES.sub(lambda m: (b"/" + m[1] + b" (D:" + day + b"+00'00')").ljust(len(m[0])), made.read_bytes()))
    os.utime(target)
    return True
