"""How the published rows of a dataset lie: one copy that serves lookups by key and questions about one place.

A large dataset is cut into files of about `RANGE` rows in the order of the key; inside a file rows go by division, then by key. A lookup
reads one file, in it the row group whose Bloom filter knows the key; a question about one county reads one or two row groups of
each. A range is sorted alone, so that publishing needs memory for one range and no spilling. Bloom filters exist for columns in dictionary
encoding only, so the limits of that encoding are lifted. Snappy, because the bits of a pseudonym are random: zstd takes a third off it and
a third of the reader's time. What was measured stands in docs/decisions-speed.md. Small datasets are one file in the order of the key.
"""
from __future__ import annotations

import math

from pipelines.sql import name, names

ROW_GROUP = 122_880
LARGE = 8 * ROW_GROUP         # rows of a file; below it a whole scan takes milliseconds
RANGE = 25 * ROW_GROUP
_PAGE_BYTES = 4 * 2**20       # of a dictionary: a row group of distinct pseudonyms takes 3.2 MB; a writer takes it at once for every column
_FALSE_POSITIVES = 0.03       # 131 KB a row group and column; 0.01 takes twice that
_ALPHABET = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"


def options(rows: int) -> str:
    """The options of COPY for a published file of about this many rows."""
    if rows < LARGE:
        return f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP}"
    return (f"FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE {ROW_GROUP}, DICTIONARY_SIZE_LIMIT {ROW_GROUP}, "
            f"STRING_DICTIONARY_PAGE_SIZE_LIMIT {_PAGE_BYTES}, WRITE_BLOOM_FILTER true, BLOOM_FILTER_FALSE_POSITIVE_RATIO {_FALSE_POSITIVES}")


def estimate(rows: int) -> int | None:
    """The number of rows of a large dataset that its view tells the optimizer; None where it is the true one.

    DuckDB has no counts of distinct values over several files and takes any condition for one row in five. So one county of fifty million persons, 0.8 % of them,
    seemed more than all offices, and joins began with all offices and all enterprises. Told by the square root, sizes keep their order and
    lie nearer together, so that a large dataset with a condition comes first. An anti join is taken for one row in five, too: hence five times.
    """
    return int(5 * math.sqrt(rows * LARGE)) if rows >= LARGE else None


def ranges(rows: int, region: str | None) -> int:
    """Into how many files of even size the rows of a dataset are cut; without a division to sort by, one."""
    return -(-rows // RANGE) if rows >= LARGE and region else 1


def order(rows: int, region: str | None, key: list[str], pseudonym: str | None) -> str:
    """The ORDER BY clause over published columns of rows that come from a key-sorted file; empty where they may stay as they come.

    Args:
        rows: of the dataset.
        region: the published column of the division that the dataset is counted by.
        key: the published columns of the key.
        pseudonym: the leading key column, where it is only now made a pseudonym: the order that the rows come in must not show.
    """
    if rows >= LARGE and region:
        return f" ORDER BY {names([region, *key])}"
    return f" ORDER BY {names(key)}" if pseudonym else ""


def range_of(pseudonym: str, count: int) -> str:
    """The number of the range, of `count`, that a pseudonym lies in: its characters are spread evenly, so its first two tell."""
    first, second = (f"(strpos('{_ALPHABET}', {name(pseudonym)}[{i}]) - 1)" for i in (1, 2))
    return f"({first} * 64 + {second}) * {count} // 4096"
