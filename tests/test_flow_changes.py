"""Deals that change a contract, records that change after their deal was applied: deals.md sections 3, 4 and 8, end to end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from world import World, at, world

D = Decimal


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def amendment(demo: World, ref: str, base: str, *lines: dict[str, Any], **fields: Any) -> None:
    """A won Amend deal of *base*, from 15 March unless said otherwise."""
    day = {"CloseDate": date(2026, 3, 15), "Billing_Effective_Date__c": date(2026, 3, 15), "Proration__c": "Immediately"}
    more = {"Billing_Action__c": "Amend", "Amends_Opportunity__c": f"@{base}", "StageName": "Closed Won", "account": "acme"}
    demo.deal(ref, *lines, **(day | more | fields))


# ---------------------------------------------------------------- edits before anything is billed


def test_an_edit_before_billing_replaces_the_contract(demo: World) -> None:
    """A contract that starts next month follows every edit of quantity and price, and is never a second one."""
    demo.deal("later", {"Quantity": 2}, Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    demo.sync()
    first = demo.record("later")
    assert first["Next_Invoice_Amount__c"] == D(200)
    demo.edit("later_1", "OpportunityLineItem", Quantity=5, UnitPrice=D("90.00"))
    demo.sync()
    record = demo.record("later")
    assert record["Next_Invoice_Amount__c"] == D(450)
    assert record["Billing_Contract_Id__c"] == first["Billing_Contract_Id__c"]
    assert record["Billing_Status__c"] == "Scheduled"
    demo.bill("2026-02-01")
    assert demo.record("later")["Amount_Billed__c"] == D(450)
    assert len(demo.contracts()) == 1
    demo.assert_quiet()


def test_a_new_line_and_a_deleted_line_before_billing_are_seen(demo: World) -> None:
    """A deleted line leaves no stamp on what stays, yet the contract loses it."""
    demo.deal("later", {}, {"product": "platform", "UnitPrice": "50.00"}, Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    demo.sync()
    assert demo.record("later")["Next_Invoice_Amount__c"] == D(150)
    demo.delete("later_2", "OpportunityLineItem")
    demo.sync()
    assert demo.record("later")["Next_Invoice_Amount__c"] == D(100)
    demo.line("later_3", "later", product="support", UnitPrice="7.00")
    demo.sync()
    assert demo.record("later")["Next_Invoice_Amount__c"] == D(107)


def test_an_edit_before_billing_that_cannot_be_billed_says_so_and_heals(demo: World) -> None:
    """A scheduled contract whose record is edited to what cannot be keeps standing, says what is wrong, and is well again after."""
    demo.deal("later", {}, Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    demo.sync()
    demo.edit("later_1", "OpportunityLineItem", Discount=D("100.5"))
    demo.sync()
    assert demo.said("later")[0] == "Needs attention"
    demo.edit("later_1", "OpportunityLineItem", Discount=None)
    demo.sync()
    assert demo.said("later")[0] == "Scheduled"
    assert demo.said("later")[1].startswith("Starts on 1 Feb 2026. Next invoice 1 Feb.")
    demo.assert_quiet()


# ---------------------------------------------------------------- edits after billing


def test_an_edit_of_the_terms_after_billing_is_only_flagged(demo: World) -> None:
    """The contract bills on as agreed; the record says Needs attention until the edit is undone; then it is as before."""
    demo.win("acme_seats")
    demo.sync()
    (line,) = demo.org.live_children("OpportunityLineItem", "OpportunityId", demo.ids["acme_seats"])
    demo.edit(line["Id"], "OpportunityLineItem", Quantity=12)
    tally = demo.sync()
    status, message = demo.said("acme_seats")
    assert status == "Needs attention"
    assert "Amend" in message
    assert tally.problems[0].code == "edited-after-billing"
    demo.assert_quiet()
    demo.bill("2026-02-01")
    assert demo.invoices()[-1]["Total__c"] == D(290)
    assert demo.record("acme_seats")["Amount_Billed__c"] == D(580)
    demo.edit(line["Id"], "OpportunityLineItem", Quantity=10)
    demo.sync()
    assert demo.said("acme_seats")[0] == "Past due"  # INV-0001 was due yesterday; of the edit nothing is left to say
    demo.assert_quiet()


def test_a_re_synced_quote_with_new_line_ids_is_no_edit(demo: World) -> None:
    """A line that is deleted and made again with equal values changes nothing (ids of lines carry no money)."""
    demo.win("acme_seats")
    demo.sync()
    revision = demo.decisions()
    (line,) = demo.org.live_children("OpportunityLineItem", "OpportunityId", demo.ids["acme_seats"])
    demo.delete(line["Id"], "OpportunityLineItem")
    demo.line("again", "acme_seats", Quantity=10, UnitPrice="29.00")
    tally = demo.sync()
    assert (tally.problems, demo.decisions()) == ([], revision)
    assert demo.said("acme_seats")[0] == "Active"


def test_who_is_billed_and_how_count_from_the_next_invoice_on(demo: World) -> None:
    """A new name, address, PO number, e-mail and payment term change no issued invoice and are on the next one."""
    demo.win("acme_seats")
    demo.sync()
    first = demo.query("SELECT bill_to, po_number, due_on FROM invoice")
    demo.edit("acme", "Account", Name="Acme SAS", BillingCity="Lyon", Billing_Email__c="new@acme.example")
    demo.edit("acme_seats", PO_Number__c="PO-9", Payment_Terms__c="Net 15", Invoice_Memo__c="Thank you")
    tally = demo.sync()
    assert tally.problems == []
    assert demo.said("acme_seats")[0] == "Active"
    demo.bill("2026-02-01")
    rows = demo.query("SELECT bill_to, po_number, due_on, memo FROM invoice ORDER BY number")
    assert (rows[0][0], rows[0][1], rows[0][2]) == first[0]
    assert "Acme SAS" in rows[1][0]
    assert "Lyon" in rows[1][0]
    assert rows[1][1:] == ("PO-9", "2026-02-16", "Thank you")
    demo.assert_quiet()


def test_another_account_before_billing_moves_the_contract(demo: World) -> None:
    """Nothing is invoiced yet: the contract goes to the other customer."""
    demo.deal("later", {}, Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    demo.sync()
    demo.edit("later", AccountId=demo.ids["gaia"])
    demo.sync()
    demo.bill("2026-02-01")
    (row,) = demo.invoices()
    assert row["Account__c"] == demo.ids["gaia"]
    assert len(demo.contracts()) == 1


def test_another_account_after_billing_is_flagged(demo: World) -> None:
    """What is invoiced stays with its customer; the record says that the account was changed."""
    demo.win("acme_seats")
    demo.sync()
    demo.edit("acme_seats", AccountId=demo.ids["gaia"])
    demo.sync()
    status, message = demo.said("acme_seats")
    assert status == "Needs attention"
    assert "account" in message
    demo.bill("2026-02-01")
    assert {r["Account__c"] for r in demo.invoices()} == {demo.ids["acme"]}
    demo.assert_quiet()


def test_a_merge_of_accounts_follows_the_master_by_itself(demo: World) -> None:
    """Acme is merged into Gaia: the contract goes on with Gaia as customer, without anybody's attention (deals.md 4)."""
    demo.win("acme_seats")
    demo.sync()
    with demo.org.lock, demo.org.transaction(user=demo.org.rep_user):
        demo.org.merge("Account", demo.ids["gaia"], demo.ids["acme"])
    demo.sync()
    assert demo.said("acme_seats")[0] == "Active", demo.said("acme_seats")
    demo.bill("2026-02-01")
    assert demo.invoices()[-1]["Account__c"] == demo.ids["gaia"]
    demo.assert_quiet()


