"""The lake's own ground: one place, private folders, one key, one writer, one name per batch."""
from __future__ import annotations

import base64
import hmac
import multiprocessing
import shutil
import stat

import pytest
from hypothesis import given, settings, strategies as st

from pipelines import keys
from pipelines.batch import BatchId, batch_date
from pipelines.locks import writer
from pipelines.settings import PRIVATE, Lake, Project, WrongUse
from pipelines.sql import connect


def test_a_lake_is_opened_where_it_was_made_only(tmp_path):
    made = Lake.open(tmp_path / "lake")
    assert Lake.open(tmp_path / "lake") == made
    shutil.move(tmp_path / "lake", tmp_path / "moved")
    with pytest.raises(WrongUse, match="was made at"):
        Lake.open(tmp_path / "moved")


def test_what_is_not_for_analysts_is_readable_by_the_pipeline_alone(tmp_path):
    made = Lake.open(tmp_path / "lake")
    assert {stat.S_IMODE(getattr(made, name).stat().st_mode) for name in PRIVATE} == {0o700}


def test_a_folder_without_contracts_is_no_project(tmp_path):
    with pytest.raises(WrongUse, match="no warehouse/contracts"):
        Project.open(tmp_path)


def test_the_key_is_made_once_and_kept_private(tmp_path, monkeypatch):
    made = Lake.open(tmp_path / "lake")
    key = keys.pseudonym_key(made)
    assert len(key) == 32 and keys.pseudonym_key(made) == key
    assert stat.S_IMODE((made.keys / "pseudonym.key").stat().st_mode) == 0o600
    monkeypatch.setenv("LAKE_PSEUDONYM_KEY", "00" * 32)
    assert keys.pseudonym_key(made) == bytes(32)
    monkeypatch.setenv("LAKE_PSEUDONYM_KEY", "short")
    with pytest.raises(WrongUse, match="64 hex digits"):
        keys.pseudonym_key(made)


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40))
def test_the_digest_is_hmac_sha_256(key, message):
    con = connect()
    keys.install(con, key)
    oracle = base64.urlsafe_b64encode(hmac.digest(key, message.encode(), "sha256")[:16])[:22].decode()
    assert con.execute("SELECT keyed_digest($1), keyed_digest(NULL)", [message]).fetchone() == (oracle, None)
    con.close()


def _hold(home, held, leave) -> None:
    with writer(Lake.open(home), "population.person"):
        held.set()
        leave.wait(30)


def test_one_writer_at_a_time_and_a_dead_one_frees_its_lock(tmp_path):
    made = Lake.open(tmp_path / "lake")
    context = multiprocessing.get_context("spawn")
    held, leave = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(made.home, held, leave))
    other.start()
    assert held.wait(30)
    with pytest.raises(WrongUse, match="another process"), writer(made, "population.person", wait=0.3):
        raise AssertionError("two writers")
    with writer(made, "population.death", wait=0.3):
        pass
    other.kill()
    other.join()
    with writer(made, "population.person", wait=5):
        pass


def test_a_batch_has_one_name():
    batch = BatchId("population.person", "public_security", "640100", "2026-11-01", 2)
    assert BatchId.parse(str(batch)) == batch
    for wrong in ("population.person", "a~b~c~d~x", ""):
        with pytest.raises(WrongUse, match="not a batch id"):
            BatchId.parse(wrong)
    for wrong in ("2026-13-01", "01.11.2026", ""):
        with pytest.raises(WrongUse, match="YYYY-MM-DD"):
            batch_date(wrong)
