"""What follows a free trial of a customer without a stored payment method, in the books as in scenarios."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_flow_payments import CARDS, ask, charges, customer
from world import ROOT, World, mapping_files, world

from connector.simulate import simulated as simulate


def mappings(folder: Path, behavior: str) -> list[Path]:
    """Return the shipped mappings, the one of opportunities with another end of free trials."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (ROOT / "mappings" / "salesforce-opportunity.yaml").read_text(encoding="utf-8")
    key = "trial_without_payment: {value: invoice}"
    assert key in text
    made = folder / "salesforce-opportunity.yaml"
    made.write_text(text.replace(key, f"trial_without_payment: {{value: {behavior}}}"), encoding="utf-8")
    return [made, mapping_files()[1]]


def trial(here: World) -> None:
    """Win a monthly deal of 200.00 that begins with 14 free days."""
    here.account("acme")
    here.deal("licences", {"Quantity": 2}, account="acme", Payment_Terms__c="Charge automatically", Free_Trial_Days__c=14)
    here.win("licences")
    here.sync()


def simulated(behavior: str, payment: str) -> tuple[str, list[int]]:
    """Return the status of the contract and the totals of the invoices that `simulate` has for the same trial."""
    scenario = {
        "currency": "eur", "timezone": "UTC", "settings": {"proration": "day", "tax_rounding": "line"}, "customer": {"payment": payment},
        "prices": {"seat": {"unit_amount": 10000, "recurring": {"interval": "month"}}},
        "contract": {
            "start": "2026-01-01", "collection_method": "charge_automatically", "trial_end": "2026-01-15",
            "trial_settings": {"missing_payment_method": behavior}, "phases": [{"items": [{"price": "seat", "quantity": "2"}]}],
        },
        "until": "2026-03-01",
    }  # fmt: skip
    result, _ = simulate(json.dumps(scenario), "trial.json")
    return result["contract"]["status"], [i["total"] for i in result["invoices"]]


@pytest.mark.parametrize(
    ("key", "word", "status", "says"),
    [
        ("cancel", "cancel", "Canceled", "Canceled, ended on 14 Jan 2026. The free trial ended without a payment method."),
        ("pause", "pause", "Paused", "Paused: nothing is billed until it is resumed. The free trial ended without a payment method."),
        ("invoice", "create_invoice", "Past due", "Past due: INV-0002, 200.00 EUR, was due 15 Jan."),
    ],
)
def test_a_trial_without_a_method_ends_as_the_mapping_says(tmp_path: Path, key: str, word: str, status: str, says: str) -> None:
    """Cancel and pause bill nothing, invoice bills and waits; the record says which, and `simulate` comes to the same."""
    with world(tmp_path / "books", mappings=mappings(tmp_path / "maps", key), payments=CARDS) as here:
        trial(here)
        assert here.said("licences")[0] == "Trialing"
        for day in ("2026-01-14", "2026-01-15", "2026-02-15", "2026-03-01"):
            here.bill(day)
        assert here.said("licences")[0] == status
        assert says in here.said("licences")[1]
        totals = [total for (total,) in here.query("SELECT total FROM invoice ORDER BY id")]
        expected, scenario = simulated(word, "none")
        assert totals == scenario
        assert status.lower().replace(" ", "_") == expected
        here.assert_quiet()


@pytest.mark.parametrize("key", ["cancel", "pause"])
def test_a_card_stored_before_the_end_is_charged_at_the_end(tmp_path: Path, key: str) -> None:
    """A method that comes on the last day counts: the contract goes on and its first invoice is paid, as in `simulate`."""
    with world(tmp_path / "books", mappings=mappings(tmp_path / "maps", key), payments=CARDS) as here:
        trial(here)
        here.bill("2026-01-14")
        ask(here, "customer.payment_method", customer=customer(here), method="test:ok")
        here.bill("2026-01-15")
        assert here.said("licences")[0] == "Active"
        here.bill("2026-03-01")
        totals = [total for (total,) in here.query("SELECT total FROM invoice ORDER BY id")]
        assert totals[:3] == simulated(key, "succeeds")[1]
        assert {state for _, state, _, _ in charges(here)} == {"succeeded"}
        assert here.query("SELECT COUNT(*) FROM change") == [(0,)]


def test_a_run_that_was_down_at_the_end_looks_at_the_method_of_its_own_day(tmp_path: Path) -> None:
    """Down from the trial until a week after it: without a method the contract ends with its trial, not with the run."""
    with world(tmp_path / "books", mappings=mappings(tmp_path / "maps", "cancel"), payments=CARDS) as here:
        trial(here)
        here.bill("2026-01-22")
        assert "Canceled, ended on 14 Jan 2026." in here.said("licences")[1]
        assert here.query("SELECT total FROM invoice") == [(0,)]


def test_a_paused_trial_goes_on_when_it_is_resumed(tmp_path: Path) -> None:
    """After a card is stored a Resume deal brings the contract back, billed from the day it goes on."""
    with world(tmp_path / "books", mappings=mappings(tmp_path / "maps", "pause"), payments=CARDS) as here:
        trial(here)
        here.bill("2026-01-15")
        ask(here, "customer.payment_method", customer=customer(here), method="test:ok")
        here.bill("2026-01-20")
        here.deal(
            "go_on", account="acme", CloseDate="2026-02-01", Billing_Action__c="Resume", Amends_Opportunity__c="@licences",
            Billing_Effective_Date__c="2026-02-01",
        )  # fmt: skip
        here.win("go_on")
        here.bill("2026-02-01")
        assert here.said("licences")[0] == "Active"
        assert here.query("SELECT status FROM invoice ORDER BY id")[0] == ("paid",)
