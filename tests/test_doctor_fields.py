"""`connector check` of mappings against the org: each finding at its line, with a real demo CRM whose fields do not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from doctor_world import (
    OPPORTUNITY,
    Doctor,
    doctors,
    drop_quotes,
    line_of,
    places,
    remove,
    reshape,
)

from connector.lookalike.crm.org import Traits


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Doctor]]:
    """What makes a doctor for an org; keywords are the org's."""
    with doctors(tmp_path, monkeypatch, capsys) as make:
        yield make


@pytest.fixture
def doctor(made: Callable[..., Doctor]) -> Doctor:
    """A doctor at the usual demo CRM."""
    return made()


# ---------------------------------------------------------------- fields


def test_fields_hidden_read_only_or_missing(doctor: Doctor) -> None:
    """Each is named at its line of the mapping: a standard field as hidden, a custom one as either, a slip with the right name."""
    doctor.org.faults.apply({"hide": ["Opportunity.CloseDate", "Opportunity.Billing_Day__c"], "read_only": ["Account.Portal_URL__c"]})
    doctor.change("quantity: Quantity", "quantity: Quantitty", OPPORTUNITY)
    status, found = doctor.bad()
    assert status == 2
    said = {(c["code"], c["where"]["line"]): f"{c['message']} {c['hint']}" for c in found if c["where"].get("file", "").endswith("opportunity.yaml")}
    assert "every org has it, so the integration user lacks field access" in said["unknown-field", line_of("closed_on: CloseDate")]
    assert "it does not exist, or the integration user lacks field access" in said["unknown-field", line_of("billing_day:")]
    assert 'Did you mean "Quantity"?' in said["unknown-field", line_of("Quantitty")]
    assert "cannot be written by the integration user" in said["not-writeable", line_of("Portal_URL__c")]
    assert {c["name"] for c in found if c["state"] == "fail"} == {"fields"}
    assert {c["name"] for c in found if c["state"] == "skip"} == {
        "picklists", "text-lengths", "digits", "formulas", "external-ids", "quotes", "catalogue",
    }  # fmt: skip


def test_what_the_fields_of_the_org_cannot_take(doctor: Doctor) -> None:
    """Texts too short, a picklist without our words, too few decimals and digits, an id that is not unique: all in one run, with lines."""
    org = doctor.org
    reshape(org, "Opportunity.Billing_Status__c", length=10)
    reshape(org, "Opportunity.Billing_Message__c", length=255)
    reshape(org, "Account.Portal_URL__c", length=60)
    reshape(org, "Billing_Invoice__c.Type__c", picklist=("Invoice",))
    reshape(org, "Opportunity.Charge_Type__c", picklist=())
    reshape(org, "OpportunityLineItem.Line_Change__c", picklist=("Add", "Reduce", "Set"))
    reshape(org, "Opportunity.Amount_Due__c", scale=0)
    reshape(org, "OpportunityLineItem.UnitPrice", scale=1)
    reshape(org, "Opportunity.Amount_Paid__c", precision=7)
    reshape(org, "Billing_Invoice__c.Billing_Invoice_Id__c", unique=False)
    Path("mappings/salesforce-quote.yaml").unlink()
    drop_quotes()
    reshape(org, "Opportunity.SyncedQuoteId", target="Quote")
    status, found = doctor.bad()
    assert status == 2
    assert {(name, code, line) for name, code, line in places(found) if line} == {
        ("text-lengths", "warn-text-too-short", line_of("Billing_Status__c:")), ("text-lengths", "warn-short-text", line_of("Billing_Message__c:")),
        ("text-lengths", "warn-text-too-short", line_of("Portal_URL__c:")), ("picklists", "missing-picklist-value", line_of("Type__c: type")),
        ("picklists", "unknown-picklist-value", line_of("Line_Change__c")), ("digits", "warn-few-decimals", line_of("Amount_Due__c: amount_due")),
        ("digits", "warn-few-decimals", line_of("unit_amount")), ("digits", "warn-few-digits", line_of("Amount_Paid__c: amount_paid")),
        ("external-ids", "warn-not-unique", line_of("key: Billing_Invoice_Id__c")),
    }  # fmt: skip
    assert ("quotes", "", 0) in places(found)  # a synced quote that no source reads


def test_formulas_as_triggers_and_amounts(doctor: Doctor) -> None:
    """A formula in `when` and one that gives an amount are warned of, and nothing is stopped."""
    doctor.org.faults.apply({"formula": ["Opportunity.Probability", "Opportunity.Discount_Percent__c"]})
    doctor.change("when: IsWon = true  ", "when: IsWon = true AND Probability > 50", OPPORTUNITY)
    status, found = doctor.bad()
    assert status == 0
    expected = [("formulas", "warn-calculated-field", line_of(text)) for text in ("when: IsWon", "Discount_Percent__c")]
    assert places(found) == expected
    assert doctor.type("sync")[0] in (0, 1)


