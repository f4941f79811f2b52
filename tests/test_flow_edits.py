"""Records that are edited after their deal was invoiced: what the CRM says, what it would cost, approving it (deals.md section 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_flow_changes import amendment
from world import World, at, mapping_files, world

from connector import app
from connector.errors import RejectedError
from connector.sync import edits, intents, ledger

D = Decimal


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def line_of(demo: World, deal: str) -> str:
    """Return the id of a deal's only line."""
    (line,) = demo.org.live_children("OpportunityLineItem", "OpportunityId", demo.ids[deal])
    return str(line["Id"])


def approve(demo: World, deal: str) -> dict[str, Any]:
    """Ask for the approval of a deal's edit and let the next round carry it out; return what it led to."""
    with app.reading_house(demo.config, clock=demo.clock) as books, books.database.transaction() as unit:
        data = {"deal": demo.ids[deal], "reason": "agreed by phone"}
        asked = intents.submit(unit, "deal.approve", data, actor="ana", now=demo.clock.now())
    demo.sync()
    with app.reading_house(demo.config) as books, books.database.read() as unit:
        found = intents.found(unit, asked)
    assert found is not None
    return {"state": found.state, **found.result}


def billed_to(demo: World, until: str) -> Decimal:
    """Bill month by month and return the sum of all invoices."""
    for month in range(2, int(until[5:7]) + 1):
        demo.bill(f"2026-{month:02d}-01")
    return sum((r["Total__c"] for r in demo.invoices()), D(0))


def test_the_message_says_what_differs_and_what_the_amendment_costs(demo: World) -> None:
    """12 seats instead of 10 since January, edited on 15 February: 116.00 now (two months), 58.00 more a month."""
    demo.win("acme_seats")
    demo.sync()
    demo.bill("2026-02-01")
    demo.clock.move_to(at("2026-02-15"))
    demo.edit(line_of(demo, "acme_seats"), "OpportunityLineItem", Quantity=12)
    demo.sync()
    assert demo.said("acme_seats") == (
        "Needs attention",
        ("Already invoiced, and then changed: Team Seat 10 → 12 from 1 Jan 2026. The amendment that closes the difference costs"
        " 116.00 EUR now and 58.00 EUR more a month (reckoned on 15 Feb 2026). The contract goes on unchanged. Have it approved"
        f" (`connector deals approve {demo.ids['acme_seats']}`), undo the edit, or close an Amend deal with the difference where it"
        " counts from another day."),
    )
    demo.assert_quiet()


def test_the_message_in_french(tmp_path: Path) -> None:
    """The same in the language of the CRM."""
    with world(tmp_path) as demo:
        demo.config = replace(demo.config, crm=replace(demo.config.crm, language="fr"))
        demo.win("acme_seats")
        demo.sync()
        demo.clock.move_to(at("2026-01-15"))
        demo.edit(line_of(demo, "acme_seats"), "OpportunityLineItem", Quantity=12)
        demo.sync()
        assert demo.said("acme_seats")[1].startswith(
            "Déjà facturé, puis modifié : Team Seat 10 → 12 à partir du 1er janv. 2026. L'avenant qui efface la différence coûte"
            " 58,00 EUR maintenant et 58,00 EUR de plus par mois (calculé le 15 janv. 2026). Le contrat continue inchangé."
        )


