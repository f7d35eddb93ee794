"""A determined analyst: another Unix account that reads whatever it can reach of the lake, while a grant for somebody else lies there.

What it can reach is what `test_leaks` sweeps byte by byte; here it is shown that it reaches nothing else, that the open files join, and that what
joins them cannot be made without the key.
"""
from __future__ import annotations

import base64
import hashlib
import hmac
import os
import pwd
import subprocess
from pathlib import Path

import duckdb
import pytest

from pipelines import grants, keys
from pipelines.grants import files
from tests.end_to_end.test_leaks import PRIVATE, _exposed_files

ASKED = {"datasets": ["population.person", "population.death"], "role": "analyst_pii", "purpose": "试验", "request": "申〔2026〕9号",
         "columns": ["person_id", "name", "id_number_last4", "hukou_region_code"], "by": "李批准"}


@pytest.fixture(scope="module")
def granted(run):
    """A grant for somebody else, and the folders above the lake passable, as they are where it stands."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as another account")
    modes = {p: p.stat().st_mode for p in run.desk.lake.home.parents}
    for parent, mode in modes.items():
        if not mode & 0o001:
            parent.chmod(mode | 0o001)
    made = grants.grant(run.desk, **ASKED, until=grants.today())
    yield made
    grants.revoke(run.desk, made["id"], "试验结束")
    for parent, mode in modes.items():
        parent.chmod(mode & 0o7777)


def as_analyst(*command: str) -> subprocess.CompletedProcess:
    nobody = pwd.getpwnam("nobody")
    return subprocess.run(command, user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], capture_output=True, text=True, errors="replace", cwd="/", env={"PATH": os.environ["PATH"]})


def test_another_account_reaches_what_is_published_and_nothing_else(run, granted):
    home = run.desk.lake.home
    reached = {Path(p) for p in as_analyst("find", str(home), "-type", "f", "-readable").stdout.splitlines()}
    assert {home / "lake.duckdb", *home.glob("releases/r*/lake.duckdb"), *home.glob("releases/data/*/*/rows.parquet")} <= reached
    assert reached <= set(_exposed_files(run)), "everything reached is swept for personal values"
    assert not [p for p in reached if p.relative_to(home).parts[0] in PRIVATE or p.relative_to(home).parts[:2] == ("releases", "grants")]
    assert home / "catalog.db" not in reached


def test_the_files_of_a_grant_stay_closed_also_by_their_full_path(run, granted):
    folder = files.place(run.desk.lake, granted["id"])
    inside = [p for p in folder.rglob("*") if p.is_file()]
    assert {p.name for p in inside} == {"grant.duckdb", "manifest.json", "rows.parquet"}
    for path in (*inside, run.desk.lake.keys / "pseudonym.key", run.desk.lake.restricted, *list(run.desk.lake.current.glob("*/*/rows.parquet"))[:1]):
        assert path.exists() and as_analyst("cat", str(path)).returncode != 0, path
    assert as_analyst("ls", str(folder.parent)).returncode != 0 and as_analyst("ls", str(folder)).returncode != 0
    assert as_analyst("cat", str(run.desk.lake.home / "lake.json")).returncode == 0, "what is published opens, so that a refusal means something"


def test_pseudonyms_join_across_datasets_and_cannot_be_made_without_the_key(run, granted):
    with duckdb.connect(str(run.desk.lake.database), read_only=True) as con:
        columns = con.execute("SELECT schema_name, table_name, column_name FROM duckdb_columns() WHERE column_name LIKE '%person_id' AND schema_name <> 'governance'").fetchall()
        shown = {v for s, t, c in columns for v, in con.execute(f'SELECT DISTINCT "{c}" FROM "{s}"."{t}" WHERE "{c}" IS NOT NULL').fetchall()}
        joined = con.execute("SELECT count(DISTINCT person_id) FROM population.death JOIN population.person USING (person_id)").fetchone()[0]
    with duckdb.connect(str(run.desk.lake.restricted), read_only=True) as con:
        assert joined == con.execute("SELECT count(DISTINCT id_number) FROM population.death JOIN population.person USING (id_number)").fetchone()[0] > 0
        numbers = [n for n, in con.execute("SELECT id_number FROM population.person LIMIT 500").fetchall()]
    guesses = [b"", bytes(32), keys.SCHEME.encode(), keys.key_id(run.desk.lake).encode(), b"person", b"resident_id", granted["key_id"].encode()]
    made = set()
    for number in numbers:
        for message in (number, f"resident_id\x1f{number}", f"person\x1f{number}", f"population.person{number}"):
            digests = [hashlib.new(kind, message.encode()).digest() for kind in ("md5", "sha1", "sha256", "sha512")]
            digests += [hmac.digest(key, message.encode(), "sha256") for key in guesses]
            made |= {base64.urlsafe_b64encode(d[:16]).decode().rstrip("=") for d in digests} | {d.hex() for d in digests}
    assert len(shown) > 500 and not made & shown
    right = keys.pseudonym_key(run.desk.lake)
    kinds = {kind for _, _, kind in run.desk.plan("population.person").pseudonyms}
    assert {base64.urlsafe_b64encode(hmac.digest(right, f"{kind}\x1f{numbers[0]}".encode(), "sha256")[:16]).decode().rstrip("=") for kind in kinds} & shown, "with the key the guess is right"


def test_a_grants_pseudonyms_are_nobody_elses(run, granted):
    with duckdb.connect(granted["database"], read_only=True) as con:
        own = {p for p, in con.execute("SELECT person_id FROM population.person").fetchall()}
        assert con.execute("SELECT count(*) FROM population.person JOIN population.death USING (person_id)").fetchone()[0] > 0
        assert con.execute("SELECT count(*) FROM population.person WHERE NOT regexp_full_match(name, '.{1,2}\\*\\*')").fetchone() == (0,)
    with duckdb.connect(str(run.desk.lake.database), read_only=True) as con:
        default = {p for p, in con.execute("SELECT person_id FROM population.person").fetchall()}
    assert len(own) == len(default) and not own & default
