"""The event log: every change of the books is told in it, with before and after, and nothing in it is ever changed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from books_world import Books, at, cancellation, day, delta, item, open_books, terms
from event_replay import assert_the_log_tells_all, last_seq, snapshot, untold
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from connector.billing import events
from connector.billing.events import About
from connector.core.terms import Change, change_to_data
from connector.errors import RejectedError
from connector.ports import CustomerDetails

FIRST = date(2026, 1, 1)
Step = tuple[str, int, int]


def ask(books: Books, kind: str, day_text: str, **data: Any) -> None:
    """Carry out a request of a person; a refusal changes nothing."""
    books.made += 1
    try:
        with books.database.transaction() as unit:
            books.billing.carry_out(kind, data, unit, at(day_text), key=f"it_{books.made}", actor="cli:ann")
    except RejectedError:
        pass


def contract_of(books: Books, number: int) -> str:
    """Return one of the contracts, "" where there is none yet."""
    found = books.rows("SELECT id FROM contract ORDER BY id")
    return str(found[number % len(found)][0]) if found else ""


def number_of(books: Books, number: int) -> str:
    """Return one of the invoice numbers."""
    found = books.rows("SELECT number FROM invoice WHERE number <> '' ORDER BY id")
    return str(found[number % len(found)][0]) if found else "INV-0000"


def _change(kind: str, **more: Any) -> Callable[[Books, str, int, str], None]:
    def act(books: Books, day_text: str, number: int, deal: str) -> None:
        change = Change(id=deal, kind=kind, effective=day(day_text), made_at=day(day_text), **more)  # type: ignore[arg-type]
        if contract_id := contract_of(books, number):
            books.change(day_text, contract_id, change)

    return act


def _create(books: Books, day_text: str, number: int, deal: str) -> None:
    end = None if number % 2 else (date.fromisoformat(day_text) + timedelta(days=365)).isoformat()
    agreed = terms(day_text, end, items=[item(quantity=1 + number % 3)])
    books.apply(day_text, books.command("create", deal, terms=agreed, account=f"001{'ABC'[number % 3]}"), hold=number % 5 == 0)


def _amend(books: Books, day_text: str, number: int, deal: str) -> None:
    if contract_id := contract_of(books, number):
        behavior = ("always_invoice", "create_prorations", "none")[number % 3]
        books.change(day_text, contract_id, delta(deal, day_text, (-1, 2)[number % 2], proration_behavior=behavior))


def _cancel(books: Books, day_text: str, number: int, deal: str) -> None:
    if contract_id := contract_of(books, number):
        books.change(day_text, contract_id, cancellation(deal, day_text, proration_behavior="create_prorations"))


def _withdraw(books: Books, day_text: str, number: int, deal: str) -> None:
    rows = books.rows("SELECT deal FROM contract ORDER BY id")
    if rows:
        books.apply(day_text, books.command("withdraw", str(rows[number % len(rows)][0])))


def _withdraw_change(books: Books, day_text: str, number: int, deal: str) -> None:
    rows = books.rows("SELECT deal, contract_id FROM change ORDER BY deal")
    if rows:
        found, contract_id = rows[number % len(rows)]
        books.apply(day_text, books.command("withdraw_change", found, contract_id=contract_id))


def _details(books: Books, day_text: str, number: int, deal: str) -> None:
    rows = books.rows("SELECT t.deal, c.account FROM contract t JOIN customer c ON c.id = t.customer_id ORDER BY t.id")
    if rows:
        found, account = rows[number % len(rows)]
        account = ("001A", account, account)[number % 3]  # one of three follows a merge of accounts
        new = CustomerDetails(account=account, name=f"Acme {number}", email="new@acme.example")
        books.apply(day_text, books.command("details", found, customer=new))


def _bill(books: Books, day_text: str, number: int, deal: str) -> None:
    books.bill(day_text, hold=number % 4 == 0, chunk=(200, 2)[number % 2])


def _asked(kind: str, *given: dict[str, Any]) -> Callable[[Books, str, int, str], None]:
    def act(books: Books, day_text: str, number: int, deal: str) -> None:
        ask(books, kind, day_text, invoice=number_of(books, number), **given[number % len(given)])

    return act


def _due(books: Books, day_text: str, number: int, deal: str) -> None:
    ask(books, "invoice.due", day_text, invoice=number_of(books, number), on=day_text)


def _one_off(books: Books, day_text: str, number: int, deal: str) -> None:
    contract = {"contract": contract_of(books, number)} if number % 2 else {}
    lines = [{"description": "Setup", "unit_amount": "15.00"}]
    ask(books, "invoice.create", day_text, account="001A", currency="EUR", lines=lines, **contract)


STEPS: dict[str, Callable[[Books, str, int, str], None]] = {
    "create": _create,
    "amend": _amend,
    "cancel": _cancel,
    "pause": _change("pause", pause_behavior="credit"),
    "void while paused": _change("pause", pause_behavior="void"),
    "resume": _change("resume"),
    "renew": _change("renew"),
    "withdraw": _withdraw,
    "withdraw change": _withdraw_change,
    "details": _details,
    "bill": _bill,
    "credit": _asked("invoice.credit", {"amount": 1000, "credit": "all"}, {"amount": 500}, {"credit": "all"}),
    "refund": _asked("invoice.refund", {}, {"amount": 700}),
    "void": _asked("invoice.void", {}),
    "give up": _asked("invoice.uncollectible", {}),
    "pay": _asked("invoice.pay", {}, {"amount": 400}),
    "reissue": _asked("invoice.reissue", {}),
    "due": _due,
    "one-off": _one_off,
}

steps = st.lists(st.tuples(st.sampled_from([*STEPS, "bill", "bill", "create"]), st.integers(0, 40), st.integers(0, 30)), max_size=14)


def play(books: Books, taken: list[Step]) -> None:
    """Carry out steps, each told in full, and hold the log against the books at the end."""
    today = FIRST
    _create(books, today.isoformat(), 1, "D0")
    for count, (name, number, days) in enumerate(taken, 1):
        today += timedelta(days=days)
        before, seq = snapshot(books), last_seq(books)
        STEPS[name](books, today.isoformat(), number, f"D{count}")
        assert untold(books, before, seq) == []
    assert_the_log_tells_all(books)


@settings(max_examples=int(os.environ.get("EVENT_EXAMPLES", "50")))
@given(steps)
@example([("create", 0, 0), ("bill", 31, 4), ("bill", 1, 0), ("pay", 0, 0), ("credit", 0, 0), ("bill", 31, 1), ("details", 3, 0)])
def test_every_change_of_the_books_is_told_and_the_log_alone_gives_them_back(taken: list[Step]) -> None:
    """In random histories no row of the books changes without an event of what it is about; the events alone rebuild the books."""
    with tempfile.TemporaryDirectory() as folder:
        books = open_books(Path(folder))
        play(books, taken)
        books.database.close()


def test_the_database_refuses_to_change_or_delete_an_event(tmp_path: Path) -> None:
    """An UPDATE or a DELETE on the event log fails in the database itself, whoever sends it."""
    books = open_books(tmp_path)
    books.create("D1", "2026-01-01", terms())
    before = books.rows("SELECT * FROM event")
    for statement in ("UPDATE event SET actor = 'nobody'", "DELETE FROM event"):
        with pytest.raises(DBAPIError, match="only added to"), books.database.transaction() as unit:
            unit.execute(statement)
    assert books.rows("SELECT * FROM event") == before != []


def told(books: Books, about: About, **more: Any) -> list[tuple[str, str]]:
    """Return (name, actor) of events, newest first."""
    with books.reading() as unit:
        return [(e.name, e.actor) for e in events.listed(unit, about, **more)]


def test_an_event_names_the_deal_the_run_or_the_person_behind_it(tmp_path: Path) -> None:
    """A contract made by a deal is told by the deal's command, a later invoice by the run, a payment by who recorded it."""
    books = open_books(tmp_path)
    contract_id = books.create("D1", "2026-01-01", terms())
    books.bill("2026-02-01")
    ask(books, "invoice.pay", "2026-02-03", invoice="INV-0002")
    assert told(books, About(contract_id=contract_id)) == [
        ("payment.recorded", "cli:ann"), ("invoice.finalized", "run"), ("invoice.fell_overdue", "run"), ("contract.made", "org/D1/r1"), ("invoice.finalized", "org/D1/r1"),
    ]  # fmt: skip
    with books.reading() as unit:
        second = events.about(unit, "00Dorg", invoice="INV-0002", since=at("2026-02-02"))
        assert [(e.name, e.before["status"], e.after["status"]) for e in events.listed(unit, second)] == [("payment.recorded", "open", "paid")]
        third = events.about(unit, "00Dorg", customer="001A")
        newest = events.listed(unit, third, limit=2)
        assert [e.name for e in events.listed(unit, third, before=newest[-1].seq)] == [
            "invoice.fell_overdue", "contract.made", "invoice.finalized", "customer.made",
        ]  # fmt: skip
        with pytest.raises(events.UnknownError, match="invoice"):
            events.about(unit, "00Dorg", invoice="INV-0404")


