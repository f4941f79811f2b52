"""Billing runs over books on disk: what is due is billed once, numbers have no gap, and the CRM is told of every move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from books_world import Books, at, cancellation, day, delta, item, open_books, terms
from sqlalchemy.exc import IntegrityError

from connector.billing import books as reading
from connector.billing.tables import LineRow
from connector.core.terms import Change, Interval
from connector.errors import InvariantError


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    made = open_books(tmp_path)
    yield made
    made.database.close()


def test_billing_twice_adds_nothing(books: Books) -> None:
    """A run bills what is due and moves on; the same run again finds nothing."""
    books.create("D1", "2026-01-01", terms())
    first = books.bill("2026-02-01")
    assert (first.contracts, first.invoices, first.lines, first.deals) == (1, 1, 1, ("D1",))
    again = books.bill("2026-02-01")
    assert (again.contracts, again.invoices, again.deals) == (0, 0, ())
    assert [n for n, *_ in books.invoices()] == ["INV-0001", "INV-0002"]


def test_chunks_bill_everything_once(books: Books) -> None:
    """Many contracts in small chunks are all billed, in order, with numbers in a row."""
    for n in range(7):
        books.create(f"D{n}", "2026-01-01", terms(), account=f"001{n}")
    run = books.bill("2026-02-01", chunk=3)
    assert (run.contracts, run.invoices, len(set(run.deals))) == (7, 7, 7)
    assert [n for n, *_ in books.invoices()] == [f"INV-{n:04d}" for n in range(1, 15)]


def test_a_customer_comes_whole(books: Books) -> None:
    """All due contracts of a customer are in one chunk, so that its balance is taken in order of contract."""
    for n in range(3):
        books.create(f"D{n}", "2026-01-01", terms())
    with books.database.transaction() as unit:
        run = books.billing.bill(unit, at("2026-02-01"), limit=1, hold=False)
    assert run.invoices == 3


def test_a_late_run_makes_one_invoice_with_a_line_for_each_period(books: Books) -> None:
    """After three silent months one invoice per contract catches up."""
    books.create("D1", "2026-01-01", terms())
    books.bill("2026-04-02")
    assert books.invoices()[1] == ("INV-0002", "open", "2026-04-02", 9000)
    assert books.rows("SELECT next_due_at FROM contract") == [("2026-05-01T00:00:00Z",)]


def test_the_term_end_is_told_without_a_line(books: Books) -> None:
    """A contract whose term is over becomes completed in a run that bills nothing."""
    books.create("D1", "2026-01-01", terms(end="2026-03-01"))
    books.bill("2026-02-01")
    assert books.standing("D1", "2026-02-01").ends_on == date(2026, 2, 28)
    run = books.bill("2026-03-01")
    assert (run.invoices, run.deals) == (0, ("D1",))
    standing = books.standing("D1", "2026-03-01")
    assert (standing.contract_status, standing.next_on, standing.value) == ("completed", None, 6000)
    assert books.rows("SELECT next_due_at FROM contract") == [(None,)]


def test_the_end_of_a_trial_is_told(books: Books) -> None:
    """A free trial is billed as nothing, says when it ends, and the run on that day bills the first period."""
    books.create("D1", "2026-01-01", terms(trial_end=day("2026-01-15")))
    standing = books.standing("D1", "2026-01-02")
    assert (standing.contract_status, standing.trial_ends_on) == ("trialing", date(2026, 1, 15))
    assert (standing.next_on, standing.next_amount) == (date(2026, 1, 15), 3000)
    run = books.bill("2026-01-15")
    assert (run.invoices, run.deals) == (1, ("D1",))
    assert books.standing("D1", "2026-01-15").contract_status == "active"


def test_a_renewal_deal_takes_over(books: Books) -> None:
    """At the end of its term the New deal is completed and names its renewal, which owns the invoices from then on."""
    contract_id = books.create("D1", "2026-01-01", terms(end="2026-03-01"))
    renewal = Change(
        id="D2",
        kind="renew",
        effective=day("2026-02-10"),
        made_at=day("2026-02-10"),
        duration=Interval(unit="month", count=2),
    )
    books.bill("2026-02-01")
    books.change("2026-02-10", contract_id, renewal)
    before = books.standing("D2", "2026-02-10")
    assert (before.is_change, before.contract_status, before.starts_on) == (False, "scheduled", date(2026, 3, 1))
    run = books.bill("2026-03-01")
    assert set(run.deals) == {"D1", "D2"}
    old, new = books.standing("D1", "2026-03-01"), books.standing("D2", "2026-03-01")
    assert (old.contract_status, old.renewed_by, old.billed, old.next_on) == ("completed", "Deal D2", 6000, None)
    assert (new.contract_status, new.renewed_by, new.billed, new.value) == ("active", None, 3000, 6000)
    assert (new.starts_on, new.ends_on, new.contract_id) == (date(2026, 3, 1), date(2026, 4, 30), contract_id)
    assert books.rows("SELECT deal FROM invoice ORDER BY id") == [("D1",), ("D1",), ("D2",)]


def test_a_contract_that_renews_itself_goes_on(books: Books) -> None:
    """An automatic renewal bills the next term under the same deal."""
    books.create("D1", "2026-01-01", terms(end="2026-03-01", end_behavior="renew"))
    for month in ("02", "03", "04", "05"):
        assert books.bill(f"2026-{month}-01").invoices == 1
    standing = books.standing("D1", "2026-05-01")
    assert (standing.contract_status, standing.billed, standing.renewed_by) == ("past_due", 15000, None)


def test_drafts_while_the_crm_is_silent(books: Books) -> None:
    """Held invoices are drafts without number; made anew each run, finalized by the first run that is not held."""
    books.create("D1", "2026-01-01", terms())
    held = books.bill("2026-02-01", hold=True)
    assert (held.invoices, held.drafts) == (0, 1)
    assert books.invoices()[1] == (None, "draft", "2026-02-01", 3000)
    assert books.standing("D1", "2026-02-01").billed == 3000
    assert books.standing("D1", "2026-02-01").next_amount == 3000
    assert books.bill("2026-03-01", hold=True).drafts == 1
    assert books.invoices()[1:] == [(None, "draft", "2026-03-01", 6000)]
    done = books.bill("2026-03-01")
    assert (done.invoices, done.drafts, done.lines) == (1, 0, 2)
    assert books.invoices()[1:] == [("INV-0002", "open", "2026-03-01", 6000)]
    assert books.bill("2026-03-01").contracts == 0
    assert books.bill("2026-04-01").invoices == 1


def test_a_new_deal_in_silence_is_a_draft_that_can_be_withdrawn(books: Books) -> None:
    """A contract made while the CRM is silent has only a draft, which goes with it when the deal is lost again."""
    books.apply("2026-01-01", books.command("create", "D1", terms=terms()), hold=True)
    assert books.invoices() == [(None, "draft", "2026-01-01", 3000)]
    standing = books.standing("D1", "2026-01-01")
    assert (standing.is_invoiced, standing.billed) == (False, 0)
    assert standing.last is not None
    assert standing.last.status == "draft"
    (outcome,) = books.apply("2026-01-02", books.command("withdraw", "D1"))
    assert outcome.problem is None
    assert books.invoices() == []
    assert books.lines() == []


def test_a_cancellation_in_silence_changes_the_draft(books: Books) -> None:
    """A cancellation that was waiting in the CRM takes the held period back before it is billed."""
    contract_id = books.create("D1", "2026-01-01", terms())
    books.bill("2026-02-01", hold=True)
    books.change("2026-02-02", contract_id, cancellation("D2", "2026-02-01"))
    assert books.invoices() == [("INV-0001", "open", "2026-01-01", 3000)]
    assert books.bill("2026-03-01").invoices == 0


def test_an_overdue_invoice_is_told_once(books: Books) -> None:
    """The first run after the due date names the deal, whose status is then past due until it is paid."""
    books.create("D1", "2026-01-01", terms(end="2027-01-01", items=[item(interval=Interval(unit="year"))]))
    assert books.standing("D1", "2026-01-31").contract_status == "active"
    assert books.bill("2026-01-31").contracts == 0
    assert books.bill("2026-02-01").deals == ("D1",)
    assert books.bill("2026-02-02").deals == ()
    standing = books.standing("D1", "2026-02-01")
    assert (standing.contract_status, standing.due, standing.billed, standing.paid) == ("past_due", 3000, 3000, 0)
    assert standing.oldest_open is not None
    assert standing.oldest_open.due_on == date(2026, 1, 31)


def test_one_bad_contract_does_not_stop_the_others(books: Books) -> None:
    """A contract that cannot be billed is reported alone, tried again an hour later, and never blocks the line."""
    for n in range(3):
        books.create(f"D{n}", "2026-01-01", terms(), account=f"001{n}")
    with books.database.transaction() as unit:
        unit.execute("UPDATE contract SET terms=REPLACE(terms, '2026-01-01', '2026-01-09') WHERE deal='D1'")
        unit.execute("UPDATE contract SET window_on='', billed_until='' WHERE deal='D1'")
    books.billing = type(books.billing)(org="00Dorg", timezone="UTC", max_lines=1)
    run = books.bill("2026-02-09", chunk=1)
    assert run.invoices == 2
    assert [p.code for p in run.problems] == ["too-many-lines"]
    assert run.problems[0].where.record == "D1"
    assert books.rows("SELECT next_due_at FROM contract WHERE deal='D1'") == [("2026-02-09T10:00:00Z",)]


def test_terms_that_cannot_be_read_park_alone(books: Books) -> None:
    """A contract whose stored terms cannot be read is a problem of its own; the rest of the chunk is billed."""
    for n in range(2):
        books.create(f"D{n}", "2026-01-01", terms(), account=f"001{n}")
    with books.database.transaction() as unit:
        unit.execute("UPDATE contract SET terms='{\"v\":99}' WHERE deal='D1'")
    run = books.bill("2026-02-01")
    assert (run.invoices, [p.code for p in run.problems]) == (1, ["internal-error"])


def test_numbers_have_no_gap_after_a_rollback(books: Books) -> None:
    """A run that is rolled back gives its numbers back."""
    books.create("D1", "2026-01-01", terms())

    def killed_before_the_commit() -> None:
        with books.database.transaction() as unit:
            books.billing.bill(unit, at("2026-02-01"), limit=200, hold=False)
            raise InvariantError("killed")

    with pytest.raises(InvariantError):
        killed_before_the_commit()
    assert len(books.invoices()) == 1
    books.bill("2026-02-01")
    assert [n for n, *_ in books.invoices()] == ["INV-0001", "INV-0002"]


def test_a_series_for_each_year(tmp_path: Path) -> None:
    """With {year} in the format each year of finalization has numbers of its own."""
    books = open_books(tmp_path, numbering="{prefix}{year}-{seq:03d}", prefix="R")
    books.create("D1", "2026-11-01", terms(start="2026-11-01"))
    for text in ("2026-12-01", "2027-01-01", "2027-02-01"):
        books.bill(text)
    assert [n for n, *_ in books.invoices()] == ["R2026-001", "R2026-002", "R2027-001", "R2027-002"]
    books.database.close()


def test_a_line_key_stands_once(books: Books) -> None:
    """The database itself refuses a second line with the same key."""
    books.create("D1", "2026-01-01", terms())
    columns = ", ".join(f.name for f in LineRow.metadata.tables["line"].columns if f.name != "invoice_id")
    with pytest.raises(IntegrityError), books.database.transaction() as unit:
        unit.execute(f"INSERT INTO line (invoice_id, {columns}) SELECT 'other', {columns} FROM line")


def test_a_preview_is_what_happens(books: Books) -> None:
    """The invoices that a preview shows are those that apply and twelve months of runs then make; it writes nothing."""
    create = books.command("create", "D1", terms=terms(end="2026-07-01", items=[item(quantity=3)]))
    with books.reading() as unit:
        shown = books.billing.preview(create, unit, at("2026-02-10"))
    assert books.rows("SELECT COUNT(*) FROM contract") == [(0,)]
    assert (shown.problem, shown.value, len(shown.invoices)) == (None, 54000, 5)
    books.apply("2026-02-10", create)
    for month in ("03", "04", "05", "06", "07"):
        books.bill(f"2026-{month}-01")
    made = [(issued, total) for _, _, issued, total in books.invoices()]
    assert [(i.on.isoformat(), i.total) for i in shown.invoices] == made
    (contract,) = books.rows("SELECT id FROM contract")
    refused = books.command("change", "D2", contract_id=contract[0], change=delta("D2", "2026-08-01", 1))
    with books.reading() as unit:
        problem = books.billing.preview(refused, unit, at("2026-08-01")).problem
    assert problem is not None
    assert problem.code == "contract-ended"


def test_a_preview_of_a_change_shows_its_proration(books: Books) -> None:
    """A preview of an amendment is bounded, starts with its own invoice, and says what it is worth."""
    contract_id = books.create("D1", "2026-04-01", terms(start="2026-04-01"))
    command = books.command("change", "D2", contract_id=contract_id, change=delta("D2", "2026-04-16", 1))
    with books.reading() as unit:
        shown = books.billing.preview(command, unit, at("2026-04-16"))
    assert (len(shown.invoices), shown.has_more) == (12, True)
    assert [i.total for i in shown.invoices[:2]] == [1500, 6000]
    assert [line.amount for line in shown.invoices[0].lines] == [-1500, 3000]
    books.apply("2026-04-16", command)
    assert books.invoices()[1][3] == 1500


def test_lists_and_sheets(books: Books) -> None:
    """The command line and the pages read invoices by number, by link and in pages, and contracts by id or deal."""
    contract_id = books.create("D1", "2026-01-01", terms(items=[item(quantity=2)]))
    books.bill("2026-02-01")
    with books.reading() as unit:
        listed = reading.invoices(unit, limit=1)
        older = reading.invoices(unit, before=listed[0].id)
        assert [i.number for i in (*listed, *older)] == ["INV-0002", "INV-0001"]
        sheet = reading.invoice(unit, "INV-0001", date(2026, 2, 1))
        assert sheet is not None
        assert (sheet.status, sheet.total, sheet.amount_remaining) == ("past_due", 6000, 6000)
        assert (sheet.customer, sheet.address) == ("Acme 001A", ("1 Main St", "FR"))
        assert [(x.start, x.end, x.quantity, x.amount) for x in sheet.lines] == [
            (day("2026-01-01"), day("2026-02-01"), 2, 6000)
        ]
        assert reading.invoice_by_token(unit, sheet.token, date(2026, 1, 2)) == replace(sheet, status="open")
        assert reading.invoice_by_token(unit, sheet.token[:-1] + "x", date(2026, 1, 2)) is None
        assert reading.invoice(unit, "INV-9999", date(2026, 1, 2)) is None
        (listing,) = reading.contracts(unit, date(2026, 2, 1))
        assert (listing.contract, listing.status, listing.value, listing.next_on) == (
            contract_id,
            "past_due",
            72000,
            date(2026, 3, 1),
        )
        shown = reading.contract(unit, "D1", day("2026-02-01"), date(2026, 2, 1))
        assert shown is not None
        assert [(v.number, v.item.id, v.quantity) for v in shown.items] == [(1, "gold", 2)]
        assert [i.number for i in shown.invoices] == ["INV-0001", "INV-0002"]


def test_changed_invoices_are_those_of_the_contracts(books: Books) -> None:
    """The CRM is told all finalized invoices of a deal's contract, oldest first, drafts never."""
    books.create("D1", "2026-01-01", terms())
    books.create("D2", "2026-01-01", terms(), account="001B")
    books.bill("2026-02-01", hold=True)
    with books.reading() as unit:
        found = books.billing.changed_invoices(["D1"], unit)
        contract = books.billing.contract(found[0].contract_id, unit)
    assert [(i.number, i.deal, i.account, i.total) for i in found] == [("INV-0001", "D1", "001A", 3000)]
    assert contract is not None
    assert contract.terms == terms()


