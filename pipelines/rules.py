"""Business rules: `expectations/<domain>/<dataset>.yaml` to `Rule`.

A rule is named by what must hold. It carries the two rows that prove it: one that must fail and one that must
pass; `check` and every run push both through the compiled SQL. The threshold's history is declared with it. A rule with `reads` looks into datasets of the release
candidate (`pipelines.checks.across`): it never rejects a row. An entry `history` sets limits of `pipelines.checks.history`,
`published` what `pipelines.checks.publication` measures.
"""
from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipelines.contract import SEVERITIES, Dataset
from pipelines.declared import Declared, Problems, load_yaml
from pipelines.settings import Project, WrongUse

AT_LEAST = {"block": 1.0, "reject": 0.99, "warn": 0.99}
_RULE = {"rule": str, "zh": str, "en": str, "holds": str, "when": str, "indicator": str, "severity": str,
         "at_least": float, "on_breach": str, "owner": str, "reason": str,
         "changes": [{"date": str, "at_least": float, "reason": str}],
         "must_fail": {str: object}, "must_pass": {str: object}, "beside": [{str: object}]}
_ACROSS = {"reads": [str], "with": {str: [{str: object}]}}
# What a batch may differ from the batches before it; see docs/checks.md. Defaults: `HISTORY`, `VOLUME`.
_HISTORY = {"batches": int, "volume_low": float, "volume_high": float, "filled_drop": float, "shift": float, "repaired_rise": float, "reason": str}
# Records that must be sent within so many working days of a date: column, code in legal_deadlines.csv; see checks.publication.
_PUBLISHED = {"after": str, "deadline": str, "at_least": float, "reason": str}
_OWN = {"history": _HISTORY, "published": _PUBLISHED}      # entries that are no rules
HISTORY = {"batches": 3, "filled_drop": 0.05, "shift": 0.25, "repaired_rise": 0.05}
VOLUME = {"snapshot": (0.8, 1.25), "upsert": (0.1, 10.0), "append": (0.5, 2.0)}
_REQUIRED = ("rule", "zh", "en", "holds", "indicator", "severity", "owner", "reason", "must_fail", "must_pass")


@dataclass(frozen=True)
class Rule:
    """One row rule: `holds` must be true wherever `when` is; NULL is a failure.

    `changes`: (date, threshold, reason) of every setting of the threshold, oldest first; the last one is in force.
    `beside`: further rows of the file in which the two examples are judged, for rules with a window.
    """

    rule: str
    zh: str
    en: str
    holds: str
    when: str | None
    indicator: str
    severity: str
    at_least: float
    on_breach: str
    owner: str
    reason: str
    changes: tuple[tuple[str, float, str], ...]
    must_fail: tuple[tuple[str, Any], ...]
    must_pass: tuple[tuple[str, Any], ...]
    beside: tuple[tuple[tuple[str, Any], ...], ...] = ()
    reads: tuple[str, ...] = ()
    given: tuple[tuple[str, tuple[dict[str, Any], ...]], ...] = ()     # `with`: rows of the datasets read, for the proof


class RuleError(WrongUse):
    """A rules file is not acceptable; the message lists every reason."""


def path(dataset: Dataset, project: Project):
    """Where the dataset's rules are declared (the file may not exist: rules are optional)."""
    return project.expectations / dataset.domain / f"{dataset.id.partition('.')[2]}.yaml"


def rules(dataset: Dataset, project: Project | None = None) -> tuple[Rule, ...]:
    """The business rules of `dataset`, in declared order; none when it has no file.

    Raises:
        RuleError: the file has unknown keys, missing keys or unknown columns; all of them are listed.
    """
    raw, problems = _entries(dataset, project or Project.open())
    found = [_rule(r, dataset, problems) for r in raw if not _OWN.keys() & r.keys()]
    names = [r.rule for r in found]
    for name in {n for n in names if names.count(n) > 1}:
        problems.add(name, "is declared twice")
    if problems.lines:
        raise RuleError("\n".join(problems.lines))
    return tuple(found)


def history(dataset: Dataset, project: Project) -> dict[str, Any]:
    """The limits of the history checks of `dataset`: the defaults, and over them what its file declares.

    Returns:
        batches (fewest earlier batches), volume_low and volume_high (factors of the median volume), filled_drop and repaired_rise
        (differences of shares), shift (population stability index), reason.

    Raises:
        RuleError: as for `rules`.
    """
    raw, problems = _entries(dataset, project)
    low, high = VOLUME[dataset.load]
    given = [r["history"] for r in raw if "history" in r]
    if problems.lines:
        raise RuleError("\n".join(problems.lines))
    return HISTORY | {"volume_low": low, "volume_high": high, "reason": None} | (given[0] if given else {})


def published(dataset: Dataset, project: Project) -> dict[str, Any] | None:
    """Within which deadline of the law the records of `dataset` must be sent, as its file declares: after (a date column), deadline (its code in
    legal_deadlines.csv), reason, at_least (where given); None where it declares none.

    Raises:
        RuleError: as for `rules`.
    """
    raw, problems = _entries(dataset, project)
    if problems.lines:
        raise RuleError("\n".join(problems.lines))
    return next((r["published"] for r in raw if "published" in r), None)


