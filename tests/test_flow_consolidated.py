"""One invoice for all contracts of a customer, as the rep reads it: the checkbox on the account, the rows, each deal's amounts."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from test_flow_notes import ask
from world import World, world

from connector import app, service
from connector.sync.plan import preview_of

D = Decimal


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    """Acme wants one invoice; two of its deals, over 200.00 and 100.00 a month, are won on 1 January."""
    with world(tmp_path) as made:
        made.account("acme", Consolidate_Invoices__c=True)
        made.deal("licences", {"Quantity": 2}, account="acme")
        made.deal("support", {"Quantity": 1}, account="acme")
        yield made


def amounts(demo: World, ref: str) -> tuple[Decimal, Decimal, Decimal]:
    """Return billed, paid and due as they stand on the opportunity."""
    record = demo.record(ref)
    return record["Amount_Billed__c"], record["Amount_Paid__c"], record["Amount_Due__c"]


def test_two_deals_share_one_row_and_count_by_their_lines(demo: World) -> None:
    """A sync bills nothing and says so; the run makes one row over 300.00 without opportunity; paid in part, the shares are split to the cent."""
    demo.win("licences", "support")
    demo.sync()
    assert demo.invoices() == []
    assert demo.said("licences")[0] == "Active"
    assert str(demo.record("licences")["Next_Invoice_Date__c"]) == "2026-01-01"
    assert demo.record("licences")["Next_Invoice_Amount__c"] == D(200)
    demo.bill()
    (row,) = demo.invoices()
    assert (row.get("Opportunity__c"), row.get("Contract_Id__c"), row["Account__c"]) == (None, None, demo.ids["acme"])
    assert (row["Total__c"], row["Status__c"]) == (D(300), "Open")
    assert amounts(demo, "licences") == (D(200), D(0), D(200))
    assert amounts(demo, "support") == (D(100), D(0), D(100))
    assert row["Number__c"] in demo.said("support")[1]
    assert ask(demo, "invoice.pay", invoice=row["Number__c"], amount=10001) == "done"
    paid = [amounts(demo, ref) for ref in ("licences", "support")]
    assert paid == [(D(200), D("66.67"), D("133.33")), (D(100), D("33.34"), D("66.66"))]
    demo.assert_quiet()


def test_a_credit_note_and_a_void_reach_both_deals(demo: World) -> None:
    """150.00 of 300.00 are credited: 100.00 and 50.00 less; the note is a row without opportunity; what is void counts for neither."""
    demo.win("licences", "support")
    demo.sync()
    demo.bill()
    number = demo.invoices()[0]["Number__c"]
    assert ask(demo, "invoice.credit", invoice=number, amount=15000, reason="late") == "done"
    assert [amounts(demo, ref) for ref in ("licences", "support")] == [(D(100), D(0), D(100)), (D(50), D(0), D(50))]
    note, invoice = demo.invoices()
    assert (note["Type__c"], note["Total__c"], note.get("Opportunity__c")) == ("Credit note", D(-150), None)
    assert invoice["Amount_Due__c"] == D(150)
    demo.bill("2026-02-01")
    second = demo.invoices()[-1]["Number__c"]
    assert ask(demo, "invoice.void", invoice=second) == "done"
    assert [amounts(demo, ref) for ref in ("licences", "support")] == [(D(100), D(0), D(100)), (D(50), D(0), D(50))]
    demo.assert_quiet()


def test_the_checkbox_may_change_between_runs(demo: World) -> None:
    """Cleared before February, each deal has its own invoice then; checked again, March is one; nothing is billed twice or forgotten."""
    demo.win("licences", "support")
    demo.sync()
    demo.bill()
    demo.edit("acme", "Account", Consolidate_Invoices__c=False)
    demo.bill("2026-02-01")
    demo.edit("acme", "Account", Consolidate_Invoices__c=True)
    demo.bill("2026-03-01")
    rows = [(str(r["Issued_On__c"]), r["Total__c"], bool(r.get("Opportunity__c"))) for r in demo.invoices()]
    assert rows == [
        ("2026-01-01", D(300), False), ("2026-02-01", D(200), True), ("2026-02-01", D(100), True), ("2026-03-01", D(300), False),
    ]  # fmt: skip
    assert [amounts(demo, ref)[0] for ref in ("licences", "support")] == [D(600), D(300)]
    demo.assert_quiet()


def test_a_late_shared_invoice_is_late_for_both_and_says_so_once(demo: World) -> None:
    """After 31 January both deals are past due, told by one run; paid, both are active again."""
    demo.win("licences", "support")
    demo.sync()
    demo.bill()
    number = demo.invoices()[0]["Number__c"]
    demo.bill("2026-02-02")
    assert [demo.said(ref)[0] for ref in ("licences", "support")] == ["Past due", "Past due"]
    assert ask(demo, "invoice.pay", invoice=number) == "done"
    assert [demo.said(ref)[0] for ref in ("licences", "support")] == ["Active", "Active"]
    demo.assert_quiet()


def test_a_plan_says_that_the_lines_go_on_a_shared_invoice(demo: World) -> None:
    """Before the deal is won and after: the plan of an amendment, too, names the customer's one invoice."""
    demo.win("licences")
    with app.writing_house(demo.config, "test", clock=demo.clock) as house:
        found = preview_of(house.seam, demo.ids["licences"])
    assert found.preview is not None
    assert found.preview.is_consolidated
    assert [i.total for i in found.preview.invoices][:1] == [20000]


