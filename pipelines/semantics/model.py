"""What a semantic type is: names of SQL macros for each layer, its checks with their proofs, and its examples.

The logic is in `warehouse/macros/*.sql`; a type only says which macros to call. A value passes
submitted text → cleaned (NULL = missing) → value → reason (NULL = valid) → repair (rows with a reason only).
Every SQL argument is a plain column reference, so repeating it costs nothing.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.sql import texts


@dataclass(frozen=True)
class Check:
    """One reason for which a value is not valid.

    `zh` and `en` say what must hold, with {column} for the column; `indicator` is the GB/T 36344-2018 code;
    `must_fail` is a submitted text that has exactly this reason.
    """

    reason: str
    zh: str
    en: str
    indicator: str
    must_fail: str


@dataclass(frozen=True)
class SemanticType:
    """One kind of value: how it is cleaned, typed, judged and repaired, all as SQL templates over macros.

    `plain_sql` tells cheaply that a submitted text needs none of it, as most do: it is no missing one, its own cleaned text, has no reason and, unless
    `plain_form` is false, the standard form. It never decides: without it the outcome is the same (a test compares them), only later.
    `plain_value_sql` is then the value; None: as for any other.
    """

    name: str
    physical: str
    clean_sql: str
    checks: tuple[Check, ...]
    must_pass: tuple[tuple[str, str | None], ...]
    must_miss: tuple[str, ...]
    parameter: str | None = None
    value_sql: str = "{cleaned}"
    reason_sql: str = "NULL::VARCHAR"
    repair_sql: str | None = None
    form_sql: str | None = None
    keep_sql: str = "_kept_word({raw}, {words})"
    classification: str = "internal"
    pseudonym_kind: str | None = None
    standard: str | None = field(default=None, repr=False)     # names it, judges nothing: no part of what a rule says
    # How fast the answer comes is no part of what a rule says: `PlannedRule.definition` does not see it.
    plain_sql: str | None = field(default=None, repr=False)
    plain_value_sql: str | None = field(default="{raw}", repr=False)
    plain_form: bool = field(default=True, repr=False)

    def plain(self, raw: str, as_of: str) -> str:
        """SQL BOOLEAN, never NULL: the text is right as it stands on the day `as_of`."""
        return f"coalesce({self.plain_sql.format(raw=raw, as_of=as_of)}, false)" if self.plain_sql else "false"

    def clean(self, raw: str, keep_words: Sequence[str] = ()) -> str:
        """SQL: submitted text → cleaned text; NULL is missing. `keep_words` are placeholder words that mean something here."""
        cleaned = self.clean_sql.format(raw=raw)
        if not keep_words:
            return cleaned
        return f"coalesce({cleaned}, {self.keep_sql.format(raw=raw, words=texts(keep_words))})"

    def value(self, cleaned: str, as_of: str) -> str:
        """SQL: cleaned text → value of the physical type; NULL when it is not understood."""
        return self.value_sql.format(cleaned=cleaned, as_of=as_of)

    def reason(self, cleaned: str, value: str, as_of: str) -> str:
        """SQL: the first reason that applies on the day `as_of`; NULL when the value is valid or missing."""
        return self.reason_sql.format(cleaned=cleaned, value=value, as_of=as_of)

    def repair(self, cleaned: str, reason: str, as_of: str) -> str | None:
        """SQL: the one value that `cleaned` can only have meant, or NULL; None when the type repairs nothing."""
        return self.repair_sql and self.repair_sql.format(cleaned=cleaned, reason=reason, as_of=as_of)

    def form(self, raw: str, value: str) -> str | None:
        """SQL BOOLEAN: `raw` was submitted in the standard form of `value`; None when the type has no standard form."""
        return self.form_sql and self.form_sql.format(raw=raw, value=value)


def masked(example: str) -> Check:
    """The value was masked before it was submitted (state of its own: prefix and length can still be right)."""
    return Check("masked", "{column}未被遮盖", "{column} is not masked", "0201", example)


def characters(example: str) -> Check:
    """No character was lost on the way."""
    return Check("characters", "{column}没有乱码、缺字或异常字符", "{column} holds no lost or foreign characters", "0302", example)


SAME = "{raw} = {value}"
