"""What becomes of an issued invoice, on the books alone; every amount is worked out by hand in its test."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from books_world import Books, at, day, delta, item, open_books, terms

from connector.core.terms import Change, TaxRate
from connector.errors import RejectedError

VAT = TaxRate(id="vat", percentage=Decimal(20), inclusive=False)


def ask(books: Books, kind: str, key: str, day: str = "2026-01-10", **data: Any) -> Mapping[str, Any]:
    """Carry out one request in its own transaction."""
    with books.database.transaction() as unit:
        return books.billing.carry_out(kind, data, unit, at(day), key=key, actor="cli").result


def taxed(folder: Path) -> Books:
    """Return books with INV-0001, open: 100.00 for January and 20 % tax, 120.00."""
    books = open_books(folder)
    books.create("D1", "2026-01-01", terms(items=[item(unit_amount=10000)], tax_rates=(VAT,)))
    assert books.invoices() == [("INV-0001", "open", "2026-01-01", 12000)]
    return books


def sums(books: Books) -> tuple[int, int, int]:
    """Return what the deal's record shows as billed, paid and due."""
    standing = books.standing("D1", "2026-01-10")
    return standing.billed, standing.paid, standing.due


def test_credit_on_an_open_invoice_lowers_what_is_due_in_proportion(tmp_path: Path) -> None:
    """60.00 of 120.00 are 50.00 net and 10.00 tax; 60.00 stays due, may be paid, and not more; the same key does it once."""
    books = taxed(tmp_path)
    for _ in range(2):
        done = ask(books, "invoice.credit", "it_1", invoice="INV-0001", amount=6000, reason="late")
        assert (done["note"], done["reduced"], done["open"]) == ("CN-0001", 6000, 6000)
    assert books.rows("SELECT number, total, tax, reduced, refunded FROM credit_note") == [("CN-0001", 6000, 1000, 6000, 0)]
    assert books.rows("SELECT amount, tax FROM credit_note_line") == [(5000, 1000)]
    assert sums(books) == (6000, 0, 6000)
    with pytest.raises(RejectedError, match=r"at most 60.00 EUR"):
        ask(books, "invoice.pay", "it_2", invoice="INV-0001", amount=6001)
    for _ in range(2):
        ask(books, "invoice.pay", "it_3", invoice="INV-0001")
    assert books.rows("SELECT amount, paid_on FROM payment") == [(6000, "2026-01-10")]
    assert books.invoices()[0][1] == "paid"
    assert sums(books) == (6000, 6000, 0)
    events = books.rows("SELECT name, actor, before, after FROM event WHERE actor = 'cli' ORDER BY seq")
    assert [(name, actor) for name, actor, _, _ in events] == [("invoice.credited", "cli"), ("payment.recorded", "cli")]
    assert ('"amount_due":12000' in events[0][2], '"amount_due":6000' in events[0][3]) == (True, True)


def test_credit_of_a_paid_invoice_goes_where_it_is_said(tmp_path: Path) -> None:
    """Of 120.00 paid, 90.00 credited: 40.00 refunded, 30.00 to the balance, 20.00 outside; without a word it is refused."""
    books = taxed(tmp_path)
    ask(books, "invoice.pay", "it_1", invoice="INV-0001")
    with pytest.raises(RejectedError, match="not said where"):
        ask(books, "invoice.credit", "it_2", invoice="INV-0001", amount=9000)
    done = ask(books, "invoice.credit", "it_3", invoice="INV-0001", amount=9000, refund=4000, credit=3000, out_of_band="all")
    assert (done["refunded"], done["credited"], done["out_of_band"], done["reduced"]) == (4000, 3000, 2000, 0)
    assert books.rows("SELECT balances FROM customer") == [('{"eur":-3000}',)]
    assert books.rows("SELECT amount FROM payment ORDER BY amount") == [(-4000,), (-2000,), (12000,)]
    assert sums(books) == (3000, 6000, 0)
    with pytest.raises(RejectedError, match=r"30.00 EUR of it is left"):
        ask(books, "invoice.credit", "it_4", invoice="INV-0001", amount=3001, refund="all")


