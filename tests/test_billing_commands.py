"""Commands on the books: what each leaves behind, and that a refused one leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from books_world import Books, at, cancellation, delta, item, open_books, terms

from connector.errors import RetryableError
from connector.ports import CustomerDetails, HowBilled


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    made = open_books(tmp_path)
    yield made
    made.database.close()


def test_create_bills_at_once(books: Books) -> None:
    """A deal becomes a customer, a contract and its first invoice with a number, in one transaction."""
    contract_id = books.create("D1", "2026-01-01", terms(items=[item(quantity=3)]))
    assert books.invoices() == [("INV-0001", "open", "2026-01-01", 9000)]
    assert books.lines() == [("2026-01-01", "2026-02-01", 9000)]
    assert books.rows("SELECT id, deal, status, next_due_at FROM contract") == [
        (contract_id, "D1", "active", "2026-02-01T00:00:00Z")
    ]
    assert books.rows("SELECT account, name FROM customer") == [("001A", "Acme 001A")]
    assert books.rows("SELECT name FROM event ORDER BY seq") == [("customer.made",), ("invoice.finalized",), ("contract.made",)]


def test_a_start_in_the_past_is_caught_up_on_one_invoice(books: Books) -> None:
    """A contract that began two months ago gets one invoice with a line for each missed period."""
    books.create("D1", "2026-03-05", terms())
    assert books.invoices() == [("INV-0001", "open", "2026-03-05", 9000)]
    assert books.lines() == [
        ("2026-01-01", "2026-02-01", 3000),
        ("2026-02-01", "2026-03-01", 3000),
        ("2026-03-01", "2026-04-01", 3000),
    ]


def test_a_future_start_is_scheduled(books: Books) -> None:
    """A contract that starts later has no invoice, and a run looks at it on its first day."""
    books.create("D1", "2026-01-01", terms(start="2026-06-01"))
    assert books.invoices() == []
    assert books.rows("SELECT status, next_due_at FROM contract") == [("scheduled", "2026-06-01T00:00:00Z")]
    assert books.bill("2026-05-31").contracts == 0
    assert books.bill("2026-06-01").deals == ("D1",)
    assert books.standing("D1", "2026-06-01").contract_status == "active"


def test_two_deals_of_one_account_share_the_customer(books: Books) -> None:
    """Two deals of one account in one chunk make one customer and two contracts."""
    commands = [books.command("create", d, terms=terms()) for d in ("D1", "D2")]
    outcomes = books.apply("2026-01-01", *commands)
    assert [o.problem for o in outcomes] == [None, None]
    assert outcomes[0].customer_id == outcomes[1].customer_id
    assert outcomes[0].contract_id != outcomes[1].contract_id
    assert books.rows("SELECT COUNT(*) FROM customer") == [(1,)]
    assert [n for n, *_ in books.invoices()] == ["INV-0001", "INV-0002"]


def test_a_command_may_be_replayed(books: Books) -> None:
    """The same create and the same change again succeed with the same contract and add nothing."""
    create = books.command("create", "D1", terms=terms())
    first = books.apply("2026-01-01", create)[0]
    change = books.command("change", "D2", contract_id=first.contract_id, change=delta("D2", "2026-01-16", 1))
    books.apply("2026-01-16", change)
    before = (books.invoices(), books.rows("SELECT COUNT(*) FROM event"))
    assert books.apply("2026-01-16", create)[0] == first
    again = books.apply("2026-01-16", change)[0]
    assert (again.contract_id, again.problem) == (first.contract_id, None)
    assert (books.invoices(), books.rows("SELECT COUNT(*) FROM event")) == before


def test_another_create_of_the_same_deal_is_refused(books: Books) -> None:
    """A deal has one contract: creating it again with other terms is a problem, not a second contract."""
    books.create("D1", "2026-01-01", terms())
    (outcome,) = books.apply("2026-01-01", books.command("create", "D1", terms=terms(items=[item(quantity=9)])))
    assert outcome.problem is not None
    assert outcome.problem.code == "contract-exists"
    assert books.rows("SELECT COUNT(*) FROM contract") == [(1,)]


def test_an_amendment_is_prorated_and_told(books: Books) -> None:
    """One seat more on 16 April: unused time credited, remaining charged, on an invoice of its own."""
    contract_id = books.create("D1", "2026-04-01", terms(start="2026-04-01", end="2027-04-01"))
    assert books.change("2026-04-16", contract_id, delta("D2", "2026-04-16", 1)).problem is None
    assert books.invoices()[1] == ("INV-0002", "open", "2026-04-16", 1500)
    assert books.lines()[1:] == [("2026-04-16", "2026-05-01", -1500), ("2026-04-16", "2026-05-01", 3000)]
    standing = books.standing("D2", "2026-04-16")
    assert (standing.is_change, standing.contract_id, standing.is_invoiced) == (True, contract_id, True)
    assert (standing.charged, standing.credited, standing.value) == (3000, -1500, 34500)
    assert standing.last is not None
    assert standing.last.number == "INV-0002"
    assert (standing.next_on, standing.next_amount) == (at("2026-05-01").date(), 6000)
    books.bill("2026-05-01")
    assert books.invoices()[2] == ("INV-0003", "open", "2026-05-01", 6000)
    assert books.standing("D2", "2026-05-01").charged == 3000


def test_a_pending_amendment_waits_for_the_next_invoice(books: Books) -> None:
    """With create_prorations the change is billed with the next invoice, and the deal says how much until then."""
    contract_id = books.create("D1", "2026-04-01", terms(start="2026-04-01"))
    change = delta("D2", "2026-04-16", 1, proration_behavior="create_prorations")
    books.change("2026-04-16", contract_id, change)
    assert len(books.invoices()) == 1
    waiting = books.standing("D2", "2026-04-16")
    assert (waiting.charged, waiting.credited, waiting.is_invoiced, waiting.last) == (3000, -1500, False, None)
    assert waiting.next_amount == 7500
    books.bill("2026-05-01")
    assert books.invoices()[1] == ("INV-0002", "open", "2026-05-01", 7500)
    told = books.standing("D2", "2026-05-01")
    assert (told.charged, told.credited, told.is_invoiced) == (3000, -1500, True)
    assert told.last is not None
    assert told.last.number == "INV-0002"


def test_a_change_that_takes_too_much_leaves_no_trace(books: Books) -> None:
    """An impossible change is refused in words, and the other commands of the chunk go on."""
    contract_id = books.create("D1", "2026-01-01", terms(items=[item(quantity=2)]))
    bad = books.command("change", "D2", contract_id=contract_id, change=delta("D2", "2026-01-16", -5))
    good = books.command("create", "D3", account="001B", terms=terms())
    refused, done = books.apply("2026-01-16", bad, good)
    assert refused.problem is not None
    assert refused.problem.code == "over-decrease"
    assert done.problem is None
    assert books.rows("SELECT COUNT(*) FROM change") == [(0,)]
    assert books.rows("SELECT seq FROM contract ORDER BY id") == [(0,), (0,)]


def test_a_refused_create_leaves_no_customer(books: Books) -> None:
    """Where the terms cannot be billed, neither customer nor contract nor number is left behind."""
    books.billing = type(books.billing)(org="00Dorg", timezone="UTC", max_lines=2)
    (outcome,) = books.apply("2026-06-01", books.command("create", "D1", terms=terms()))
    assert outcome.problem is not None
    assert outcome.problem.code == "too-many-lines"
    counts = [books.rows(f"SELECT COUNT(*) FROM {t}") for t in ("customer", "contract", "invoice", "event", "series")]
    assert counts == [[(0,)]] * 5


def test_a_cancellation_credits_unused_time_to_the_balance(books: Books) -> None:
    """A cancellation with credit gives back the unused days; the negative invoice is paid and fills the balance."""
    contract_id = books.create("D1", "2026-04-01", terms(start="2026-04-01"))
    books.change("2026-04-16", contract_id, cancellation("D2", "2026-04-16", prorate=True, invoice_now=True))
    assert books.invoices()[1] == ("INV-0002", "paid", "2026-04-16", -1500)
    assert books.rows("SELECT balances FROM customer") == [('{"eur":-1500}',)]
    assert books.rows("SELECT amount, ending_balance FROM balance_entry") == [(-1500, -1500)]
    assert books.rows("SELECT status, next_due_at FROM contract") == [("canceled", None)]
    standing = books.standing("D2", "2026-04-16")
    assert (standing.contract_status, standing.credited, standing.ends_on) == (
        "canceled",
        -1500,
        at("2026-04-15").date(),
    )
    books.create("D3", "2026-05-01", terms(start="2026-05-01"))
    assert books.rows("SELECT total, starting_balance, amount_due FROM invoice WHERE number='INV-0003'") == [
        (3000, -1500, 1500)
    ]
    assert books.rows("SELECT balances FROM customer") == [("{}",)]


def test_replace_makes_new_terms_before_the_first_invoice(books: Books) -> None:
    """Until something is invoiced the terms of a deal are simply replaced; afterwards they are history."""
    contract_id = books.create("D1", "2026-01-01", terms(start="2026-02-01"))
    new = terms(start="2026-01-01", items=[item(quantity=2)])
    (outcome,) = books.apply("2026-01-01", books.command("replace", "D1", terms=new))
    assert (outcome.contract_id, outcome.problem) == (contract_id, None)
    assert books.invoices() == [("INV-0001", "open", "2026-01-01", 6000)]
    (late,) = books.apply("2026-01-02", books.command("replace", "D1", terms=terms(items=[item(quantity=5)])))
    assert late.problem is not None
    assert late.problem.code == "already-invoiced"


def test_details_count_from_the_next_invoice_on(books: Books) -> None:
    """A new name and other payment terms leave issued invoices alone and stand on the next one."""
    books.create("D1", "2026-01-01", terms())
    who = CustomerDetails(account="001A", name="Acme SE")
    how = HowBilled(collection_method="send_invoice", days_until_due=10, po_number="PO-9")
    (outcome,) = books.apply("2026-01-10", books.command("details", "D1", customer=who, how=how))
    assert outcome.problem is None
    books.bill("2026-02-01")
    rows = books.rows("SELECT due_on, po_number, bill_to FROM invoice ORDER BY id")
    assert [(due, po) for due, po, _ in rows] == [("2026-01-31", ""), ("2026-02-11", "PO-9")]
    assert ["Acme SE" in bill_to for *_, bill_to in rows] == [False, True]


def test_an_invoiced_contract_keeps_its_account(books: Books) -> None:
    """Other terms for another account after the first invoice are refused and change nobody."""
    books.create("D1", "2026-01-01", terms())
    (outcome,) = books.apply("2026-01-10", books.command("replace", "D1", account="001B", terms=terms()))
    assert outcome.problem is not None
    assert outcome.problem.code == "account-changed"
    assert books.rows("SELECT account FROM customer") == [("001A",)]


def test_withdraw_and_win_again(books: Books) -> None:
    """A contract that was never billed can be withdrawn, and made anew under the same id."""
    contract_id = books.create("D1", "2026-01-01", terms(start="2026-06-01"))
    books.apply("2026-01-02", books.command("withdraw", "D1", contract_id=contract_id))
    assert books.rows("SELECT status, next_due_at FROM contract") == [("withdrawn", None)]
    assert books.standing("D1", "2026-01-02").contract_status == "withdrawn"
    assert books.bill("2026-07-01").contracts == 0
    assert books.create("D1", "2026-07-01", terms(start="2026-06-01")) == contract_id
    assert books.rows("SELECT status FROM contract") == [("active",)]
    (late,) = books.apply("2026-07-02", books.command("withdraw", "D1", contract_id=contract_id))
    assert late.problem is not None
    assert late.problem.code == "already-invoiced"


def test_a_planned_change_is_replaced_and_withdrawn(books: Books) -> None:
    """A change whose day has not come may be edited or taken back, and leaves no row."""
    contract_id = books.create("D1", "2026-01-01", terms())
    books.change("2026-01-02", contract_id, cancellation("D2", "2026-03-01"))
    assert books.standing("D1", "2026-01-02").ends_on == at("2026-02-28").date()
    books.change("2026-01-03", contract_id, cancellation("D2", "2026-05-01"), kind="replace_change")
    assert books.standing("D1", "2026-01-03").ends_on == at("2026-04-30").date()
    outcome = books.change("2026-01-04", contract_id, cancellation("D2", "2026-05-01"), kind="withdraw_change")
    assert outcome.problem is None
    assert books.rows("SELECT COUNT(*) FROM change") == [(0,)]
    assert books.standing("D1", "2026-01-04").ends_on is None
    assert (
        books.change("2026-01-05", contract_id, cancellation("D2", "2026-05-01"), kind="withdraw_change").problem
        is None
    )


def test_a_back_dated_change_reads_what_was_billed(books: Books) -> None:
    """An amendment effective two months ago credits and charges each period that was billed since."""
    contract_id = books.create("D1", "2026-01-01", terms())
    for month in ("02", "03", "04"):
        books.bill(f"2026-{month}-01")
    books.change("2026-04-10", contract_id, delta("D2", "2026-02-15", 1, made="2026-04-10"))
    total = books.invoices()[-1][3]
    # half of February (14 of 28 days) and the whole of March and April for one more seat
    assert total == 1500 + 3000 + 3000
    assert books.rows("SELECT SUM(amount) FROM line") == [(4 * 3000 + total,)]


def test_a_kill_between_leaves_nothing(books: Books) -> None:
    """Whatever breaks the transaction takes contract, invoice and number back; the next run goes on without a gap."""
    books.create("D1", "2026-01-01", terms())

    def killed_before_the_commit() -> None:
        with books.database.transaction() as unit:
            books.billing.apply([books.command("create", "D2", terms=terms())], unit, at("2026-01-01"), hold=False)
            raise RetryableError("killed")

    with pytest.raises(RetryableError):
        killed_before_the_commit()
    assert books.rows("SELECT deal FROM contract") == [("D1",)]
    books.create("D3", "2026-01-01", terms())
    assert [n for n, *_ in books.invoices()] == ["INV-0001", "INV-0002"]


def test_two_changes_in_one_chunk_make_one_invoice(books: Books) -> None:
    """Two amendments applied together are billed on one invoice, after their parent's own."""
    contract_id = books.create("D1", "2026-04-01", terms(start="2026-04-01"))
    commands = [
        books.command("change", d, contract_id=contract_id, change=delta(d, "2026-04-16", n))
        for d, n in (("D2", 1), ("D3", 2))
    ]
    outcomes = books.apply("2026-04-16", *commands)
    assert [o.problem for o in outcomes] == [None, None]
    assert len(books.invoices()) == 2
    assert books.invoices()[1][3] == 4500
    assert books.standing("D3", "2026-04-16").last == books.standing("D2", "2026-04-16").last


