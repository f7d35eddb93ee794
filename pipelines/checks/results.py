"""What every check yields: rows of `ledger_checks` and `ledger_check_counts`, and how they take the place of earlier ones."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from pipelines import ledger_tables as tables
from pipelines.ledger import Ledger, now


@dataclass(frozen=True)
class Check:
    """What a check says of itself, whatever it finds."""

    rule: str
    kind: str
    zh: str
    en: str
    indicator: str
    at_least: float = 1.0
    severity: str = "warn"
    column: str | None = None
    reason: str | None = None


@dataclass
class Findings:
    """Rows of one dataset and kind: results, counts by region."""

    dataset: str
    kind: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    counts: list[dict[str, Any]] = field(default_factory=list)

    def add(self, check: Check, source: str, owner: str, as_of: str, regions: dict[str, tuple[int, int]], detail: dict[str, Any] | None = None) -> None:
        """Add the result of one check for one source.

        Args:
            owner: the department that must mend what fails.
            as_of: ISO date of the state of the data that was looked at.
            regions: region ("" where there is none) → (applicable, failed); their sums are the result.
            detail: counts, codes and names of parts; never a value of a record.
        """
        applicable, failed = (sum(pair[i] for pair in regions.values()) for i in (0, 1))
        enough = applicable - failed >= Decimal(str(check.at_least)) * applicable
        key = {"dataset": self.dataset, "rule": check.rule, "source": source, "as_of": as_of}
        self.rows.append(key | {
            "kind": check.kind, "column": check.column, "reason": check.reason, "zh": check.zh, "en": check.en, "indicator": check.indicator,
            "severity": check.severity, "owner": owner, "at_least": check.at_least, "applicable": applicable, "failed": failed,
            "pass_rate": (applicable - failed) / applicable if applicable else None,
            "outcome": "not_measured" if not applicable else "pass" if enough else "fail", "checked_at": now(),
            "detail": json.dumps(detail, ensure_ascii=False, sort_keys=True) if detail else None})
        self.counts += [key | {"region": region, "applicable": a, "failed": f} for region, (a, f) in sorted(regions.items()) if a]


def record(ledger: Ledger, findings: Iterable[Findings], dated: Collection[str] = ()) -> None:
    """Enter findings in place of earlier ones of the same dataset and kind, all in one transaction: each waits for the disk.

    Args:
        dated: kinds whose findings take the place of those of their own `as_of` only.
    """
    with ledger.transaction() as con:
        for found in findings:
            _replace(con, found, found.rows[0]["as_of"] if found.rows and found.kind in dated else None)


def _replace(con: sa.Connection, found: Findings, as_of: str | None) -> None:
    c, n = tables.checks, tables.check_counts
    mine = [c.c.dataset == found.dataset, c.c.kind == found.kind] + ([c.c.as_of == as_of] if as_of else [])
    old = con.execute(sa.select(c.c.rule, c.c.source, c.c.as_of).where(*mine)).all()
    new = {(r["rule"], r["source"], r["as_of"]) for r in found.rows}
    con.execute(c.delete().where(*mine))
    for rule in sorted({(r, d) for r, _, d in {tuple(row) for row in old} | new}):
        con.execute(n.delete().where(n.c.dataset == found.dataset, n.c.rule == rule[0], n.c.as_of == rule[1]))
    if found.rows:
        con.execute(c.insert(), found.rows)
    if found.counts:
        con.execute(n.insert(), found.counts)


def known(ledger: Ledger, dataset: str, *kinds: str, as_of: str | None = None) -> list[dict[str, Any]]:
    """What is entered of one dataset and some kinds."""
    c = tables.checks
    query = sa.select(c).where(c.c.dataset == dataset, c.c.kind.in_(kinds)).order_by(c.c.as_of, c.c.rule, c.c.source)
    return ledger.rows(query.where(c.c.as_of == as_of) if as_of else query)


def entered(ledger: Ledger, found: Findings) -> bool:
    """Whether just this is what the ledger holds of the dataset and kind."""
    n = tables.check_counts
    rows = [r | {"checked_at": None} for r in known(ledger, found.dataset, found.kind)]
    counts = ledger.rows(sa.select(n).where(n.c.dataset == found.dataset, n.c.rule.in_({r["rule"] for r in found.rows})))
    return _alike(rows) == _alike([r | {"checked_at": None} for r in found.rows]) and _alike(counts) == _alike(found.counts)


def _alike(rows: Iterable[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(r, sort_keys=True, default=str) for r in rows)


def judged(rows: Iterable[dict[str, Any]]) -> set[str]:
    """The digests of what the given results were judged on."""
    return {json.loads(r["detail"]).get("judged", "") if r["detail"] else "" for r in rows}


def state(*parts: Any) -> str:
    """A digest of what a check looked at: the same digest needs no second look."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str).encode()).hexdigest()[:16]
