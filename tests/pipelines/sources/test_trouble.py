"""Connections that are cut, processes that are killed, writers at work, grants that are missing: what is landed stays right."""
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from pipelines.cli import main
from pipelines.failures import may_pass, tell
from pipelines.settings import Later, WrongUse
from pipelines.sources import connecting, extracting
from tests.extraction import CONNECTION, DATASET, Bench, create, generate
from tests.servers import READER, READER_WORD, Proxy
from tests.support import REPOSITORY

ROWS = 12_000
SLOW = {"rows_per_second": 8_000, "range_rows": 1_000}      # about a second and a half


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(extracting, "FIRST_PAUSE", 0.05)


def _ranges(bench: Bench) -> int:
    """How many ranges are finished."""
    return len(list((bench.desk.lake.staging / ".extract").glob("*~2*/whole-*.parquet")))


def _when(done, act) -> threading.Thread:
    """Act once `done` holds."""
    def wait() -> None:
        end = time.monotonic() + 30
        while not done() and time.monotonic() < end:
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def _fresh(server) -> list[tuple]:
    """What the table holds."""
    with server.admin() as con:
        return [tuple(r) for r in con.exec_driver_sql("SELECT sfzh, xm, qh, zt FROM residence ORDER BY sfzh")]


def _landed(bench: Bench, found: dict) -> list[tuple]:
    return sorted((r["sfzh"], r["xm"], r["qh"], r["zt"]) for r in bench.landed(found))


def test_a_connection_ended_by_the_server_goes_on_and_equals_an_uncut_run(server, tmp_path, monkeypatch):
    generate(server, ROWS)
    bench = Bench.make(server, tmp_path, monkeypatch, extract="full", **SLOW)
    _when(lambda: _ranges(bench) >= 3, lambda: [server.cut(pid) for pid in server.readers()])
    found = bench.extract()
    assert (found["reconnects"], found["moments"], found["ranges"]) == (1, 2, 12)
    assert _landed(bench, found) == _fresh(server)


def test_a_connection_lost_on_the_way_goes_on(server, tmp_path, monkeypatch):
    generate(server, ROWS)
    proxy = Proxy(server.port, [60_000, 30_000, 90_000])
    bench = Bench.make(server, tmp_path, monkeypatch, extract="full", range_rows=500)
    monkeypatch.setenv(f"LAKE_CONNECTION_{CONNECTION.upper()}", server.through(proxy.port))
    found = bench.extract()
    proxy.close()
    assert proxy.cuts == 3 and found["reconnects"] >= 3
    assert _landed(bench, found) == _fresh(server)


def test_a_row_that_moves_between_ranges_during_a_cut_is_not_deleted(server, tmp_path, monkeypatch):
    generate(server, ROWS)
    server.run("UPDATE residence SET zt = sfzh")
    bench = Bench.make(server, tmp_path, monkeypatch, range_by="zt")
    bench.extract()
    bench.declare(range_by="zt", **SLOW)

    def cut() -> None:
        server.run(f"UPDATE residence SET zt = '0' WHERE sfzh = '640000000000{ROWS:05d}'", "DELETE FROM residence WHERE sfzh = '64000000000000001'")
        for pid in server.readers():
            server.cut(pid)

    _when(lambda: _ranges(bench) >= 3, cut)
    found = bench.extract()
    assert (found["outcome"], found["moments"]) == ("unchanged", 2), "one is only out of sight, the other one was seen in the first moment"
    assert [(r["zt"], r["操作"]) for r in bench.landed(bench.extract())] == [("0", "U"), ("", "D")]


def test_cuts_without_end_end(postgresql, tmp_path, monkeypatch):
    """A reading that begins again after each cut is given up, and says that it may go on later."""
    generate(postgresql, ROWS)
    proxy = Proxy(postgresql.port, [60_000] * 20)
    bench = Bench.make(postgresql, tmp_path, monkeypatch, extract="full", on_cut="restart", range_rows=200)
    monkeypatch.setenv(f"LAKE_CONNECTION_{CONNECTION.upper()}", postgresql.through(proxy.port))
    monkeypatch.setattr(extracting, "CUTS", 4)
    with pytest.raises(Later, match="run the extraction again"):
        bench.extract("2026-11-01")
    proxy.close()
    assert proxy.cuts == 4