def test_decimal_quantities_survive_the_books(books: Books) -> None:
    """Two and a half seats are read back as they were written."""
    half = replace(item(), quantity=Decimal("2.5"))
    books.create("D1", "2026-01-01", terms(items=[half]))
    assert books.rows("SELECT quantity, amount FROM line") == [("2.5", 7500)]


def test_nothing_is_charged_by_itself(books: Books) -> None:
    """Charged automatically, but without a payment method: the invoice stays open, due on the day it is issued."""
    how = HowBilled(collection_method="charge_automatically", days_until_due=0)
    books.create("D1", "2026-01-01", terms(), how=how)
    assert books.rows("SELECT status, due_on, amount_paid FROM invoice") == [("open", "2026-01-01", 0)]
    assert books.standing("D1", "2026-01-01").contract_status == "active"
    assert books.standing("D1", "2026-01-02").contract_status == "past_due"


def test_another_account_before_the_first_invoice(books: Books) -> None:
    """Until something is invoiced a deal may move to another account."""
    books.create("D1", "2026-01-01", terms(start="2026-03-01"))
    (outcome,) = books.apply(
        "2026-01-02", books.command("replace", "D1", account="001B", terms=terms(start="2026-03-01"))
    )
    assert outcome.problem is None
    assert books.rows("SELECT c.account FROM contract t JOIN customer c ON c.id = t.customer_id") == [("001B",)]


