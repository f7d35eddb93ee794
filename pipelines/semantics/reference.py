"""Code lists: `warehouse/reference/lists.yaml` and its CSV files as tables of schema `reference`, and the macros over them.

Tables: one per declared list; `code` (list, code, label); `code_alias` (list, alias, code), in which a code stands for
itself, a declared alias goes before a label, and a text that still has two codes stands for none; `region`, the
divisions in time. For each list an enum type `reference.alias_<list>` makes the look-up a hash probe. All problems
of `lists.yaml` are raised together.
"""
from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import duckdb

from pipelines import prepared
from pipelines.declared import Declared, Problems, load_yaml
from pipelines.semantics.codes import enum_name
from pipelines.settings import Project, WrongUse
from pipelines.sql import name, text

_SHAPE = [{"list": str, "file": str, "name": str, "name_en": str, "standard": str, "code": str, "label": str,
           "alias_columns": [str], "alias_separator": str, "aliases": {str: str}, "columns": {str: [str]}}]
_REGION, _CONSTANTS = Path(__file__).with_name("region.sql"), Path(__file__).with_name("constants.sql")
Added = tuple[tuple[str, str, str], ...]      # (list, code, label)
# Enum types of divisions: casting to one is a hash look-up per value, where a table would need a join.
_DIVISIONS = {"known_region": "SELECT code FROM reference.region", "region_in_force": "SELECT code FROM reference.region WHERE is_current",
              "known_county": "SELECT code FROM reference.region UNION ALL SELECT code FROM reference.stat_only_unit"}
_ORDER = ("text", "codes", "identifiers", "names", "contacts", "dates", "amounts")


@dataclass(frozen=True)
class CodeList:
    """One table of schema `reference`; `code` and `label` are None for plain tables, `file` for derived ones."""

    list: str
    file: str | None
    name: str
    name_en: str
    standard: str
    code: str | None = None
    label: str | None = None
    alias_columns: tuple[str, ...] = ()
    alias_separator: str | None = None
    aliases: tuple[tuple[str, str], ...] = ()
    columns: tuple[tuple[str, tuple[str, ...]], ...] = ()


_ERA = (("code", ("区划代码", "Division code")), ("name", ("当时名称", "Name at that time")), ("valid_from", ("启用日", "First day in force")),
        ("valid_to", ("停用日（空为现行）", "Last day in force, NULL when in force")))
_DERIVED = (
    CodeList("code", None, "全部代码", "All codes", "各代码表", columns=(
        ("list", ("代码表", "Code list")), ("code", ("代码", "Code")), ("label", ("名称", "Label")))),
    CodeList("code_alias", None, "代码的各种写法", "Spellings of codes", "各代码表", columns=(
        ("list", ("代码表", "Code list")), ("alias", ("写法（半角、大写、无空格）", "Spelling, half-width, upper case, no spaces")),
        ("code", ("代码", "Code")))),
    CodeList("region", None, "行政区划沿革", "Divisions in time", "GB/T 2260", columns=(
        ("code", ("区划代码", "Division code")), ("name", ("名称", "Name")), ("level", ("级别（1省2地3县）", "Level, 1 province to 3 county")),
        ("full_name", ("全称（现行）", "Full name, of divisions in force")), ("valid_from", ("启用日", "First day in force")),
        ("valid_to", ("停用日（空为现行）", "Last day in force, NULL when in force")), ("successor_code", ("直接承继代码", "Direct successor")),
        ("current_code", ("现行代码（唯一承继者）", "The only successor in force today")), ("is_current", ("是否现行", "In force today")))),
    CodeList("region_successor", None, "行政区划承继", "Successors of divisions", "GB/T 2260", columns=(
        *_ERA, ("successor_code", ("承继代码（空为不明）", "Successor, NULL when unknown")), ("successor_name", ("承继名称", "Name of the successor")),
        ("kind", ("变更类型", "Kind: recoded 改码, renamed 同码更名, merged 合并, split 拆分, transferred 划出, remains 划出后存续, level 级别变化, unknown 不明")))),
    CodeList("region_today", None, "行政区划历史代码对应的现行区划", "What every historical division is today", "GB/T 2260", columns=(
        *_ERA, ("today_code", ("现行代码", "Code in force today, one row each; NULL when unknown")), ("today_name", ("现行名称", "Its name")),
        ("kind", ("对应关系", "Relation: same 未变, recoded 改码, renamed 同码更名, merged 合并, split 拆分, level 级别变化, unknown 不明")),
        ("one_to_one", ("是否整体对应一个现行区划", "All of it is within one division in force of the same level")),
        ("comparable_code", ("可比区域代码（2010 年以来）", "Area that can be compared since 2010: its lowest code in force")),
        ("comparable_codes", ("可比区域所含现行代码", "Divisions in force that make up that area")))),
    CodeList("region_line", None, "行政区划沿革链", "Lines of divisions in time", "GB/T 2260", columns=(
        ("code", ("较早代码", "Earlier code")), ("valid_from", ("启用日", "First day in force")), ("valid_to", ("停用日（空为现行）", "Last day in force, NULL when in force")),
        ("other_code", ("同一地方较晚的代码", "Later code of the place")), ("other_from", ("较晚代码启用日", "First day of the later code")),
        ("other_to", ("较晚代码停用日（变更年起以承继者为准）", "Last day of the later code; from the year of a change its successor stands")),
        ("steps", ("变更次数", "Changes between the two")))),
)


