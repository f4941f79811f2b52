"""Contracts from another system: what it billed is a fact, so the next invoice is due on its day and changes credit what it billed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from books_world import Books, at, cancellation, delta, open_books

from connector.core.terms import Settings
from connector.simulate.contracts import Common, read_contract
from connector.simulate.values import Complaint

GOLD = {"unit_amount": 3000, "product": "gold", "recurring": {"interval": "month"}}
SUPPORT = {"unit_amount": 60000, "product": "support", "recurring": {"interval": "year"}}
ACME = {"account": "001A", "name": "Acme", "email": "ap@acme.example", "address": {"line1": "1 Main St", "country": "FR"}}


@pytest.fixture
def books(tmp_path: Path) -> Books:
    """Return empty books."""
    return open_books(tmp_path)


def common(timezone: str = "UTC", **more: Any) -> Common:
    """Return what a configuration says."""
    return Common(timezone=timezone, settings=Settings(proration="day", tax_rounding="line"), how=("send_invoice", 30), currency="eur", **more)


def entry(name: str = "OLD-1", through: str | None = None, items: Any = None, **more: Any) -> dict[str, Any]:
    """Return a contract of gold since January as a file writes it; *more* are keys of its terms, those of an entry included."""
    own = ("deal", "label", "customer", "prices", "coupons", "timezone", "po_number", "memo", "currency")
    agreed = {"start": "2026-01-01", "phases": [{"items": items or [{"price": "gold"}]}]} | {k: v for k, v in more.items() if k not in own}
    head = {"id": name, "customer": ACME, "prices": {"gold": GOLD, "support": SUPPORT}} | {k: v for k, v in more.items() if k in own}
    return head | {"contract": agreed} | ({"billed_through": through} if through else {})


def read(value: Mapping[str, Any], how: Common | None = None) -> dict[str, Any]:
    """Return an entry as read; it must be sound."""
    data, complaints = read_contract(value, how or common())
    assert data is not None, complaints
    return data


def complaints_of(value: Mapping[str, Any], how: Common | None = None) -> list[Complaint]:
    """Return what is wrong with an entry."""
    data, complaints = read_contract(value, how or common())
    assert data is None
    return complaints


def bring(books: Books, day: str, *entries: Mapping[str, Any], dry: bool = False, how: Common | None = None) -> list[dict[str, Any]]:
    """Import entries on a day and return the rows of the report."""
    books.made += 1
    data = {"contracts": [read(e, how) for e in entries], "dry": dry}
    with books.database.transaction() as unit:
        done = books.billing.carry_out("contract.import", data, unit, at(day), key=f"it_{books.made}", actor="test")
    rows: list[dict[str, Any]] = done.result["rows"]
    return rows


def test_what_was_billed_is_not_billed_again(books: Books) -> None:
    """Billed through June and imported on 10 June: no invoice now, July's 30.00 on 1 July, and no number is used up."""
    (row,) = bring(books, "2026-06-10", entry(through="2026-06-30"))
    assert (row["outcome"], row["billed_now"], row["next_on"], row["next_amount"]) == ("made", None, "2026-07-01", "30.00")
    assert books.bill("2026-06-30").invoices == 0
    assert books.bill("2026-07-01").invoices == 1
    assert books.invoices() == [("INV-0001", "open", "2026-07-01", 3000)]
    assert [line for line in books.lines() if line[0] >= "2026-06-01"] == [("2026-06-01", "2026-07-01", 3000), ("2026-07-01", "2026-08-01", 3000)]


def test_periods_that_nobody_billed_are_billed_at_once(books: Books) -> None:
    """Billed through March and imported on 10 June: April, May and June are three lines of one invoice now; then July."""
    (row,) = bring(books, "2026-06-10", entry(through="2026-03-31"))
    assert row["billed_now"] == {"number": "INV-0001", "total": "90.00"}
    assert (row["next_on"], row["next_amount"]) == ("2026-07-01", "30.00")
    assert books.bill("2026-06-10").invoices == 0


def test_what_nobody_billed_waits_for_the_run_of_a_customer_with_one_invoice(books: Books) -> None:
    """The customer gets one invoice for all contracts: April to June are told as due today, 90.00, and come with today's run."""
    bring(books, "2026-06-01", entry("OLD-0", through="2026-06-30"))
    ((who,),) = books.rows("SELECT id FROM customer")
    with books.database.transaction() as unit:
        books.billing.carry_out("customer.settle", {"customer": who, "consolidate": "yes"}, unit, at("2026-06-02"), key="it_c", actor="test")
    (row,) = bring(books, "2026-06-10", entry(through="2026-03-31"))
    assert (row["billed_now"], row["next_on"], row["next_amount"]) == (None, "2026-06-10", "90.00")
    books.bill("2026-06-10")
    assert books.invoices() == [("INV-0001", "open", "2026-06-10", 9000)]


