"""One department's submission of one dataset: clean rows in file order, planted defects, and the text each cell is sent as.

Table `clean."<dataset>~<source>~<date>"` holds the contract's columns as clean text (NULL = empty) and `_file` (1, 2, …),
`_plant` (number of the planted defect or NULL), `_extra` (id of the defect for rows added to the clean ones), `_h` (a draw
of the defect's own), `_other` (see plants) and `_sent` (the text that a planted defect sends: worked out once, because
planning those expressions costs more than the rows). Rows lie in file order, so a record's ordinal is its distance from the
file's first rowid.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import duckdb

from pipelines import sql
from pipelines.contract import Column, Dataset, Source
from pipelines.sample.extras import PARTS, extras
from pipelines.sample.plants import QUARANTINED, Plant, plants, sent_columns

QUERIES = Path(__file__).parent / "sql" / "datasets"
RULE_SHARE, ALL_SHARE = 0.009, 0.04       # of the records: below the gate's 1 % per rule and 5 % in all
LEAST_ROWS = 4                          # per business rule: smaller submissions get no row for its own sake


@dataclass(frozen=True)
class Style:
    """How a department writes: `dates` iso, compact or slash; `codes` code or label; `names` which spelling of a header."""

    dates: str = "iso"
    codes: str = "code"
    names: int = 0
    long_term: str = ""


STYLES = {
    ("population.person", "public_security"): Style(dates="compact"),
    ("population.death", "public_security"): Style(dates="compact"),
    ("population.death", "health"): Style(names=-1),
    ("population.death", "civil_affairs"): Style(names=-1, dates="slash"),
    ("population.household_member", "public_security"): Style(dates="compact"),
    ("population.benefit_payment", "social_security"): Style(dates="compact"),
    ("population.social_insurance", "social_security"): Style(dates="compact"),
    ("legal_entity.enterprise", "market_regulation"): Style(long_term="9999-09-09"),
    ("legal_entity.enterprise", "administrative_approval"): Style(names=-1, codes="label", long_term="长期"),
    ("credit.administrative_licence", "administrative_approval"): Style(dates="slash", codes="label", long_term="2099/12/31"),
    ("credit.administrative_penalty", "market_regulation"): Style(codes="label"),
    ("credit.judgment_defaulter", "court"): Style(names=-1, codes="label"),
}


@dataclass(frozen=True)
class Submission:
    """One dataset from one source at one batch date, ready to be written."""

    dataset: Dataset
    source: Source
    batch_date: date
    plants: tuple[Plant, ...]
    parts: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        return f"clean.{sql.name(f'{self.dataset.id}~{self.source.source}~{self.batch_date}')}"

    @property
    def style(self) -> Style:
        return STYLES.get((self.dataset.id, self.source.source), Style())

    @property
    def columns(self) -> list[Column]:
        return sent_columns(self.dataset, self.source)

    @property
    def line_end(self) -> str:
        """Departments on Windows (GB18030) end lines with CR LF."""
        return "\r\n" if self.source.encoding == "gb18030" else "\n"

    def header(self, number: int) -> list[str]:
        """The header cells of the columns; the spelling is the style's, Chinese names in every fourth file."""
        spelling = -1 if number % 4 == 0 else self.style.names
        return [_spelling(c, self.source, self.dataset, spelling) for c in self.columns]

    def usual(self, column: Column) -> str:
        """SQL: the text this source usually sends for `column`."""
        value, kind, dates = sql.name(column.name), column.type.partition("(")[0], self.style.dates
        if kind == "code" and self.style.codes == "label":
            return f"coalesce(label_of({sql.text(column.type)}, {value}), {value})"
        if kind == "month" and dates == "compact":
            return f"replace({value}, '-', '')"
        if kind in ("date", "end_date", "timestamp"):
            value = {"iso": value, "compact": f"translate({value}, '- :', '')", "slash": f"replace({value}, '-', '/')"}[dates]
            if kind == "end_date" and self.style.long_term:
                return f"coalesce({value}, {sql.text(self.style.long_term)})"
        return value

    def sent(self, plant: Plant) -> str:
        """SQL: the text a row with `plant` sends in the plant's column."""
        return self._fill(plant.sent, plant)

    def eligible(self, plant: Plant) -> str:
        """SQL: whether `plant` is made for the row."""
        return f"{sql.name(plant.column)} {'IS NULL' if plant.fills else 'IS NOT NULL'} AND ({self._fill(plant.when, plant)})"

    def differs(self, plant: Plant, sent: str) -> str:
        """SQL: whether `sent` is another text than usual (a defect that changes nothing is none)."""
        return f"coalesce(({sent}) <> coalesce({self.usual(self.dataset.column(plant.column))}, ''), false)"

    def _fill(self, template: str, plant: Plant) -> str:
        line_end = " || ".join(f"chr({ord(c)})" for c in self.line_end)
        return template.format(v=sql.name(plant.column), h="_h", nl=line_end)

    def cell(self, column: Column) -> str:
        """SQL: what stands in the file for `column`."""
        mine = ", ".join(str(p.number) for p in self.plants if p.column == column.name)
        return f"CASE WHEN _plant IN ({mine}) THEN _sent ELSE {self.usual(column)} END" if mine else self.usual(column)