def declared(project: Project) -> tuple[CodeList, ...]:
    """The lists of `lists.yaml`, in its order.

    Raises:
        WrongUse: unknown keys, missing files, or columns that a file does not have; all of them are listed.
    """
    return _declared(project.reference, _stamp(project))


def _stamp(project: Project) -> tuple[tuple[str, int, int], ...]:
    """What tells one state of the folder of lists from another."""
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in sorted(project.reference.rglob("*.*")))


@lru_cache(maxsize=8)
def _declared(folder: Path, stamp: tuple) -> tuple[CodeList, ...]:
    path = folder / "lists.yaml"
    problems = Problems(path)
    raw = load_yaml(path.read_bytes(), problems)
    found = []
    if raw is not None and Declared(_SHAPE).walk(raw, "", problems):
        found = [_list(one, folder, problems) for one in raw]
    names = [one.list for one in found]
    for twice in sorted({n for n in names if names.count(n) > 1}):
        problems.add(twice, "is declared twice")
    if problems.lines:
        raise WrongUse("\n".join(problems.lines))
    return tuple(found)


def lists(project: Project) -> tuple[CodeList, ...]:
    """Every table of schema `reference`: the declared lists, then the derived tables."""
    return declared(project) + _DERIVED


def _list(raw: dict, folder: Path, problems: Problems) -> CodeList:
    where = raw.get("list", "?")
    for key in ("list", "file", "name", "name_en", "standard", "columns"):
        problems.unless(bool(raw.get(key)), where, f"lacks {key!r}")
    problems.unless(bool(raw.get("code")) == bool(raw.get("label")), where, "must have both code and label, or neither")
    found = CodeList(
        list=where, file=raw.get("file", ""), name=raw.get("name", ""), name_en=raw.get("name_en", ""), standard=raw.get("standard", ""),
        code=raw.get("code"), label=raw.get("label"), alias_columns=tuple(raw.get("alias_columns") or ()),
        alias_separator=raw.get("alias_separator"), aliases=tuple((raw.get("aliases") or {}).items()),
        columns=tuple((k, tuple(v)) for k, v in (raw.get("columns") or {}).items()))
    file = folder / found.file
    if not file.is_file():
        problems.add(where, f"names file {found.file!r}, which does not exist")
        return found
    header = _header(file)
    described = [column for column, _ in found.columns]
    problems.unless(sorted(described) == sorted(header), where, f"describes columns {described}, its file has {header}")
    for column in filter(None, (found.code, found.label, *found.alias_columns)):
        problems.known(column, header, where)
    return found


