"""What the amounts mean, on which record they stand, and which status words there are (deals.md sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_flow_changes import amendment
from test_flow_notes import ask
from test_flow_renew import renewal
from world import World, at, world

from connector import app
from connector.sync import rounds
from connector.sync.mapper import map_records
from connector.sync.seam import Tally
from connector.sync.stage import stage
from connector.sync.write_back import write_back

D = Decimal
CHANGES = ("more", "less", "pause", "resume", "cancel")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def by_deals(demo: World, account: str) -> dict[str, Decimal]:
    """Return billed, paid and due as the deals of an account show them, added up."""
    rows = [r for r in demo.org.rows("Opportunity") if r["AccountId"] == demo.ids[account]]
    return {n: sum((r.get(n) or D(0) for r in rows), D(0)) for n in ("Amount_Billed__c", "Amount_Paid__c", "Amount_Due__c")}


def by_invoices(demo: World, account: str) -> dict[str, Decimal]:
    """Return the same of the account's rows of invoices and credit notes; voided ones count nowhere."""
    rows = [r for r in demo.invoices() if r["Account__c"] == demo.ids[account] and r["Status__c"] not in ("Void", "Draft")]
    names = {"Amount_Billed__c": "Total__c", "Amount_Paid__c": "Amount_Paid__c", "Amount_Due__c": "Amount_Due__c"}
    return {n: sum((r.get(of) or D(0) for r in rows), D(0)) for n, of in names.items()}


@pytest.mark.parametrize("is_consolidated", [False, True])
def test_the_amounts_of_an_accounts_deals_add_up_to_its_invoices(demo: World, *, is_consolidated: bool) -> None:
    """Two contracts, one amended, paused, resumed and renewed, one canceled; a payment, a credit note, a voided invoice: at every step
    what the deals show is what the invoices say, and change deals show no amounts of their own."""
    demo.edit("acme", "Account", Consolidate_Invoices__c=is_consolidated)
    demo.deal("base", {"Quantity": 10, "UnitPrice": "29.00"}, account="acme", StageName="Closed Won", Contract_Term_Months__c=6)
    demo.deal("other", {"product": "support", "UnitPrice": "70.00"}, account="acme", StageName="Closed Won")
    steps: list[tuple[str, Any]] = [
        ("2026-01-02", lambda: None),
        ("2026-02-01", lambda: ask(demo, "invoice.pay", invoice="INV-0001", amount=None, on="2026-02-01")),
        ("2026-03-15", lambda: amendment(demo, "more", "base", {"Quantity": 5, "UnitPrice": "29.00"})),
        ("2026-04-01", lambda: ask(demo, "invoice.credit", invoice="INV-0002", amount=1000, reason="goodwill", lines=[])),
        ("2026-04-20", lambda: amendment(demo, "pause", "base", Billing_Action__c="Pause", CloseDate=date(2026, 4, 20),
                                         Billing_Effective_Date__c=date(2026, 4, 20))),
        ("2026-05-10", lambda: amendment(demo, "resume", "base", Billing_Action__c="Resume", CloseDate=date(2026, 5, 10),
                                         Billing_Effective_Date__c=date(2026, 5, 10))),
        ("2026-05-20", lambda: amendment(demo, "cancel", "other", Billing_Action__c="Cancel", CloseDate=date(2026, 5, 20),
                                         Billing_Effective_Date__c=date(2026, 5, 25))),
        ("2026-06-01", lambda: renewal(demo, on="2026-06-01", Renewal_Uplift_Percent__c=D(10))),
        ("2026-07-01", lambda: None),
        ("2026-08-01", lambda: None),
    ]  # fmt: skip
    for day, step in steps:
        demo.clock.move_to(at(day))
        assert step() in (None, "done"), (day, demo.query("SELECT result FROM intent"), demo.invoices())
        demo.sync()
        demo.bill()
        assert by_deals(demo, "acme") == by_invoices(demo, "acme"), day
    assert by_invoices(demo, "acme")["Amount_Billed__c"] > 0
    for name in ("more", "pause", "resume", "cancel"):
        record = demo.record(name)
        assert [record[f] for f in ("Amount_Billed__c", "Amount_Paid__c", "Amount_Due__c", "Annual_Value__c")] == [None] * 4, name
        assert record["Contract_Value__c"] is not None
        assert record["Billing_Contract_Id__c"]
    assert demo.record("cancel")["Contract_Value__c"] < 0
    assert demo.record("renewal")["Amount_Billed__c"] > 0
    demo.assert_quiet()


def test_a_voided_invoice_and_a_draft_count_nowhere(demo: World) -> None:
    """After voiding the only invoice nothing is billed and nothing due."""
    demo.win("acme_seats")
    demo.sync()
    assert ask(demo, "invoice.void", invoice="INV-0001") == "done"
    demo.sync()
    record = demo.record("acme_seats")
    assert (record["Amount_Billed__c"], record["Amount_Paid__c"], record["Amount_Due__c"]) == (D(0), D(0), D(0))
    assert "INV-0001 was voided." in record["Billing_Message__c"]
    demo.assert_quiet()


