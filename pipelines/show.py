"""What the command line prints for people: counts, ids and rule names, never a value of a record."""
from __future__ import annotations

import json
import unicodedata
from decimal import Decimal
from typing import Any

FILES_SHOWN = 20


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


def changed(found: dict[str, Any]) -> str:
    """What `changes` counted."""
    said = (f"{found['dataset']}, release {found['from']} → {found['to']}: {found['inserted']:,} inserted, {found['updated']:,} updated, "
            f"{found['deleted']:,} deleted, {found['unchanged']:,} unchanged. Records are told by {found['key']}.")
    if not found["columns"]:
        return said
    return said + "\n" + table({"columns": ["column", "records updated"], "rows": [list(one) for one in found["columns"].items()], "count": False})


def received(found: list[dict[str, Any]]) -> str:
    """What `receive` took in."""
    return "\n".join(
        f"{r['batch_id']} revision {r['revision']}: " + ("these bytes are here already, nothing to do" if r["duplicate"]
                                                         else f"{r['files']} files, {r['bytes']:,} bytes in landing")
        for r in found)


def extracted(found: list[dict[str, Any]]) -> str:
    """What `extract` read and landed."""
    return "\n".join(_extraction(one) for one in found)


def _extraction(one: dict[str, Any]) -> str:
    if one["outcome"] == "there":
        return f"{one['batch_id']} is in landing already: nothing was read. To read the table again: add --again"
    moments = "" if one["moments"] == 1 else f", which show {one['moments']} moments because the reading was cut"
    told = f"{one['read']:,} rows read in {one['ranges']:,} ranges{moments}"
    if one["outcome"] == "unchanged":
        return f"{one['batch_id'].rpartition('~')[0]}: {told}; nothing changed, no batch was made"
    if one["mode"] == "full":
        return f"{one['batch_id']}: {told}, {one['landed']:,} in landing"
    return f"{one['batch_id']}: {told}, {one['changed']:,} new or changed and {one['deleted']:,} deletions in landing"


def ingested(dataset_id: str, found: dict[str, Any]) -> str:
    """What `ingest` did."""
    if not found["keys"]:
        return "\n".join([f"{dataset_id}: nothing new.", *_packs(found), *found["troubles"], *found["unsettled"]])
    lines = [f"{dataset_id}: {len(found['accepted'])} of {len(found['keys'])} batches accepted" +
             (f", {found['counts']['current_rows']:,} rows in current." if found["counts"] else ".")]
    return "\n".join(lines + _packs(found) + found["troubles"] + found["unsettled"])


def _packs(found: dict[str, Any]) -> list[str]:
    return [f"no feedback pack of {p['batch_id']}: {p['trouble']}" if "trouble" in p else
            f"feedback pack: {p['rows']:,} rows for {p['department']} in {p['path']}" for p in found["packs"]]


def backfilled(dataset_id: str, found: dict[str, Any]) -> str:
    """Per batch date what `backfill` did, and why a batch is not at today's contract."""
    lines, days = [], sorted({b["batch_date"] for b in found["batches"]})
    for day in days:
        mine = [b for b in found["batches"] if b["batch_date"] == day]
        counts = {b["outcome"]: sum(o["outcome"] == b["outcome"] for o in mine) for b in mine}
        lines.append(f"{day}: {', '.join(f'{n} {outcome}' for outcome, n in counts.items())}")
        lines += [f"  {b['outcome']}: {b['batch_id']}: {line}" for b in mine if b["reason"] for line in b["reason"].splitlines()]
    return "\n".join([*lines, *found["left"], f"{dataset_id}: {len(found['batches'])} batches of {len(days)} batch dates, {found['current_rows']:,} rows in current."])


def closed(found: dict[str, Any]) -> str:
    """What `close` closed, and as which release."""
    lines = [f"{found['month']} is closed as release {found['release_id']}: {', '.join(found['closed'])}."] if found["closed"] else []
    return "\n".join(lines + [f"{found['month']} was closed before: {', '.join(found['already'])}."] * bool(found["already"]))


def reopened(found: dict[str, Any]) -> str:
    """What `reopen` gives back to the gate."""
    waiting = f"{len(found['waiting'])} batches wait: python -m pipelines ingest {found['dataset']}" if found["waiting"] else "No batch was held by the closing."
    return f"{found['month']} of {found['dataset']} is open again. {waiting}"


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
    if found["inbox"]:
        lines.append("Left in the inbox: " + "; ".join(f"{r['dataset']} {r['files']:,} {r['code']}" for r in found["inbox"])
                     + ". Why: python -m pipelines ingest DATASET")
    if found["problems"]["open"]:
        lines.append(f"Problems to mend: {found['problems']['open']:,}, overdue {found['problems']['overdue']:,}. See: python -m pipelines problems")
    return "\n".join(lines)