def test_an_approved_edit_is_what_the_record_says_from_the_first_day_on(demo: World) -> None:
    """Approved: 116.00 is invoiced, later months cost 348.00, the value follows, the record is as before, nothing is said twice."""
    demo.win("acme_seats")
    demo.sync()
    demo.bill("2026-02-01")
    demo.clock.move_to(at("2026-02-15"))
    demo.edit(line_of(demo, "acme_seats"), "OpportunityLineItem", Quantity=12)
    demo.sync()
    done = approve(demo, "acme_seats")
    assert (done["state"], [i["total"] for i in done["invoices"]]) == ("done", [11600])
    record = demo.record("acme_seats")
    assert record["Billing_Status__c"] in ("Active", "Past due")
    assert (record["Amount_Billed__c"], record["Contract_Value__c"], record["Annual_Value__c"]) == (D(696), D(4176), D(4176))
    assert record["Next_Invoice_Amount__c"] == D(348)
    assert demo.invoices()[-1]["Opportunity__c"] == demo.ids["acme_seats"]
    demo.assert_quiet()
    demo.bill("2026-03-01")
    assert demo.invoices()[-1]["Total__c"] == D(348)
    with app.reading_house(demo.config) as books, books.database.read() as unit:
        history = ledger.history(unit, demo.ids["acme_seats"])
    assert any(step == "approve" and "ana: agreed by phone" in detail for _, step, _, detail in history)


def test_an_approved_edit_may_be_edited_again(demo: World) -> None:
    """12, approved; then 11: only one seat less is proposed, and credited when approved."""
    demo.win("acme_seats")
    demo.sync()
    line = line_of(demo, "acme_seats")
    for quantity in (12, 11):
        demo.edit(line, "OpportunityLineItem", Quantity=quantity)
        demo.sync()
        assert demo.said("acme_seats")[0] == "Needs attention"
        assert approve(demo, "acme_seats")["state"] == "done"
    assert [r["Total__c"] for r in demo.invoices()] == [D(290), D(58), D(-29)]
    assert demo.record("acme_seats")["Amount_Billed__c"] == D(319)
    demo.bill("2026-02-01")
    assert demo.invoices()[-1]["Total__c"] in (D(319), D(290))  # less the balance of 29 where it is settled with it
    demo.assert_quiet()


@pytest.mark.parametrize(
    ("edit", "what", "monthly"),
    [
        ({"UnitPrice": D("31.00")}, "Team Seat at 31.00 instead of 29.00", D(310)),
        ({"Discount": D(10)}, "Team Seat with 10 % instead of none off", D(261)),
        ({"Quantity": 3}, "Team Seat 10 → 3", D(87)),
        ({"Billing_Frequency__c": "Quarterly", "UnitPrice": D("87.00")}, "Team Seat billed every 3 months instead of every month", None),
    ],
)
def test_each_edit_of_a_line_sums_up_as_if_it_had_been_signed_so(demo: World, edit: dict[str, Any], what: str, monthly: Decimal | None) -> None:
    """Whatever is edited on the line: once approved, the invoices of the whole add up to what the record says since January."""
    demo.win("acme_seats")
    demo.sync()
    billed_to(demo, "2026-03")
    demo.clock.move_to(at("2026-03-15"))
    demo.edit(line_of(demo, "acme_seats"), "OpportunityLineItem", **edit)
    demo.sync()
    assert what in demo.said("acme_seats")[1], demo.said("acme_seats")
    done = approve(demo, "acme_seats")
    assert done["state"] == "done", done
    total = sum((r["Total__c"] for r in demo.invoices()), D(0))
    assert total == (3 * monthly if monthly is not None else D(870))
    demo.assert_quiet()
    total = billed_to(demo, "2026-06")
    assert total == (6 * monthly if monthly is not None else D(1740))


def test_edits_of_the_deal_itself(demo: World) -> None:
    """A discount for everything, a longer term and a product more, on one record: one amendment, the sum as if signed so."""
    demo.win("acme_seats")
    demo.sync()
    demo.bill("2026-02-01")
    demo.clock.move_to(at("2026-02-10"))
    demo.edit("acme_seats", Discount_Percent__c=D(10), Contract_Term_Months__c=18)
    demo.line("more", "acme_seats", product="support", UnitPrice="100.00")
    demo.sync()
    message = demo.said("acme_seats")[1]
    assert "discount 10 % instead of none" in message
    assert "last day 30 Jun 2027 instead of 31 Dec 2026" in message
    assert "added (1 x 100.00)" in message
    done = approve(demo, "acme_seats")
    assert done["state"] == "done", done
    assert sum((r["Total__c"] for r in demo.invoices()), D(0)) == 2 * D(351)
    assert demo.record("acme_seats")["Contract_Ends_On__c"] == "2027-06-30"
    demo.bill("2026-03-01")
    assert demo.invoices()[-1]["Total__c"] == D(351)
    demo.assert_quiet()


