"""What the pages say, asked of the governance views of this moment (`ledger_views`): one query per kind of fact, rows as dictionaries.

Months are those of batch dates, at most `MONTHS` of them; `today` decides only what is late.
"""
from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import sqlalchemy as sa

from pipelines import ledger_tables as tables
from pipelines.ledger import Ledger

MONTHS = 24
Row = dict[str, Any]

_STREAMS = """
    WITH sent AS (
        SELECT dataset, source, max(batch_date) FILTER (state IN ('accepted', 'held', 'passed', 'staged', 'received')) AS newest,
            arg_max(received_at, batch_date) AS received_at
        FROM governance.batches WHERE state <> 'superseded' GROUP BY ALL
    ),
    due AS (
        SELECT s.dataset, s.source, s.department, s.frequency, s.sla_days, sent.newest, sent.received_at,
            split_part(s.frequency, ' ', 1)::DOUBLE AS every, split_part(s.frequency, ' ', 2) AS unit
        FROM governance.sources s LEFT JOIN sent ON sent.dataset = s.dataset AND sent.source = s.source
    ),
    dated AS (
        SELECT *, CASE unit WHEN 'day' THEN newest::DATE + to_days(every::INTEGER) WHEN 'week' THEN newest::DATE + to_days((7 * every)::INTEGER)
            ELSE newest::DATE + to_months((every * CASE unit WHEN 'month' THEN 1 WHEN 'quarter' THEN 3 WHEN 'half-year' THEN 6 ELSE 12 END)::INTEGER)
            END AS next_date
        FROM due
    )
    SELECT dataset, source, department, frequency, newest, next_date::DATE::VARCHAR AS next_date,
        greatest(0, date_diff('day', (next_date + to_days(coalesce(sla_days, 0)::INTEGER))::DATE, $today::DATE)) AS late_days,
        greatest(0, date_diff('day', newest::DATE + to_days(coalesce(sla_days, 0)::INTEGER), received_at::TIMESTAMP)) AS came_late_days
    FROM dated ORDER BY dataset, source"""
_HISTORY = """
    SELECT dataset, rule, month, arg_max(at_least, source) AS at_least, sum(applicable)::BIGINT AS applicable, sum(failed)::BIGINT AS failed,
        sum(applicable - failed) / nullif(sum(applicable), 0) AS pass_rate,
        CASE WHEN bool_or(outcome = 'fail') THEN 'fail' WHEN bool_or(outcome = 'pass') THEN 'pass' ELSE 'not_measured' END AS outcome
    FROM governance.rule_scores WHERE month >= $first GROUP BY ALL ORDER BY dataset, rule, month"""
_RULES = """
    WITH newest AS (
        SELECT dataset, rule, arg_max(zh, (month, source)) AS zh, arg_max(en, (month, source)) AS en, arg_max("column", (month, source)) AS "column",
            arg_max(indicator, (month, source)) AS indicator, arg_max(severity, (month, source)) AS severity, arg_max(owner, (month, source)) AS owner,
            arg_max(at_least, (month, source)) AS at_least
        FROM governance.rule_scores WHERE dataset IN (SELECT dataset FROM governance.datasets) GROUP BY ALL
    )
    SELECT coalesce(r.dataset, n.dataset) AS dataset, coalesce(r.rule, n.rule) AS rule, coalesce(r.zh, n.zh) AS zh, coalesce(r.en, n.en) AS en,
        coalesce(r."column", n."column") AS "column", coalesce(r.indicator, n.indicator) AS indicator, coalesce(r.severity, n.severity) AS severity,
        coalesce(r.owner, n.owner) AS owner, coalesce(r.at_least, n.at_least) AS at_least, r.on_breach, r.why, r.changes
    FROM governance.rules r FULL JOIN newest n ON n.dataset = r.dataset AND n.rule = r.rule ORDER BY dataset, rule"""
_COUNTIES = """
    SELECT s.dataset, s.rule, s.subject AS region, coalesce(d.full_name, s.subject) AS name, s.applicable, s.failed,
        (s.applicable - s.failed) / nullif(s.applicable, 0) AS pass_rate, s.at_least, (b.applicable - b.failed) / nullif(b.applicable, 0) AS previous
    FROM governance.scope_rules s
    LEFT JOIN governance.scope_rules b ON b.scope = s.scope AND b.subject = s.subject AND b.dataset = s.dataset AND b.rule = s.rule
        AND b.month = strftime((s.month || '-01')::DATE - INTERVAL 1 MONTH, '%Y-%m')
    LEFT JOIN reference.admin_division d ON d.code = s.subject
    WHERE s.scope = 'region' AND s.subject NOT LIKE '%00' AND s.failed > 0
        AND s.month = (SELECT max(month) FROM governance.dataset_scores m WHERE m.dataset = s.dataset)
    ORDER BY s.dataset, s.rule, s.failed DESC, s.subject"""