def test_a_held_snapshot_is_joined_again_and_shows_one_moment(postgresql, tmp_path, monkeypatch):
    generate(postgresql, ROWS)
    before = _fresh(postgresql)
    bench = Bench.make(postgresql, tmp_path, monkeypatch, extract="full", connections=2, **SLOW)

    def cut() -> None:
        holder, reader = postgresql.readers()
        postgresql.run("UPDATE residence SET zt = 'later'")
        postgresql.cut(reader)

    _when(lambda: _ranges(bench) >= 3, cut)
    found = bench.extract()
    assert (found["reconnects"], found["moments"]) == (1, 1)
    assert _landed(bench, found) == before


def test_restart_shows_one_moment(server, tmp_path, monkeypatch):
    generate(server, ROWS)
    bench = Bench.make(server, tmp_path, monkeypatch, extract="full", on_cut="restart", **SLOW)

    def cut() -> None:
        server.run("UPDATE residence SET zt = 'later'")
        for pid in server.readers():
            server.cut(pid)

    _when(lambda: _ranges(bench) >= 3, cut)
    found = bench.extract()
    assert found["moments"] == 1
    assert {r[3] for r in _landed(bench, found)} == {"later"}
    assert len(_landed(bench, found)) == ROWS


def test_a_killed_process_goes_on_with_the_next_range(server, tmp_path, monkeypatch):
    generate(server, ROWS)
    bench = Bench.make(server, tmp_path, monkeypatch, extract="full", **SLOW)
    killed = _start(bench, server)
    end = time.monotonic() + 60
    while _ranges(bench) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    kept = {p.name: p.stat().st_ino for p in (bench.desk.lake.staging / ".extract").glob("*~2*/whole-*.parquet")}
    assert 3 <= len(kept) < 12
    seen: dict[str, int] = {}
    monkeypatch.setattr(extracting.state, "write_all", _noting(seen, extracting.state.write_all))
    found = bench.extract("2026-11-01")
    assert dict(sorted(kept.items())[:2]).items() <= seen.items(), "what was finished is not read again"
    assert (found["moments"], found["ranges"]) == (2, 12)
    assert _landed(bench, found) == _fresh(server)
    assert not list((bench.desk.lake.staging / ".extract").glob("*~2*"))


def _noting(seen: dict[str, int], inner):
    def write_all(con, of, rows, path):
        seen.update({p.name: p.stat().st_ino for p in rows})
        return inner(con, of, rows, path)

    return write_all


