"""Codes: values of a list, divisions (GB/T 2260), currencies (macros/codes.sql, macros/amounts.sql)."""
from __future__ import annotations

from pipelines.semantics.model import SAME, Check, SemanticType, masked
from pipelines.sql import name, text

_MISSING = ("", "无", "不详", "--")


def enum_name(list_name: str) -> str:
    """The enum type of the spellings of `list_name`: casting to it is a hash look-up per value."""
    return name(f"alias_{list_name}")


def _looked_up(list_name: str) -> str:
    spelling = f"enum_code(try_cast({{cleaned}} AS reference.{enum_name(list_name)}))"
    return f"_alias_codes({text(list_name)})[{spelling} + 1]"


def code(list_name: str) -> SemanticType:
    """The type of a column whose values are codes of `list_name`; labels and known spellings are translated."""
    return SemanticType(
        name="code", parameter=list_name, physical="VARCHAR",
        clean_sql=f"clean_code({text(list_name)}, {{raw}})", value_sql=_looked_up(list_name),
        plain_sql=f"try_cast({{raw}} AS reference.{enum_name(list_name)}) IS NOT NULL", plain_value_sql=None, plain_form=False,
        reason_sql="_code_reason({cleaned}, {value})", repair_sql=f"_code_repair({text(list_name)}, {{cleaned}})", form_sql=SAME,
        checks=(Check("code", "{column}在代码表内", "{column} is in the code list", "0105", "〇不在表内〇"),),
        must_pass=(), must_miss=("", "NULL", "--", "待核实"),
    )


CURRENCY = SemanticType(
    name="currency", physical="VARCHAR", standard="GB/T 12406", classification="public",
    clean_sql="clean_currency({raw})", value_sql=_looked_up("currency"), reason_sql="_code_reason({cleaned}, {value})", form_sql=SAME,
    checks=(Check("code", "{column}在币种代码表内（GB/T 12406）", "{column} is a currency of GB/T 12406", "0105", "贝壳"),),
    must_pass=(("CNY", "CNY"), ("156", "CNY"), ("人民币元", "CNY"), ("100(万元人民币)", "CNY"), ("12.8000(万美元)", "USD"), ("60万人民币", "CNY")),
    must_miss=("", "90()", "265(万)", "无"),
)

_REGION_CHECKS = (
    masked("6401**"),
    Check("format", "{column}由数字组成", "{column} is digits", "0302", "在县城"),
    Check("length", "{column}为6位", "{column} has 6 digits", "0101", "64010"),
    Check("code", "{column}是现行或曾用区划代码（GB/T 2260）", "{column} is or was a division code (GB/T 2260)", "0105", "649999"),
)

REGION_CODE = SemanticType(
    name="region_code", physical="VARCHAR", standard="GB/T 2260", classification="public",
    clean_sql="clean_region_code({raw})", reason_sql="_region_code_check({cleaned})",
    repair_sql="_region_code_repair({cleaned}, {reason})", form_sql=SAME, checks=_REGION_CHECKS,
    plain_sql="try_cast({raw} AS reference.known_region) IS NOT NULL",
    must_pass=(("640104", "640104"), ("６４０１０４ ", "640104"), ("330104", "330104")), must_miss=(*_MISSING, "000000", "999999"),
)

REGION_CODE_CURRENT = SemanticType(
    name="region_code", parameter="current", physical="VARCHAR", standard="GB/T 2260", classification="public",
    clean_sql="clean_region_code({raw})", reason_sql="_current_region_check({cleaned}, {as_of})",
    repair_sql="_current_region_repair({cleaned}, {reason})", form_sql=SAME,
    plain_sql="try_cast({raw} AS reference.region_in_force) IS NOT NULL",
    checks=(*_REGION_CHECKS,
            Check("obsolete", "{column}在报送日有效", "{column} is in force on the batch date", "0105", "330104")),
    must_pass=(("640104", "640104"), ("330102", "330102")), must_miss=(*_MISSING, "000000"),
)

DIVISION_CODE = SemanticType(
    name="division_code", physical="VARCHAR", classification="internal",
    clean_sql="clean_division_code({raw})", reason_sql="_division_code_check({cleaned})", form_sql=SAME,
    plain_sql="try_cast(left({raw}, 6) AS reference.known_county) IS NOT NULL AND regexp_full_match({raw}, '[1-8][0-9]{{5}}([0-9]{{3}}){{0,3}}')",
    checks=(
        masked("6401****"),
        Check("format", "{column}由数字组成", "{column} is digits", "0302", "城关镇"),
        Check("length", "{column}为6、9、12或15位", "{column} has 6, 9, 12 or 15 digits", "0101", "6401040010"),
        Check("code", "{column}的前6位是区划代码", "{column} begins with a division code", "0105", "649999001"),
    ),
    must_pass=(("640104001", "640104001"), ("640104001002", "640104001002"), ("130171", "130171"), ("330203028018000", "330203028018000")),
    must_miss=_MISSING,
)

TYPES = (CURRENCY, REGION_CODE, REGION_CODE_CURRENT, DIVISION_CODE)