def test_an_amendment_inside_a_voided_month_costs_only_what_is_more(demo: World) -> None:
    """January was voided; five seats less from the 15th make nothing owed again, five more cost those five (decision D-118)."""
    demo.win("acme_seats")
    demo.sync()
    ask(demo, "invoice.void", invoice="INV-0001")
    day = date(2026, 1, 15)
    amendment(demo, "less", "acme_seats", {"Quantity": -5, "UnitPrice": "29.00"}, CloseDate=day, Billing_Effective_Date__c=day)
    demo.bill("2026-01-15")
    assert demo.record("acme_seats")["Amount_Billed__c"] == D(0)
    day = date(2026, 1, 20)
    amendment(demo, "more", "acme_seats", {"Quantity": 10, "UnitPrice": "29.00"}, CloseDate=day, Billing_Effective_Date__c=day)
    demo.bill("2026-01-20")
    assert demo.record("acme_seats")["Amount_Billed__c"] == D("56.13")  # 5 seats more than the voided 10 for 12 of 31 days
    demo.assert_quiet()


# ---------------------------------------------------------------- status words


def test_each_status_word_of_an_opportunity_is_reached(demo: World) -> None:
    """Queued before it is decided, then Scheduled, Trialing, Active, Past due, Paused, Canceled, Completed, Withdrawn, Needs attention,
    Blocked; Draft while the first invoice waits. Unpaid needs payments, see tests/test_flow_payments.py."""
    demo.deal("plain", {}, account="acme", StageName="Closed Won", Contract_Term_Months__c=2)
    with app.writing_house(demo.config, "test", clock=demo.clock) as house:
        stage(house.seam, Tally())
        map_records(house.seam, Tally())
        write_back(house.seam, Tally())
    assert demo.said("plain") == ("Queued", "Waiting to be billed; it is tried again by itself.")
    demo.deal("later", {}, Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    demo.deal("held", {}, account="gaia", Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    demo.deal("taken_back", {}, Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    demo.win("gaia_trial", "everest_support", "fjord_seats")
    amendment(demo, "blocked", "fjord_seats", {"Quantity": 1, "UnitPrice": "29.00"}, account="fjord")
    demo.sync()
    demo.edit("taken_back", StageName="Closed Lost")
    demo.sync()
    words = {n: demo.said(n)[0] for n in ("plain", "later", "taken_back", "gaia_trial", "fjord_seats", "blocked")}
    assert words == {
        "plain": "Active", "later": "Scheduled", "taken_back": "Withdrawn", "gaia_trial": "Trialing", "fjord_seats": "Needs attention",
        "blocked": "Blocked",
    }  # fmt: skip
    demo.clock.move_to(at("2026-02-01"))
    with app.writing_house(demo.config, "test", clock=demo.clock) as house:
        rounds.bill_books(house.database, house.billing, demo.clock.now(), hold=True, stop=house.seam.stop)
        while write_back(house.seam, Tally()):
            pass
    assert demo.said("held")[0] == "Draft"
    assert "waits as a draft" in demo.said("held")[1]
    demo.bill("2026-02-02")
    assert demo.said("held")[0] == "Active"
    assert demo.said("plain")[0] == "Past due"
    amendment(demo, "pause", "everest_support", Billing_Action__c="Pause", account="everest", CloseDate=date(2026, 2, 2),
              Billing_Effective_Date__c=date(2026, 2, 2))  # fmt: skip
    amendment(demo, "cancel", "later", Billing_Action__c="Cancel", account="helios", CloseDate=date(2026, 2, 2),
              Billing_Effective_Date__c=date(2026, 2, 2))  # fmt: skip
    demo.bill("2026-02-03")
    assert demo.said("everest_support")[0] == "Paused"
    assert demo.said("later")[0] == "Canceled"
    demo.bill("2026-03-01")
    assert demo.said("plain")[0] == "Completed"


def test_the_shapes_of_messages_in_french(tmp_path: Path) -> None:
    """A rep who reads French: billing, late, blocked by another deal and why, ended, and a change with what it cost."""
    with world(tmp_path) as demo:
        demo.config = replace(demo.config, crm=replace(demo.config.crm, language="fr"))
        demo.win("acme_seats", "fjord_seats")
        amendment(demo, "blocked", "fjord_seats", {"Quantity": 1, "UnitPrice": "29.00"}, account="fjord")
        demo.sync()
        assert demo.said("acme_seats")[1] == (
            "Facturé depuis le 1er janv. 2026. INV-0001, 290,00 EUR, est à payer pour le 31 janv. Prochaine facture le 1er févr."
        )
        assert demo.said("blocked")[1].startswith("Bloqué par 'Fjord team seats' (")
        assert demo.said("blocked")[1].endswith("Rien à faire ici.")
        amendment(demo, "more", "acme_seats", {"Quantity": 5, "UnitPrice": "29.00"}, CloseDate=date(2026, 1, 16),
                  Billing_Effective_Date__c=date(2026, 1, 16))  # fmt: skip
        demo.bill("2026-01-16")
        assert demo.said("more")[1] == (
            "Contrat modifié à partir du 16 janv. 2026 : Team Seat +5. Facturé 74,84 EUR (224,52 EUR moins 149,68 EUR déjà facturés). Voir INV-0002."
        )
        demo.bill("2026-02-01")
        assert demo.said("acme_seats")[1].startswith("En retard : INV-0001, 290,00 EUR, était due le 31 janv.")
