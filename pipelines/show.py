"""What the command line prints for people: counts, ids and rule names, never a value of a record."""
from __future__ import annotations

import unicodedata
from decimal import Decimal
from typing import Any


def width(text: str) -> int:
    """Columns `text` takes on a terminal: Han characters take two."""
    return sum(2 if unicodedata.east_asian_width(ch) in "WF" else 1 for ch in text)


def table(result: dict[str, Any]) -> str:
    """A result with `columns` and `rows` as an aligned table; numbers to the right."""
    columns, rows = result["columns"], result["rows"]
    cells = [[_cell(v) for v in row] for row in rows]
    right = [c in ("score", "seconds") or (bool(rows) and all(isinstance(r[i], (int, float, Decimal)) or r[i] is None for r in rows))
             for i, c in enumerate(columns)]
    widths = [max([width(c)] + [width(row[i]) for row in cells]) for i, c in enumerate(columns)]

    def line(texts: list[str]) -> str:
        padded = [(" " * (w - width(t)) + t) if r else (t + " " * (w - width(t))) for t, w, r in zip(texts, widths, right)]
        return "  ".join(padded).rstrip()

    shown = [line(columns), line(["-" * w for w in widths]), *map(line, cells)]
    return "\n".join(shown + ([f"({len(rows)} rows)"] if result.get("count", True) else []))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, Decimal)):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10 else f"{value:,.1f}"
    return str(value).replace("\n", " ")


def check(found: dict[str, Any]) -> str:
    """What `check` proved, or every error."""
    if found["errors"]:
        return "\n".join(found["errors"]) + f"\n{len(found['errors'])} errors"
    return (f"{found['datasets']} datasets, {found['columns']} columns, {found['rules']} rules (each proved to fail and to pass), "
            f"{found['lists']} code lists, {found['views']} theme views: no error")


def sample(made: dict[str, Any]) -> str:
    """What `sample` wrote."""
    rows = [[d, n["files"], n["rows"], n["defects"]] for d, n in sorted(made["datasets"].items())]
    note = f"Synthetic submissions in {made['out']}; what was planted is listed in {made['truth']}."
    return table({"columns": ["dataset", "files", "rows", "planted defects"], "rows": rows, "count": False}) + "\n" + note


def received(found: list[dict[str, Any]]) -> str:
    """What `receive` took in."""
    return "\n".join(
        f"{r['batch_id']} revision {r['revision']}: " + ("these bytes are here already, nothing to do" if r["duplicate"]
                                                         else f"{r['files']} files, {r['bytes']:,} bytes in landing")
        for r in found)


def ingested(dataset_id: str, found: dict[str, Any]) -> str:
    """What `ingest` did."""
    if not found["keys"]:
        return f"{dataset_id}: nothing new."
    lines = [f"{dataset_id}: {len(found['accepted'])} of {len(found['keys'])} batches accepted" +
             (f", {found['counts']['current_rows']:,} rows in current." if found["counts"] else ".")]
    return "\n".join(lines + found["troubles"])


def released(done: dict[str, Any] | None) -> str:
    """What `release` or `rollback` did."""
    if not done:
        return "Nothing changed since the last release."
    return f"Release {done['release_id']}: {done['datasets']} datasets, {done['rows']:,} rows. Open {done['database']}"


def status(found: dict[str, Any]) -> str:
    """One line per dataset and the state of the publication."""
    columns = ["dataset", "read", "accepted", "repaired", "duplicates", "quarantined", "deletes", "score", "seconds", "held", "current", "as of"]
    shown = [{**d, "score": None if d["score"] is None else f"{d['score']:.4f}", "seconds": f"{d['seconds']:.1f}"} for d in found["datasets"]]
    rows = [[d[c] for c in columns] for d in shown]
    lines = [table({"columns": columns, "rows": rows, "count": False})]
    if found["release"]:
        r = found["release"]
        lines.append(f"\nRelease {r['release_id']} of {r['created_at']}: {found['database']}")
        lines.append(f"Reports: {found['reports']}")
    else:
        lines.append("\nNothing is published yet.")
    return "\n".join(lines)


def why(found: dict[str, Any]) -> str:
    """The story of one batch and what to do."""
    b = found["batch"]
    lines = [f"{b['batch_id']} revision {b['revision']} — {found['name']}, {found['department']}: {b['state']}"]
    if b["reason"]:
        lines.append(b["reason"])
    counts = ["files", "lines", "records", "accepted", "copies", "superseded", "quarantined", "deletes", "unparseable", "repaired"]
    lines.append(", ".join(f"{k} {b[k]:,}" for k in counts if b[k] is not None))
    if found["failing"]:
        columns = ["rule", "zh", "severity", "applicable", "failed", "repaired", "pass_rate", "at_least", "outcome"]
        lines.append(table({"columns": columns, "rows": [[r[c] for c in columns] for r in found["failing"]], "count": False}))
    lines += [f"{s['started_at']}  {s['step']}  {s['seconds']} s  {s['outcome']}" for s in found["steps"]]
    lines.append(f"What to do: {found['remedy']}")
    return "\n".join(lines)