def _entries(dataset: Dataset, project: Project) -> tuple[list[dict[str, Any]], Problems]:
    """The entries of the dataset's file that have the right shape, and everything wrong so far."""
    file = path(dataset, project)
    problems = Problems(file)
    raw = load_yaml(file.read_bytes(), problems) if file.exists() else []
    if raw is None:
        return [], problems
    own = [r for r in raw if isinstance(r, dict) and _OWN.keys() & r.keys()] if isinstance(raw, list) else []
    shaped = Declared([_OWN]).walk(own, "", problems)
    for key in _OWN:
        given = [r[key] for r in own if key in r]
        problems.unless(len(given) < 2, key, "is given twice")
        for one in given if shaped else ():
            problems.unless(bool(one.get("reason")), key, "lacks 'reason'")
            problems.unless(one.get("batches", 1) > 0, key, "has batches below 1")
            if key == "published":
                problems.unless(bool(one.get("deadline")), key, "lacks 'deadline'")
                problems.known(one.get("after"), [c.name for c in dataset.columns if c.type.startswith("date")], f"{key}.after")
    others = [r for r in raw if r not in own] if isinstance(raw, list) else raw
    shaped &= Declared([_RULE | _ACROSS]).walk(others, "", problems)
    return (raw if shaped else []), problems


def declared_hash(dataset: Dataset, project: Project) -> str:
    """SHA-256 over the contract and the rules of `dataset`: what a batch was judged under."""
    file = path(dataset, project)
    return hashlib.sha256(dataset.raw_hash.encode() + (file.read_bytes() if file.exists() else b"")).hexdigest()


def _rule(raw: dict, dataset: Dataset, problems: Problems) -> Rule:
    name = raw.get("rule", "?")
    for key in _REQUIRED:
        problems.unless(raw.get(key) not in (None, "", {}), name, f"lacks {key!r}")
    severity = raw.get("severity", "warn")
    problems.unless(severity in SEVERITIES, name, f"has severity {severity!r}, must be one of {SEVERITIES}")
    breach = raw.get("on_breach", "report" if severity == "warn" else "hold")
    problems.unless(breach in ("hold", "report"), name, "has on_breach other than hold or report")
    problems.unless("." not in name, name, "must not hold a dot: those names belong to type rules")
    at_least = raw.get("at_least", AT_LEAST.get(severity, 1.0))
    problems.unless(0 <= at_least <= 1, name, f"has at_least {at_least}, must be between 0 and 1")
    changes = tuple((c.get("date", ""), float(c.get("at_least", -1)), c.get("reason", "")) for c in raw.get("changes") or ())
    _changes_fit(name, changes, float(at_least), problems)
    columns = [c.name for c in dataset.columns]
    beside = raw.get("beside") or []
    for key, example in [("must_fail", raw.get("must_fail")), ("must_pass", raw.get("must_pass")), *(("beside", row) for row in beside)]:
        for column in example or {}:
            problems.known(column, columns, f"{name}.{key}")
    if "reads" in raw:
        problems.unless(bool(raw["reads"]), name, "reads nothing; leave the key out")
        problems.unless(severity != "reject", name, "reads other datasets, so it must be warn or block: rejecting rows would let the order of "
                        "arrival decide what is accepted")
        problems.unless("on_breach" not in raw, name, "reads other datasets: block stops the release, warn reports; leave on_breach out")
    for table in raw.get("with") or {}:
        problems.known(table, list(raw.get("reads") or ()), f"{name}.with")
    return Rule(
        rule=name, zh=raw.get("zh", ""), en=raw.get("en", ""), holds=raw.get("holds", ""), when=raw.get("when"),
        indicator=str(raw.get("indicator", "")), severity=severity, at_least=float(at_least), on_breach=breach,
        owner=raw.get("owner", ""), reason=raw.get("reason", ""),
        changes=changes, must_fail=tuple((raw.get("must_fail") or {}).items()), must_pass=tuple((raw.get("must_pass") or {}).items()),
        beside=tuple(tuple(row.items()) for row in beside),
        reads=tuple(raw.get("reads") or ()), given=tuple((t, tuple(rows)) for t, rows in (raw.get("with") or {}).items()),
    )


def _changes_fit(name: str, changes: tuple[tuple[str, float, str], ...], at_least: float, problems: Problems) -> None:
    """A threshold is what its last change says; changes have a real date each, in order, and a reason."""
    for day, value, reason in changes:
        problems.unless(_is_day(day), name, f"has a change with date {day!r}, must be YYYY-MM-DD")
        problems.unless(bool(reason), name, f"has a change of {day} without a reason")
        problems.unless(0 <= value <= 1, name, f"has a change of {day} without at_least between 0 and 1")
    days = [day for day, _, _ in changes]
    problems.unless(days == sorted(set(days)), name, "has changes that are not in order of date")
    problems.unless(not changes or changes[-1][1] == at_least, name,
                    f"has at_least {at_least:g}, but its last change says {changes[-1][1] if changes else 0:g}: add the change with its date and reason")


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