def test_the_page_groups_the_lines_by_contract(demo: World) -> None:
    """The page behind the row's link has a heading for each deal above its lines."""
    demo.win("licences", "support")
    demo.sync()
    demo.bill()
    token = demo.invoices()[0]["URL__c"].rpartition("/")[2]
    with app.writing_house(demo.config, "test", clock=demo.clock) as house, service.pages(house) as url:
        text = httpx.get(f"{url}/i/{token}", timeout=10).text
    assert text.count('<tr class="group">') == 2
    assert text.index(">Licences<") < text.index(">Support<")
    assert "300.00" in text


def test_an_invoice_without_contract_has_a_row_of_the_account(tmp_path: Path) -> None:
    """A one-off invoice over 500.00: a row with the account and no opportunity, the deal's own amounts as before; paid, the row says so."""
    with world(tmp_path) as demo:
        demo.account("acme")
        demo.deal("licences", {"Quantity": 2}, account="acme")
        demo.win("licences")
        demo.sync()
        line = {"description": "Workshop", "unit_amount": "50000"}
        assert ask(demo, "invoice.create", account=demo.ids["acme"], currency="eur", lines=[line]) == "done"
        rows = {row["Number__c"]: row for row in demo.invoices()}
        row = rows["INV-0002"]
        assert (row["Total__c"], row["Account__c"], row.get("Opportunity__c"), row["Status__c"]) == (D(500), demo.ids["acme"], None, "Open")
        assert amounts(demo, "licences") == (D(200), D(0), D(200))
        assert ask(demo, "invoice.pay", invoice="INV-0002") == "done"
        assert {r["Number__c"]: r["Status__c"] for r in demo.invoices()}["INV-0002"] == "Paid"
        demo.assert_quiet()


def test_a_credit_note_has_a_page_a_pdf_and_a_link_on_its_row(tmp_path: Path) -> None:
    """Of 200.00 paid, 50.00 are refunded: the note's row links to a page that names the invoice, the reason and the refund; one sign off: nothing."""
    with world(tmp_path) as demo:
        demo.account("acme")
        demo.deal("licences", {"Quantity": 2}, account="acme")
        demo.win("licences")
        demo.sync()
        assert ask(demo, "invoice.pay", invoice="INV-0001") == "done"
        assert ask(demo, "invoice.refund", invoice="INV-0001", amount=5000, reason="late <delivery>") == "done"
        note = next(row for row in demo.invoices() if row["Type__c"] == "Credit note")
        token = note["URL__c"].rpartition("/")[2]
        with app.writing_house(demo.config, "test", clock=demo.clock) as house, service.pages(house) as url:
            page = httpx.get(f"{url}/i/{token}", timeout=10)
            document = httpx.get(f"{url}/i/{token}.pdf", timeout=30)
            wrong = httpx.get(f"{url}/i/{token[:-1]}{'0' if token[-1] != '0' else '1'}", timeout=10)
        assert page.status_code == 200
        for text in ("Credit note", note["Number__c"], "INV-0001", "Refunded", "50.00", "late &lt;delivery&gt;"):
            assert text in page.text, text
        assert (document.status_code, document.content[:5], wrong.status_code) == (200, b"%PDF-", 404)
        demo.assert_quiet()
