"""The database's door: transactions, snapshots, errors by what happens next, ids in order of time."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connector.errors import ConfigError, HaltError, InvariantError
from connector.kit import lock
from connector.kit.db import Database, new_id

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A fresh SQLite file with one table."""
    made = Database(f"sqlite:///{tmp_path}/books.db")
    with made.transaction() as unit:
        unit.execute("CREATE TABLE line (id TEXT PRIMARY KEY, amount INTEGER NOT NULL)")
        unit.execute("CREATE TABLE credit (line_id TEXT NOT NULL REFERENCES line(id))")
    yield made
    made.close()


def amounts(database: Database) -> list[tuple[object, ...]]:
    """Return all lines."""
    with database.read() as unit:
        return unit.query("SELECT id, amount FROM line ORDER BY id")


def test_a_commit_is_durable_and_wal(database: Database) -> None:
    """SQLite runs in WAL mode with full synchronization and with foreign keys checked."""
    with database.read() as unit:
        assert unit.query("PRAGMA journal_mode") == [("wal",)]
        assert unit.query("PRAGMA synchronous") == [(2,)]
        assert unit.query("PRAGMA foreign_keys") == [(1,)]


def test_a_chunk_of_tuples_is_written_at_once(database: Database) -> None:
    """Many rows go in as one statement, none as no statement; execute says how many rows it changed."""
    with database.transaction() as unit:
        unit.executemany("INSERT INTO line VALUES (?, ?)", [("a", 1), ("b", 2)])
        unit.executemany("INSERT INTO line VALUES (?, ?)", [])
        assert unit.execute("UPDATE line SET amount = amount + ?", (1,)) == 2
    assert amounts(database) == [("a", 2), ("b", 3)]


def test_an_error_rolls_everything_back(database: Database) -> None:
    """Nothing of a failed transaction stays, and what waited for its commit does not happen."""
    told: list[str] = []

    def fails() -> None:
        with database.transaction() as unit:
            unit.after_commit(lambda: told.append("told"))
            unit.execute("INSERT INTO line VALUES ('a', 1)")
            raise LookupError("in the middle")

    with pytest.raises(LookupError):
        fails()
    assert amounts(database) == []
    assert told == []


def test_what_waits_for_the_commit_sees_it(database: Database) -> None:
    """After-commit work runs once, when readers already see the rows."""
    seen: list[object] = []
    with database.transaction() as unit:
        unit.execute("INSERT INTO line VALUES ('a', 1)")
        unit.after_commit(lambda: seen.append(amounts(database)))
        assert seen == []
    assert seen == [[("a", 1)]]


def test_a_transaction_is_never_nested(database: Database) -> None:
    """A transaction inside another is our bug; afterwards the database works as before."""
    with pytest.raises(InvariantError, match="inside another"), database.transaction(), database.transaction():
        pass
    with database.transaction() as unit:
        unit.execute("INSERT INTO line VALUES ('a', 1)")
    assert amounts(database) == [("a", 1)]


def test_a_reader_sees_one_snapshot(database: Database) -> None:
    """What is committed while a reader reads is seen by the next one only."""
    with database.read() as unit:
        assert unit.query("SELECT COUNT(*) FROM line") == [(0,)]
        with database.transaction() as writing:
            writing.execute("INSERT INTO line VALUES ('a', 1)")
        assert unit.query("SELECT COUNT(*) FROM line") == [(0,)]
    assert amounts(database) == [("a", 1)]


def test_writers_take_turns(database: Database) -> None:
    """Threads that write at the same time wait for each other; no row is lost."""

    def write(name: str) -> None:
        for number in range(10):
            with database.transaction() as unit:
                unit.execute("INSERT INTO line VALUES (?, 1)", (f"{name}{number}",))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(amounts(database)) == 40


def test_a_broken_promise_of_the_schema_is_not_hidden(database: Database) -> None:
    """A double key is neither busy nor unusable: it comes out as it is, and the transaction is gone."""
    with pytest.raises(Exception, match="UNIQUE"), database.transaction() as unit:
        unit.executemany("INSERT INTO line VALUES (?, 1)", [("a",), ("a",)])
    assert amounts(database) == []


def test_a_file_that_is_no_database_stops_with_a_hint(tmp_path: Path) -> None:
    """A damaged file, and a folder that does not exist, halt with the operator's next step."""
    (tmp_path / "broken.db").write_bytes(b"this is no database, " * 100)
    for name, wanted in (("broken.db", "restore the last good copy"), ("missing/books.db", "Check that the path")):
        url = f"sqlite:///{tmp_path}/{name}"
        with pytest.raises((HaltError, sqlite3.DatabaseError)) as caught, Database(url).read() as unit:
            unit.query("SELECT * FROM sqlite_master")
        assert isinstance(caught.value, HaltError)
        assert wanted in caught.value.hint


@pytest.mark.parametrize("url", ["mysql://root:hunter2@db/books", "books.db", ""])
def test_an_unknown_database_is_a_problem_without_its_password(url: str) -> None:
    """An address of another kind is a config problem that shows no password."""
    with pytest.raises(ConfigError) as caught:
        Database(url)
    assert "hunter2" not in str(caught.value)
    assert "sqlite:///FILE" in str(caught.value)


def test_ids_sort_by_time_of_making() -> None:
    """Ids strictly increase within a process, at one instant, later, and even when the clock goes back."""
    made = [new_id("inv", NOW) for _ in range(5000)]
    made += [new_id("inv", NOW + timedelta(seconds=10)), new_id("inv", NOW - timedelta(days=1))]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert all(one.startswith("inv_") and len(one) == 22 for one in made)


def test_the_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    """A second process is refused with the verb and process id of the first, until that one is killed."""
    path = tmp_path / "books.db.lock"
    code = (
        "import sys; from pathlib import Path; from connector.kit import lock\n"
        "with lock.held(Path(sys.argv[1]), 'run'): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(HaltError, match=f"`connector run`, process {holder.pid}") as caught, lock.held(path, "sync"):
            pass
        assert caught.value.code == "ledger-locked"
        holder.kill()
    with lock.held(path, "sync"):
        assert "connector sync" in path.read_text(encoding="utf-8")
