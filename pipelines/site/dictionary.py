"""数据字典: pages of the release that is shown, beside the quality pages: reports/dictionary/.

index.html (search and contents) · <schema>.<view>.html, one per dataset, view, code list and governance view, with an anchor per column (#sex_code) and per code
(#code-1) · macros.html · words.html · search.js (the index, a script: pages opened as files may not fetch). The index is written last and carries what all pages were
made from; as long as that stays, nothing is read or written.
"""
from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines import release
from pipelines.desk import Desk
from pipelines.site import rendering
from pipelines.site.described import KINDS, Described
from pipelines.site.facts import Row
from pipelines.sql import connect

FOLDER = "dictionary"
NOTES = {"problem": ("warn", "已知问题", "Known problem"), "waiver": ("none", "豁免", "Waiver"), "caveat": ("none", "局限", "Caveat")}
CLASSES = {"public": ("公开", "public"), "internal": ("内部", "internal"), "personal": ("个人信息", "personal"), "sensitive": ("敏感个人信息", "sensitive")}
LOADS = {"snapshot": ("全量快照", "snapshot"), "upsert": ("按主键更新", "upsert by key"), "append": ("追加", "append")}
UNITS = {"day": "天", "week": "周", "month": "个月", "quarter": "个季度", "half-year": "个半年", "year": "年"}
_WORDS = Path(__file__).with_name("words.csv")


def build(desk: Desk, quality: set[str]) -> set[Path]:
    """Bring the dictionary up to date with the release that is shown; returns all its files.

    Args:
        quality: datasets that have a quality page.
    """
    reports = desk.lake.reports
    folder, number = reports / FOLDER, release.shown_release(desk.ledger)
    if number is None:
        return {rendering.write(reports, folder / "index.html", "dictionary_empty.html.j2")}
    place = release.folder(desk.lake, number)
    manifest = (place / "manifest.json").read_bytes()
    stamp = hashlib.sha256(b"\0".join((manifest, rendering.version().encode(), _WORDS.read_bytes(), repr(sorted(quality)).encode()))).hexdigest()[:16]
    made = set(folder.glob("*.html")) | set(folder.glob("search.js"))
    if f'content="{stamp}-{len(made)}"' in rendering.head(folder / "index.html"):
        return made
    with connect(place / "lake.duckdb", read_only=True, alone=True) as con:
        pages = Pages(reports, Described(con, json.loads(manifest)), quality)
        return pages.write(stamp)


@lru_cache(maxsize=1)
def words() -> list[Row]:
    """The words of this project, one meaning each."""
    with _WORDS.open(encoding="utf-8", newline="") as file:
        return [row | {"anchor": row["word"].replace(" ", "-")} for row in csv.DictReader(file)]


