"""`connector deals approve|relink`: from a shell, and as the rep reads it in the CRM."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

from test_cli import Shell, crm_records, files, shell
from test_flow_changes import amendment

__all__ = ["shell"]

D = Decimal


def line_of(site: Shell, deal: str) -> str:
    """Return the id of a deal's only line."""
    (line,) = site.world.org.live_children("OpportunityLineItem", "OpportunityId", site.world.ids[deal])
    return str(line["Id"])


def test_an_edit_is_shown_then_approved_with_a_reason(shell: Shell) -> None:
    """The dry run leaves every byte; without a reason it is refused; approved it is invoiced once, and the CRM is told at the next sync."""
    site, deal = shell, shell.world.ids["acme_seats"]
    site.world.win("acme_seats")
    assert site.run("sync")[0] == 0
    site.world.edit(line_of(site, "acme_seats"), "OpportunityLineItem", Quantity=12)
    assert site.run("sync")[0] == 1
    before, told = files(site.folder), crm_records(site.world)
    status, shown = site.json("deals", "approve", deal, "--dry-run")
    assert (status, shown["issued"]) == (0, [])
    assert "Team Seat 10 → 12 from 1 Jan 2026" in shown["text"]
    assert "more a month" in shown["text"]
    assert shown["invoices"][0]["lines"][1]["amount"] == "348.00"
    assert files(site.folder) == before
    assert crm_records(site.world) == told
    status, _, err = site.run("deals", "approve", deal)
    assert status == 2
    assert "--reason" in err
    assert files(site.folder) == before
    status, done = site.json("deals", "approve", deal, "--reason", "agreed by phone")
    assert status == 0
    assert done["issued"][0]["total"] == shown["invoices"][0]["total"]
    assert site.run("sync")[0] == 0
    assert site.world.record("acme_seats")["Last_Invoice_Number__c"] == done["issued"][0]["number"]
    status, _, err = site.run("deals", "approve", deal, "--reason", "again")
    assert status == 1
    assert "has no edit that waits for approval" in err
    history = site.json("deals", "show", deal)[1]["history"]
    assert any(h["step"] == "approve" and re.match(r"cli:\S+: agreed by phone", h["detail"]) for h in history)


def test_an_amendment_without_a_base_is_linked_to_a_contract(shell: Shell) -> None:
    """The record names the two ways out; a contract of another account is refused; linked, it changes the contract as any amendment."""
    site = shell
    site.world.win("acme_seats", "everest_support")
    site.world.deal("old", {}, account="acme")
    day = date(2026, 1, 1)
    amendment(site.world, "more", "old", {"Quantity": 5, "UnitPrice": "29.00"}, CloseDate=day, Billing_Effective_Date__c=day)
    assert site.run("sync")[0] == 1
    more = site.world.ids["more"]
    message = site.world.said("more")[1]
    assert "connector import contracts" in message
    assert f"connector deals relink {more} CONTRACT" in message
    contracts = {c["deal"]: c["contract"] for c in site.json("contracts", "list")[1]}
    ours, theirs = (contracts[site.world.ids[n]] for n in ("acme_seats", "everest_support"))
    for wrong, words in ((theirs, "belongs to"), ("ct_nothing", "no contract ct_nothing")):
        status, _, err = site.run("deals", "relink", more, wrong)
        assert status == 1
        assert words in err
    status, _, err = site.run("deals", "relink", site.world.ids["acme_seats"], ours)
    assert status == 1
    assert "it makes a contract of its own" in err
    status, out, _ = site.run("deals", "relink", more, ours, "--reason", "taken over")
    assert status == 0
    assert "is linked to" in out
    assert site.run("sync")[0] == 0
    assert site.world.record("more")["Billing_Contract_Id__c"] == ours
    assert site.world.record("acme_seats")["Amount_Billed__c"] % D(435) == 0
    history = site.json("deals", "show", more)[1]["history"]
    assert any(h["step"] == "relink" and re.fullmatch(r"cli:\S+: taken over", h["detail"]) for h in history)
    status, _, err = site.run("deals", "relink", more, ours)
    assert status == 1
    assert "already changed" in err