def test_a_shorter_term_credits_what_was_billed_beyond_it(demo: World) -> None:
    """A year paid in advance, and the record now says six months: it ends in June, and half of it is credited on that day."""
    demo.deal("yearly", {"UnitPrice": "1200.00", "Billing_Frequency__c": "Annual"}, Contract_Term_Months__c=12, StageName="Closed Won")
    demo.sync()
    demo.edit("yearly", Contract_Term_Months__c=6)
    demo.sync()
    assert "last day 30 Jun 2026 instead of 31 Dec 2026" in demo.said("yearly")[1]
    assert approve(demo, "yearly")["state"] == "done"
    demo.assert_quiet()
    demo.bill("2026-07-01")
    assert demo.record("yearly")["Amount_Billed__c"] == D("595.07")  # 181 of 365 days
    assert demo.record("yearly")["Contract_Ends_On__c"] == "2026-06-30"
    demo.assert_quiet()


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"Contract_Start_Date__c": "2026-01-10"}, "first day 10 Jan 2026 instead of 1 Jan 2026"),
        ({"Prebill_Periods__c": 3}, "prebilling"),
        ({"Billing_Action__c": "Cancel", "Amends_Opportunity__c": "@everest_support"}, "what kind of deal it is"),
    ],
)
def test_what_no_amendment_can_do_is_said_and_refused(demo: World, fields: dict[str, Any], what: str) -> None:
    """Another first day cannot be amended: the message says so and what to do instead; approving is refused; nothing is billed."""
    demo.win("acme_seats", "everest_support")
    demo.sync()
    demo.edit("acme_seats", **{k: demo.ids[v[1:]] if isinstance(v, str) and v.startswith("@") else v for k, v in fields.items()})
    demo.sync()
    status, message = demo.said("acme_seats")
    assert status == "Needs attention"
    assert what in message, message
    assert "No amendment can do that by itself" in message
    before = demo.lines()
    done = approve(demo, "acme_seats")
    assert (done["state"], done["code"]) == ("refused", "not-approvable")
    assert demo.lines() == before
    demo.assert_quiet()


def test_a_single_charge_may_be_added_but_is_given_back_by_a_credit_note_only(demo: World) -> None:
    """A setup fee added to a billed deal is proposed and invoiced once; taken off again, the message says credit note."""
    demo.win("acme_seats")
    demo.sync()
    demo.line("setup", "acme_seats", product="setup", UnitPrice="500.00", Charge_Type__c="One-time")
    demo.sync()
    assert "costs 500.00 EUR now (reckoned" in demo.said("acme_seats")[1]
    assert approve(demo, "acme_seats")["state"] == "done"
    assert [r["Total__c"] for r in demo.invoices()] == [D(290), D(500)]
    demo.assert_quiet()
    demo.delete("setup", "OpportunityLineItem")
    demo.sync()
    assert "credit note" in demo.said("acme_seats")[1]
    assert approve(demo, "acme_seats")["code"] == "not-approvable"


def test_undoing_the_edit_leaves_nothing_to_approve(demo: World) -> None:
    """The edit is undone before anybody approved it: the record is as before, and approving is refused."""
    demo.win("acme_seats")
    demo.sync()
    line = line_of(demo, "acme_seats")
    demo.edit(line, "OpportunityLineItem", Quantity=12)
    demo.sync()
    demo.edit(line, "OpportunityLineItem", Quantity=10)
    demo.sync()
    assert demo.said("acme_seats")[0] == "Active"
    assert approve(demo, "acme_seats")["code"] == "nothing-to-approve"
    assert demo.query("SELECT COUNT(*) FROM proposal") == [(0,)]
    demo.assert_quiet()


