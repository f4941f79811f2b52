"""Payments that finance people type on an invoice's row in the CRM: recorded once, answered on the row in plain words (D-151)."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_kill import Fuse, FusedCrm, fused_database
from world import World, at, world

from connector import app
from connector.lookalike.crm.org import Org
from connector.sync import entries, rounds
from connector.sync.seam import Tally

INVOICE = "Billing_Invoice__c"


def billed(here: World) -> str:
    """Win a monthly deal of 290.00 on 1 January and return the id of its invoice's row."""
    here.account("acme")
    here.deal("licences", {"Quantity": 1, "UnitPrice": "290.00"}, account="acme", Payment_Terms__c="Net 30")
    here.win("licences")
    here.sync()
    (row,) = here.invoices()
    return str(row["Id"])


def typed(here: World, row: str, amount: str, on: str | None = None, reference: str | None = None, **more: Any) -> None:
    """Type a payment on a row as somebody in finance does."""
    here.edit(row, INVOICE, Payment_Received__c=Decimal(amount), Payment_Received_On__c=on, Payment_Reference__c=reference, **more)


def shown(here: World, row: str) -> tuple[Any, ...]:
    """Return what stands in the fields of a row: amount, day, reference."""
    record = here.record(row, INVOICE)
    return record["Payment_Received__c"], record["Payment_Received_On__c"], record["Payment_Reference__c"]


def said(here: World, row: str) -> str:
    """Return the message on a row."""
    return here.record(row, INVOICE)["Payment_Message__c"] or ""


def payments(here: World) -> list[tuple[Any, ...]]:
    """Return (amount, day, method, reference) of every payment in the books."""
    return here.query("SELECT amount, paid_on, method, reference FROM payment ORDER BY id")


def test_what_is_typed_on_the_row_is_recorded_and_the_fields_are_cleared(tmp_path: Path) -> None:
    """A part on 15 January, the rest on 2 February; the row, the deal and the books follow, and the event names who typed it."""
    with world(tmp_path, day="2026-01-15") as here:
        row = billed(here)
        typed(here, row, "100.00", "2026-01-14", "TRF 4711")
        here.sync()
        assert payments(here) == [(10000, "2026-01-14", "manual", "TRF 4711")]
        assert shown(here, row) == (None, None, None)
        assert said(here, row) == "Recorded: 100.00 EUR, received on 14 Jan 2026, reference TRF 4711. 190.00 EUR of INV-0001 is still open."
        record = here.record(row, INVOICE)
        assert (record["Amount_Paid__c"], record["Amount_Due__c"], record["Status__c"]) == (Decimal(100), Decimal(190), "Open")
        assert here.record("licences")["Amount_Due__c"] == Decimal(190)
        here.assert_quiet()
        here.clock.move_to(at("2026-01-20"))
        typed(here, row, "190")
        here.sync()
        assert payments(here)[1:] == [(19000, "2026-01-20", "manual", "")]
        assert said(here, row) == "Recorded: 190.00 EUR, received on 20 Jan 2026. INV-0001 is paid."
        assert here.record(row, INVOICE)["Status__c"] == "Paid"
        assert "INV-0001, 290.00 EUR, is paid." in here.said("licences")[1]
        assert here.query("SELECT DISTINCT actor FROM event WHERE name = 'payment.recorded'")[0][0].startswith("crm:")
        assert here.query("SELECT COUNT(*) FROM crm_row WHERE object LIKE '%payment entry'") == [(0,)]
        here.assert_quiet()


def test_an_equal_payment_typed_again_is_a_second_payment(tmp_path: Path) -> None:
    """Two cheques over the same amount of the same day are two payments."""
    with world(tmp_path, day="2026-01-15") as here:
        row = billed(here)
        for _ in range(2):
            typed(here, row, "100.00", "2026-01-14", "cheque")
            here.sync()
        assert payments(here) == [(10000, "2026-01-14", "manual", "cheque")] * 2
        assert "90.00 EUR of INV-0001 is still open." in said(here, row)
        here.assert_quiet()


def test_what_cannot_be_recorded_says_what_to_do_and_keeps_the_fields(tmp_path: Path) -> None:
    """More than is open, nothing, a future day: refused in plain words until somebody corrects the row; clearing it clears the message."""
    with world(tmp_path, day="2026-01-15") as here:
        row = billed(here)
        typed(here, row, "300.00", "2026-01-14")
        here.sync()
        assert said(here, row).startswith("Not recorded: 300.00 EUR is more than the 290.00 EUR that are open of INV-0001. Enter 290.00 EUR;")
        assert shown(here, row) == (Decimal(300), "2026-01-14", None)
        here.assert_quiet()
        typed(here, row, "-5")
        here.sync()
        assert said(here, row).startswith("Not recorded: a payment is more than zero, but Payment Received says -5.00.")
        typed(here, row, "5", "2026-02-01")
        here.sync()
        assert said(here, row).startswith("Not recorded: 1 Feb 2026 is in the future.")
        assert payments(here) == []
        here.edit(row, INVOICE, Payment_Received__c=None, Payment_Received_On__c=None)
        here.sync()
        assert said(here, row) == ""
        here.assert_quiet()
        typed(here, row, "5", "2026-01-15")
        here.sync()
        assert payments(here) == [(500, "2026-01-15", "manual", "")]