class Pages:
    """The pages of one release."""

    def __init__(self, reports: Path, described: Described, quality: set[str]):
        self.reports, self.described, self.quality = reports, described, quality
        self.lists = {view: described.codes(view) for view, r in described.relations.items() if r["kind"] == "list"}

    def write(self, stamp: str) -> set[Path]:
        """Write every page that differs, and last the index."""
        found = self.described
        made = {self._relation(r) for r in found.relations.values()}
        made |= {self._page("macros.html", "dictionary_macros.html.j2", macros=found.macros), self._page("words.html", "dictionary_words.html.j2", words=words())}
        made.add(self._search())
        kinds = {kind: [r for r in found.relations.values() if r["kind"] == kind] for kind in ("dataset", "view", "list", "governance")}
        tally = {"dataset": len(kinds["dataset"]), "view": len(kinds["view"]), "column": sum(len(r["columns"]) for r in found.relations.values()), "list": len(kinds["list"]),
                 "macro": sum(not m["own"] for m in found.macros), "word": len(words())}
        index = self.reports / FOLDER / "index.html"
        return made | {rendering.write(
            self.reports, index, "dictionary_index.html.j2", facts=f"{stamp}-{len(made) + 1}", kinds=kinds, names=KINDS, tally=tally, datasets=found.datasets, lists=found.lists,
            release=found.manifest["release_id"], domains=rendering.DOMAINS, macros=[m for m in found.macros if not m["own"]], words=words(),
            notes={view: sum(len(rows) for (v, _), rows in found.notes.items() if v == view) for view in found.relations})}

    def _page(self, place: str, template: str, **content: Any) -> Path:
        return rendering.write(self.reports, self.reports / FOLDER / place, template, stamped=True, **content)

    def _relation(self, r: Row) -> Path:
        found, view = self.described, r["view"]
        columns = {c["name"] for c in r["columns"]}
        elsewhere = {(c["item"] or {}).get("column") for c in r["columns"]} - columns      # anchors of columns that are published under another name
        listed = {i["code_list"] for i in found.items.get(view, {}).values() if i["code_list"] and f"reference.{i['code_list']}" in found.relations}
        return self._page(
            f"{view}.html", "dictionary_relation.html.j2", r=r, d=_shown(found.datasets.get(view)), names=KINDS, departments=found.departments.get(view, []),
            notes={column: rows for (v, column), rows in found.notes.items() if v == view}, note_kinds=NOTES, classes=CLASSES, loads=LOADS, units=UNITS, listed=sorted(listed),
            sources={c: [s for s in rows if s[0] in found.relations] for (v, c), rows in found.sources.items() if v == view},
            readers=[(v, found.relations[v]["zh"], found.relations[v]["en"]) for v in found.readers.get(view, []) if v in found.relations],
            needs=[(v, found.relations[v]["zh"]) for v in r["needs"] if v in found.relations], list=found.lists.get(view), codes=self.lists.get(view), quality=view in self.quality,
            elsewhere=elsewhere, rich={k for k in ("classification", "code_list", "standard", "score") if any((c["item"] or {}).get(k) is not None for c in r["columns"])}, used_by=self._used_by(view) if r["kind"] == "list" else [])

    def _used_by(self, view: str) -> list[tuple[str, str, str]]:
        """Columns whose values are of this list: (view, anchor, words)."""
        wanted = view.partition(".")[2]
        return [(d, i["column"], i["zh"]) for d, items in self.described.items.items() if d in self.described.relations for i in items.values() if i["code_list"] == wanted]

    def _search(self) -> Path:
        """The index: entries [kind, address, name, 中文, English, more to find it by], and per list its codes [code, 中文, English, anchor where it is not code-<code>]."""
        entries, codes = list(self._entries()), {view: self._codes(shown) for view, shown in self.lists.items() if shown}
        listed = {"kinds": _json(KINDS), "entries": f"[\n{_lines(entries)}\n]", "codes": "{\n" + ",\n".join(f"{_json(v)}: [\n{_lines(rows)}\n]" for v, rows in codes.items()) + "\n}"}
        return rendering.put(self.reports / FOLDER / "search.js", f"window.lakeDictionary = {{{', '.join(f'{k}: {v}' for k, v in listed.items())}}};\n".encode())

    def _entries(self) -> Iterator[list[str]]:
        found = self.described
        for view, r in found.relations.items():
            d, listed = found.datasets.get(view), found.lists.get(view)
            more = " ".join(filter(None, (d["provider"], d["data_items"]) if d else (listed["standard"],) if listed else ()))
            yield [r["kind"], f"{view}.html", view, r["zh"], r["en"], more]
        for view, r in found.relations.items():
            for c in r["columns"]:
                i = c["item"] or {}
                more = [i.get(k) for k in ("column", "zh", "standard", "code_list", "semantic_type") if i.get(k) and i.get(k) not in (c["name"], c["zh"])]
                yield ["column", f"{view}.html#{c['name']}", f"{view}.{c['name']}", c["zh"], c["en"], " ".join(more)]
            for i in r["hidden"]:
                yield ["column", f"{view}.html#{i['column']}", f"{view}.{i['column']}", f"{i['zh']}（不发布）", f"{i['en']} (not published)",
                       " ".join(filter(None, (i["standard"], i["code_list"], i["semantic_type"])))]
        yield from (["macro", f"macros.html#{m['name']}", m["name"], m["zh"], m["en"], ""] for m in found.macros if not m["own"])
        yield from (["word", f"words.html#{w['anchor']}", w["word"], w["zh"], w["word"], f"{w['meaning_zh']} {w['meaning_en']}"] for w in words())

    @staticmethod
    def _codes(shown: Row) -> list[list[str]]:
        found = []
        for row, anchor in zip(shown["rows"], shown["anchors"], strict=True):
            code, english = str(row[shown["key"]]), row[shown["english"]] if shown["english"] is not None else None
            found.append([code, str(row[shown["label"]] or ""), *([english or ""] if english or anchor != f"code-{code}" else []), *([anchor] if anchor != f"code-{code}" else [])])
        return found


def _shown(dataset: Row | None) -> Row | None:
    """Without what no page shows: a page is made again only when it would say something else."""
    return dataset and {k: v for k, v in dataset.items() if k not in ("version", "contract_hash", "contract_version", "sla_days")}


def _json(value: Any) -> str:
    """JSON that may stand in a script."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")


def _lines(rows: list[list[str]]) -> str:
    return ",\n".join(map(_json, rows))