def test_later_amendments_go_on_top_of_an_approved_edit(demo: World) -> None:
    """10 seats, 5 more in March, then the first deal is corrected to 12: March costs 17 seats."""
    demo.win("acme_seats")
    demo.sync()
    demo.bill("2026-02-01")
    amendment(demo, "more", "acme_seats", {"Quantity": 5, "UnitPrice": "29.00"}, Billing_Effective_Date__c=date(2026, 3, 1))
    demo.bill("2026-03-01")
    demo.clock.move_to(at("2026-03-15"))
    demo.edit(line_of(demo, "acme_seats"), "OpportunityLineItem", Quantity=12)
    demo.sync()
    assert approve(demo, "acme_seats")["state"] == "done"
    assert sum((r["Total__c"] for r in demo.invoices()), D(0)) == 2 * D(348) + D(493)
    demo.bill("2026-04-01")
    assert demo.invoices()[-1]["Total__c"] == D(493)
    demo.assert_quiet()


def test_an_edited_amendment_is_approved_from_its_own_day_on(demo: World) -> None:
    """The upgrade of 15 March says 7 instead of 5: two seats more for 17 of 31 days, shown on the upgrade's record."""
    demo.win("acme_seats")
    demo.sync()
    billed_to(demo, "2026-03")
    demo.clock.move_to(at("2026-03-15"))
    demo.win("acme_upgrade")
    demo.sync()
    value = demo.record("acme_upgrade")["Contract_Value__c"]
    demo.edit(line_of(demo, "acme_upgrade"), "OpportunityLineItem", Quantity=7)
    demo.sync()
    assert "Team Seat 15 → 17 from 15 Mar 2026" in demo.said("acme_upgrade")[1]
    done = approve(demo, "acme_upgrade")
    assert done["state"] == "done", done
    assert demo.invoices()[-1]["Total__c"] == D("31.80") or demo.invoices()[-1]["Total__c"] == D("31.81")
    assert demo.record("acme_upgrade")["Contract_Value__c"] > value
    assert demo.said("acme_upgrade")[1].startswith("Changed the contract from 15 Mar 2026: Team Seat +5. Charged ")
    demo.bill("2026-04-01")
    assert demo.invoices()[-1]["Total__c"] == 17 * D(29)
    demo.assert_quiet()


def test_who_and_how_are_followed_although_the_terms_wait(demo: World) -> None:
    """An edited quantity needs attention; the PO number of the same edit is on the next invoice all the same."""
    demo.win("acme_seats")
    demo.sync()
    demo.edit(line_of(demo, "acme_seats"), "OpportunityLineItem", Quantity=12)
    demo.edit("acme_seats", PO_Number__c="PO-7")
    demo.sync()
    assert demo.said("acme_seats")[0] == "Needs attention"
    demo.assert_quiet()
    demo.bill("2026-02-01")
    assert demo.query("SELECT po_number FROM invoice ORDER BY number") == [("",), ("PO-7",)]
    assert approve(demo, "acme_seats")["state"] == "done"
    assert demo.record("acme_seats")["Amount_Billed__c"] == 2 * D(348)


def mapping_with(tmp_path: Path, old: str, new: str) -> list[Path]:
    """Return the shipped mappings with one line changed in each."""
    found = []
    for file in mapping_files():
        text = file.read_text()
        assert old in text
        copy = tmp_path / file.name
        copy.write_text(text.replace(old, new))
        found.append(copy)
    return found