def test_an_invoiced_change_is_history(books: Books) -> None:
    """A change that stands on an invoice is neither replaced nor withdrawn."""
    contract_id = books.create("D1", "2026-04-01", terms(start="2026-04-01"))
    books.change("2026-04-16", contract_id, delta("D2", "2026-04-16", 1))
    for kind in ("replace_change", "withdraw_change"):
        outcome = books.change("2026-04-17", contract_id, delta("D2", "2026-04-20", 2), kind=kind)
        assert outcome.problem is not None
        assert outcome.problem.code == "already-invoiced"
    assert len(books.invoices()) == 2


def test_a_chunk_with_a_twin_account_keeps_details_of_the_accepted(books: Books) -> None:
    """A refused command changes no customer, even where another deal of that account is accepted beside it."""
    books.create("D1", "2026-01-01", terms())
    good = books.command("create", "D2", terms=terms())
    renamed = replace(good.customer, name="Somebody else")
    bad = books.command("create", "D1", terms=terms(items=[item(quantity=7)]), customer=renamed)
    outcomes = books.apply("2026-01-02", bad, good)
    assert [o.problem is None for o in outcomes] == [False, True]
    assert books.rows("SELECT name FROM customer") == [("Acme 001A",)]


def test_an_unknown_contract_is_a_problem(books: Books) -> None:
    """A change of a contract that the books do not know is refused in words, and so is one of a withdrawn contract."""
    outcome = books.change("2026-01-01", "ct_missing", delta("D2", "2026-01-01", 1))
    assert outcome.problem is not None
    assert outcome.problem.code == "unknown-contract"
    contract_id = books.create("D1", "2026-01-01", terms(start="2026-03-01"))
    books.apply("2026-01-02", books.command("withdraw", "D1"))
    outcome = books.change("2026-01-03", contract_id, delta("D2", "2026-03-05", 1))
    assert outcome.problem is not None
    assert outcome.problem.code == "withdrawn-contract"