def _spelling(column: Column, source: Source, dataset: Dataset, which: int) -> str:
    """One accepted header text of `column` that no other column accepts, other than through a shared cell."""
    others = {a for c in dataset.columns if c.name != column.name and c.type != "long_term"
              for a in (c.name, c.zh, *c.aliases, *dict(source.aliases).get(c.name, ()))}
    known = [a for a in (*dict(source.aliases).get(column.name, ()), *column.aliases, column.zh) if a not in others]
    if which < 0:
        known = [a for a in known if not a.isascii()] or known
    return known[min(which, len(known) - 1)]


def build(con: duckdb.DuckDBPyConnection, dataset: Dataset, source: Source, batch_date: date, previous: date | None,
          scale: float) -> Submission:
    """Create the clean table of one submission and plant its defects.

    Args:
        con: a connection holding the world; its variables `batch`, `department`, `department_code` are set here.
        previous: the batch date before, None at the first: upserts and appends send what changed since.
        scale: factor on every defect rate; 0 plants nothing.
    """
    made = Submission(dataset, source, batch_date, tuple(plants(dataset, source, scale)))
    if source.format == "xlsx":
        made = replace(made, plants=tuple(p for p in made.plants if "{nl}" not in p.sent))
    con.execute(f"SET VARIABLE batch = DATE {sql.text(batch_date)}")
    con.execute(f"SET VARIABLE department = {sql.text(source.department)}")
    con.execute(f"SET VARIABLE department_code = {sql.text(source.uscc)}")
    con.execute(f"CREATE OR REPLACE TEMP TABLE planted AS WITH picked AS MATERIALIZED ({_picked(made, previous)}) {_planted(made)}")
    _at_least_one(con, made)
    _within_thresholds(con, made)
    added = "".join(f" UNION ALL BY NAME ({e})" for e in extras(con, made.dataset, made.source.rank, scale))
    parts = [r[0] for r in con.execute("SELECT DISTINCT _part FROM planted ORDER BY _part").fetchall()]
    place = f"list_position({sql.texts(parts)}, _part)::INTEGER"
    con.execute(f"CREATE TABLE {made.table} AS SELECT * EXCLUDE (_part, _place), {place} AS _file "
                f"FROM (SELECT *, NULL::VARCHAR AS _extra, _order * 2 AS _place FROM planted{added}) ORDER BY _file, _place, _extra")
    return replace(made, parts=tuple(parts))


def _picked(made: Submission, previous: date | None) -> str:
    """Clean rows of this batch, each with at most one defect drawn for it."""
    since = f" AND _since > DATE {sql.text(previous)}" if previous and made.dataset.load != "snapshot" else ""
    purpose = sql.text(f"{made.dataset.id}~{made.source.source}~{made.batch_date}")
    bounds, low = [], 0
    for plant in made.plants:
        high = low + round(plant.rate * PARTS)
        bounds.append(f"WHEN _u < {high} THEN {plant.number}")
        low = high
    if low > PARTS:
        raise ValueError(f"{made.dataset.id}: the defect rates of one row add up to {low / PARTS:.2f}; at most 1 fits")
    pick = f"CASE WHEN _guard OR _u >= {low} THEN NULL {' '.join(bounds)} END" if bounds else "NULL::INTEGER"
    query = (QUERIES / f"{made.dataset.id}.sql").read_text(encoding="utf-8")
    columns = ", ".join(f"{sql.name(c.name)}::VARCHAR AS {sql.name(c.name)}" for c in made.dataset.columns)
    return (f"SELECT _order, _part, _guard, {columns}, {pick} AS _pick, below(1000000, _order, 'how' || {purpose}) AS _h "
            f"FROM (SELECT *, below({PARTS}, _order, {purpose}) AS _u FROM (\n{query}) "
            f"WHERE _source = {sql.text(made.source.source)} AND _since <= getvariable('batch'){since})")