def _header(file: Path) -> list[str]:
    with file.open(encoding="utf-8", newline="") as lines:
        return next(csv.reader(lines), [])


def load(con: duckdb.DuckDBPyConnection, project: Project, added: Added = ()) -> None:
    """Create schema `reference` with all its tables and enum types in `con`, and the text macros they are built with.

    Args:
        added: codes that an officer accepted for this lake (`pipelines.accepting`), beyond what the files hold.
    """
    con.execute("CREATE SCHEMA IF NOT EXISTS reference")
    for statement in _statements(project.macros / "text.sql") + [_code_key(project)]:
        con.execute(statement)
    con.execute("CREATE OR REPLACE TABLE reference.code (list VARCHAR, code VARCHAR, label VARCHAR)")
    con.execute("CREATE OR REPLACE TABLE reference.code_alias (list VARCHAR, alias VARCHAR, code VARCHAR)")
    coded = [one for one in declared(project) if load_list(con, project, one, added).code]
    for statement in _statements(_REGION):
        con.execute(statement)
    for one in coded:
        _enum(con, enum_name(one.list), f"SELECT alias FROM reference.code_alias WHERE list = {text(one.list)} ORDER BY alias")
    for kind, select in _DIVISIONS.items():
        _enum(con, kind, f"SELECT DISTINCT code FROM ({select}) ORDER BY code")


def _enum(con: duckdb.DuckDBPyConnection, kind: str, select: str) -> None:
    con.execute(f"DROP TYPE IF EXISTS reference.{kind}; CREATE TYPE reference.{kind} AS ENUM ({select})")


def load_list(con: duckdb.DuckDBPyConnection, project: Project, one: CodeList, added: Added = ()) -> CodeList:
    """Create the table of one declared list in schema `reference`; where it is a code list, `load` adds its spellings."""
    table = f"reference.{name(one.list)}"
    con.execute(f"CREATE OR REPLACE TABLE {table} AS FROM read_csv({text(project.reference / one.file)}, "
                "auto_detect = false, header = true, delim = ',', quote = '\"', columns = {"
                + ", ".join(f"{text(c)}: 'VARCHAR'" for c in _header(project.reference / one.file)) + "})")
    if not one.code:
        return one
    code, split = name(one.code), text(one.alias_separator or "\x1f")
    for value, label in sorted((v, w) for listed, v, w in added if listed == one.list):
        con.execute(f"INSERT INTO {table} BY NAME SELECT {text(value)} AS {code}, {text(label)} AS {name(one.label)} "
                    f"WHERE {text(value)} NOT IN (SELECT {code} FROM {table})")
    con.execute(f"INSERT INTO reference.code SELECT {text(one.list)}, {code}, {name(one.label)} FROM {table}")
    spelled = [f"SELECT 1 AS rank, {code} AS alias, {code} AS code FROM {table}"]
    spelled += [f"SELECT 2, {text(alias)}, {text(code_of)}" for alias, code_of in one.aliases]
    spelled += [f"SELECT 3, unnest(string_split({name(c)}, {split})), {code} FROM {table}" for c in one.alias_columns]
    con.execute(f"""
        INSERT INTO reference.code_alias
        WITH spelled AS (SELECT DISTINCT rank, code_key(alias) AS alias, code FROM ({' UNION ALL '.join(spelled)})
                         QUALIFY rank = min(rank) OVER (PARTITION BY code_key(alias)))
        SELECT {text(one.list)}, alias, min(code) FROM spelled WHERE alias <> '' GROUP BY alias HAVING count(DISTINCT code) = 1""")
    lost = con.execute(f"SELECT count(*) FROM reference.code_alias a WHERE list = {text(one.list)} AND code NOT IN (SELECT {code} FROM {table})").fetchone()[0]
    if lost:
        raise WrongUse(f"reference/lists.yaml: {one.list} has {lost} aliases of codes that its file does not hold.")
    return one


def versions(project: Project, added: Added = ()) -> dict[str, str]:
    """List → SHA-256 of its declaration, its file and what was added: what a batch was judged under."""
    return dict(_versions(project, _stamp(project), tuple(added)))