def test_refund_gives_back_what_was_paid_once(tmp_path: Path) -> None:
    """A refund without an amount is all 120.00; a second one finds nothing, and an open invoice has nothing to refund."""
    books = taxed(tmp_path)
    with pytest.raises(RejectedError, match="only what was paid"):
        ask(books, "invoice.refund", "it_0", invoice="INV-0001")
    ask(books, "invoice.pay", "it_1", invoice="INV-0001")
    for _ in range(2):
        assert ask(books, "invoice.refund", "it_2", invoice="INV-0001")["refunded"] == 12000
    assert sums(books) == (0, 0, 0)
    with pytest.raises(RejectedError, match="only what was paid"):
        ask(books, "invoice.refund", "it_3", invoice="INV-0001")


def test_credit_by_line_never_takes_more_than_the_line(tmp_path: Path) -> None:
    """Two of three units at 100.00 are 200.00 net and 40.00 tax; then 100.00 net is left, and 100.01 is refused."""
    books = open_books(tmp_path)
    books.create("D1", "2026-01-01", terms(items=[item(unit_amount=10000, quantity=3)], tax_rates=(VAT,)))
    done = ask(books, "invoice.credit", "it_1", invoice="INV-0001", lines=[{"line": 1, "quantity": "2"}])
    assert (done["total"], done["open"]) == (24000, 12000)
    with pytest.raises(RejectedError, match=r"100.00 EUR of it is left"):
        ask(books, "invoice.credit", "it_2", invoice="INV-0001", lines=[{"line": 1, "amount": 10001}])


def test_a_change_credits_only_what_a_note_left_of_the_line(tmp_path: Path) -> None:
    """Of 2 x 31.00 for January 60.00 were credited by a note: giving up one unit on the 16th credits 2.00, not 16.00."""
    books = open_books(tmp_path)
    contract = books.create("D1", "2026-01-01", terms(items=[item(unit_amount=3100, quantity=2)]))
    ask(books, "invoice.credit", "it_1", invoice="INV-0001", amount=6000)
    assert books.change("2026-01-16", contract, delta("D2", "2026-01-16", -1)).problem is None
    assert books.rows("SELECT SUM(amount) FROM line WHERE kind = 'credit'") == [(-200,)]


def test_a_void_invoice_is_not_billed_again_nor_credited(tmp_path: Path) -> None:
    """A voided January stays unbilled: the run bills February alone; a change in January credits nothing of it."""
    books = open_books(tmp_path)
    contract = books.create("D1", "2026-01-01", terms(items=[item(unit_amount=3100, quantity=2)]))
    for _ in range(2):
        ask(books, "invoice.void", "it_1", invoice="INV-0001")
    assert books.invoices() == [("INV-0001", "void", "2026-01-01", 6200)]
    assert books.bill("2026-01-20").invoices == 0
    assert books.change("2026-01-21", contract, delta("D2", "2026-01-16", -1)).problem is None
    assert books.rows("SELECT amount FROM line WHERE kind = 'credit'") == []
    assert books.standing("D1", "2026-01-21").due <= 3100
    books.bill("2026-02-01")
    assert [line for line in books.lines() if line[0] == "2026-02-01"] == [("2026-02-01", "2026-03-01", 3100)]
    with pytest.raises(RejectedError, match="is void already"):
        ask(books, "invoice.void", "it_2", invoice="INV-0001")


def test_reissue_of_an_open_invoice_bills_nothing_twice(tmp_path: Path) -> None:
    """The old one is void, the new one open with the same lines; runs add nothing; 16 of 31 days of one unit, 16.00, are credited once."""
    books = open_books(tmp_path)
    contract = books.create("D1", "2026-01-01", terms(items=[item(unit_amount=3100, quantity=2)]))
    for _ in range(2):
        assert ask(books, "invoice.reissue", "it_1", invoice="INV-0001")["number"] == "INV-0002"
    assert books.invoices() == [("INV-0001", "void", "2026-01-01", 6200), ("INV-0002", "open", "2026-01-10", 6200)]
    assert sums(books) == (6200, 0, 6200)
    assert books.bill("2026-01-15").invoices == 0
    assert books.change("2026-01-16", contract, delta("D2", "2026-01-16", -1)).problem is None
    assert books.rows("SELECT SUM(amount) FROM line WHERE is_proration") == [(-1600,)]


def test_reissue_of_a_paid_invoice_is_paid_from_the_balance(tmp_path: Path) -> None:
    """120.00 paid: CN-0001 puts 120.00 on the balance, which pays INV-0002 at once; nothing is due and no money moved."""
    books = taxed(tmp_path)
    ask(books, "invoice.pay", "it_1", invoice="INV-0001")
    done = ask(books, "invoice.reissue", "it_2", invoice="INV-0001")
    assert (done["note"], done["number"], done["status"]) == ("CN-0001", "INV-0002", "paid")
    assert books.rows("SELECT balances FROM customer") == [("{}",)]
    assert sums(books) == (12000, 12000, 0)


