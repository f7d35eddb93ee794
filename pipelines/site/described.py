"""What the dictionary says, asked of a release itself: its `lake.duckdb` (views, columns, comments, macros) and its `governance` tables.

What is in the file has an entry here, whoever made it: nothing is listed twice, nothing is left out.
"""
from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb

from pipelines.languages import two_languages
from pipelines.site.facts import Row, grouped
from pipelines.sql import name

KINDS = {"dataset": ("数据资源", "Datasets"), "view": ("专题视图", "Theme views"), "list": ("代码表", "Code lists"), "governance": ("治理视图", "Governance views"),
         "column": ("字段", "Columns"), "code": ("代码", "Codes"), "macro": ("函数", "Macros"), "word": ("词汇", "Words")}
MOST_CODES = 5_000
_CUT = {"code", "code_alias", "region"}      # every list again in one table: no page shows their rows
_LABELS = ("full_name", "name_zh", "name", "indicator", "cf_cflb_value", "reason")
_PART = re.compile(r"(\S+) ([a-z ]+): (.*)")


@dataclass(frozen=True)
class Described:
    """One release.

    `con`: its database, read-only. `manifest`: for what a database does not keep: the text of theme views and what they need.
    """

    con: duckdb.DuckDBPyConnection
    manifest: dict[str, Any]

    def ask(self, sql: str) -> list[Row]:
        """The rows of a query."""
        found = self.con.execute(sql)
        names = [c[0] for c in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    @cached_property
    def relations(self) -> dict[str, Row]:
        """View → its kind, words and columns, in order of name."""
        columns = grouped("view", self.ask(
            "SELECT schema_name || '.' || table_name AS view, column_name AS name, data_type AS type, comment FROM duckdb_columns() WHERE NOT internal "
            "ORDER BY schema_name, table_name, column_index"))
        views = self.ask("SELECT schema_name || '.' || view_name AS view, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL")
        return {v["view"]: self._relation(v["view"], v["comment"] or "", columns[v["view"]]) for v in views}

    def _relation(self, view: str, comment: str, columns: list[Row]) -> Row:
        schema, _, table = view.partition(".")
        kind = "dataset" if view in self.datasets else "list" if schema == "reference" and view not in self.themes else "governance" if schema == "governance" else "view"
        first, *rest = comment.splitlines() or [""]
        zh, _, en = first.partition(" — ")
        parts = [(*found.groups()[:2], *_split(found[3])) for line in rest if (found := _PART.fullmatch(line))]
        if kind == "dataset":
            zh, (_, en), parts = self.datasets[view]["catalogue_name"], two_languages(self.datasets[view]["purpose"]), []
        items = self.items.get(view, {})
        return {"view": view, "kind": kind, "schema": schema, "table": table, "zh": zh, "en": re.sub(r" \([^()]*\)$", "", en) if kind == "list" else en, "parts": parts,
                "columns": [self._column(c, items) for c in columns], "hidden": [i for i in items.values() if not i["published_as"] and kind == "dataset"],
                **self.themes.get(view, {"sql": None, "needs": []})}

    @staticmethod
    def _column(column: Row, items: dict[str, Row]) -> Row:
        zh, _, en = (column["comment"] or "").partition(" — ")
        item = items.get(column["name"]) or next((i for i in items.values() if column["name"] in (i["published_as"] or "").split(", ")), None)
        return {"name": column["name"], "type": column["type"], "zh": zh, "en": en or zh, "item": item}

    @cached_property
    def themes(self) -> dict[str, Row]:
        """Theme view → its SELECT and the datasets it needs."""
        return {f"{t['schema']}.{t['name']}": {"sql": t["sql"], "needs": list(t["needs"])} for t in self.manifest["views"]}

    @cached_property
    def datasets(self) -> dict[str, Row]:
        """Dataset → its catalogue entry."""
        return {r["dataset"]: r for r in self.ask("FROM governance.datasets ORDER BY dataset")}

    @cached_property
    def items(self) -> dict[str, dict[str, Row]]:
        """Dataset or view → column of the contract → its row of `governance.columns`."""
        found: dict[str, dict[str, Row]] = defaultdict(dict)
        for row in self.ask("FROM governance.columns"):
            found[row["dataset"]][row["column"]] = dict.fromkeys(("owner", "fill_rate", "score", "last_update")) | row     # releases before these columns are kept too
        return found

    @cached_property
    def notes(self) -> dict[tuple[str, str | None], list[Row]]:
        """(dataset or view, column or None) → what to know before use."""
        found = defaultdict(list)
        if "governance.usage_notes" in self.manifest["relations"]:
            for row in self.ask("FROM governance.usage_notes ORDER BY kind <> 'problem', kind, since, zh"):
                found[row["dataset"], row["column"]].append(row)
        return found

    @cached_property
    def sources(self) -> dict[tuple[str, str], list[tuple[str, str]]]:
        """(view, column) → the columns it is made of; empty where a release has no lineage."""
        return self._edges("view", '"column"', "source_view", "source_column")

    @cached_property
    def readers(self) -> dict[str, list[str]]:
        """View → the views that read it: by lineage, and by what theme views need."""
        found = defaultdict(set)
        for view, theme in self.themes.items():
            for need in theme["needs"]:
                found[need].add(view)
        for (view, _), sources in self.sources.items():
            for source, _ in sources:
                found[source].add(view)
        return {view: sorted(readers - {view}) for view, readers in found.items()}

    def _edges(self, *columns: str) -> dict[tuple[str, str], list[tuple[str, str]]]:
        found = defaultdict(list)
        if "governance.lineage" in self.manifest["relations"]:
            for view, column, source, source_column in self.con.execute(
                    f"SELECT DISTINCT {', '.join(columns)} FROM governance.lineage WHERE clause = 'select' AND view <> source_view ORDER BY ALL").fetchall():
                found[view, column].append((source, source_column))
        return found

    @cached_property
    def departments(self) -> dict[str, list[Row]]:
        """Dataset → who sends it, in order of authority."""
        return grouped("dataset", self.ask("SELECT dataset, source, department, frequency FROM governance.sources ORDER BY dataset, rank"))

    @cached_property
    def lists(self) -> dict[str, Row]:
        """View of a code list → its name, standard and number of rows."""
        return {f"reference.{r['list']}": r for r in self.ask("FROM governance.lists ORDER BY list")}

    def codes(self, view: str) -> Row | None:
        """A list that is short enough for a page: header, rows, and per row its anchor; `key`, `label`, `english` are places in a row."""
        schema, _, table = view.partition(".")
        if table in _CUT or self.lists.get(view, {"rows": MOST_CODES + 1})["rows"] > MOST_CODES:
            return None
        found = self.con.execute(f"FROM {name(schema)}.{name(table)}")
        header, rows = [c[0] for c in found.description], found.fetchall()
        own = self._coded.get(table)
        key = next((i for i in range(len(header)) if (values := {r[i] for r in rows}) == own or (not own and None not in values and len(values) == len(rows))), 0)
        label = next((header.index(c) for c in _LABELS if c in header), min(key + 1, len(header) - 1))
        return {"header": header, "rows": rows, "anchors": _anchors(str(r[key]) for r in rows), "key": key, "label": label,
                "english": header.index("name_en") if "name_en" in header else None}

    @cached_property
    def _coded(self) -> dict[str, set[str]]:
        """Code list → its codes; plain tables have none."""
        return {r["list"]: set(r["codes"]) for r in self.ask("SELECT list, list(code) AS codes FROM reference.code GROUP BY list")}

    @cached_property
    def macros(self) -> list[Row]:
        """Every macro, by name; `own`: only other macros use it."""
        rows = self.ask("SELECT function_name AS name, parameters, macro_definition AS sql, comment, function_type = 'table_macro' AS is_table FROM duckdb_functions() "
                        "WHERE NOT internal AND function_type IN ('macro', 'table_macro') ORDER BY ALL")
        return [r | dict(zip(("zh", "en"), two_languages(r["comment"] or ""))) | {"own": r["name"].startswith("_")} for r in rows]


def _split(words: str) -> tuple[str, str]:
    zh, _, en = words.partition(" — ")
    return zh, en or zh


def _anchors(codes: Iterable[str]) -> list[str]:
    """An anchor per code; a code that stands twice (a division that was abolished twice) has its number behind it."""
    seen: Counter[str] = Counter()
    found = []
    for code in codes:
        seen[code] += 1
        found.append("code-" + re.sub(r"\s+", "_", code) + (f"-{seen[code]}" if seen[code] > 1 else ""))
    return found
