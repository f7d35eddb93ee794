"""Encodings: what departments write text in, and what happened to it on its way."""
from __future__ import annotations

from collections.abc import Iterator

from tests.corpus.forms import FORMS, HEADER, Form, delimited
from tests.corpus.model import Case, Row, loaded, refused, row, table

_text = delimited()
# Header cells with an even number of Han characters, and values likewise: UTF-8 read as GBK loses nothing of them.
EVEN = ("id_number", "姓名", "csrq", "region_code", "status", "操作")
BIG5 = ("id_number", "name", "csrq", "region_code", "status", "操作")
TRADITIONAL = ("趙一", "錢二", "孫小三", "歐陽五", "許功蓋", "周七")      # 許, 功 and 蓋 have 0x5C, a backslash, as second byte


def _file(content: bytes) -> dict[str, bytes]:
    return {"a.csv": content}


def _whole_files() -> Iterator[Case]:
    """The same table in every encoding, detected and declared."""
    rare, plain = table(rare=True), table()
    written = {
        "utf_8": (rare, "utf-8"), "utf_8_bom": (rare, "utf-8-sig"), "gb18030": (rare, "gb18030"), "gbk": (plain, "gbk"), "gb2312": (table(4), "gb2312"),
        "utf_16": (rare, "utf-16"),
    }
    for name, (rows, codec) in written.items():
        content = _text(HEADER, rows).encode(codec)
        yield loaded("csv", name, _file(content), rows)
    for codec in ("utf-16-le", "utf-16-be"):
        content = ("\ufeff" + _text(HEADER, rare)).encode(codec)
        yield loaded("csv", f"{codec.replace('-', '_')}_bom", _file(content), rare)
        yield loaded("csv", f"{codec.replace('-', '_')}_declared", _file(content), rare, source={"encoding": "utf-16"})
    content = _text(HEADER, rare).encode("gb18030")
    for declared in ("utf-8", "gb18030"):
        yield loaded("csv", f"gb18030_declared_{declared[:3]}", _file(content), rare, source={"encoding": declared})
    yield loaded("csv", "utf_8_declared_gb18030", _file(_text(HEADER, rare).encode()), rare, source={"encoding": "gb18030"})
    big5 = [row(n, name) for n, name in enumerate(TRADITIONAL, 1)]
    yield loaded("csv", "big5_declared", _file(_text(BIG5, big5).encode("big5")), big5, source={"encoding": "big5"})
    # Declared encodings also hold for the other text forms.
    for name in ("tsv", "fixed", "multi"):
        yield from _other_form(FORMS[name])


def _other_form(form: Form) -> Iterator[Case]:
    utf8 = form.write(HEADER, table()).decode("gbk" if form.name == "fixed" else "utf-8")
    for codec in ("utf-8", "gb18030", "utf-16"):
        if form.name == "fixed" and codec != "gb18030":
            continue
        yield loaded(form.name, f"in_{codec}", {f"a{form.extension}": utf8.encode(codec)}, table(), source=form.source(HEADER))


def _misread_files() -> Iterator[Case]:
    """Whole files that a program decoded with the wrong codec and stored as UTF-8."""
    even = [row(n, name) for n, name in enumerate(("赵一", "钱二", "欧阳小五", "李四", "王六", "周七"), 1)]
    latin = _text(EVEN, even).encode("gbk").decode("latin-1").encode()
    yield loaded("csv", "mojibake_gbk_as_latin_1", _file(latin), even)
    gbk = _text(EVEN, even).encode().decode("gbk").encode()
    yield loaded("csv", "mojibake_utf_8_as_gbk", _file(gbk), even)
    lost = _text(EVEN, even).encode().replace("李四".encode(), "锟斤拷".encode())
    yield loaded("csv", "lost_characters", _file(lost), [*even[:3], *even[4:]], [(4, ("name.characters",))])


def _private_use() -> Iterator[Case]:
    """Two-byte codes that GB 18030-2022 gives to Han characters, and private-use characters nobody can resolve."""
    rows = table()
    content = _text(HEADER, [row(1, "张㐂"), *rows[1:]]).encode("gb18030").replace("㐂".encode("gb18030"), b"\xfe\x59")
    yield loaded("csv", "gb18030_2022_code", _file(content), [row(1, "张\u9fb4"), *rows[1:]])
    unknown = [*rows[:2], row(3, "张\ue000"), *rows[3:]]
    for codec in ("utf-8", "gb18030"):
        yield loaded("csv", f"private_use_{codec}", _file(_text(HEADER, unknown).encode(codec)), [*rows[:2], *rows[3:]], [(3, ("name.characters",))])


def _damaged() -> Iterator[Case]:
    """Bytes that are no character in one row: that row goes, the others stay."""
    rows = [row(n) for n in range(1, 13)]
    good: list[Row] = [*rows[:3], *rows[4:]]
    bad = [(4, ("line.encoding",))]
    name = rows[3][1]
    for codec, hurt in (("utf-8", b"\xff\xfe"), ("gb18030", b"\xff"), ("utf-16-le", b"\x00\xd8"), ("big5", b"\xff")):
        header = BIG5 if codec == "big5" else HEADER
        sent = [row(n, "周七") for n in range(1, 13)] if codec == "big5" else rows
        want = [*sent[:3], *sent[4:]]
        mark = "周七" if codec == "big5" else name
        whole = _text(header, sent)
        at = whole.index(sent[3][0])
        before, after = whole[:at], whole[at:].replace(mark, "\x07", 1)
        content = (before + after).encode(codec).replace("\x07".encode(codec), hurt)
        content = (b"\xff\xfe" if codec == "utf-16-le" else b"") + content
        source = {"encoding": "big5"} if codec == "big5" else {}
        yield loaded("csv", f"damaged_{codec.replace('-', '_')}", _file(content), want, bad, source)
    for form in (FORMS["jsonl"], FORMS["tsv"], FORMS["single_quote"]):
        content = _hurt(form.write(HEADER, rows), rows[3][0], name)
        yield loaded(form.name, "damaged_utf_8", {f"a{form.extension}": content}, good, bad, form.source(HEADER))
    yield refused("csv", "utf_32", _file(_text(HEADER, table()).encode("utf-32")), "binary")
    wide = b"\xff\xfe" + _text(HEADER, rows).encode("utf-16-le")
    yield refused("csv", "utf_16_cut_in_a_character", _file(wide[:-1]), "encoding")
    yield refused("csv", "utf_16_without_one_byte", _file(wide[:600] + wide[601:]), "encoding")      # all rows below it are shifted
    few = [row(n, "钱二" if n == 1 else "JOHN SMITH", status="ok") for n in range(1, 7)]
    content = _text(BIG5, few).encode().replace(b"ok,\r\n" + few[3][0].encode(), b"\xff,\r\n" + few[3][0].encode())
    yield loaded("csv", "damaged_utf_8_of_few_han", _file(content), [*few[:2], *few[3:]], [(3, ("line.encoding",))])


def _hurt(content: bytes, person: str, name: str) -> bytes:
    at = content.index(person.encode())
    return content[:at] + content[at:].replace(name.encode(), b"\xff\xfe", 1)


def cases() -> Iterator[Case]:
    """All cases of this module."""
    yield from _whole_files()
    yield from _misread_files()
    yield from _private_use()
    yield from _damaged()