def test_one_off_invoice(tmp_path: Path) -> None:
    """2 x 75.00 and 20 % tax are 180.00, billed to the account without a contract, once for the same key."""
    books = taxed(tmp_path)
    lines = [{"description": "Workshop", "quantity": 2, "unit_amount": "7500", "tax": "20"}]
    for _ in range(2):
        done = ask(books, "invoice.create", "it_1", account="001A", currency="EUR", lines=lines)
        assert (done["number"], done["total"]) == ("INV-0002", 18000)
    assert books.rows("SELECT contract_id, deal, tax, due_on FROM invoice WHERE number = 'INV-0002'") == [("", "", 3000, "2026-02-09")]
    with pytest.raises(RejectedError, match="no customer 001X"):
        ask(books, "invoice.create", "it_2", account="001X", currency="EUR", lines=lines)


def test_a_void_invoice_is_not_said_to_need_a_credit(tmp_path: Path) -> None:
    """Voiding twice is refused in words that send nobody to write a credit note."""
    books = taxed(tmp_path)
    ask(books, "invoice.void", "it_1", invoice="INV-0001")
    with pytest.raises(RejectedError, match=r"INV-0001 is void already\. Nothing is to be done\."):
        ask(books, "invoice.void", "it_2", invoice="INV-0001")


def test_the_due_date_that_an_invoice_has_leaves_no_event(tmp_path: Path) -> None:
    """A due date that is given twice moves once: the second time nothing changes, and nothing is noted."""
    books = taxed(tmp_path)
    for key in ("it_1", "it_2"):
        assert ask(books, "invoice.due", key, invoice="INV-0001", on="2026-03-15") == {"invoice": "INV-0001", "due_on": "2026-03-15"}
    assert books.rows("SELECT COUNT(*) FROM event WHERE name = 'invoice.due_moved'") == [(1,)]


def test_due_date_and_giving_up(tmp_path: Path) -> None:
    """An open invoice gets another due date, not before its issue; given up, it is not due and takes no payment."""
    books = taxed(tmp_path)
    for _ in range(2):
        ask(books, "invoice.due", "it_1", invoice="INV-0001", on="2026-03-15")
    assert books.rows("SELECT due_on FROM invoice") == [("2026-03-15",)]
    with pytest.raises(RejectedError, match="was issued on 2026-01-01"):
        ask(books, "invoice.due", "it_2", invoice="INV-0001", on="2025-12-31")
    for _ in range(2):
        ask(books, "invoice.uncollectible", "it_3", invoice="INV-0001")
    assert sums(books) == (12000, 0, 0)
    with pytest.raises(RejectedError, match="only an open invoice takes a payment"):
        ask(books, "invoice.pay", "it_4", invoice="INV-0001")


def reduced(folder: Path) -> Books:
    """Return books with INV-0001, 2 x 31.00 for January, open, of which INV-0002 credited 2 x 31.00 from the 16th on: 32.00; it charges the one unit left."""
    books = open_books(folder)
    contract = books.create("D1", "2026-01-01", terms(items=[item(unit_amount=3100, quantity=2)]))
    assert books.change("2026-01-16", contract, delta("D2", "2026-01-16", -1)).problem is None
    books.bill("2026-02-01")
    assert [row[0] for row in books.rows("SELECT i.number FROM line l JOIN invoice i ON i.id = l.invoice_id WHERE l.kind = 'credit'")] == ["INV-0002"]
    return books


def test_what_a_change_credited_is_not_given_back_again(tmp_path: Path) -> None:
    """Of 62.00 a change credited 32.00: voiding is refused, and all that can still be credited is 30.00."""
    books = reduced(tmp_path)
    with pytest.raises(RejectedError, match=r"32.00 EUR of INV-0001 was credited on a later invoice"):
        ask(books, "invoice.void", "it_1", invoice="INV-0001")
    with pytest.raises(RejectedError, match=r"32.00 EUR of it was credited on later invoices, 30.00 EUR of it is left"):
        ask(books, "invoice.credit", "it_2", invoice="INV-0001", amount=3001)
    with pytest.raises(RejectedError, match=r"30.00 EUR of it is left"):
        ask(books, "invoice.credit", "it_3", invoice="INV-0001", lines=[{"line": 1, "amount": 3001}])
    done = ask(books, "invoice.credit", "it_4", invoice="INV-0001")
    assert (done["total"], done["open"]) == (3000, 3200)
    with pytest.raises(RejectedError, match=r"0.00 EUR of it is left"):
        ask(books, "invoice.credit", "it_5", invoice="INV-0001", amount=1)


