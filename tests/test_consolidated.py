"""One invoice for all contracts of a customer that fall due in one run: in the books, from the first line to the last cent."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from books_world import Books, at, cancellation, delta, item, open_books, terms
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.billing.parts import Part, both, shares
from connector.billing.store import Sums
from connector.core.terms import ContractTerms
from connector.ports import CustomerDetails, HowBilled, IntentResult, Standing

ACME = CustomerDetails(account="001A", name="Acme", email="ap@acme.example", is_consolidated=True)


def made(books: Books, deal: str, day: str, agreed: ContractTerms | None = None, **more: Any) -> str:
    """Make a contract of Acme, who gets one invoice for all."""
    return books.create(deal, day, agreed or terms(day), customer=more.pop("customer", ACME), **more)


def asked(books: Books, kind: str, day: str, **data: Any) -> IntentResult:
    """Carry out a person's request on a day."""
    books.made += 1
    with books.database.transaction() as unit:
        return books.billing.carry_out(kind, data, unit, at(day), key=f"it_{books.made:06}", actor="cli")


def sums_of(books: Books, *deals: str, day: str) -> Sums:
    """Return what deals count in all."""
    found = [books.standing(deal, day) for deal in deals]
    total = Sums()
    for s in found:
        total = both(total, Sums(billed=s.billed, paid=s.paid, due=s.due))
    return total


def counted(standing: Standing) -> tuple[int, int, int]:
    """Return billed, paid and due of a deal."""
    return standing.billed, standing.paid, standing.due


def test_two_contracts_share_the_invoice_of_a_run(tmp_path: Path) -> None:
    """60.00 and 30.00 due on 1 January: applying bills nothing, the run makes one invoice over 90.00 with two parts."""
    books = open_books(tmp_path)
    one = made(books, "006A", "2026-01-01", terms("2026-01-01", items=[item("gold", 6000)]))
    two = made(books, "006B", "2026-01-01", terms("2026-01-01", items=[item("help", 3000)]))
    assert books.invoices() == []
    waiting = books.standing("006A", "2026-01-01")
    assert (waiting.contract_status, waiting.next_on, waiting.next_amount) == ("active", date(2026, 1, 1), 6000)
    run = books.bill("2026-01-01")
    assert (run.contracts, run.invoices, run.lines) == (2, 1, 2)
    assert set(run.deals) == {"006A", "006B"}
    assert books.invoices() == [("INV-0001", "open", "2026-01-01", 9000)]
    assert books.rows("SELECT contract_id, deal FROM invoice") == [("", "")]
    assert books.rows("SELECT contract_id, deal, total FROM invoice_part ORDER BY place") == [(one, "006A", 6000), (two, "006B", 3000)]
    first = books.standing("006A", "2026-01-02")
    assert (counted(first), first.next_on, first.next_amount) == ((6000, 0, 6000), date(2026, 2, 1), 6000)
    assert first.last is not None
    assert (first.last.number, first.last.total) == ("INV-0001", 9000)
    assert counted(books.standing("006B", "2026-01-02")) == (3000, 0, 3000)
    assert books.bill("2026-01-02").invoices == 0
    assert books.bill("2026-02-01").invoices == 1
    assert books.standing("006B", "2026-02-15").contract_status == "past_due"


def test_who_pays_otherwise_or_in_another_currency_gets_another_invoice(tmp_path: Path) -> None:
    """Three contracts in euro, one of them due after 60 days, and one in dollars: three invoices; the lone ones have their contract."""
    books = open_books(tmp_path)
    made(books, "006A", "2026-01-01")
    made(books, "006B", "2026-01-01")
    made(books, "006C", "2026-01-01", how=HowBilled(days_until_due=60))
    made(books, "006D", "2026-01-01", replace(terms("2026-01-01"), currency="usd"))
    books.bill("2026-01-01")
    rows = books.rows("SELECT deal, currency, due_on, total FROM invoice ORDER BY number")
    assert rows == [
        ("", "eur", "2026-01-31", 6000), ("006C", "eur", "2026-03-02", 3000), ("006D", "usd", "2026-01-31", 3000),
    ]  # fmt: skip