def test_a_refusal_that_has_become_wrong_is_taken_back_by_itself(tmp_path: Path) -> None:
    """Refused because the day was to come; touched on that day, the same fields are recorded."""
    with world(tmp_path, day="2026-01-15") as here:
        row = billed(here)
        typed(here, row, "290.00", "2026-01-20")
        here.sync()
        assert "in the future" in said(here, row)
        here.clock.move_to(at("2026-01-20"))
        here.edit(row, INVOICE, Payment_Reference__c=None, Payment_Received__c=Decimal("290.00"))
        here.sync()
        assert said(here, row) == "Recorded: 290.00 EUR, received on 20 Jan 2026. INV-0001 is paid."
        here.assert_quiet()


def test_a_credit_note_a_void_and_a_paid_invoice_take_no_payment(tmp_path: Path) -> None:
    """Each says what it is and where the payment belongs; a row that somebody made by hand is no invoice."""
    with world(tmp_path, day="2026-01-15") as here:
        row = billed(here)
        here.ask("invoice.credit", invoice="INV-0001", amount=29000, reason="")
        (note,) = [str(r["Id"]) for r in here.invoices() if r["Type__c"] == "Credit note"]
        foreign = here.add(INVOICE, "foreign", Number__c="Mine")
        for one in (row, note, foreign):
            typed(here, one, "10")
        here.sync()
        assert said(here, note) == "Not recorded: CN-0001 is a credit note, which takes no payment. Enter it on the invoice that was paid."
        assert said(here, row).startswith("Not recorded: INV-0001 is paid already.")
        assert said(here, foreign).startswith("Not recorded: this row is not an invoice of the billing connector.")
        here.bill("2026-02-01")
        here.ask("invoice.void", invoice="INV-0002")
        (second,) = [str(r["Id"]) for r in here.invoices() if r["Number__c"] == "INV-0002"]
        typed(here, second, "10")
        here.sync()
        assert said(here, second).startswith("Not recorded: INV-0002 was voided, so nothing is due on it.")
        assert payments(here) == []


def test_the_words_are_french_where_the_crm_is(tmp_path: Path) -> None:
    """What is recorded and what is refused is said in French."""
    with world(tmp_path, day="2026-01-15") as here:
        here.config = replace(here.config, crm=replace(here.config.crm, language="fr"))
        row = billed(here)
        typed(here, row, "300")
        here.sync()
        assert said(here, row).startswith("Non enregistré : 300,00 EUR dépasse les 290,00 EUR qui restent à payer de INV-0001.")
        typed(here, row, "100", "2026-01-02", "VIR 12")
        here.sync()
        assert said(here, row) == "Enregistré : 100,00 EUR, reçu le 2 janv. 2026, référence VIR 12. 190,00 EUR de INV-0001 restent à payer."


def test_another_currency_is_refused_in_an_org_of_several(tmp_path: Path) -> None:
    """The row carries the invoice's currency; a payment typed in another one is refused and names both."""
    with world(tmp_path, day="2026-01-15", org=lambda clock: Org(clock=clock, multi_currency=True)) as here:
        here.account("acme", CurrencyIsoCode="EUR")
        here.deal("licences", {"Quantity": 1, "UnitPrice": "290.00"}, account="acme", Payment_Terms__c="Net 30", CurrencyIsoCode="EUR")
        here.win("licences")
        here.sync()
        (invoice,) = here.invoices()
        assert invoice["CurrencyIsoCode"] == "EUR"
        typed(here, invoice["Id"], "290", CurrencyIsoCode="USD")
        here.sync()
        assert said(here, invoice["Id"]).startswith("Not recorded: INV-0001 is in EUR, but this row says USD.")
        typed(here, invoice["Id"], "290", CurrencyIsoCode="EUR")
        here.sync()
        assert said(here, invoice["Id"]).endswith("INV-0001 is paid.")