def _planted(made: Submission) -> str:
    """`_plant` = the drawn defect where the row can carry it, `_sent` = what the row sends then."""
    looked_up = [p for p in made.plants if p.other]
    rows = "SELECT *, NULL::VARCHAR AS _other FROM picked"
    if looked_up:
        value = " ".join(f"WHEN {p.number} THEN {sql.name(p.column)}" for p in looked_up)
        which = " ".join(f"WHEN {p.number} THEN {sql.text(p.other + ':' + made.dataset.column(p.column).type)}" for p in looked_up)
        rows = (f"SELECT p.*, o.other AS _other FROM picked p LEFT JOIN sample_other o "
                f"ON o.which = CASE _pick {which} END AND o.value = CASE _pick {value} END")
    if not made.plants:
        return f"SELECT * EXCLUDE (_pick), NULL::INTEGER AS _plant, NULL::VARCHAR AS _sent FROM ({rows})"
    sent = " ".join(f"WHEN {p.number} THEN CASE WHEN {made.eligible(p)} THEN {made.sent(p)} END" for p in made.plants)
    differs = " ".join(f"WHEN {p.number} THEN {made.differs(p, '_sent')}" for p in made.plants)
    return (f"SELECT * EXCLUDE (_pick), CASE WHEN CASE _pick {differs} END THEN _pick END AS _plant "
            f"FROM (SELECT *, CASE _pick {sent} END AS _sent FROM ({rows}))")


def _at_least_one(con: duckdb.DuckDBPyConnection, made: Submission) -> None:
    """Plant each breach of a business rule in one row where chance planted none; not in submissions too small to stay mostly clean."""
    wanted = [p for p in made.plants if p.wanted]
    rows = con.execute("SELECT count(*) FROM planted").fetchone()[0]
    there = {n for n, in con.execute("SELECT DISTINCT _plant FROM planted").fetchall()}
    if rows < LEAST_ROWS * len(wanted):
        return
    for plant in (p for p in wanted if p.number not in there):
        sent = made.sent(plant)
        con.execute(f"""UPDATE planted SET _plant = {plant.number}, _sent = {sent} WHERE _order = (
            SELECT _order FROM (SELECT *, {made.eligible(plant)} AND {made.differs(plant, sent)} AS _fits, count(*) OVER (PARTITION BY _part) AS _size FROM planted)
            WHERE _fits AND _plant IS NULL AND NOT _guard ORDER BY _size DESC, _h, _order LIMIT 1)""")


def _within_thresholds(con: duckdb.DuckDBPyConnection, made: Submission) -> None:
    """Take back defects where chance put so many into one small file that the gate would hold the batch for it."""
    rejecting = [p for p in made.plants if p.outcome == QUARANTINED]
    if not rejecting:
        return
    rules = " ".join(f"WHEN {p.number} THEN {sql.text(p.rule)}" for p in rejecting)
    filled = " ".join(f"WHEN {p.number} THEN {sql.name('n_' + p.column)}" for p in rejecting)
    counts = ", ".join(f"count({sql.name(c)}) AS {sql.name('n_' + c)}" for c in sorted({p.column for p in rejecting}))
    numbers = ", ".join(str(p.number) for p in rejecting)
    con.execute(f"""UPDATE planted SET _plant = NULL WHERE _order IN (
        SELECT _order FROM (
            SELECT _order, CASE _plant {filled} END AS applicable, records, row_number() OVER (PARTITION BY _part ORDER BY _h, _order) AS nth,
                   row_number() OVER (PARTITION BY _part, CASE _plant {rules} END ORDER BY _h, _order) AS nth_of_rule
            FROM planted JOIN (SELECT _part, count(*) AS records, {counts} FROM planted GROUP BY _part) USING (_part)
            WHERE _plant IN ({numbers}))
        WHERE nth_of_rule > {RULE_SHARE} * applicable OR nth > {ALL_SHARE} * records)""")