def test_the_balance_counts_towards_the_whole_and_the_cent_is_kept(tmp_path: Path) -> None:
    """Of 90.00, 10.00 come from the balance; of 80.01 that are left, 26.67 arrive: each deal's shares add up to the invoice's."""
    books = open_books(tmp_path)
    made(books, "006A", "2026-01-01", terms("2026-01-01", items=[item("gold", 6001)]))
    made(books, "006B", "2026-01-01", terms("2026-01-01", items=[item("help", 3000)]))
    asked(books, "customer.adjust", "2026-01-01", customer="001A", amount=-1000, currency="eur", reason="gift")
    books.bill("2026-01-01")
    assert books.rows("SELECT total, amount_due, starting_balance, ending_balance FROM invoice") == [(9001, 8001, -1000, 0)]
    asked(books, "invoice.pay", "2026-01-02", invoice="INV-0001", amount=2667)
    assert sums_of(books, "006A", "006B", day="2026-01-03") == Sums(billed=9001, paid=2667, due=5334)
    assert counted(books.standing("006A", "2026-01-03")) == (6001, 1778, 3556)


def test_a_note_on_one_line_counts_for_its_contract_alone(tmp_path: Path) -> None:
    """Of 90.00 paid, 20.00 of the first line go back and 10.00 of the second to the balance: billed 40.00 and 20.00, paid 40.00 and 30.00."""
    books = open_books(tmp_path)
    made(books, "006A", "2026-01-01", terms("2026-01-01", items=[item("gold", 6000)]))
    made(books, "006B", "2026-01-01", terms("2026-01-01", items=[item("help", 3000)]))
    books.bill("2026-01-01")
    done = asked(books, "invoice.pay", "2026-01-02", invoice="INV-0001")
    assert set(done.deals) == {"006A", "006B"}
    asked(books, "invoice.credit", "2026-01-03", invoice="INV-0001", lines=[{"line": 1, "amount": 2000}], refund="all", reason="late")
    asked(books, "invoice.credit", "2026-01-03", invoice="INV-0001", lines=[{"line": 2, "amount": 1000}], credit="all", reason="late")
    assert counted(books.standing("006A", "2026-01-04")) == (4000, 4000, 0)
    assert counted(books.standing("006B", "2026-01-04")) == (2000, 3000, 0)
    with books.reading() as unit:
        views = books.billing.changed_invoices(["006B"], unit)
    assert [(v.number, v.deal, v.contract_id, v.total) for v in views] == [
        ("INV-0001", None, "", 9000), ("CN-0001", None, "", -2000), ("CN-0002", None, "", -1000),
    ]  # fmt: skip


def test_voided_and_issued_again(tmp_path: Path) -> None:
    """A shared invoice that is issued again keeps its parts; the void one counts nowhere; voided for good, nothing is left or billed anew."""
    books = open_books(tmp_path)
    made(books, "006A", "2026-01-01", terms("2026-01-01", items=[item("gold", 6000)]))
    made(books, "006B", "2026-01-01", terms("2026-01-01", items=[item("help", 3000)]))
    books.bill("2026-01-01")
    asked(books, "invoice.reissue", "2026-01-02", invoice="INV-0001")
    assert counted(books.standing("006A", "2026-01-03")) == (6000, 0, 6000)
    asked(books, "invoice.void", "2026-01-03", invoice="INV-0002")
    assert counted(books.standing("006A", "2026-01-04")) == (0, 0, 0)
    assert books.bill("2026-01-05").invoices == 0