def test_an_org_without_the_fields_has_the_feature_off(tmp_path: Path) -> None:
    """A field that is missing or read-only for us switches it off: nothing is polled, and `check` names the field."""
    with world(tmp_path) as here:
        crm = app.build_crm(here.config)
        crm.connect()
        described = dict(crm.describe([INVOICE]))
        assert entries.detail(described) == "read from Billing_Invoice__c.Payment_Received__c"
        fields = dict(described[INVOICE].fields)
        fields["Payment_Message__c"] = replace(fields["Payment_Message__c"], is_updateable=False)
        del fields["Payment_Reference__c"]
        lacking = {INVOICE: replace(described[INVOICE], fields=fields)}
        assert entries.detail(lacking).startswith("off: Payment_Reference__c, Payment_Message__c cannot be written or does not exist;")
        assert entries.fields_of(lacking, crm.connect()) == ()
        with app.writing_house(here.config, "sync", clock=here.clock) as house:
            here.account("acme")
            here.deal("licences", {"Quantity": 1}, account="acme")
            here.win("licences")
            rounds.sync(replace(house.seam, entry_fields=()), Tally())
            with house.database.read() as unit:
                assert unit.query("SELECT 1 FROM cursor WHERE object = ?", (INVOICE,)) == []


def test_an_idle_poll_still_costs_one_call(tmp_path: Path) -> None:
    """Invoice rows take their turn beside accounts, contacts and products: every round is one call, and within four a typed payment is seen."""
    with world(tmp_path, day="2026-01-15") as here, app.writing_house(here.config, "run", clock=here.clock) as house:
        here.account("acme")
        here.deal("licences", {"Quantity": 1, "UnitPrice": "290.00"}, account="acme", Payment_Terms__c="Net 30")
        here.win("licences")
        rounds.read_all(house.seam, Tally())
        here.clock.move_to(at("2026-01-16"))
        rounds.read_all(house.seam, Tally())
        for turn in range(6):
            before = house.crm.usage().calls
            rounds.run_round(house.seam, Tally(), turn=turn)
            assert house.crm.usage().calls - before == 1
        typed(here, here.invoices()[0]["Id"], "290")
        for turn in range(4):
            rounds.run_round(house.seam, Tally(), turn=turn)
        with house.database.read() as unit:
            assert unit.query("SELECT COUNT(*) FROM payment") == [(1,)]


def test_fields_changed_while_a_payment_is_recorded_are_left_and_said(tmp_path: Path) -> None:
    """Read and recorded as 100.00, then changed to 150.00 before the row was cleared: nothing more is recorded until it is typed anew."""
    with world(tmp_path, day="2026-01-15") as here:
        row = billed(here)
        typed(here, row, "100.00")

        class Meddled(FusedCrm):
            def write(self, upserts: Any) -> Any:
                return self._crm.write(upserts)

            def query(self, soql: Any, **how: Any) -> Any:
                if any("WHERE Id IN" in text and INVOICE in text for text in soql):
                    typed(here, row, "150.00")
                return self._crm.query(soql, **how)

        crm: Any = Meddled(app.build_crm(here.config), Fuse(10_000))
        with app.writing_house(here.config, "sync", clock=here.clock, crm=crm) as house:
            rounds.sync(house.seam, Tally())
        assert said(here, row).startswith("Recorded: 100.00 EUR, received on 15 Jan 2026. 190.00 EUR of INV-0001 is still open. The fields were changed")
        assert shown(here, row)[0] == Decimal(150)
        here.assert_quiet()
        assert len(payments(here)) == 1
        here.edit(row, INVOICE, Payment_Received__c=None)
        here.sync()
        typed(here, row, "150.00")
        here.sync()
        assert [p[0] for p in payments(here)] == [10000, 15000]


@pytest.mark.slow
def test_killed_at_any_point_a_typed_payment_is_recorded_once(tmp_path: Path) -> None:
    """The process dies at each call and each commit in turn; before the next start the same amount is typed again if the row was cleared."""
    reached = n = 0
    while reached == 0:
        with world(tmp_path / str(n), day="2026-01-15", is_seeded=True) as here:
            row = billed(here)
            typed(here, row, "100.00", "2026-01-14", "cheque")
            child = multiprocessing.get_context("fork").Process(target=_sync_until, args=(here, n))
            child.start()
            child.join(60)
            assert child.exitcode in (0, -9)
            reached = child.exitcode == 0
            is_cleared = shown(here, row) == (None, None, None)
            if is_cleared:
                typed(here, row, "100.00", "2026-01-14", "cheque")
            here.sync()
            assert [p[0] for p in payments(here)] == [10000] * (1 + is_cleared), f"killed at point {n}"
            assert shown(here, row) == (None, None, None)
            here.assert_quiet()
        n += 1
    assert n > 15


def _sync_until(made: World, n: int) -> None:
    import os

    fuse = Fuse(n)
    app.Database = fused_database(fuse)  # type: ignore[misc]  # this process is a fork made to die
    crm: Any = FusedCrm(app.build_crm(made.config), fuse)
    with app.writing_house(made.config, "sync", clock=made.clock, crm=crm) as house:
        rounds.sync(house.seam, Tally())
    os._exit(0)
