"""Write the site: every page from the facts of this moment, each only where it differs; pages that nothing stands behind any more go.

reports/index.html · problems.html · datasets/<id>.html · departments/<slug>.html · rules/<dataset>/<rule>.html · <dataset>/<batch>.html (`pipelines.pages`) ·
months/… (`health`) · dictionary/… (`dictionary`) · assets/. A death in between leaves whole pages, some of them old; the next call writes the rest.
"""
from __future__ import annotations

import time
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines import new_values
from pipelines.compiler import Plan
from pipelines.desk import Desk
from pipelines.ledger import today as today_by_the_clock
from pipelines.lifecycle import ACTIVE
from pipelines.locks import writer
from pipelines.reports import STATES, batch_page
from pipelines.site import charts, dictionary, marks, rendering, rules
from pipelines.site.facts import Facts, Row, grouped
from pipelines.site.ledger_views import connect

PROBLEM_STATES = {"open": ("fail", "待整改", "To be mended"), "in_progress": ("warn", "整改中", "Being mended"), "mended": ("warn", "已整改", "Mended"),
                  "verified": ("pass", "已核验", "Verified"), "false_alarm": ("none", "误报", "False alarm"), "waived": ("none", "豁免", "Waived")}
FOLDERS = ("datasets", "departments", "rules", dictionary.FOLDER)


def build(desk: Desk, plans: dict[str, Plan] | None = None, today: str | None = None) -> dict[str, Any]:
    """Bring every page up to date.

    Args:
        plans: the plan of every dataset; read from the contracts when it is not given.
        today: ISO date by which a source is late; the day in Beijing when it is not given.

    Returns:
        pages (how many there are), seconds, index (its path).
    """
    clock, reports = time.monotonic(), desk.lake.reports
    with writer(desk.lake, "reports"), connect(desk, plans, once=True) as con:
        rendering.put_assets(reports)
        site = Site(Facts(con, desk.ledger, today or today_by_the_clock()), desk)
        with rules.begun(site.rules):      # a second process begins with them, the last dataset first
            site.described = dictionary.build(desk, set(site.names))
            written = {*site.described, site.overview(), site.problem_list(), *site.dataset_pages(), *site.department_pages(), *site.rules.all(), site.month_list()}
        _sweep(reports, written)
    return {"pages": len(written), "seconds": round(time.monotonic() - clock, 2), "index": str(reports / "index.html")}


def describe(desk: Desk) -> None:
    """Bring the dictionary alone up to date: another release is shown, the quality pages stay."""
    reports = desk.lake.reports
    with writer(desk.lake, "reports"):
        rendering.put_assets(reports)
        written = dictionary.build(desk, {page.stem for page in (reports / "datasets").glob("*.html")})
        _sweep_folder(reports / dictionary.FOLDER, written)


def _sweep(reports: Path, written: set[Path]) -> None:
    for folder in FOLDERS:
        _sweep_folder(reports / folder, written)


def _sweep_folder(folder: Path, written: set[Path]) -> None:
    for page in folder.rglob("*.html"):
        if page not in written:
            page.unlink()