def test_a_merge_of_accounts_takes_the_balance_along(books: Books) -> None:
    """Details that name another account move an invoiced contract there, with the credit that its customer had."""
    first = books.create("D1", "2026-04-01", terms(start="2026-04-01"))
    books.create("D2", "2026-04-01", terms(start="2026-04-01"))
    books.change("2026-04-16", first, cancellation("D3", "2026-04-16", prorate=True, invoice_now=True))
    outcomes = books.apply("2026-04-20", *(books.command("details", d, account="001B") for d in ("D1", "D2")))
    assert [o.problem for o in outcomes] == [None, None]
    assert books.rows("SELECT account, balances FROM customer ORDER BY account") == [
        ("001A", "{}"),
        ("001B", '{"eur":-1500}'),
    ]
    assert books.rows("SELECT amount FROM balance_entry ORDER BY amount") == [(-1500,), (-1500,), (1500,)]
    books.bill("2026-05-01")
    assert books.rows("SELECT starting_balance, amount_due FROM invoice ORDER BY id DESC LIMIT 1") == [(-1500, 1500)]


def test_a_first_invoice_below_zero_fills_the_balance(books: Books) -> None:
    """A deal that begins with a credit gives its new customer a balance."""
    books.create("D1", "2026-01-01", terms(items=[item(unit_amount=-500)]))
    assert books.invoices() == [("INV-0001", "paid", "2026-01-01", -500)]
    assert books.rows("SELECT balances FROM customer") == [('{"eur":-500}',)]