def test_edits_amend_applies_it_at_once(tmp_path: Path) -> None:
    """With `edits: amend` the edited record is billed in the same round, PO number and all; what cannot be amended is flagged."""
    with world(tmp_path / "w", mappings=mapping_with(tmp_path, "edits: flag", "edits: amend")) as demo:
        demo.win("acme_seats")
        demo.sync()
        demo.edit(line_of(demo, "acme_seats"), "OpportunityLineItem", Quantity=12)
        demo.edit("acme_seats", PO_Number__c="PO-7")
        tally = demo.sync()
        assert tally.problems == []
        assert demo.said("acme_seats")[0] == "Active"
        assert [r["Total__c"] for r in demo.invoices()] == [D(290), D(58)]
        assert demo.query("SELECT po_number FROM contract") == [("PO-7",)]
        demo.assert_quiet()
        demo.edit("acme_seats", Contract_Start_Date__c="2026-01-10")
        demo.sync()
        assert demo.said("acme_seats")[0] == "Needs attention"


@pytest.mark.parametrize("how", ["reopened", "deleted"])
def test_on_reopen_pause_pauses_and_goes_on_when_won_again(tmp_path: Path, how: str) -> None:
    """With `on_reopen: pause` a billed deal that is reopened or deleted is paused and credited, and billed again once it is won."""
    with world(tmp_path / "w", mappings=mapping_with(tmp_path, "on_reopen: flag", "on_reopen: pause")) as demo:
        demo.win("acme_seats")
        demo.sync()
        demo.bill("2026-02-01")
        demo.clock.move_to(at("2026-02-15"))
        if how == "deleted":
            demo.delete("acme_seats")
        else:
            demo.edit("acme_seats", StageName="Prospecting")
        demo.sync()
        if how != "deleted":
            assert demo.said("acme_seats")[0] == "Needs attention"
            assert "paused" in demo.said("acme_seats")[1]
        assert demo.invoices()[-1]["Total__c"] == D(-145)  # 14 of 28 days of 290.00
        demo.assert_quiet()
        assert demo.bill("2026-03-01")[0].invoices == 0
        if how == "deleted":
            with demo.org.lock, demo.org.transaction(user=demo.org.rep_user):
                demo.org.undelete("Opportunity", demo.ids["acme_seats"])
        else:
            demo.win("acme_seats")
        demo.sync()
        assert demo.said("acme_seats")[0] in ("Active", "Past due"), demo.said("acme_seats")
        demo.bill("2026-04-01")
        assert demo.invoices()[-1]["Total__c"] == D(290)
        demo.assert_quiet()


def test_on_reopen_pause_leaves_amendments_alone(tmp_path: Path) -> None:
    """A reopened amendment does not pause the whole contract; it is only flagged (decision D-116)."""
    with world(tmp_path / "w", mappings=mapping_with(tmp_path, "on_reopen: flag", "on_reopen: pause")) as demo:
        demo.win("acme_seats")
        demo.sync()
        billed_to(demo, "2026-03")
        demo.clock.move_to(at("2026-03-15"))
        demo.win("acme_upgrade")
        demo.sync()
        demo.edit("acme_upgrade", StageName="Prospecting")
        demo.sync()
        assert "no longer won" in demo.said("acme_upgrade")[1]
        assert demo.said("acme_seats")[0] != "Paused"


