"""What becomes of an issued invoice, as the rep sees it: amounts and words on the record, and the rows of invoices and notes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from world import World, world


def ask(here: World, kind: str, **data: object) -> str:
    """Ask the books for something as the command line does, then run a round; return the request's state."""
    return here.ask(kind, **data).state


def test_credit_note_and_payment_reach_the_record_and_the_rows(tmp_path: Path) -> None:
    """Of 200.00, 50.00 are credited and 150.00 paid: billed 150, paid 150, due 0; the note is a row of -50 with its own number."""
    with world(tmp_path) as here:
        here.account("acme")
        here.deal("licences", {"Quantity": 2}, account="acme")
        here.win("licences")
        here.sync()
        ((number, total),) = here.query("SELECT number, total FROM invoice WHERE deal = ?", here.ids["licences"])
        assert total == 20000
        assert ask(here, "invoice.credit", invoice=number, amount=5000, reason="late delivery") == "done"
        record = here.record("licences")
        assert (record["Amount_Billed__c"], record["Amount_Paid__c"], record["Amount_Due__c"]) == (Decimal(150), Decimal(0), Decimal(150))
        assert "50.00 EUR of it was credited." in here.said("licences")[1]
        rows = {row["Number__c"]: row for row in here.invoices() if row["Opportunity__c"] == here.ids["licences"]}
        assert sorted(rows) == ["CN-0001", number]
        note, invoice = rows["CN-0001"], rows[number]
        assert (note["Type__c"], note["Total__c"], note["Amount_Due__c"], note["Status__c"]) == ("Credit note", Decimal(-50), Decimal(0), "Issued")
        assert (invoice["Type__c"], invoice["Total__c"], invoice["Amount_Due__c"]) == ("Invoice", Decimal(200), Decimal(150))
        assert note["Contract_Id__c"] == invoice["Contract_Id__c"]
        assert ask(here, "invoice.pay", invoice=number) == "done"
        record = here.record("licences")
        assert (record["Amount_Billed__c"], record["Amount_Paid__c"], record["Amount_Due__c"]) == (Decimal(150), Decimal(150), Decimal(0))
        here.assert_quiet()


def test_void_reaches_the_record(tmp_path: Path) -> None:
    """A voided invoice counts nowhere and the rep reads so; what is refused says why and changes nothing."""
    with world(tmp_path) as here:
        here.account("acme")
        here.deal("licences", {"Quantity": 2}, account="acme")
        here.win("licences")
        here.sync()
        ((number,),) = here.query("SELECT number FROM invoice WHERE deal = ?", here.ids["licences"])
        assert ask(here, "invoice.void", invoice=number) == "done"
        record = here.record("licences")
        assert (record["Amount_Billed__c"], record["Amount_Due__c"]) == (Decimal(0), Decimal(0))
        assert f"{number} was voided." in here.said("licences")[1]
        assert ask(here, "invoice.void", invoice=number) == "refused"
        here.assert_quiet()