@dataclass(frozen=True)
class Facts:
    """The facts of one moment. `today`: ISO date by which something is late."""

    con: duckdb.DuckDBPyConnection
    ledger: Ledger
    today: str

    def ask(self, sql: str, **values: Any) -> list[Row]:
        """The rows of a query."""
        found = self.con.execute(sql, values or None)
        names = [c[0] for c in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def by(self, key: str, sql: str, **values: Any) -> dict[Any, list[Row]]:
        """The rows of a query, grouped by one of their columns, in their order."""
        return grouped(key, self.ask(sql, **values))

    @cached_property
    def months(self) -> list[str]:
        """The last months that anything was judged for, the oldest first; none is left out between them."""
        newest = self.con.execute("SELECT max(month), min(month) FROM governance.dataset_scores").fetchone()
        if newest[0] is None:
            return []
        listed = self.con.execute("SELECT strftime(unnest(generate_series(($1 || '-01')::DATE, ($2 || '-01')::DATE, INTERVAL 1 MONTH)), '%Y-%m')",
                                  [newest[1], newest[0]]).fetchall()
        return [m for m, in listed][-MONTHS:]

    @property
    def month(self) -> str | None:
        """The newest month."""
        return self.months[-1] if self.months else None

    @cached_property
    def datasets(self) -> list[Row]:
        """Every dataset with its newest score, in order of id."""
        return self.ask("""
            SELECT d.dataset, d.catalogue_name AS name, d.domain, d.purpose, d.update_frequency, d.as_of::VARCHAR AS as_of, d.rows, s.month,
                s.checks, s.score, s.previous, s.mom, s.yoy, s.maturity, s.lacking, s.failing, s.warnings, s.records, s.quarantined, h.light,
                (SELECT list(DISTINCT department ORDER BY department) FROM governance.sources x WHERE x.dataset = d.dataset) AS departments
            FROM governance.datasets d
            LEFT JOIN governance.dataset_scores s ON s.dataset = d.dataset
                AND s.month = (SELECT max(month) FROM governance.dataset_scores m WHERE m.dataset = d.dataset)
            LEFT JOIN governance.health_check h ON h.scope = 'dataset' AND h.subject = d.dataset AND h.indicator = 'all' AND h.month = s.month
            ORDER BY d.domain <> 'population', d.domain <> 'legal_entity', d.dataset""")

    @cached_property
    def departments(self) -> list[Row]:
        """Every department with its newest score and the slug of its page."""
        rows = self.ask("""
            SELECT s.department, min(s.source) AS source, min(s.uscc) AS uscc, any_value(d.month) AS month, any_value(d.score) AS score,
                any_value(d.mom) AS mom, any_value(d.yoy) AS yoy, any_value(d.checks) AS checks, any_value(h.light) AS light, list(DISTINCT s.dataset ORDER BY s.dataset) AS datasets
            FROM governance.sources s
            LEFT JOIN governance.department_scores d ON d.department = s.department
                AND d.month = (SELECT max(month) FROM governance.department_scores m WHERE m.department = s.department)
            LEFT JOIN governance.health_check h ON h.scope = 'department' AND h.subject = s.department AND h.indicator = 'all' AND h.month = d.month
            GROUP BY s.department ORDER BY s.department""")
        digests = [hashlib.sha256(r["department"].encode()).hexdigest()[:12] for r in rows]
        wishes = [r["source"] for r in rows], [f"{r['source']}-{r['uscc']}" for r in rows], [f"{r['source']}-{d}" for r, d in zip(rows, digests, strict=True)]
        slugs = next(found for found in wishes if len(set(found)) == len(found))
        return [r | {"slug": slug} for r, slug in zip(rows, slugs, strict=True)]

    @cached_property
    def slugs(self) -> dict[str, str]:
        """Department → the name of its page."""
        return {r["department"]: r["slug"] for r in self.departments}

    @cached_property
    def scores(self) -> dict[tuple[str, str], dict[str, dict[str, Row]]]:
        """(scope, subject) → indicator, dimension or all → month → row of the health check."""
        found: dict[tuple[str, str], dict[str, dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))
        for row in self.ask("FROM governance.health_check WHERE month >= $first", first=self.months[0] if self.months else ""):
            found[row["scope"], row["subject"]][row["indicator"]][row["month"]] = row
        return found

    @cached_property
    def streams(self) -> list[Row]:
        """Every (dataset, source): newest batch, when the next one is expected, days late."""
        return self.ask(_STREAMS, today=self.today)

    @cached_property
    def waiting(self) -> list[Row]:
        """Batches that were held or refused, as they stand now, the newest first."""
        return self.ask("""
            SELECT b.batch_id, b.revision, b.dataset, b.source, b.part, b.batch_date, b.state, b.reason, s.department
            FROM governance.batches b LEFT JOIN governance.sources s ON s.dataset = b.dataset AND s.source = b.source
            WHERE b.state IN ('held', 'refused') AND b.dataset IN (SELECT dataset FROM governance.datasets)
                AND b.revision = (SELECT max(revision) FROM governance.batches n WHERE n.batch_id = b.batch_id)
            ORDER BY b.batch_date DESC, b.batch_id""")

    @cached_property
    def worse(self) -> list[Row]:
        """Rules of the newest month whose pass rate fell below the limit or by more than half a point, the deepest fall first."""
        return self.ask("""
            SELECT dataset, rule, min(zh) AS zh, min(en) AS en, arg_min(department, (change, source)) AS department, min(severity) AS severity,
                arg_min(pass_rate, (change, source)) AS pass_rate, arg_min(previous, (change, source)) AS previous,
                min(change) AS change, bool_or(outcome = 'fail') AS below
            FROM governance.rule_scores WHERE month = $month AND previous IS NOT NULL AND change < 0 AND (change < -0.005 OR outcome = 'fail')
                AND dataset IN (SELECT dataset FROM governance.datasets)
            GROUP BY dataset, rule ORDER BY min(change), dataset, rule LIMIT 6""", month=self.month)

    @cached_property
    def rules(self) -> dict[str, list[Row]]:
        """Dataset → every rule that is declared or was ever measured."""
        return self.by("dataset", _RULES)

    @cached_property
    def history(self) -> dict[tuple[str, str], dict[str, Row]]:
        """(dataset, rule) → month → counts over all its sources."""
        found: dict[tuple[str, str], dict[str, Row]] = defaultdict(dict)
        for row in self.ask(_HISTORY, first=self.months[0] if self.months else ""):
            found[row["dataset"], row["rule"]][row["month"]] = row
        return found

    @cached_property
    def counties(self) -> dict[tuple[str, str], list[Row]]:
        """(dataset, rule) → counties of the dataset's newest month where it fails, most failing records first."""
        found: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in self.ask(_COUNTIES):
            found[row["dataset"], row["rule"]].append(row)
        return found

    @cached_property
    def failing(self) -> list[Row]:
        """Rules per source below their limit in the newest month of their dataset."""
        return self.ask("""
            FROM governance.rule_scores r WHERE outcome = 'fail' AND dataset IN (SELECT dataset FROM governance.datasets)
                AND month = (SELECT max(month) FROM governance.dataset_scores m WHERE m.dataset = r.dataset)
            ORDER BY severity = 'warn', pass_rate, dataset, rule, source""")

    @cached_property
    def batches(self) -> dict[str, list[Row]]:
        """Dataset → its last batches, the newest first."""
        return self.by("dataset", """
            SELECT * FROM governance.batches WHERE state <> 'superseded'
            QUALIFY row_number() OVER (PARTITION BY dataset ORDER BY batch_date DESC, batch_id, revision DESC) <= 60
            ORDER BY dataset, batch_date DESC, batch_id, revision DESC""")

    @cached_property
    def volumes(self) -> dict[str, list[Row]]:
        """Dataset → records and quarantined records per month."""
        return self.by("dataset", "SELECT dataset, month, records, quarantined, batches FROM governance.dataset_scores WHERE month >= $first "
                                  "ORDER BY dataset, month", first=self.months[0] if self.months else "")

    @cached_property
    def regions(self) -> dict[str, list[Row]]:
        """Month → divisions with their scores, provinces first."""
        return self.by("month", """
            SELECT r.*, h.light FROM governance.region_scores r
            JOIN governance.health_check h ON h.scope = 'region' AND h.subject = r.region AND h.indicator = 'all' AND h.month = r.month
            ORDER BY r.month, r.region""")

    @cached_property
    def problems(self) -> list[Row]:
        """Problems 问题单, the open ones first."""
        rows = [r for r in self.ledger.rows(sa.select(tables.problems)) if r["dataset"] in {d["dataset"] for d in self.datasets}]
        place = {state: n for n, state in enumerate(("open", "in_progress", "mended", "waived", "false_alarm", "verified"))}
        return sorted(rows, key=lambda r: (place.get(r["state"], 9), r["severity"] == "warn", r["dataset"], r["rule"], r["department"]))

    @cached_property
    def signals(self) -> dict[str, list[Row]]:
        """Dataset → signals of fabricated data: leads, never verdicts."""
        return grouped("dataset", sorted(self.ledger.rows(sa.select(tables.signals)), key=lambda r: (r["as_of"], r["signal"]), reverse=True))


def grouped(key: str, rows: list[Row]) -> dict[Any, list[Row]]:
    """Rows by the value of one column, in their order."""
    found: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[key]].append(row)
    return found