def test_amounts_and_lists_do_not_know_what_the_other_system_billed(books: Books) -> None:
    """The deal's amounts count our invoices only, its last invoice is ours, and no invoice row stands for the import."""
    bring(books, "2026-06-10", entry(through="2026-06-30", deal="006A"))
    standing = books.standing("006A", "2026-06-10")
    assert (standing.billed, standing.due, standing.last, standing.contract_status) == (0, 0, None, "active")
    assert (str(standing.next_on), standing.next_amount, standing.is_invoiced) == ("2026-07-01", 3000, True)
    books.bill("2026-07-01")
    with books.reading() as unit:
        (view,) = books.billing.changed_invoices(["006A"], unit)
    assert (view.number, view.total, view.deal) == ("INV-0001", 3000, "006A")
    assert books.standing("006A", "2026-07-01").billed == 3000


def test_a_cancellation_credits_what_the_other_system_billed(books: Books) -> None:
    """Canceled on 16 June with credit: half of June's 30.00 comes back, on our first invoice."""
    (row,) = bring(books, "2026-06-10", entry(through="2026-06-30", deal="006A"))
    assert books.change("2026-06-16", row["contract"], cancellation("006X", "2026-06-16", prorate=True, invoice_now=True)).problem is None
    assert books.invoices() == [("INV-0001", "paid", "2026-06-16", -1500)]
    assert books.rows("SELECT balances FROM customer") == [('{"eur":-1500}',)]


def test_a_credit_mirrors_what_was_really_billed(books: Books) -> None:
    """The other system had billed 24.00 for June: of that, not of the agreed 30.00, half is credited on 16 June."""
    items = [{"price": "gold", "billed_through": "2026-06-30", "billed_amount": 2400}]
    (row,) = bring(books, "2026-06-10", entry(items=items))
    books.change("2026-06-16", row["contract"], cancellation("006X", "2026-06-16", prorate=True, invoice_now=True))
    assert books.invoices() == [("INV-0001", "paid", "2026-06-16", -1200)]


def test_an_amendment_and_one_before_the_import_prorate_imported_periods(books: Books) -> None:
    """+1 from 16 June credits and charges half a June; a late +1 from 1 March charges each period since, credits none of it twice."""
    (row,) = bring(books, "2026-06-10", entry(through="2026-06-30"))
    books.change("2026-06-16", row["contract"], delta("006U", "2026-06-16", 1))
    assert books.invoices() == [("INV-0001", "open", "2026-06-16", 1500)]
    books.change("2026-06-20", row["contract"], delta("006V", "2026-03-01", 1, made="2026-06-20"))
    assert books.invoices()[1] == ("INV-0002", "open", "2026-06-20", 4 * 3000)
    books.bill("2026-07-01")
    assert books.invoices()[2] == ("INV-0003", "open", "2026-07-01", 9000)


def test_mixed_intervals_bill_the_longer_one_on_its_own_day(books: Books) -> None:
    """Monthly and yearly, billed through June: July bills one month; the year was billed in advance and comes again in January."""
    items = [{"price": "gold"}, {"price": "support"}]
    bring(books, "2026-06-10", entry(through="2026-06-30", items=items))
    for month in ("07", "08", "09", "10", "11", "12"):
        books.bill(f"2026-{month}-01")
    assert [i[3] for i in books.invoices()] == [3000] * 6
    books.bill("2027-01-01")
    assert books.invoices()[-1][3] == 63000


def test_each_item_may_say_how_far_it_was_billed(books: Books) -> None:
    """Gold through June, support never: the year is billed at the import, gold in July."""
    items = [{"price": "gold", "billed_through": "2026-06-30"}, {"price": "support"}]
    (row,) = bring(books, "2026-06-10", entry(items=items))
    assert row["billed_now"]["total"] == "600.00"
    books.bill("2026-07-01")
    assert books.invoices()[-1][3] == 3000


def test_month_ends_are_counted_from_the_anchor(books: Books) -> None:
    """Since 31 January and billed through 29 June (the last day before 30 June): the next period is 30 June to 31 July."""
    bring(books, "2026-06-10", entry(through="2026-06-29", start="2026-01-31"))
    assert books.bill("2026-06-29").invoices == 0
    books.bill("2026-06-30")
    assert books.lines()[-1] == ("2026-06-30", "2026-07-31", 3000)


def test_a_day_begins_where_the_contract_is(books: Books) -> None:
    """In Auckland 1 July begins at noon of 30 June UTC: not before, and then at once."""
    (row,) = bring(books, "2026-06-10", entry(through="2026-06-30", timezone="Pacific/Auckland"))
    assert row["next_on"] == "2026-07-01"
    assert books.rows("SELECT next_due_at FROM contract") == [("2026-06-30T12:00:00Z",)]