def test_a_refund_leaves_what_a_change_credited(tmp_path: Path) -> None:
    """All 62.00 were paid and 32.00 of them credited by a change: the refund of the rest is 30.00."""
    books = reduced(tmp_path)
    ask(books, "invoice.pay", "it_1", invoice="INV-0001")
    assert ask(books, "invoice.refund", "it_2", invoice="INV-0001")["refunded"] == 3000


def test_an_invoice_issued_again_takes_what_a_change_credited_with_it(tmp_path: Path) -> None:
    """The new invoice is over 62.00 as the old one; the 32.00 that a change credited now count against it."""
    books = reduced(tmp_path)
    ask(books, "invoice.reissue", "it_1", invoice="INV-0001")
    new = max(number for number, _, _, _ in books.invoices())
    assert next(row for row in books.invoices() if row[0] == new)[3] == 6200
    with pytest.raises(RejectedError, match="credited on a later invoice"):
        ask(books, "invoice.void", "it_2", invoice=new)
    assert ask(books, "invoice.credit", "it_3", invoice=new)["total"] == 3000


def test_an_invoice_voided_by_a_pause_is_not_credited_by_a_change(tmp_path: Path) -> None:
    """Service goes on while February is billed void: a unit given up on 15 February credits nothing of it."""
    books = open_books(tmp_path)
    contract = books.create("D1", "2026-01-01", terms(items=[item(unit_amount=2800, quantity=2)]))
    paused = Change(id="D2", kind="pause", effective=day("2026-01-20"), made_at=day("2026-01-20"), pause_behavior="void")
    assert books.change("2026-01-20", contract, paused).problem is None
    books.bill("2026-02-01")
    assert books.invoices()[-1][1] == "void"
    assert books.change("2026-02-15", contract, delta("D3", "2026-02-15", -1)).problem is None
    assert books.rows("SELECT amount FROM line WHERE kind = 'credit'") == []


def test_a_preview_knows_that_a_pause_voids_what_it_bills(tmp_path: Path) -> None:
    """A unit given up on 15 February, seen in January: the preview credits nothing of the February that will be void, nor does the run."""
    books = open_books(tmp_path)
    contract = books.create("D1", "2026-01-01", terms(items=[item(unit_amount=2800, quantity=2)]))
    paused = Change(id="D2", kind="pause", effective=day("2026-01-20"), made_at=day("2026-01-20"), pause_behavior="void")
    assert books.change("2026-01-20", contract, paused).problem is None
    less = delta("D3", "2026-02-15", -1, made="2026-01-25")
    with books.reading() as unit:
        ahead = books.billing.preview(books.command("change", "D3", contract_id=contract, change=less), unit, at("2026-01-25"))
    seen = [(i.on.isoformat(), i.total) for i in ahead.invoices if i.on < date(2026, 3, 2)]
    assert books.change("2026-01-25", contract, less).problem is None
    for on in ("2026-02-01", "2026-02-15", "2026-03-01"):
        books.bill(on)
    assert [(on, total) for _, _, on, total in books.invoices() if on > "2026-01-25"] == seen
    assert books.rows("SELECT amount FROM line WHERE kind = 'credit'") == []


def test_the_next_invoice_that_is_shown_is_the_one_that_is_made(tmp_path: Path) -> None:
    """60.00 of 100.00 for January were credited by a note; a change on 16 January by -1 of 2 credits only of what is left, and so says the record."""
    books = open_books(tmp_path)
    contract_id = books.create("D1", "2026-01-01", terms(items=[item(unit_amount=5000, quantity=2)]))
    ask(books, "invoice.credit", "it_1", invoice="INV-0001", amount=6000)
    books.change("2026-01-16", contract_id, delta("D2", "2026-01-16", -1, proration_behavior="create_prorations"))
    shown = books.standing("D1", "2026-01-16")
    assert books.bill("2026-02-01").invoices == 1
    assert (shown.next_on, shown.next_amount) == (date(2026, 2, 1), books.invoices()[1][3])