def test_a_changed_setting_of_the_configuration_is_no_edit(demo: World) -> None:
    """`proration` is settled when a contract is made: another one in the configuration neither flags nor replaces it (deals.md 8)."""
    demo.win("acme_seats")
    demo.deal("later", {}, Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    demo.sync()
    demo.config = replace(demo.config, billing=replace(demo.config.billing, proration="second"))
    demo.edit("acme_seats", PO_Number__c="PO-1")
    demo.edit("later", PO_Number__c="PO-2")
    tally = demo.sync()
    assert tally.problems == []
    demo.edit("later_1", "OpportunityLineItem", Quantity=4)
    demo.sync()
    assert all('"proration":"day"' in str(terms) for (terms,) in demo.query("SELECT terms FROM contract"))
    assert demo.record("later")["Next_Invoice_Amount__c"] == D(400)


def test_an_offer_is_reckoned_anew_when_it_is_approved(demo: World) -> None:
    """A month is billed between the edit and its approval: the amendment then covers that month too."""
    demo.win("acme_seats")
    demo.sync()
    demo.edit(line_of(demo, "acme_seats"), "OpportunityLineItem", Quantity=12)
    demo.sync()
    demo.bill("2026-02-01")
    with app.reading_house(demo.config, clock=demo.clock) as books, books.database.read() as unit:
        reasons = app.deal_requests(books).reasons(books.now())
        found = edits.offer(books.billing, unit, demo.ids["acme_seats"], books.now(), reasons)
        assert found.proposal.due_now == 11600
        with pytest.raises(RejectedError, match="The ledger has no deal"):
            edits.offer(books.billing, unit, demo.ids["everest_support"], books.now(), reasons)


def test_who_and_how_before_anything_is_invoiced_are_replaced(demo: World) -> None:
    """Contact, tax id, PO number and payment terms edited before the first invoice stand on it."""
    demo.deal("later", {}, Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    demo.sync()
    demo.edit("later", PO_Number__c="PO-5", Payment_Terms__c="Net 15", Invoice_Memo__c="Thank you")
    demo.edit("helios", "Account", Billing_Email__c="new@helios.example")
    assert demo.sync().problems == []
    demo.bill("2026-02-01")
    assert demo.query("SELECT po_number, due_on, memo FROM invoice") == [("PO-5", "2026-02-16", "Thank you")]
    assert demo.query("SELECT email FROM customer WHERE account = ?", demo.ids["helios"]) == [("new@helios.example",)]


def test_an_edited_quote_that_was_billed_is_approved_under_its_deal(demo: World) -> None:
    """The accepted quote speaks for the deal: its edit is flagged on the quote, and approved by the opportunity's id."""
    demo.deal("sale", {"Quantity": 4})
    demo.quote("offer", "sale", {"Quantity": 4})
    demo.edit("offer", "Quote", Status="Accepted")
    demo.sync()
    demo.edit("offer_1", "QuoteLineItem", Quantity=6)
    demo.sync()
    status, message = demo.said("offer", "Quote")
    assert status == "Needs attention"
    assert "Team Seat 4 → 6" in message
    assert approve(demo, "sale")["state"] == "done"
    assert [r["Total__c"] for r in demo.invoices()] == [D(400), D(200)]
    demo.assert_quiet()


def test_an_edited_renewal_that_was_billed_is_approved_from_its_own_first_day(demo: World) -> None:
    """The renewal's uplift becomes 10 % instead of 5 after its first month was invoiced: 14.50 more, from its term on only."""
    demo.deal("base", {"Quantity": 10, "UnitPrice": "29.00"}, account="acme", StageName="Closed Won", Contract_Term_Months__c=1)
    demo.sync()
    head = {"Billing_Action__c": "Renew", "Amends_Opportunity__c": "@base", "CloseDate": date(2026, 1, 20), "account": "acme"}
    demo.deal("renewal", StageName="Closed Won", Renewal_Uplift_Percent__c=D(5), Contract_Term_Months__c=6, **head)
    demo.clock.move_to(at("2026-01-20"))
    demo.sync()
    demo.bill("2026-02-01")
    demo.edit("renewal", Renewal_Uplift_Percent__c=D(10))
    demo.sync()
    assert "Team Seat at 31.90 instead of 30.45 from 1 Feb 2026" in demo.said("renewal")[1]
    assert approve(demo, "renewal")["state"] == "done"
    assert [r["Total__c"] for r in demo.invoices()] == [D(290), D("304.50"), D("14.50")]
    assert demo.record("renewal")["Amount_Billed__c"] == D(319)
    demo.bill("2026-03-01")
    assert demo.invoices()[-1]["Total__c"] == D(319)
    demo.assert_quiet()