def test_a_request_about_a_contract_is_told_by_the_person(tmp_path: Path) -> None:
    """A cancellation asked for from the command line names the person, and holds the change with its terms."""
    books = open_books(tmp_path)
    contract_id = books.create("D1", "2026-01-01", terms())
    change = change_to_data(cancellation("it_9", "2026-03-01"))
    with books.database.transaction() as unit:
        data = {"contract": contract_id, "label": "by hand", "change": change}
        books.billing.carry_out("contract.change", data, unit, at("2026-01-02"), key="it_9", actor="cli:ann")
    with books.reading() as unit:
        (event,) = events.listed(unit, About(contract_id=contract_id), limit=1)
    assert (event.name, event.actor, event.data) == ("contract.changed", "cli:ann", {"commands": ["it_9"]})
    assert event.before == {"ends_on": None}
    assert (event.after["ends_on"], event.after["changes"]) == ("2026-02-28", {"it_9": change})


def test_a_status_that_changes_without_an_invoice_is_one_event(tmp_path: Path) -> None:
    """A contract that ended on 31 January is completed by the run of 2 February, which writes one event and no invoice."""
    books = open_books(tmp_path)
    contract_id = books.create("D1", "2026-01-01", terms(end="2026-02-01"))
    seq = last_seq(books)
    assert books.bill("2026-02-02").invoices == 0
    rows = books.rows("SELECT name, contract_id, before, after FROM event WHERE seq > ? AND invoice_id IS NULL", seq)
    status = books.rows("SELECT status FROM contract")[0][0]
    assert rows == [("contract.status_changed", contract_id, '{"status":"active"}', f'{{"status":"{status}"}}')]


def test_what_cannot_be_billed_is_told_once(tmp_path: Path) -> None:
    """A contract that the guard of lines holds back is told of with its reason, and not again at each try an hour later."""
    books = open_books(tmp_path, max_lines=1)
    contract_id = books.create("D1", "2026-01-01", terms())
    seq = last_seq(books)
    for run_day in ("2026-05-01", "2026-05-02", "2026-05-03"):
        assert len(books.bill(run_day).problems) == 1
    ((name, about, after),) = books.rows("SELECT name, contract_id, after FROM event WHERE seq > ? AND name NOT LIKE 'invoice%'", seq)
    assert (name, about) == ("contract.not_billed", contract_id)
    assert "the guard is 1" in after