def test_an_org_without_quotes(made: Callable[..., Doctor]) -> None:
    """The source of quotes is named with how to enable them; once it is removed, all is well."""
    doctor = made(traits=Traits(has_quotes=False))
    status, found = doctor.bad()
    assert status == 2
    assert {c["code"] for c in found if c["state"] == "fail" and c["name"] == "objects"} == {"quotes-disabled"}
    assert any("Quote Settings" in c["hint"] for c in found)
    drop_quotes()
    assert doctor.bad() == (0, [])


def test_objects_missing_or_without_rights(doctor: Doctor) -> None:
    """Invoice rows without their object, or that may not be created; opportunities that may not be edited."""
    reshape(doctor.org, "Billing_Invoice__c", is_writable=False)
    reshape(doctor.org, "Opportunity", is_writable=False)
    status, found = doctor.bad()
    at = line_of("write_back:")
    assert status == 2
    said = [c for c in found if c["where"].get("file", "").endswith("opportunity.yaml")]
    assert [c["code"] for c in said] == ["no-object-right"] * 2
    assert said[0]["where"]["line"] == at + 1
    assert "create and edit" in said[1]["message"]
    remove(doctor.org, "Billing_Invoice__c")
    _, found = doctor.bad()
    assert any("Deploy our package (`connector crm package`)" in c["hint"] and c["code"] == "unknown-object" for c in found)


def test_an_external_id_that_is_none(doctor: Doctor) -> None:
    """The key of invoice rows that is no external id fails, at its line."""
    reshape(doctor.org, "Billing_Invoice__c.Billing_Invoice_Id__c", external_id=False)
    status, found = doctor.bad()
    assert status == 2
    assert ("external-ids", "not-an-external-id", line_of("key: Billing_Invoice_Id__c")) in places(found)


def test_currencies_that_do_not_fit(made: Callable[..., Doctor]) -> None:
    """$org.currency alone in an org with several; a hidden CurrencyIsoCode; a single currency that the user may not see."""
    doctor = made(multi_currency=True)
    assert doctor.bad() == (0, [])
    doctor.org.faults.apply({"hide": ["Opportunity.CurrencyIsoCode"]})
    status, found = doctor.bad()
    assert status == 2
    assert ("currency", "currency-hidden", line_of("  currency:")) in places(found)
    doctor.org.faults.apply({"reset": True})
    doctor.change("[CurrencyIsoCode, $org.currency]", "[$org.currency]", OPPORTUNITY)
    assert ("currency", "currency-mode", line_of("  currency:")) in places(doctor.bad()[1])
    single = made()
    single.change(doctor.crm.url, single.crm.url)
    single.org.faults.apply({"hide": ["Organization.DefaultCurrencyIsoCode"]})
    assert ("currency", "currency-hidden", 0) in places(single.bad()[1])


def test_two_sources_of_one_object(doctor: Doctor) -> None:
    """What only `sync` would say of the sources together is said too."""
    doctor.change("  - name: quotes\n    mapping: mappings/salesforce-quote.yaml", "  - name: again\n    mapping: mappings/salesforce-opportunity.yaml")
    status, found = doctor.bad()
    assert status == 2
    assert ("mappings", "two-sources", 0) in places(found)


def test_prices_that_products_name_and_the_books_lack(doctor: Doctor) -> None:
    """A product that is sold at a price which nobody imported fails with its name; after the import it is fine."""
    with doctor.org.lock:
        doctor.org.create("Product2", {"Name": "API Calls", "ProductCode": "API", "IsActive": True, "Billing_Price__c": "api-tiers"})
        doctor.org.create("Product2", {"Name": "Gone", "IsActive": False, "Billing_Price__c": "long-gone"})
    assert doctor.type("sync")[0] in (0, 1)
    status, found = doctor.bad()
    assert (status, places(found)) == (1, [("catalogue", "unknown-price", 0)])
    assert "api-tiers, which API Calls names" in found[0]["message"]
    price = "{product: API, unit_amount: 5, recurring: {interval: month}}"
    Path("prices.yaml").write_text(f"currency: eur\nproducts:\n  API: {{name: API Calls}}\nprices:\n  api-tiers: {price}\n")
    status, out, err = doctor.type("import", "catalog", "prices.yaml")
    assert status == 0, out + err
    assert doctor.bad() == (0, [])


def test_payments_that_people_would_type_in_vain(doctor: Doctor) -> None:
    """The amount can be typed, but the answer cannot be written: a warning with the field; without the fields at all it is just off."""
    doctor.org.faults.apply({"read_only": ["Billing_Invoice__c.Payment_Message__c"]})
    status, found = doctor.bad()
    assert (status, places(found)) == (0, [("typed-payments", "", 0)])
    assert "Payment_Message__c" in found[0]["message"]
    doctor.org.faults.apply({"hide": ["Billing_Invoice__c.Payment_Received__c"]})
    assert doctor.bad() == (0, [])