def why(found: dict[str, Any]) -> str:
    """The story of one batch and what to do."""
    b = found["batch"]
    lines = [f"{b['batch_id']} revision {b['revision']} — {found['name']}, {found['department']}: {b['state']}"]
    if b["reason"]:
        lines.append(b["reason"])
    counts = ["files", "lines", "records", "accepted", "copies", "superseded", "quarantined", "deletes", "unparseable", "repaired"]
    lines.append(", ".join(f"{k} {b[k]:,}" for k in counts if b[k] is not None))
    lines += [_file(f) for f in found["files"][:FILES_SHOWN]]
    if found["failing"]:
        columns = ["rule", "zh", "severity", "applicable", "failed", "repaired", "pass_rate", "at_least", "outcome"]
        lines.append(table({"columns": columns, "rows": [[r[c] for c in columns] for r in found["failing"]], "count": False}))
    lines += [f"{a['decided_at']}  {a['decision']} by {a['decided_by']}: {a['reason']}" for a in found["approvals"]]
    lines += [f"problem {p['id']} ({p['state']}): {p['rule']}. Its story: python -m pipelines problem {p['id']}" for p in found["problems"][:FILES_SHOWN]]
    lines += [f"{s['started_at']}  {s['step']}  {s['seconds']} s  {s['outcome']}{_counted(s)}" for s in found["steps"]]
    lines.append(f"What to do: {found['remedy']}")
    return "\n".join(lines)


def fed_back(found: dict[str, Any]) -> str:
    """What a pack holds and where it lies."""
    what = f"{found['batch_id']} revision {found['revision']}, {found['department']}"
    if not found["path"]:
        return f"{what}: no row fails, there is nothing to return."
    return (f"{what}: {found['rows']:,} rows to correct, {found['warned']:,} to check, in {found['path']}{' (encrypted)' * found['encrypted']}. "
            "Corrected rows come back through the folder 更正 of the batch date in the inbox.")


def _counted(step: dict[str, Any]) -> str:
    """What an extraction counted, where the step is one."""
    detail = json.loads(step["detail"] or "{}") if step["step"] == "extract" else {}
    return "".join(f", {name} {value}" for name, value in detail.items() if isinstance(value, int))


def _file(f: dict[str, Any]) -> str:
    """How one file was read, in one line."""
    left = [f"{f['unparseable']:,} lines unreadable"] * bool(f["unparseable"]) + [f"header cells {f['unread']} read by nothing"] * bool(f["unread"])
    lacks = [f"without {f['absent']}"] * bool(f["absent"])
    return "; ".join([f"file {f['file']}: {f['form']}, {f['evidence']}", f"{f['records']:,} records", *left, *lacks])


def withdrawn(found: dict[str, Any]) -> str:
    """What a withdrawal did."""
    ids = ", ".join(map(str, found["withdrawn"])) or "none"
    already = f" {len(found['already'])} were withdrawn before." if found["already"] else ""
    return (f"{found['dataset']}: withdrawals entered: {ids}.{already} {found['rows']:,} rows removed from the files of {found['releases']} kept releases. "
            "Landing, base and current keep them for the pipeline's account; backups made before still hold them.")


def maintained(found: list[dict[str, Any]]) -> str:
    """What maintenance did, per dataset."""
    columns = ["dataset", "folded", "rows_before", "rows", "snapshots", "parts", "files", "bytes"]
    words = ["dataset", "batches folded", "rows before", "rows after", "snapshots expired", "parts made one", "files removed", "bytes"]
    return table({"columns": words, "rows": [[one[c] for c in columns] for one in found], "count": False})


def verified(found: dict[str, Any]) -> str:
    """Every finding, or that there is none."""
    lines = [f"{f['path']}: {f['problem']}.\n  What to do: {f['remedy']}." for f in found["findings"]]
    return "\n".join([*lines, f"{found['files']:,} files, {found['bytes']:,} bytes read: {len(found['findings']) or 'no'} findings"])


def backed_up(found: dict[str, Any]) -> str:
    """What a backup holds."""
    return (f"{found['backup']} in {found['place']}: {found['files']:,} files, {found['bytes']:,} bytes, {found['copied']:,} of them copied now. "
            f"The pseudonym key {found['key_id']} is not in it: keep it in another place.")


def restored(found: dict[str, Any]) -> str:
    """What a restore brought back."""
    return (f"{found['home']} is the lake of {found['backup']} ({found['made_at']}): {found['files']:,} files, {found['bytes']:,} bytes, catalogue on "
            f"{found['catalogue']}. Now run: python -m pipelines verify. Enter again what was withdrawn since.")


def checks(found: list[dict[str, Any]]) -> str:
    """Every check that fails, and how many were made."""
    failing = [r for r in found if r["outcome"] == "fail"]
    listed = table({"columns": ["dataset", "rule", "source", "as of", "failed", "applicable", "pass rate", "at least", "zh"], "count": False, "rows": [
        [r["dataset"], r["rule"], r["source"], r["as_of"], r["failed"], r["applicable"], f"{r['pass_rate']:.2%}", f"{r['at_least']:.6g}", r["zh"]] for r in failing]})
    measured = sum(r["outcome"] != "not_measured" for r in found)
    return (f"{listed}\n" if failing else "") + f"{len(found)} checks: {measured - len(failing)} hold, {len(failing)} fail, {len(found) - measured} could not be measured."


def health_check(result: dict[str, Any]) -> str:
    """What `health-check` wrote."""
    lines = [f"{result['month']}: {result['pages']} health checks, {result['pdfs']} as PDF ({result['printed']} printed now). Open: {result['index']}"]
    return "\n".join(lines + ([result["message"]] if result["message"] else []))
