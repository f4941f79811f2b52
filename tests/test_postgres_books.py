"""The books on PostgreSQL: the tests of commands, notes, runs and the event log once more, against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import books_world
import postgres
import pytest
import test_billing_commands
import test_billing_notes
import test_billing_run
import test_events

for _module in (test_billing_commands, test_billing_notes, test_billing_run, test_events):
    globals().update({name: value for name, value in vars(_module).items() if name.startswith("test_") or name == "books"})
del globals()["test_every_change_of_the_books_is_told_and_the_log_alone_gives_them_back"]  # a database an example takes too long


@pytest.fixture(autouse=True)
def _on_postgres() -> Iterator[None]:
    """Let every book that these tests open be a database of the server."""
    books_world.Elsewhere.database_url = postgres.new_database
    yield
    books_world.Elsewhere.database_url = None
    for database in books_world.Elsewhere.opened:
        database.close()
    books_world.Elsewhere.opened.clear()


def test_one_history_is_told_in_full(tmp_path: Path) -> None:
    """Drafts, notes, payments, a merge of accounts, a pause and a reissue: each change is told, and the log alone gives them back."""
    books = books_world.open_books(tmp_path)
    taken = [
        ("create", 0, 0), ("bill", 4, 31), ("bill", 0, 1), ("pay", 0, 0), ("credit", 0, 0), ("bill", 1, 31), ("create", 2, 1), ("details", 3, 3),
        ("void", 1, 0), ("reissue", 2, 1), ("void while paused", 0, 2), ("bill", 1, 31), ("one-off", 1, 0), ("refund", 0, 1), ("cancel", 1, 1),
    ]  # fmt: skip
    test_events.play(books, taken)