def test_drafts_of_several_contracts_are_made_anew_as_a_whole(tmp_path: Path) -> None:
    """While the CRM is silent the run leaves one draft; a change of one contract drops it, and the next run bills both, once."""
    books = open_books(tmp_path)
    one = made(books, "006A", "2026-01-01")
    made(books, "006B", "2026-01-01")
    late = made(books, "006C", "2026-01-05", terms("2026-01-05"))
    assert books.bill("2026-01-01", hold=True).drafts == 1
    held = books.standing("006B", "2026-01-01")
    assert (held.next_on, held.next_amount, counted(held)) == (date(2026, 1, 1), 3000, (0, 0, 0))
    assert books.bill("2026-01-05", hold=True).drafts == 1
    books.change("2026-01-06", one, delta("006X", "2026-01-06", 1))
    assert books.rows("SELECT deal FROM invoice") == [("006C",)]
    run = books.bill("2026-01-06", chunk=1)
    assert (run.invoices, run.drafts) == (1, 0)
    assert len(books.rows("SELECT contract_id FROM invoice_part")) == 3
    assert books.rows("SELECT contract_id, COUNT(*) FROM line WHERE contract_id = ? GROUP BY contract_id", late) == [(late, 1)]
    assert books.invoices() == [("INV-0001", "open", "2026-01-06", 3 * 3000 + 26 * 3000 // 31)]
    assert books.bill("2026-01-06").invoices == 0


def test_switching_on_and_off_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Alone in January, together in February, alone in March: six lines in all, whatever waited when it was switched."""
    books = open_books(tmp_path)
    alone = replace(ACME, is_consolidated=False)
    for deal in ("006A", "006B"):
        made(books, deal, "2026-01-01", terms("2026-01-01"), customer=alone)
    assert len(books.invoices()) == 2
    asked(books, "customer.settle", "2026-01-15", customer="Acme", consolidate="yes")
    assert books.bill("2026-02-01").invoices == 1
    three = made(books, "006C", "2026-02-10", terms("2026-02-10"), customer=alone)
    assert three not in {row[0] for row in books.rows("SELECT contract_id FROM line")}
    asked(books, "customer.settle", "2026-02-11", customer="Acme", consolidate="crm")
    assert books.bill("2026-02-11").invoices == 1
    assert books.bill("2026-03-01").invoices == 2
    assert books.rows("SELECT COUNT(*), COUNT(DISTINCT key), SUM(amount) FROM line") == [(7, 7, 7 * 3000)]
    assert sums_of(books, "006A", "006B", "006C", day="2026-03-02").billed == 7 * 3000


def test_all_of_a_customer_come_in_one_chunk(tmp_path: Path) -> None:
    """Seven contracts due on three different days are one invoice, though a chunk holds two contracts."""
    books = open_books(tmp_path)
    for n in range(7):
        made(books, f"006{n}", "2026-01-01", terms(f"2026-01-0{n % 3 + 1}"))
    run = books.bill("2026-01-03", chunk=2)
    assert run.invoices == 1
    assert books.rows("SELECT COUNT(*), SUM(total) FROM invoice_part") == [(7, 7 * 3000)]


def test_a_contract_that_cannot_be_billed_leaves_the_others(tmp_path: Path) -> None:
    """After two missed months one contract would get four lines, of three allowed: it is parked, the others get their invoice without it."""
    books = open_books(tmp_path, max_lines=3)
    for deal in ("006A", "006B"):
        made(books, deal, "2026-01-01")
    wide = made(books, "006C", "2026-01-01", terms("2026-01-01", items=[item("gold"), item("help")]))
    run = books.bill("2026-02-01")
    assert (run.invoices, [p.code for p in run.problems]) == (1, ["too-many-lines"])
    assert books.rows("SELECT deal, total FROM invoice_part ORDER BY place") == [("006A", 6000), ("006B", 6000)]
    assert books.rows("SELECT problem <> '' FROM contract WHERE id = ?", wide) == [(1,)]


def test_a_credit_of_one_contract_lowers_the_shared_invoice(tmp_path: Path) -> None:
    """One contract ends mid month with a credit of 15.48, the other is billed 30.00: one invoice over 14.52, all of it due for the other."""
    books = open_books(tmp_path)
    one = made(books, "006A", "2026-01-01")
    made(books, "006B", "2026-01-16", terms("2026-01-16"))
    books.bill("2026-01-01")
    books.change("2026-01-16", one, cancellation("006X", "2026-01-16", prorate=True, invoice_now=True))
    assert books.bill("2026-01-16").invoices == 1
    number, status, _, total = books.invoices()[-1]
    assert (number, status, total) == ("INV-0002", "open", 3000 - 1548)
    assert counted(books.standing("006A", "2026-01-17")) == (3000 - 1548, 0, 3000)
    assert counted(books.standing("006B", "2026-01-17")) == (3000, 0, 1452)
    change = books.standing("006X", "2026-01-17")
    assert (change.credited, change.last and change.last.number) == (-1548, "INV-0002")


_PARTS = st.lists(
    st.tuples(st.integers(-10_000, 10_000), st.integers(0, 5_000), st.integers(0, 2_000)).map(
        lambda t: Part(invoice_id="in_1", contract_id="ct", deal="d", total=t[0], credited=t[1], to_balance=min(t[1], t[2]))
    ),
    min_size=1, max_size=8,
)  # fmt: skip


@given(parts=_PARTS, paid=st.integers(0, 30_000), due=st.integers(0, 30_000))
def test_shares_add_up_to_the_invoice(parts: list[Part], paid: int, due: int) -> None:
    """Whatever was paid, credited and is due: no share is below zero, and they are the invoice's to the cent."""
    found = shares(parts, paid=paid, due=due)
    assert sum(s.paid for s in found) == paid
    assert sum(s.due for s in found) == due
    assert all(s.paid >= 0 and s.due >= 0 for s in found)
    assert [s.billed for s in found] == [p.total - p.credited for p in parts]


# ---------------------------------------------------------------- together or alone: the same lines

_STEP = st.tuples(
    st.integers(0, 25),
    st.sampled_from(["more", "less", "next", "cancel", "new", "bill", "hold", "switch"]),
    st.integers(0, 1),
    st.integers(1, 3),
)


def _lines(books: Books) -> list[tuple[Any, ...]]:
    """Return the lines without the ids that differ between two books."""
    sql = (
        "SELECT t.deal, l.item_id, l.kind, l.service_start, l.service_end, l.quantity, l.amount, l.change_id FROM line l"
        " JOIN contract t ON t.id = l.contract_id JOIN invoice i ON i.id = l.invoice_id AND i.status <> 'draft' ORDER BY 1, 2, 3, 4, 5, 6, 7, 8"
    )
    return books.rows(sql)


def _played(books: Books, who: CustomerDetails, steps: list[tuple[int, str, int, int]], *, switches: bool) -> None:
    """Play the steps, billing on the day of each, so that what waits for a run is billed as soon as what does not."""
    day, is_on = date(2026, 1, 1), True
    ids: Mapping[str, str] = {d: made(books, d, "2026-01-01", terms("2026-01-01"), customer=who) for d in ("006A", "006B")}
    books.bill("2026-01-01")
    for n, (days, what, which, count) in enumerate(steps):
        day += timedelta(days=days)
        text, contract = day.isoformat(), ids["006A" if which == 0 else "006B"]
        if what in ("more", "less"):
            books.change(text, contract, delta(f"006X{n}", text, count if what == "more" else -count))
        elif what == "next":
            books.change(text, contract, delta(f"006X{n}", text, count, proration_behavior="create_prorations"))
        elif what == "cancel":
            books.change(text, contract, cancellation(f"006X{n}", text, prorate=True, invoice_now=True))
        elif what == "new":
            made(books, f"006N{n}", text, terms(text), customer=who)
        elif what == "switch" and switches:
            is_on = not is_on
            asked(books, "customer.settle", text, customer="001A", consolidate="yes" if is_on else "no")
        if what == "hold":
            books.bill(text, hold=True)
        else:
            books.bill(text)
    books.bill((day + timedelta(days=40)).isoformat())


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(_STEP, max_size=7))
def test_together_or_alone_the_lines_are_the_same(steps: list[tuple[int, str, int, int]]) -> None:
    """Any history of two contracts and more: on shared invoices, on switched ones and alone, the lines are the same, and all parts add up."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for name, who, switches in (("alone", replace(ACME, is_consolidated=False), False), ("shared", ACME, False), ("both", ACME, True)):
            Path(folder, name).mkdir()
            books = open_books(Path(folder, name))
            _played(books, who, steps, switches=switches)
            found.append(_lines(books))
            assert books.rows(
                "SELECT i.id FROM invoice i JOIN invoice_part p ON p.invoice_id = i.id GROUP BY i.id, i.total HAVING SUM(p.total) <> i.total"
            ) == []
            assert len({row[0] for row in books.rows("SELECT key FROM line")}) == len(books.rows("SELECT key FROM line"))
            deals = [row[0] for row in books.rows("SELECT deal FROM contract")]
            billed = books.rows("SELECT COALESCE(SUM(total), 0), COALESCE(SUM(CASE WHEN status = 'open' THEN amount_due END), 0) FROM invoice WHERE status <> 'draft'")
            sums = sums_of(books, *deals, day="2027-01-01")
            assert (sums.billed, sums.due) == billed[0]
            books.database.close()
        assert found[0] == found[1]
        assert found[0] == found[2]


def test_a_run_in_small_chunks_issues_every_shared_draft(tmp_path: Path) -> None:
    """Drafts of three customers with two contracts each, those of the first due again: a run of three contracts a chunk leaves none."""
    books = open_books(tmp_path)
    for number, start in enumerate(("2026-01-01", "2026-01-10", "2026-01-11")):
        who = replace(ACME, account=f"001{number}")
        for deal in ("A", "B"):
            made(books, f"006{deal}{number}", start, customer=who)
        books.bill(start, hold=True)
    books.bill("2026-02-05", chunk=3)
    assert sorted((status, total) for _, status, _, total in books.invoices()) == [("open", 6000), ("open", 6000), ("open", 12000)]
