"""What the gate decides and says: rule results, reasons in words, accept or hold.

Pure functions over counts; nothing here reads a file. Shares are compared exactly (as decimals, not floats), so a
batch at its threshold passes and one row below it does not.
"""
from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipelines import new_values

GX_SEVERITY = {"block": "critical", "reject": "critical", "warn": "warning"}


@dataclass(frozen=True)
class RuleResult:
    """One rule of one batch: counts over the applicable rows, and whether enough of them hold."""

    rule: str
    column: str | None
    reason: str | None
    zh: str
    en: str
    severity: str
    indicator: str
    owner: str
    at_least: float
    applicable: int
    failed: int
    repaired: int
    pass_rate: float | None
    outcome: str
    waived: int = 0
    definition: str | None = None


@dataclass(frozen=True)
class Verdict:
    """`accept` or `hold`; every reason to hold, in words; the results (empty when nothing could be judged).

    `sound`: the evidence could be judged; False when the pipeline is at fault, and then nobody may release the batch.
    """

    outcome: str
    reasons: list[str]
    results: list[RuleResult]
    sound: bool = True


@dataclass(frozen=True)
class Batch:
    """How messages name the batch."""

    dataset: str
    batch_id: str
    revision: int

    @property
    def stem(self) -> str:
        """File stem of everything reported about the batch."""
        return f"{self.batch_id}-r{self.revision}"

    def says(self, finding: str, remedy: str) -> str:
        """A reason to hold: dataset, batch, finding, what to do next."""
        short = self.batch_id.removeprefix(f"{self.dataset}~")
        return f"{self.dataset} batch {short} r{self.revision}: {finding.rstrip('.')}. Batch held. {remedy}"

    def fault(self, finding: str) -> str:
        """A reason that lies in the pipeline, not in the data."""
        return self.says(finding, "The pipeline is at fault, not the data: stage the batch again "
                                  f"(python -m pipelines ingest {self.dataset}); if it stays, report it as a defect.")

    def fails(self, finding: str) -> str:
        """A reason that lies in the data."""
        return self.says(finding, f"See reports/{self.dataset}/{self.stem}.html or run: "
                                  f"python -m pipelines why '{self.batch_id}'")


def result(rule: dict[str, Any], counts: dict[str, int]) -> RuleResult:
    """The result of one planned rule from its counts.

    Args:
        rule: an entry of plan.json.
        counts: applicable, failed, repaired rows.
    """
    applicable, failed = counts["applicable"], counts["failed"]
    enough = applicable - failed >= Decimal(str(rule["at_least"])) * applicable
    return RuleResult(
        **{key: rule[key] for key in ("rule", "column", "reason", "zh", "en", "severity", "indicator", "owner")},
        at_least=float(rule["at_least"]), applicable=applicable, failed=failed, repaired=counts["repaired"],
        pass_rate=(applicable - failed) / applicable if applicable else None,
        outcome="not_measured" if not applicable else "pass" if enough else "fail",
        waived=counts.get("waived", 0), definition=rule.get("definition"))


def breaches(results: list[RuleResult], on_breach: dict[str, str], batch: Batch) -> list[str]:
    """A reason for every failing rule whose breach holds the batch.

    Args:
        on_breach: rule → hold | report.
    """
    found = [r for r in results if r.outcome == "fail" and on_breach[r.rule] == "hold"]
    return [batch.fails(f"{share(r.failed, r.applicable)} fail {r.rule} ({r.zh}), "
                        f"at least {percent(r.at_least)} must hold") for r in found]


def loss(counts: dict[str, Any], batch: Batch) -> list[str]:
    """A reason when quarantined and unparseable rows exceed the dataset's loss budget."""
    lost = counts["quarantined"] + counts["unparseable"]
    total = counts["records"] + counts["unparseable"]
    if lost <= Decimal(str(counts["loss_budget"])) * total:
        return []
    return [batch.fails(f"{share(lost, total)} are lost ({counts['quarantined']:,} quarantined, "
                        f"{counts['unparseable']:,} unparseable), loss budget {percent(counts['loss_budget'])}")]


def unlisted(rules: list[dict[str, Any]], found: list[dict[str, Any]], batch: Batch) -> list[str]:
    """A reason for every column whose contract holds batches with codes that its list does not hold.

    Args:
        found: `new_values` of counts.json.
    """
    reasons = []
    for rule in (r for r in rules if r.get("new_values") == "hold"):
        mine = [one for one in found if one["column"] == rule["column"]]
        listed = ", ".join(f"{one['value']} ({one['rows']:,} rows)" for one in mine if one["value"] is not None)
        many = sum(one["rows"] for one in mine if one["value"] is None)
        if listed:
            values = "; ".join(new_values.command(batch.dataset, rule["column"], one["value"]) for one in mine)
            reasons.append(batch.says(f"{rule['column']} holds codes that its list does not have (新值): {listed}", (
                f"If a document introduces them, accept them: {values}; then python -m pipelines ingest {batch.dataset}. If not, the department sends a correction.")))
        elif many:
            reasons.append(batch.says(f"{many:,} rows of {rule['column']} hold so many different codes that its list does not have (新值) that it may be another "
                                      "column", f"See what the department sent: python -m pipelines feedback '{batch.batch_id}'"))
    return reasons


def share(part: int, whole: int) -> str:
    """`1,204 of 20,000 rows (6.0 %)`; a share that is not zero is never shown as zero."""
    exact = 100 * part / whole if whole else 0.0
    shown = f"{exact:.1f}" if exact >= 0.05 or not part else f"{exact:.2g}"
    return f"{part:,} of {whole:,} rows ({shown} %)"


def percent(value: float) -> str:
    """A threshold as declared: 0.995 → `99.5 %`."""
    return f"{(Decimal(str(value)) * 100).normalize():f} %"