class Site:
    """The pages of one moment."""

    def __init__(self, facts: Facts, desk: Desk):
        self.facts, self.desk, self.reports = facts, desk, desk.lake.reports
        self.new_values = grouped("dataset", new_values.listing(desk))
        self.names = {d["dataset"]: d["name"] for d in facts.datasets}
        self.described: set[Path] = set()      # pages of the dictionary
        self.rules = rules.RulePages(facts, self.reports, self.names)
        self.titles = {(r["dataset"], r["rule"]): (r["zh"], r["en"]) for rows in facts.rules.values() for r in rows}

    @cached_property
    def shared(self) -> tuple[dict[str, Any], str]:
        """What every page may use, and a digest of it."""
        facts = self.facts
        used = {"names": _Names(self.names), "titles": self.titles, "slugs": facts.slugs, "states": STATES, "problem_states": PROBLEM_STATES, "months": facts.months,
                "month": facts.month, "today": facts.today}
        return used, rendering.digest_of(used)

    def page(self, place: str, template: str, stamped: bool = False, **content: Any) -> Path:
        """Write one page with what every page may use."""
        used, digest = self.shared
        return rendering.write(self.reports, self.reports / place, template, stamped=stamped, shared=used, of_shared=digest, **content)

    def overview(self) -> Path:
        facts, held = self.facts, Counter(b["department"] for b in self.facts.waiting)
        late = [s for s in facts.streams if s["late_days"]]
        lights = Counter(d["light"] for d in facts.datasets)
        unsettled = Counter(p["department"] for p in self._problems(ACTIVE))
        datasets = [d | {"trend": self._trend("dataset", d["dataset"])} for d in facts.datasets]
        departments = [d | {"trend": self._trend("department", d["department"]), "held": held[d["department"]], "open": unsettled[d["department"]],
                            "late": sum(s["department"] == d["department"] for s in late)} for d in facts.departments]
        return self.page(
            "index.html", "overview.html.j2", datasets=datasets, departments=departments, worse=facts.worse, late=sorted(late, key=lambda s: -s["late_days"]),
            waiting=[b | {"link": self._link(b)} for b in facts.waiting], heat=charts.heat(facts.months, datasets),
            tally={"red": lights["red"], "amber": lights["amber"], "green": lights["green"], "none": lights[None]},
            open_problems=len(self._problems(("open",))))

    def problem_list(self) -> Path:
        rows = self._problems()
        used = {key: sorted({r[key] for r in rows if r[key]}) for key in ("state", "department", "dataset", "severity")}
        return self.page("problems.html", "problems.html.j2", rows=rows, used=used)

    def dataset_pages(self) -> list[Path]:
        return [self._dataset(d) for d in self.facts.datasets]

    def _dataset(self, d: Row) -> Path:
        facts, scores = self.facts, self.facts.scores["dataset", d["dataset"]]
        codes = sorted(c for c in scores if len(c) == 2)
        dimensions = [(c, scores[c].get(d["month"])) for c in codes]
        by_month = {m: [charts.value(scores[c].get(m)) for c in ("all", *codes)] for m in facts.months}
        measured = self._rules(d["dataset"], d["month"])
        volumes = facts.volumes.get(d["dataset"], [])
        docs = f"gx/{d['dataset']}/docs/index.html"
        return self.page(
            f"datasets/{d['dataset']}.html", "dataset.html.j2", stamped=True, d=d, whole=scores["all"].get(d["month"]), dimensions=dimensions, by_month=by_month,
            rules=measured, failing=[r for r in measured if r["outcome"] == "fail"][:20], streams=self._streams(dataset=d["dataset"]), volumes=volumes,
            signals=facts.signals.get(d["dataset"]), described=self.reports / dictionary.FOLDER / f"{d['dataset']}.html" in self.described, new_values=self.new_values.get(d["dataset"]), docs=docs if (self.reports / docs).is_file() else None,
            problems=[p for p in self._problems(ACTIVE) if p["dataset"] == d["dataset"]],
            batches=[b | {"link": self._link(b), "department": self._department(b)} for b in facts.batches.get(d["dataset"], [])],
            radar=charts.radar(d["month"], dimensions), bars=charts.bars(volumes),
            lines=self._lines([(marks.DIMENSIONS[c], scores[c]) for c in codes]))

    def department_pages(self) -> list[Path]:
        return [self._department_page(d) for d in self.facts.departments]

    def _department_page(self, d: Row) -> Path:
        facts, name = self.facts, d["department"]
        scores = facts.scores["department", name]
        mine = [p for p in self._problems() if p["department"] == name]
        failing = [r | {"trend": self._rule_trend(r)} for r in facts.failing if r["department"] == name]
        return self.page(
            f"departments/{d['slug']}.html", "department.html.j2", stamped=True, d=d, whole=scores["all"].get(d["month"]),
            dimensions=[(c, scores[c].get(d["month"])) for c in sorted(c for c in scores if len(c) == 2)], failing=failing,
            datasets=[s for s in facts.datasets if s["dataset"] in d["datasets"]], streams=self._streams(department=name),
            lines=self._lines([(("得分", "Score"), scores["all"])]), problems=[p for p in mine if p["state"] in ACTIVE],
            settled=[p for p in mine if p["state"] not in ACTIVE], counted=Counter(p["state"] for p in mine),
            reopened=sum(p["reopened"] or 0 for p in mine),
            waiting=[b | {"link": self._link(b), "name": self.names.get(b["dataset"], b["dataset"])} for b in facts.waiting if b["department"] == name])

    def month_list(self) -> Path:
        """The list of the monthly health checks that are kept."""
        kept = sorted((p.parent for p in (self.reports / "months").glob("????-??/index.html")), reverse=True)
        return self.page("months/index.html", "months.html.j2", kept=[p.name for p in kept])

    def _rules(self, dataset: str, month: str | None) -> list[Row]:
        """Every rule of a dataset with the newest month's counts, failing ones first."""
        idle = {"applicable": 0, "failed": 0, "pass_rate": None, "outcome": "not_measured"}
        history = self.facts.history
        rows = [r | idle | history.get((dataset, r["rule"]), {}).get(month, {}) | {"trend": self._rule_trend(r)} for r in self.facts.rules.get(dataset, [])]
        order = ["fail", "pass", "not_measured"]
        return sorted(rows, key=lambda r: (order.index(r["outcome"]), r["severity"] == "warn", 2 if r["pass_rate"] is None else r["pass_rate"], r["rule"]))

    def _rule_trend(self, r: Row) -> list[float | None]:
        history = self.facts.history.get((r["dataset"], r["rule"]), {})
        return [history.get(m, {}).get("pass_rate") for m in self.facts.months]

    def _trend(self, scope: str, subject: str) -> list[float | None]:
        return [charts.value(self.facts.scores[scope, subject]["all"].get(m)) for m in self.facts.months]

    def _lines(self, named: list[tuple[tuple[str, str], dict[str, Row]]]) -> dict[str, Any] | None:
        return charts.lines(self.facts.months, [(name, [charts.value(rows.get(m)) for m in self.facts.months]) for name, rows in named])

    def _streams(self, **wanted: str) -> list[Row]:
        return [s | {"name": self.names.get(s["dataset"], s["dataset"]), "slug": self.facts.slugs[s["department"]]} for s in self.facts.streams
                if all(s[k] == v for k, v in wanted.items())]

    def _problems(self, states: tuple[str, ...] | None = None) -> list[Row]:
        return [p | {"name": self.names.get(p["dataset"])} for p in self.facts.problems if states is None or p["state"] in states]

    def _department(self, batch: Row) -> str:
        return next((s["department"] for s in self.facts.streams if (s["dataset"], s["source"]) == (batch["dataset"], batch["source"])), batch["source"])

    def _link(self, batch: Row) -> str | None:
        page = batch_page(self.desk.lake, batch)
        return page.relative_to(self.reports).as_posix().replace("%", "%25").replace("#", "%23").replace("?", "%3F") if page.is_file() else None


class _Names(dict):
    """Names of datasets; one that no contract declares any more has none."""

    def __missing__(self, key: str) -> str:
        return key