def test_a_trial_that_runs_at_the_import_goes_on(books: Books) -> None:
    """Free until 30 June, imported on 10 June as billed through 9 June: trialing, and the first charge is on 1 July."""
    (row,) = bring(books, "2026-06-10", entry(through="2026-06-09", start="2026-06-01", trial_end="2026-07-01", deal="006A"))
    assert (row["billed_now"], row["next_on"], row["next_amount"]) == (None, "2026-07-01", "30.00")
    assert books.standing("006A", "2026-06-10").contract_status == "trialing"


def test_a_coupon_holds_for_the_months_that_are_left(books: Books) -> None:
    """10 % for two more months after June: July and August at 27.00, September at 30.00."""
    coupons = {"ten": {"percent_off": 10, "months_left": 2}}
    bring(books, "2026-06-10", entry(through="2026-06-30", coupons=coupons, discounts=["ten"]))
    for month in ("07", "08", "09"):
        books.bill(f"2026-{month}-01")
    assert [i[3] for i in books.invoices()] == [2700, 2700, 3000]


def test_in_arrears_what_ended_was_billed(books: Books) -> None:
    """In arrears and billed through June: June's line exists, July is billed on 1 August."""
    prices = {"late": {"unit_amount": 1000, "recurring": {"interval": "month", "timing": "in_arrears"}}}
    bring(books, "2026-07-10", entry(through="2026-06-30", prices=prices, items=[{"price": "late"}]))
    assert books.invoices() == []
    books.bill("2026-08-01")
    assert books.lines()[-1] == ("2026-07-01", "2026-08-01", 1000)


def test_a_second_import_adds_nothing_and_a_changed_row_says_what_differs(books: Books) -> None:
    """The same row again is unchanged; another quantity or day is refused, and the field is named."""
    (made,) = bring(books, "2026-06-10", entry(through="2026-06-30"))
    before = books.rows("SELECT COUNT(*) FROM line")
    assert bring(books, "2026-06-11", entry(through="2026-06-30"))[0]["outcome"] == "unchanged"
    (row,) = bring(books, "2026-06-11", entry(through="2026-06-30", items=[{"price": "gold", "quantity": "2"}]))
    assert (row["outcome"], row["contract"]) == ("refused", made["contract"])
    assert "differs in phases[0].items[0].quantity" in row["problem"]["message"]
    (row,) = bring(books, "2026-06-11", entry(through="2026-05-31"))
    assert "differs in billed_through." in row["problem"]["message"]
    assert books.rows("SELECT COUNT(*) FROM line") == before
    assert books.rows("SELECT COUNT(*) FROM contract") == [(1,)]


def test_a_refused_row_holds_back_only_itself(books: Books) -> None:
    """An account that nobody knows, a deal that has a contract, a deal named twice: the others are made."""
    bring(books, "2026-06-10", entry("OLD-0", through="2026-06-30", deal="006A"))
    rows = bring(
        books, "2026-06-10", entry("OLD-1", customer="001Z"), entry("OLD-2", deal="006A"), entry("OLD-3", through="2026-06-30", deal="006B"),
        entry("OLD-4", deal="006B"),
    )  # fmt: skip
    assert [r["outcome"] for r in rows] == ["refused", "refused", "made", "refused"]
    assert [r["problem"]["code"] for r in rows if r["outcome"] == "refused"] == ["unknown-customer", "deal-is-billed", "deal-is-billed"]


def test_a_dry_run_writes_nothing_and_says_what_would_be(books: Books) -> None:
    """Two months open: it would be billed 60.00 at once and 30.00 on 1 July; no table has a row."""
    (row,) = bring(books, "2026-06-10", entry(through="2026-04-30"), dry=True)
    assert (row["outcome"], row["contract"], row["billed_now"]) == ("would be made", None, {"number": None, "total": "60.00"})
    assert (row["next_on"], row["next_amount"]) == ("2026-07-01", "30.00")
    for table in ("contract", "customer", "line", "invoice", "imported", "event"):
        assert books.rows(f"SELECT COUNT(*) FROM {table}") == [(0,)]


def test_what_cannot_have_been_billed_is_a_problem_at_its_key() -> None:
    """Inside a period, before the start, of an unknown price, with entered_at: each at its key, all at once."""
    (inside,) = complaints_of(entry(through="2026-06-20"))
    assert (inside.code, inside.path) == ("billed-inside-period", ("billed_through",))
    assert "periods end on 2026-05-31 and 2026-06-30" in inside.message
    (early,) = complaints_of(entry(through="2025-06-30"))
    assert (early.code, early.path) == ("billed-before-start", ("billed_through",))
    items = [{"price": "gold", "billed_through": "2026-06-20"}, {"price": "silver"}]
    found = complaints_of(entry(items=items, entered_at="2026-02-01") | {"id": None})
    assert [(c.code, c.path) for c in found] == [
        ("missing-key", ()), ("unknown-key", ("contract", "entered_at")), ("unknown-price", ("contract", "phases", 0, "items", 1, "price")),
    ]  # fmt: skip
