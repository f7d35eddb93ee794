"""Dates, end dates, months and times (macros/dates.sql, GB/T 7408)."""
from __future__ import annotations

from pipelines.semantics.model import Check, SemanticType

_MISSING = ("", "无", "NULL", "1900-01-01", "1899-12-31 12:00:00", "19700101", "0000-00-00", "00000000")
_KEPT = "_kept_date({raw}, {words})"
_FORM = "regexp_full_match({raw}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}|[0-9]{{8}}')"
def _days(dash: str) -> str:
    """Pattern of days that are no placeholder; 29 February, which not every year has, is left to be looked at closely."""
    return (f"(18[5-8][0-9]|189[0-8]|190[1-9]|19[1-689][0-9]|197[1-9]|20[0-8][0-9]){dash}((0[1-9]|1[0-2]){dash}(0[1-9]|1[0-9]|2[0-8])"
            f"|(0[13-9]|1[0-2]){dash}(29|30)|(0[13578]|1[02]){dash}31)"
            f"|(1900|1970){dash}((0[2-9]|1[0-2]){dash}(0[1-9]|1[0-9]|2[0-8])|01{dash}(0[2-9]|1[0-9]|2[0-8]))")


# A day as the standard writes it, in its two forms.
_PLAIN = f"regexp_full_match({{raw}}, '{_days('-')}|{_days('')}')"
_PLAIN_VALUE = "CASE WHEN strlen({raw}) = 8 THEN _compact_day({raw}) ELSE try_cast({raw} AS DATE) END"
_READABLE = Check("date", "{column}是存在的日期", "{column} is a calendar date", "0302", "2021-02-30")
_FORMS = (("2020-06-18", "2020-06-18"), ("20200618", "2020-06-18"), ("2020/6/8", "2020-06-08"), ("2020.06.18", "2020-06-18"),
          ("2020年6月8日", "2020-06-08"), ("2020-06-18 00:00:00", "2020-06-18"), ("20200618154247", "2020-06-18"), ("43831", "2020-01-01"),
          ("２０２０－０６－１８", "2020-06-18"), (" 2020-06-18T10:11:12Z ", "2020-06-18"))


def _range(example: str) -> Check:
    return Check("range", "{column}不早于1850年且不过远", "{column} is neither before 1850 nor absurdly late", "0302", example)


DATE = SemanticType(
    name="date", physical="DATE", standard="GB/T 7408", classification="public",
    clean_sql="clean_date({raw})", value_sql="_date_of({cleaned})", reason_sql="_date_check({cleaned}, {value}, {as_of})",
    form_sql=_FORM, keep_sql=_KEPT, plain_sql=_PLAIN + " AND {raw} <= strftime({as_of}, '%Y-%m-%d')", plain_value_sql=_PLAIN_VALUE,
    checks=(_READABLE, _range("1749-12-31"), Check("future", "{column}不晚于报送日", "{column} is not after the batch date", "0503", "2150-01-01")),
    must_pass=_FORMS, must_miss=_MISSING,
)

PLANNED_DATE = SemanticType(
    name="date", parameter="planned", physical="DATE", standard="GB/T 7408", classification="public",
    clean_sql="clean_date({raw})", value_sql="_date_of({cleaned})", reason_sql="_date_check({cleaned}, {value}, DATE '2098-12-31')",
    form_sql=_FORM, keep_sql=_KEPT, plain_sql=_PLAIN, plain_value_sql=_PLAIN_VALUE,
    checks=(_READABLE, _range("1749-12-31"), Check("future", "{column}早于2099年", "{column} is before 2099", "0503", "2150-01-01")),
    must_pass=(*_FORMS, ("2050-01-01", "2050-01-01")), must_miss=_MISSING,
)

END_DATE = SemanticType(
    name="end_date", physical="DATE", standard="GB/T 7408", classification="public",
    clean_sql="clean_end_date({raw})", value_sql="_end_date_value({cleaned})", reason_sql="_end_date_check({cleaned}, {value})",
    form_sql=_FORM, keep_sql=_KEPT, plain_sql=_PLAIN, plain_value_sql=_PLAIN_VALUE,
    checks=(_READABLE, _range("1749-12-31")),
    must_pass=(*_FORMS, ("2050-01-01", "2050-01-01"), ("2099/12/31", None),
               ("2099-12-31 00:00;00", None), ("9999-09-09", None), ("长期", None), ("无固定期限", None)),
    must_miss=(*_MISSING, "无处罚期限"),
)

LONG_TERM = SemanticType(
    name="long_term", physical="BOOLEAN", classification="public",
    clean_sql="clean_end_date({raw})", value_sql="_long_term_value({cleaned})", reason_sql="_long_term_check({cleaned}, {value})", keep_sql=_KEPT,
    checks=(Check("date", "{column}可由日期或长期字样判断", "{column} can be told from a date or a word for long-term", "0302", "2021-02-30"),),
    must_pass=(("长期", "true"), ("2099-12-31", "true"), ("9999-09-09", "true"), ("2030-01-01", "false")), must_miss=_MISSING,
)

MONTH = SemanticType(
    name="month", physical="VARCHAR", standard="GB/T 7408", classification="public",
    clean_sql="clean_month({raw})", value_sql="_month_value({cleaned})", reason_sql="_month_check({cleaned}, {value})",
    form_sql="regexp_full_match({raw}, '[0-9]{{4}}-?[0-9]{{2}}')", plain_sql="regexp_full_match({raw}, '(19[5689][0-9]|20[0-8][0-9])-(0[1-9]|1[0-2])')",
    plain_value_sql="{raw}",
    checks=(Check("month", "{column}是存在的年月", "{column} is a month", "0302", "202113"),
            Check("range", "{column}在1949年至2099年之间", "{column} is between 1949 and 2099", "0302", "189901")),
    must_pass=(("2018-11", "2018-11"), ("201811", "2018-11"), ("2018年1月", "2018-01"), ("2018/11", "2018-11"), ("20181105", "2018-11")),
    must_miss=("", "无", "000000", "999912"),
)

TIMESTAMP = SemanticType(
    name="timestamp", physical="TIMESTAMP", standard="GB/T 7408", classification="public",
    clean_sql="clean_timestamp({raw})", value_sql="_timestamp_value({cleaned})", reason_sql="_timestamp_check({cleaned}, {value})",
    form_sql="regexp_full_match({raw}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}} [0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}|[0-9]{{14}}')", keep_sql=_KEPT,
    plain_sql=f"regexp_full_match({{raw}}, '({_days('-')}) ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]')", plain_value_sql="try_cast({raw} AS TIMESTAMP)",
    checks=(Check("timestamp", "{column}是存在的时间", "{column} is a time that exists", "0302", "2021-02-30 10:00:00"), _range("1749-12-31 00:00:00")),
    must_pass=(("20211028154247", "2021-10-28 15:42:47"), ("2021-10-28 15:42:47", "2021-10-28 15:42:47"), ("2021/10/28 5:42", "2021-10-28 05:42:00"),
               ("2021-10-28", "2021-10-28 00:00:00"), ("2021-10-28T15:42:47.5", "2021-10-28 15:42:47.5")),
    must_miss=("", "无", "1899-12-31 12:00:00", "00000000000000"),
)

TYPES = (DATE, PLANNED_DATE, END_DATE, LONG_TERM, MONTH, TIMESTAMP)