@lru_cache(maxsize=8)
def _versions(project: Project, stamp: tuple, added: Added) -> dict[str, str]:
    extra = {one: repr(sorted(a for a in added if a[0] == one)).encode() for one in {a[0] for a in added}}
    return {one.list: hashlib.sha256(repr(one).encode() + (project.reference / one.file).read_bytes() + extra.get(one.list, b"")).hexdigest()
            for one in declared(project)}


def versions_hash(project: Project, added: Added = ()) -> str:
    """One SHA-256 over the versions of all lists."""
    return hashlib.sha256(repr(sorted(versions(project, added).items())).encode()).hexdigest()


def macros(project: Project) -> list[str]:
    """Every macro of `warehouse/macros` and its comment, in the order in which the statements can be run after `load`."""
    files = sorted(project.macros.glob("*.sql"), key=lambda f: (_ORDER.index(f.stem) if f.stem in _ORDER else len(_ORDER), f.stem))
    found, words = [], ""
    for statement in (s for file in files for s in _statements(file)):
        lead, _, _ = statement.partition("CREATE ")
        macro = re.search(r"MACRO\s+(\w+)", statement)[1]
        found.append(statement)
        if not macro.startswith("_"):
            words = " ".join(line.removeprefix("--").strip() for line in lead.splitlines() if line.startswith("--")) or words
            found.append(f"COMMENT ON MACRO {name(macro)} IS {text(words)}")
    return found


def load_macros(con: duckdb.DuckDBPyConnection, project: Project) -> None:
    """Create every macro in `con`; `load` came before."""
    for statement in macros(project):
        con.execute(statement)


def prepare(project: Project, folder: Path, added: Added = ()) -> Path:
    """The database that holds what `load` and `load_macros` make; it is made once per state of lists and macros.

    Args:
        folder: where it may be kept; an unfinished one is never used.
        added: as `load` takes it.
    """
    def make(new: duckdb.DuckDBPyConnection) -> None:
        load(new, project, added)
        load_macros(new, project)

    return prepared.database(folder, "lists", [versions_hash(project, added), macros(project), _REGION.read_text("utf-8")], make)


def ready(con: duckdb.DuckDBPyConnection, project: Project, folder: Path, added: Added = ()) -> None:
    """What `load` and `load_macros` make, copied from what `prepare` made, with its arguments (0.05 s instead of 1.3)."""
    file = prepare(project, folder, added)
    con.execute(f"ATTACH {text(file)} AS prepared (READ_ONLY); COPY FROM DATABASE prepared TO memory; DETACH prepared")


def constant(con: duckdb.DuckDBPyConnection) -> None:
    """Put constants in the place of the subqueries of the macros, in this connection; `ready` or `load_macros` came before."""
    kinds = ("aliases", "alias_codes", "codes", "code_length")
    asked = ", ".join(f"_{kind}(list) AS {kind}" for kind in kinds)      # at once: asked one by one they take four times as long
    con.execute(f"CREATE TEMP TABLE constant AS SELECT list, {asked} FROM (SELECT list FROM reference.code UNION SELECT list FROM reference.code_alias)")
    for one, in con.execute("SELECT list FROM constant").fetchall():
        for kind in kinds:
            con.execute(f"SET VARIABLE lake_{kind}_{one} = (SELECT {kind} FROM constant WHERE list = {text(one)})")
    for what in ("code", "from", "to", "successor"):
        con.execute(f"SET VARIABLE lake_ended_{what} = (SELECT _ended_regions({text(what)}))")
    con.execute("DROP TABLE constant")
    for statement in _statements(_CONSTANTS):
        con.execute(statement)


def _statements(file: Path) -> list[str]:
    return [s.query.strip() for s in duckdb.extract_statements(file.read_text("utf-8"))]


def _code_key(project: Project) -> str:
    """The one macro of codes.sql that needs no table: the tables are built with it."""
    return next(s for s in _statements(project.macros / "codes.sql") if "MACRO code_key(" in s)