def _start(bench: Bench, server, *more: str, address: str | None = None, **environment: str) -> subprocess.Popen:
    """The command line in a process of its own."""
    env = {"LAKE_HOME": str(bench.desk.lake.home), "LAKE_PROJECT": str(bench.desk.project.root), "PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin",
           f"LAKE_CONNECTION_{CONNECTION.upper()}": address or server.reader} | environment
    return subprocess.Popen([sys.executable, "-m", "pipelines", "extract", DATASET, "--batch-date", "2026-11-01", *more], env=env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_batch_in_landing_that_a_kill_left_without_a_row_is_entered(server, tmp_path, monkeypatch):
    generate(server, 10)
    bench = Bench.make(server, tmp_path, monkeypatch)
    monkeypatch.setattr("pipelines.receiving._enter", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        bench.extract()
    monkeypatch.undo()
    monkeypatch.setenv(f"LAKE_CONNECTION_{CONNECTION.upper()}", server.reader)
    found = bench.extract("2026-11-01")
    assert found["outcome"] == "there"
    assert bench.desk.ledger.batch(found["batch_id"])["state"] == "received"


def test_writers_do_not_disturb_the_moment(server, tmp_path, monkeypatch):
    """A writer always changes the first and the last row together: every moment shows them equal."""
    generate(server, ROWS)
    bench = Bench.make(server, tmp_path, monkeypatch, extract="full", **SLOW)
    stop, rounds = threading.Event(), []
    first, last = "64000000000000001", f"640000000000{ROWS:05d}"

    def write() -> None:
        with server.admin() as con:
            while not stop.is_set():
                con.exec_driver_sql(f"UPDATE residence SET zt = '{len(rounds)}' WHERE sfzh IN ('{first}', '{last}')")
                rounds.append(1)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    began = time.monotonic()
    found = bench.extract()
    assert time.monotonic() - began > 0.9 * ROWS / SLOW["rows_per_second"], "no faster than admitted"
    stop.set()
    writer.join()
    assert len(rounds) > 20 and found["moments"] == 1
    states = {r[0]: r[3] for r in _landed(bench, found)}
    assert states[first] == states[last] and len(states) == ROWS


def test_the_source_is_only_read(server, tmp_path, monkeypatch):
    """By the source's own statistics: no row written, nothing created, and reads were counted."""
    generate(server, ROWS)
    bench = Bench.make(server, tmp_path, monkeypatch, extract="watermark", updated_at="gxsj", range_rows=1_000)
    before = _statistics(server)
    bench.extract()
    bench.extract()
    time.sleep(1.1 if server.dialect == "postgresql" else 0)     # its statistics are gathered after a second
    after = _statistics(server)
    assert after["reads"] > before["reads"]
    assert {k: v for k, v in after.items() if k != "reads"} == {k: v for k, v in before.items() if k != "reads"}


def _statistics(server) -> dict[str, int]:
    with server.admin() as con:
        if server.dialect == "postgresql":
            rows = con.exec_driver_sql("SELECT sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0)) AS reads, sum(n_tup_ins + n_tup_upd + n_tup_del) AS written, "
                                       "(SELECT count(*) FROM pg_class) AS objects FROM pg_stat_user_tables").mappings().one()
            return {k: int(v) for k, v in rows.items()}
        names = "('Com_select','Com_insert','Com_update','Com_delete','Com_replace','Com_create_table','Com_create_temporary_table','Com_drop_table','Com_alter_table','Com_lock_tables')"
        rows = dict(con.exec_driver_sql(f"SHOW GLOBAL STATUS WHERE Variable_name IN {names}").all())
        return {"reads": int(rows.pop("Com_select"))} | {k: int(v) for k, v in rows.items()}


def _watch(pid: int) -> tuple[int, int]:
    """How a process ended, and its peak in MB. What the system tells at its end counts the process it was forked from too."""
    peak = 0
    while True:
        with suppress(OSError, TypeError):
            peak = max(peak, int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) // 1024)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status, peak
        time.sleep(0.02)


@pytest.mark.parametrize("rows", [100_000, pytest.param(1_000_000, marks=pytest.mark.scale)])
def test_memory_is_bounded(server, tmp_path, monkeypatch, rows):
    """The peak of the whole process, changes compared included, stays under LAKE_MEMORY."""
    generate(server, rows)
    bench = Bench.make(server, tmp_path, monkeypatch, rows_per_second=100_000_000)
    told, peaks = [], []
    for more in ((), ("--again",)):
        began = time.monotonic()
        process = _start(bench, server, *more, LAKE_MEMORY="1GB")
        status, peak = _watch(process.pid)
        told.append(process.stdout.read() + process.stderr.read())
        peaks.append(peak)
        assert os.waitstatus_to_exitcode(status) == 0, told
        print(f"{server.dialect} {rows:,} rows {more}: {time.monotonic() - began:.1f} s, {peaks[-1]} MB")
    assert f"{rows:,} new or changed and 0 deletions" in told[0] and "nothing changed" in told[1]
    assert max(peaks) < 1024


def test_nothing_tells_who_reads_or_where_or_what(server, tmp_path, monkeypatch, capsys):
    """Neither credentials nor hosts nor values stand in anything that is written but landing's rows; errors neither."""
    generate(server, 200)
    bench = Bench.make(server, tmp_path, monkeypatch)
    found = bench.extract()
    monkeypatch.setenv("LAKE_HOME", str(bench.desk.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(bench.desk.project.root))
    assert main(["why", found["batch_id"]]) == 0
    said = capsys.readouterr().out
    assert "extract" in said and "read 200" in said
    variable = f"LAKE_CONNECTION_{CONNECTION.upper()}"
    good = os.environ[variable]
    closed = re.sub(r":\d+/", ":1/", good)
    for address, code, words in (
            (good.replace(READER_WORD, "Wr0ng-Word"), 2, "refused the login"), (closed, 1, "cannot be reached"),
            (good.replace("/gov", "/nowhere"), 2, ""), ("nonsense", 2, "no address that can be read"), ("oracle://a:S3cret-Reader@b/c", 2, "is of type oracle")):
        monkeypatch.setenv(variable, address)
        monkeypatch.setattr(extracting, "TRIES", 2)
        assert main(["extract", DATASET, "--batch-date", "2026-11-09"]) == code
        told = capsys.readouterr().err
        assert words in told and CONNECTION in told
        assert not any(secret in told for secret in (READER_WORD, "Wr0ng-Word", READER, "127.0.0.1", str(server.port)))
    monkeypatch.delenv(variable)
    assert main(["extract", DATASET, "--batch-date", "2026-11-09"]) == 2
    assert variable in capsys.readouterr().err
    secrets = [s.encode() for s in (READER_WORD, READER, "127.0.0.1", f":{server.port}", "Wr0ng-Word")]
    values = [b"64000000000000007"]
    for path in (p for p in bench.desk.lake.home.rglob("*") if p.is_file()):
        content = path.read_bytes()
        assert not [s for s in secrets if s in content], path
        if path.relative_to(bench.desk.lake.home).parts[0] not in ("landing", "staging"):
            assert not [v for v in values if v in content], path
    assert "640000" not in bench.manifest(found)


def test_what_is_missing_is_said_with_its_remedy(server, tmp_path, monkeypatch):
    create(server)
    server.run("DROP TABLE IF EXISTS closed_to_us", "CREATE TABLE closed_to_us (sfzh VARCHAR(18) PRIMARY KEY, xm VARCHAR(9), qh VARCHAR(9))")
    bench = Bench.make(server, tmp_path, monkeypatch, table="closed_to_us")
    with pytest.raises(WrongUse, match="grant SELECT|no table closed_to_us that this login sees") as caught:
        bench.extract("2026-11-01")
    assert not may_pass(caught.value) and caught.value.__cause__ is None and caught.value.__suppress_context__
    bench.declare(table="no_such_table")
    with pytest.raises(WrongUse, match="has no table no_such_table|refuses to read table no_such_table"):
        bench.extract("2026-11-01")
    bench.declare(range_by="nowhere")
    with pytest.raises(WrongUse, match="has no column 'nowhere', which range_by names"):
        bench.extract("2026-11-01")


def test_trouble_of_a_source_may_pass():
    assert may_pass(connecting.Cut("x")) and may_pass(Later("x")) and not may_pass(connecting.Refused("x"))
    assert tell(connecting.Cut("own words")) == "own words"


def test_a_closed_window_keeps_what_was_read(server, tmp_path, monkeypatch):
    generate(server, 3_000)
    bench = Bench.make(server, tmp_path, monkeypatch, extract="full", range_rows=1_000, window="22:00-06:00")
    from pipelines.sources import reading

    def closes(database):
        if _ranges(bench) >= 2:
            raise Later("the window closed")

    monkeypatch.setattr(extracting, "must_be_open", lambda database: None)
    monkeypatch.setattr(reading, "must_be_open", closes)
    with pytest.raises(Later):
        bench.extract("2026-11-01")
    assert _ranges(bench) == 2
    monkeypatch.setattr(reading, "must_be_open", lambda database: None)
    found = bench.extract("2026-11-01")
    assert (found["ranges"], found["moments"]) == (3, 2)
    assert len(bench.landed(found)) == 3_000


def test_connections_of_all_datasets_together(server, tmp_path, monkeypatch):
    """Two extractions over a source that admits one connection: it never sees two."""
    generate(server, 4_000)
    bench = Bench.make(server, tmp_path, monkeypatch, extract="full", rows_per_second=4_000, range_rows=1_000)
    other = bench.desk.project.contracts / "population/second.yaml"
    other.write_text((bench.desk.project.contracts / "population/residence.yaml").read_text("utf-8").replace("population.residence", "population.second")
                     .replace("name: residence\n", "name: second\n"), encoding="utf-8")
    from pipelines import steps

    seen, stop = [], threading.Event()

    def watch() -> None:
        while not stop.is_set():
            seen.append(len(server.readers()))
            time.sleep(0.03)

    threading.Thread(target=watch, daemon=True).start()
    second = threading.Thread(target=lambda: steps.extract("population.second", "2026-11-01", desk=bench.desk))
    second.start()
    bench.extract()
    second.join()
    stop.set()
    assert max(seen) == 1
    assert duckdb.connect().execute(f"SELECT count(*) FROM read_parquet('{bench.desk.lake.landing}/*/office/all/2026-11-01/1-r1/0001.parquet')").fetchone()[0] == 8_000
