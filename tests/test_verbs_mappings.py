"""`connector mapping adopt` and `connector plan --changed-by-mapping`: another mapping, and what it does to what is billed (D-07, D-38)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

from test_cli import Shell, crm_records, files, shell

__all__ = ["shell"]

D = Decimal

def edit_mapping(site: Shell, change: Callable[[str], str]) -> Path:
    """Change the opportunity mapping as an admin does; return a copy of what it was."""
    file = site.folder / "mappings" / "salesforce-opportunity.yaml"
    text = file.read_text()
    assert change(text) != text
    copy = site.folder / "before.yaml"
    copy.write_text(text)
    file.write_text(change(text))
    return copy


def dearer(text: str) -> str:
    """Read prices from the list instead of what was sold."""
    return text.replace("unit_amount: UnitPrice", "unit_amount: ListPrice")


def test_a_changed_mapping_changes_nothing_that_is_billed_until_it_is_adopted(shell: Shell) -> None:
    """The billed deal stays on its revision, also when everything is read again; the dry run says what would follow; adopted, the deal
    that is billed is flagged with the amendment, the one that is not is replaced."""
    site = shell
    site.world.deal("later", {"Quantity": 2}, Contract_Start_Date__c=date(2027, 1, 1), StageName="Closed Won", CloseDate=date(2026, 1, 2))
    site.world.win("acme_seats")
    assert site.run("sync")[0] == 0
    edit_mapping(site, dearer)
    assert site.run("sync", "--full")[0] == 0
    assert site.world.said("acme_seats")[0] in ("Active", "Past due")
    before, told = files(site.folder), crm_records(site.world)
    status, shown = site.json("mapping", "adopt", "--dry-run")
    assert files(site.folder) == before
    assert crm_records(site.world) == told
    rows = {r["label"]: r for r in shown["rows"]}
    assert status == (1 if any(r["message"] for r in shown["rows"]) else 0)
    assert set(rows) == {"Acme team seats", "Later"}
    assert all(r["moved"] for r in rows.values()), rows
    status, done = site.json("mapping", "adopt", "--where", "Name = 'Later'")
    assert [r["label"] for r in done["rows"]] == ["Later"]
    status, left = site.json("mapping", "adopt", "--dry-run")
    assert [r["label"] for r in left["rows"]] == ["Acme team seats"]
    status, done = site.json("mapping", "adopt")
    assert done["text"].startswith("1 billed records")
    assert site.json("mapping", "adopt", "--dry-run")[1]["rows"] == []
    history = site.json("deals", "show", site.world.ids["acme_seats"])[1]
    assert any(h["step"] == "adopt" for h in history["history"])
    assert history["records"][0]["mapping"] == rows["Acme team seats"]["to"]


def test_what_would_differ_is_flagged_with_its_cost_after_adopting(shell: Shell) -> None:
    """Ten percent off for everybody by the mapping: the billed deal says what differs and what it would cost; nothing is billed."""
    site = shell
    site.world.win("acme_seats")
    site.world.edit("acme_seats", Renewal_Uplift_Percent__c=D(10))
    assert site.run("sync")[0] == 0
    old = edit_mapping(site, lambda text: text.replace("percent_off: Discount_Percent__c, months: Discount_Months__c", "percent_off: Renewal_Uplift_Percent__c"))
    status, compared = site.json("plan", "--changed-by-mapping", str(old), "mappings/salesforce-opportunity.yaml")
    assert status == 0
    (row,) = compared["rows"]
    assert row["label"] == "Acme team seats"
    assert row["value"] == ["3480.00 EUR", "3132.00 EUR"]
    assert any(v["target"] == "deal.discounts.percent_off" and v["new"] == "10.00" for v in row["values"]), row
    invoices = site.json("invoices", "list")[1]
    status, done = site.json("mapping", "adopt")
    assert status == 1
    assert "discount 10 % instead of none" in done["rows"][0]["message"]
    assert site.run("sync")[0] == 1
    assert site.world.said("acme_seats")[0] == "Needs attention"
    assert site.json("invoices", "list")[1] == invoices
    revision = site.json("deals", "show", site.world.ids["acme_seats"])[1]["records"][0]["mapping"]
    assert site.json("plan", "--changed-by-mapping", revision, "mappings/salesforce-opportunity.yaml")[1]["rows"] == []


def test_conditions_and_mappings_that_cannot_be_used_are_refused(shell: Shell) -> None:
    """A condition that is no condition, a field that no mapping reads, a file that is not there, two objects: each with what to do."""
    site = shell
    site.world.win("acme_seats")
    assert site.run("sync")[0] == 0
    before = files(site.folder)
    for where, words in (("Name ~ 'x'", "--where is not understood"), ("Nmae = 'x'", "which no mapping reads")):
        status, _, err = site.run("mapping", "adopt", "--where", where, "--dry-run")
        assert status == 2
        assert words in err
        assert ".." not in err
    status, _, err = site.run("plan", "--changed-by-mapping", "nothing.yaml", "mappings/salesforce-opportunity.yaml")
    assert status == 2
    assert "neither a mapping file nor one known revision" in err
    status, _, err = site.run("plan", "--changed-by-mapping", "mappings/salesforce-quote.yaml", "mappings/salesforce-opportunity.yaml")
    assert status == 2
    assert "same object" in err
    assert site.run("plan")[0] == 2
    assert files(site.folder) == before


def test_a_record_that_was_read_before_the_new_fields_stays_until_it_is_read_again(shell: Shell) -> None:
    """A mapping that reads a field of the account which was never read: nothing is guessed; after `sync --full` the record is moved."""
    site = shell
    site.world.win("acme_seats")
    assert site.run("sync")[0] == 0
    edit_mapping(site, lambda text: text.replace("  memo: Invoice_Memo__c\n", "  memo: {first: [Invoice_Memo__c, Account.Site]}\n"))
    status, shown = site.json("mapping", "adopt", "--dry-run")
    assert status == 1
    assert [(r["moved"], "sync --full" in r["message"]) for r in shown["rows"]] == [(False, True)]
    assert site.run("sync", "--full")[0] == 0
    status, done = site.json("mapping", "adopt")
    assert (status, [r["moved"] for r in done["rows"]]) == (0, [True]), done


def test_a_new_field_of_the_mapping_is_read_of_what_is_not_billed_yet(shell: Shell) -> None:
    """A deal is parked for its unknown charge type; the mapping then takes it from another field: read again and billed by itself."""
    site = shell
    site.world.deal("odd", {"Charge_Type__c": None, "product": "setup", "Description": "Recurring", "UnitPrice": "70.00"}, StageName="Closed Won")
    site.world.edit("setup", "Product2", Charge_Type__c=None)
    assert site.run("sync")[0] == 1
    assert site.world.said("odd")[0] == "Needs attention"
    edit_mapping(site, lambda text: text.replace("first: [Charge_Type__c, Product2.Charge_Type__c]", "first: [Charge_Type__c, Product2.Charge_Type__c, Description]"))
    status, result = site.json("sync")
    assert status == 0, result
    assert site.world.record("odd")["Amount_Billed__c"] % D(70) == 0


def test_a_billed_deal_is_read_with_the_fields_of_its_own_revision(shell: Shell) -> None:
    """The mapping no longer reads the discount; a billed deal with 10 % off is read again whole, and an edit of it is still seen."""
    site = shell
    site.world.win("helios_discount")
    assert site.run("sync")[0] == 0
    edit_mapping(site, lambda text: text.replace("    - {percent_off: Discount_Percent__c, months: Discount_Months__c}\n", "    - {percent_off: Renewal_Uplift_Percent__c}\n"))
    assert site.run("sync", "--full")[0] == 0
    site.world.edit("helios_discount", PO_Number__c="PO-3")
    assert site.run("sync")[0] == 0
    assert site.world.said("helios_discount")[0] != "Needs attention", site.world.said("helios_discount")
    site.world.edit("helios_discount", Discount_Percent__c=D(20))
    assert site.run("sync")[0] == 1
    assert "discount 20 % instead of 10 %" in site.world.said("helios_discount")[1]