# ---------------------------------------------------------------- no longer a deal


def test_reopened_before_billing_withdraws_and_won_again_is_made_anew(demo: World) -> None:
    """The contract is withdrawn and the record says so, other outputs blank; won again it is billed under the next revision."""
    demo.deal("later", {}, Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    demo.sync()
    demo.edit("later", StageName="Negotiation/Review")
    demo.sync()
    record = demo.record("later")
    assert demo.said("later") == ("Withdrawn", "Withdrawn: nothing was billed.")
    blank = {n: record[n] for n in record if n.startswith(("Amount_B", "Amount_P", "Next_", "Last_I", "Contract_V", "Annual_"))}
    assert set(blank.values()) <= {None}
    assert demo.bill("2026-02-01")[0].invoices == 0
    demo.assert_quiet()
    demo.edit("later", StageName="Closed Won")
    demo.sync()
    assert demo.said("later")[0] == "Active"
    assert demo.record("later")["Amount_Billed__c"] == D(100)
    assert len(demo.invoices()) == 1
    demo.assert_quiet()


@pytest.mark.parametrize("how", ["reopened", "lost", "deleted"])
def test_no_longer_a_deal_after_billing_goes_on_and_says_so(demo: World, how: str) -> None:
    """A billed deal that is reopened, lost or deleted bills on; a person is told how to stop it."""
    demo.win("acme_seats")
    demo.sync()
    if how == "deleted":
        demo.delete("acme_seats")
    else:
        demo.edit("acme_seats", StageName="Closed Lost" if how == "lost" else "Prospecting")
    tally = demo.sync()
    assert [p.code for p in tally.problems] == ["reopened-after-billing"]
    if how != "deleted":
        status, message = demo.said("acme_seats")
        assert status == "Needs attention"
        assert "Cancel" in message
    demo.assert_quiet()
    assert demo.bill("2026-02-01")[0].invoices == 1
    if how != "deleted":
        demo.win("acme_seats")
        tally = demo.sync()
        assert tally.problems == []
        assert demo.said("acme_seats")[0] == "Past due" or demo.said("acme_seats")[0] == "Active"
        assert len(demo.contracts()) == 1
    demo.assert_quiet()


def test_deleted_before_billing_withdraws(demo: World) -> None:
    """A scheduled deal that is deleted is never billed; restored from the recycle bin, it is billed once."""
    demo.deal("later", {}, Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    demo.sync()
    demo.clock.move_to(at("2026-01-25"))  # the recycle bin keeps fifteen days
    demo.delete("later")
    demo.sync()
    assert demo.bill("2026-02-01")[0].invoices == 0
    with demo.org.lock, demo.org.transaction(user=demo.org.rep_user):
        demo.org.undelete("Opportunity", demo.ids["later"])
    demo.sync()
    assert demo.record("later")["Amount_Billed__c"] == D(100)


# ---------------------------------------------------------------- chains


def test_an_amendment_closed_before_its_parent_is_billed_is_blocked_then_heals(demo: World) -> None:
    """The upgrade of a deal that lacks an e-mail is Blocked and names it; one filled field heals both in one sync."""
    demo.win("fjord_seats")
    amendment(demo, "more", "fjord_seats", {"Quantity": 2, "UnitPrice": "29.00"}, account="fjord")
    demo.clock.move_to(at("2026-03-20"))
    tally = demo.sync()
    assert (tally.parked, tally.waiting) == (1, 1)
    assert demo.said("more") == ("Blocked", "Blocked by 'Fjord team seats' (no billing e-mail). Nothing to do here.")
    demo.assert_quiet()
    demo.edit("fjord", "Account", Billing_Email__c="billing@fjord.example")
    tally = demo.sync()
    assert (tally.parked, tally.waiting, tally.problems) == (0, 0, [])
    assert demo.said("more")[0] in ("Active", "Past due")
    assert demo.record("more")["Billing_Contract_Id__c"] == demo.record("fjord_seats")["Billing_Contract_Id__c"]
    assert len(demo.contracts()) == 1
    demo.bill("2026-04-01")
    assert demo.invoices()[-1]["Total__c"] == D(174)
    demo.assert_quiet()


def test_an_amendment_and_its_parent_in_one_round(demo: World) -> None:
    """Both won before the first sync: one contract with the change on it, whichever id comes first."""
    demo.deal("base", {"Quantity": 10, "UnitPrice": "29.00"}, account="acme", StageName="Closed Won")
    amendment(demo, "more", "base", {"Quantity": 5, "UnitPrice": "29.00"})
    demo.clock.move_to(at("2026-03-20"))
    tally = demo.sync()
    assert tally.problems == []
    assert len(demo.contracts()) == 1
    demo.bill("2026-04-01")
    assert demo.invoices()[-1]["Total__c"] == D(435)


def test_an_amendment_of_an_amendment_belongs_to_the_same_contract(demo: World) -> None:
    """A chain of three deals, all won at once, is one contract."""
    demo.deal("base", {"Quantity": 10, "UnitPrice": "29.00"}, account="acme", StageName="Closed Won")
    amendment(demo, "second", "base", {"Quantity": 5, "UnitPrice": "29.00"})
    amendment(demo, "third", "second", {"Quantity": -3, "UnitPrice": "29.00"}, Billing_Effective_Date__c=date(2026, 3, 20))
    demo.clock.move_to(at("2026-03-25"))
    tally = demo.sync()
    assert tally.problems == []
    assert {demo.record(n)["Billing_Contract_Id__c"] for n in ("base", "second", "third")} == {demo.contracts()[0][0]}
    demo.bill("2026-04-01")
    assert demo.invoices()[-1]["Total__c"] == D(348)
    demo.assert_quiet()


def test_a_parked_change_blocks_the_later_ones_of_its_chain(demo: World) -> None:
    """The second upgrade waits for the first, whose discount cannot be; both heal together."""
    demo.win("acme_seats")
    demo.sync()
    amendment(demo, "first", "acme_seats", {"Quantity": 5, "UnitPrice": "29.00", "Discount": D("100.5")})
    amendment(demo, "second", "acme_seats", {"Quantity": 1, "UnitPrice": "29.00"}, CloseDate=date(2026, 3, 20), Billing_Effective_Date__c=date(2026, 3, 20))
    demo.clock.move_to(at("2026-03-25"))
    tally = demo.sync()
    assert (tally.parked, tally.waiting) == (1, 1)
    assert demo.said("second")[0] == "Blocked"
    assert "'First'" in demo.said("second")[1]
    demo.edit("first_1", "OpportunityLineItem", Discount=None)
    tally = demo.sync()
    assert (tally.parked, tally.waiting, tally.problems) == (0, 0, [])
    demo.bill("2026-04-01")
    assert demo.invoices()[-1]["Total__c"] == D(464)


@pytest.mark.parametrize("base", ["unknown", "open", "lost"])
def test_an_amendment_whose_base_is_not_billed_needs_attention(demo: World, base: str) -> None:
    """Without a base, or with one that was never won, the record says which field or deal is to be corrected."""
    demo.deal("base", {}, account="acme")
    if base == "lost":
        demo.edit("base", StageName="Closed Lost")
    amendment(demo, "more", "base", {"Quantity": 1})
    if base == "unknown":
        demo.edit("more", Amends_Opportunity__c=None)
    demo.sync()
    status, message = demo.said("more")
    assert status == "Needs attention"
    assert "Amends" in message or "Win that deal" in message
    assert demo.contracts() == []
    demo.assert_quiet()
    demo.edit("base", StageName="Closed Won")
    if base == "unknown":
        demo.edit("more", Amends_Opportunity__c=demo.ids["base"])
    demo.clock.move_to(at("2026-03-20"))
    demo.sync()
    assert demo.said("more")[0] in ("Active", "Past due"), demo.said("more")
    assert len(demo.contracts()) == 1


def test_an_amendment_may_name_the_contract_instead(demo: World) -> None:
    """Amends Contract Id changes the contract of that id."""
    demo.win("acme_seats")
    demo.sync()
    amendment(demo, "more", "acme_seats", {"Quantity": 5, "UnitPrice": "29.00"})
    demo.edit("more", Amends_Opportunity__c=None, Amends_Contract_Id__c=demo.contracts()[0][0])
    demo.clock.move_to(at("2026-03-20"))
    tally = demo.sync()
    assert tally.problems == []
    demo.bill("2026-04-01")
    assert demo.invoices()[-1]["Total__c"] == D(435)
    demo.assert_quiet()


def test_an_amendment_of_an_unknown_contract_id_says_so(demo: World) -> None:
    """A contract id that the books do not know needs attention, whatever else is filled."""
    demo.win("acme_seats")
    amendment(demo, "more", "acme_seats", {"Quantity": 5, "UnitPrice": "29.00"}, Amends_Contract_Id__c="nonsense")
    demo.sync()
    assert demo.said("more")[0] == "Needs attention"


def test_a_contract_that_has_ended_takes_no_amendment(demo: World) -> None:
    """The message names the last day and says what to close instead."""
    demo.win("acme_seats")
    demo.sync()
    day = date(2027, 2, 1)
    amendment(demo, "late", "acme_seats", {"Quantity": 5, "UnitPrice": "29.00"}, CloseDate=day, Billing_Effective_Date__c=day)
    demo.bill("2027-02-01")
    status, message = demo.said("late")
    assert status == "Needs attention"
    assert "31 Dec 2026" in message or "2026-12-31" in message
    assert "Renew or New" in message
    demo.assert_quiet()


def test_more_seats_taken_away_than_there_are_needs_attention_and_changes_nothing(demo: World) -> None:
    """Reducing 10 seats by 12 is refused with the candidates named; the contract bills on."""
    demo.win("acme_seats")
    demo.sync()
    demo.bill("2026-02-01")
    demo.bill("2026-03-01")
    amendment(demo, "less", "acme_seats", {"Quantity": -12, "UnitPrice": "29.00"})
    demo.clock.move_to(at("2026-03-20"))
    demo.sync()
    status, message = demo.said("less")
    assert status == "Needs attention"
    assert "10" in message
    assert demo.said("acme_seats")[0] in ("Active", "Past due")
    demo.bill("2026-04-01")
    assert demo.invoices()[-1]["Total__c"] == D(290)
    demo.edit("less_1", "OpportunityLineItem", Quantity=-2)
    demo.sync()
    assert demo.said("less")[0] != "Needs attention", demo.said("less")
    demo.assert_quiet()


def test_a_planned_change_may_be_edited_and_taken_back(demo: World) -> None:
    """A change whose day has not come follows its record; reopened, it is withdrawn and the contract bills as before."""
    demo.win("acme_seats")
    demo.sync()
    day = date(2026, 6, 1)
    amendment(demo, "june", "acme_seats", {"Quantity": 5, "UnitPrice": "29.00"}, Billing_Effective_Date__c=day)
    demo.clock.move_to(at("2026-03-20"))
    demo.sync()
    assert "Will change the contract on 1 Jun 2026" in demo.said("june")[1]
    demo.edit("june_1", "OpportunityLineItem", Quantity=2)
    tally = demo.sync()
    assert tally.problems == []
    demo.edit("june", StageName="Prospecting")
    demo.sync()
    assert demo.said("june")[0] == "Withdrawn"
    demo.bill("2026-06-01")
    assert demo.invoices()[-1]["Opportunity__c"] == demo.ids["acme_seats"]
    assert demo.query("SELECT amount FROM line ORDER BY rowid DESC LIMIT 1") == [(29000,)]
    demo.edit("june", StageName="Closed Won")
    demo.sync()
    assert demo.said("june")[0] in ("Active", "Past due"), demo.said("june")
    demo.assert_quiet()


def test_a_billed_change_that_is_edited_is_flagged(demo: World) -> None:
    """The upgrade stands on an invoice; another quantity on it needs attention and bills nothing."""
    demo.win("acme_seats")
    demo.sync()
    demo.clock.move_to(at("2026-03-15"))
    demo.win("acme_upgrade")
    demo.sync()
    (line,) = demo.org.live_children("OpportunityLineItem", "OpportunityId", demo.ids["acme_upgrade"])
    demo.edit(line["Id"], "OpportunityLineItem", Quantity=7)
    before = demo.lines()
    demo.sync()
    assert demo.said("acme_upgrade")[0] == "Needs attention"
    assert demo.lines() == before
    demo.bill()
    demo.assert_quiet()


def test_a_back_dated_late_change_bills_the_difference(demo: World) -> None:
    """An upgrade from 1 February that is closed in March is credited and charged for both months, once."""
    demo.win("acme_seats")
    demo.sync()
    demo.bill("2026-02-01")
    demo.bill("2026-03-01")
    amendment(demo, "late", "acme_seats", {"Quantity": 5, "UnitPrice": "29.00"}, CloseDate=date(2026, 3, 10),
              Billing_Effective_Date__c=date(2026, 2, 1))  # fmt: skip
    demo.clock.move_to(at("2026-03-10"))
    demo.sync()
    assert sum(r["Total__c"] for r in demo.invoices()) == D(290) + 2 * D(435)
    demo.assert_quiet()


def test_an_increase_on_next_invoice_waits_for_it(demo: World) -> None:
    """Proration "Next invoice" makes no invoice in mid-month; the difference stands on the next one."""
    demo.win("acme_seats")
    demo.sync()
    demo.bill("2026-03-01")
    amendment(demo, "more", "acme_seats", {"Quantity": 5, "UnitPrice": "29.00"}, Proration__c="Next invoice")
    demo.clock.move_to(at("2026-03-15"))
    demo.sync()
    count = len(demo.invoices())
    assert "next invoice" in demo.said("more")[1]
    demo.bill("2026-04-01")
    assert len(demo.invoices()) == count + 1
    assert demo.invoices()[-1]["Total__c"] == D(435) + D("238.55") - D("159.03")
    assert demo.invoices()[-1]["Number__c"] in demo.said("more")[1]
    demo.assert_quiet()


def test_pause_and_resume(demo: World) -> None:
    """From 1 March nothing is billed; from 1 May it goes on."""
    demo.win("everest_support")
    demo.sync()
    demo.bill("2026-02-01")
    amendment(demo, "pause", "everest_support", Billing_Action__c="Pause", account="everest", CloseDate=date(2026, 2, 20),
              Billing_Effective_Date__c=date(2026, 3, 1))  # fmt: skip
    demo.clock.move_to(at("2026-02-20"))
    demo.sync()
    assert demo.bill("2026-03-01")[0].invoices == 0
    assert demo.said("everest_support")[0] == "Paused"
    assert demo.bill("2026-04-01")[0].invoices == 0
    amendment(demo, "resume", "everest_support", Billing_Action__c="Resume", account="everest", CloseDate=date(2026, 4, 20),
              Billing_Effective_Date__c=date(2026, 5, 1))  # fmt: skip
    demo.clock.move_to(at("2026-04-20"))
    demo.sync()
    assert demo.bill("2026-05-01")[0].invoices == 1
    assert demo.said("everest_support")[0] in ("Active", "Past due")
    assert demo.record("everest_support")["Amount_Billed__c"] == D(1350)
    demo.assert_quiet()


def test_a_forgotten_action_never_makes_a_second_contract(demo: World) -> None:
    """Amends Opportunity filled and Billing Action blank: the record asks what to do."""
    demo.win("acme_seats")
    amendment(demo, "what", "acme_seats", {"Quantity": 5}, Billing_Action__c=None)
    demo.sync()
    assert demo.said("what")[0] == "Needs attention"
    assert len(demo.contracts()) == 1