def test_billed_month_by_month_or_late_is_the_same(books: Books) -> None:
    """Two amendments and a cancellation, billed each day or in one late run, add up to the same amount."""
    agreed = terms(items=[item(quantity=5), item("support", 12000, interval=Interval(unit="year"))])
    story = [
        delta("A{}", "2026-02-10", 3),
        delta("B{}", "2026-03-20", -4),
        cancellation("C{}", "2026-06-11", prorate=True, invoice_now=True),
    ]

    def played(tag: str, runs: list[str]) -> int:
        contract_id = books.create(f"D{tag}", "2026-01-01", agreed, account=f"001{tag}")
        for change in story:
            named = replace(change, id=change.id.format(tag))
            when = f"{change.effective:%Y-%m-%d}"
            for text in [r for r in runs if r <= when]:
                books.bill(text)
            assert books.change(when, contract_id, named).problem is None
        books.bill("2026-07-01")
        return int(books.rows("SELECT SUM(amount) FROM line WHERE contract_id=?", contract_id)[0][0])

    monthly = played("1", [f"2026-{m:02d}-01" for m in range(2, 7)])
    late = played("2", [])
    assert monthly == late


def test_a_run_in_small_chunks_issues_every_draft(tmp_path: Path) -> None:
    """Four contracts wait as drafts, the one that is due again comes first: a run of two contracts a chunk leaves no draft."""
    books = open_books(tmp_path)
    for number, start in enumerate(("2026-01-01", "2026-01-10", "2026-01-11", "2026-01-12")):
        books.apply(start, books.command("create", f"D{number}", terms=terms(start), account=f"001{number}"), hold=True)
    books.bill("2026-02-05", chunk=2)
    assert sorted((status, total) for _, status, _, total in books.invoices()) == [("open", 3000)] * 3 + [("open", 6000)]


@pytest.mark.parametrize("timezone", ["Europe/Paris", "America/New_York", "UTC"])
def test_the_next_invoice_of_a_contract_is_a_day_of_its_time_zone(books: Books, timezone: str) -> None:
    """East and west of UTC a contract's list and page name the first of February, the day on which it is billed."""
    books.create("D1", "2026-01-01", terms(timezone=timezone))
    with books.database.read() as unit:
        (listed,) = reading.contracts(unit, date(2026, 1, 2))
        sheet = reading.contract(unit, "D1", day("2026-01-02"), date(2026, 1, 2))
    assert sheet is not None
    assert listed.next_on == sheet.listing.next_on == date(2026, 2, 1)
