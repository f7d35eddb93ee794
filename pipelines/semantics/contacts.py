"""Telephone numbers and postal codes (macros/contacts.sql)."""
from __future__ import annotations

from pipelines.semantics.model import SAME, Check, SemanticType, masked

MOBILE = SemanticType(
    name="mobile", physical="VARCHAR", classification="personal",
    clean_sql="clean_mobile({raw})", reason_sql="_mobile_check({cleaned})", form_sql=SAME,
    plain_sql="regexp_full_match({raw}, '1[3-9][0-9]{{9}}')",
    checks=(masked("139****5678"), Check("format", "{column}为11位手机号", "{column} is a mobile number of 11 digits", "0302", "12912345678")),
    must_pass=(("13912345678", "13912345678"), ("+86 139-1234-5678", "13912345678"), ("008613912345678", "13912345678")),
    must_miss=("", "无", "0"),
)

PHONE = SemanticType(
    name="phone", physical="VARCHAR", classification="internal",
    clean_sql="clean_phone({raw})", value_sql="_phone_value({cleaned})",
    reason_sql="_phone_check({cleaned}, {value})",
    plain_sql="regexp_full_match({raw}, '1[3-9][0-9]{{9}}|0(10|2[0-57-9]|[3-9][0-9]{{2}})-[2-9][0-9]{{6,7}}')",
    checks=(masked("0951-601****"), Check("format", "{column}是电话号码", "{column} is a telephone number", "0302", "1391234567")),
    must_pass=(("0951-6012345", "0951-6012345"), ("(0951)6012345", "0951-6012345"), ("09516012345", "0951-6012345"), ("13912345678", "13912345678"),
               ("010-66012345转123", "010-66012345转123"), ("400-810-1234", "4008101234"), ("6012345", "6012345")),
    must_miss=("", "无", "-", "0"),
)

POSTAL_CODE = SemanticType(
    name="postal_code", physical="VARCHAR", classification="public",
    clean_sql="clean_postal_code({raw})", reason_sql="_postal_code_check({cleaned})", form_sql=SAME,
    plain_sql="{raw} IS NOT NULL AND _postal_code_check({raw}) IS NULL",
    checks=(Check("format", "{column}为6位且前两位已启用", "{column} has 6 digits with an assigned prefix", "0302", "999999"),),
    must_pass=(("750001", "750001"), ("７５０００１", "750001")), must_miss=("", "000000", "无"),
)

TYPES = (MOBILE, PHONE, POSTAL_CODE)
