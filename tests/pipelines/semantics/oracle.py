"""Identifiers computed digit by digit from the standards' texts, sharing nothing with the SQL."""
from __future__ import annotations

from datetime import date, timedelta

from hypothesis import strategies as st

USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
REGIONS = ("110105", "330104", "440106", "640104", "640121", "652301", "810000", "830000")


def resident_check(first17: str) -> str:
    """GB 11643-1999: ISO 7064 MOD 11-2 in its recursive form."""
    p = 0
    for digit in first17:
        p = (p + int(digit)) * 2 % 11
    return "0123456789X"[(12 - p) % 11]


def org_check(first8: str) -> str:
    """GB 11714-1997."""
    c = 11 - sum(BASE36.index(ch) * w for ch, w in zip(first8, (3, 7, 9, 10, 5, 8, 4, 2))) % 11
    return {10: "X", 11: "0"}.get(c, str(c))


def uscc_check(first17: str) -> str:
    """GB 32100-2015."""
    total = sum(USCC_ALPHABET.index(ch) * pow(3, i, 31) for i, ch in enumerate(first17))
    return USCC_ALPHABET[(31 - total % 31) % 31]


def reg_no_check(first14: str) -> str:
    """GS 15-2006: ISO 7064 MOD 11,10 as the standard words it, with its exception for zero."""
    p = 10
    for digit in first14:
        s = (p + int(digit)) % 10 or 10
        p = s * 2 % 11
    return str((11 - p) % 10)


@st.composite
def resident_ids(draw) -> str:
    born = date(1900, 1, 1) + timedelta(days=draw(st.integers(0, 45_000)))
    first = f"{draw(st.sampled_from(REGIONS))}{born:%Y%m%d}{draw(st.integers(1, 999)):03d}"
    return first + resident_check(first)


@st.composite
def usccs(draw) -> str:
    body = draw(st.sampled_from(("", "MA"))) + draw(st.text(USCC_ALPHABET, min_size=8, max_size=8))
    org = body[:8]
    first = draw(st.sampled_from(("91", "92", "12", "N2", "A1"))) + draw(st.sampled_from(REGIONS[:6])) + org + org_check(org)
    return first + uscc_check(first)


@st.composite
def reg_nos(draw) -> str:
    first = draw(st.sampled_from(REGIONS[:6])) + f"{draw(st.integers(0, 99_999_999)):08d}"
    return first + reg_no_check(first)
