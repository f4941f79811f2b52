"""Several processes that bill at once: every contract once, numbers without a gap or a double, whoever rolls back or dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import postgres
import pytest
from books_world import Books, at, item, open_books, terms

from connector.billing.internal import InternalBilling
from connector.errors import HaltError
from connector.kit.db import Database

WORKER = Path(__file__).with_name("billing_worker.py")
CONTRACTS = 60
RUN_DAY = "2026-02-01"


def filled(books: Books) -> str:
    """Make contracts of 20 customers, invoiced for January and due again on 1 February; return the database's address."""
    commands = [
        books.command("create", f"D{n}", terms=terms(items=[item(quantity=1 + n % 4)]), account=f"001{n % 20:02}") for n in range(CONTRACTS)
    ]
    assert all(outcome.problem is None for outcome in books.apply("2026-01-01", *commands))
    return books.database.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")


def start(url: str, seed: int, manner: str) -> subprocess.Popen[bytes]:
    """Start a process that bills."""
    return subprocess.Popen([sys.executable, str(WORKER), url, RUN_DAY, str(seed), manner])


def bill_together(url: str) -> None:
    """Let five processes bill at once, two of which die in the middle of a transaction; then one more, for what they left."""
    running = [start(url, seed, manner) for seed, manner in enumerate(("steady", "shaky", "doomed", "doomed", "shaky"))]
    ended = [process.wait(timeout=90) for process in running]
    assert [ended[0], ended[1], ended[4]] == [0, 0, 0]
    assert set(ended[2:4]) <= {0, -9}
    assert start(url, 99, "steady").wait(timeout=90) == 0


def assert_billed_once(books: Books) -> None:
    """Every contract has its two invoices, one line each, and the numbers run from 1 without a gap."""
    numbers = [number for (number,) in books.rows("SELECT number FROM invoice ORDER BY number")]
    assert numbers == [f"INV-{n:04d}" for n in range(1, 2 * CONTRACTS + 1)]
    assert books.rows("SELECT next FROM series") == [(2 * CONTRACTS + 1,)]
    assert set(books.rows("SELECT COUNT(*) FROM invoice GROUP BY contract_id")) == {(2,)}
    assert books.rows("SELECT COUNT(*), COUNT(DISTINCT key) FROM line") == [(2 * CONTRACTS, 2 * CONTRACTS)]
    told = books.rows("SELECT COUNT(*), COUNT(DISTINCT invoice_id) FROM event WHERE name = 'invoice.finalized'")
    assert told == [(2 * CONTRACTS, 2 * CONTRACTS)]


def test_runs_at_once_on_sqlite(tmp_path: Path) -> None:
    """On SQLite a transaction that writes lets no other one begin, so that runs take turns and take numbers in turn."""
    books = open_books(tmp_path)
    url = filled(books)
    bill_together(url)
    assert_billed_once(books)
    books.database.close()


def test_runs_at_once_on_postgresql() -> None:
    """On PostgreSQL each run holds the customers whose contracts it bills, and the series until it has committed."""
    books = Books(database=Database(postgres.new_database()), billing=InternalBilling(org="00Dorg", timezone="UTC"))
    url = filled(books)
    bill_together(url)
    assert_billed_once(books)
    books.database.close()


def test_a_run_waits_for_who_changes_the_customer() -> None:
    """A request that holds a customer on PostgreSQL makes a run wait; the run then bills with what the request left."""
    books = Books(database=Database(postgres.new_database()), billing=InternalBilling(org="00Dorg", timezone="UTC"))
    url = filled(books)
    with books.database.transaction() as unit:
        books.billing.carry_out("customer.adjust", {"customer": "00100", "amount": -50, "currency": "eur", "reason": "x"}, unit,
                                at("2026-01-31"), key="it_1", actor="cli")  # fmt: skip
        runner = start(url, 1, "steady")
        with pytest.raises(subprocess.TimeoutExpired):
            runner.wait(timeout=4)
    assert runner.wait(timeout=60) == 0
    assert_billed_once(books)
    used = books.rows("SELECT SUM(ending_balance - starting_balance) FROM invoice")
    assert used == [(50,)]
    books.database.close()


def test_two_postgresql_holders_of_the_ledger() -> None:
    """The ledger's lock on PostgreSQL is the server's: a second holder, wherever it runs, is refused with the name of the first."""
    url = postgres.new_database()
    with Database.lock(url, "run"), pytest.raises(HaltError, match="connector run") as refused, Database.lock(url, "bill"):
        pass
    assert refused.value.code == "ledger-locked"
    with Database.lock(url, "bill"):
        pass


LATER = """
import sys
from books_world import Books, delta
from connector import app
from connector.billing.internal import InternalBilling
from connector.config import Config
database = app.open_database(Config(database=sys.argv[1]), may_migrate=True)
books = Books(database=database, billing=InternalBilling(org="00Dorg", timezone="UTC"))
assert books.change("2026-05-10", sys.argv[2], delta("D2", "2026-05-10", 2)).problem is None
"""


def test_a_clock_that_went_back_does_not_hide_the_last_invoice(tmp_path: Path) -> None:
    """A process whose clock is ten days behind the books still makes the newest ids: its invoice is the last one on the record."""
    books = open_books(tmp_path)
    contract_id = books.create("D1", "2026-05-20", terms("2026-05-01"))
    url = f"sqlite:///{tmp_path / 'books.db'}"
    subprocess.run([sys.executable, "-c", LATER, url, contract_id], cwd=WORKER.parent, check=True, timeout=60)
    last = books.standing("D1", "2026-05-21").last
    assert last is not None
    assert (last.number, last.issued_on.isoformat()) == ("INV-0002", "2026-05-10")
    books.database.close()
