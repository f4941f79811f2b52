"""The life of a quote in the CRM, over the real demo CRM: priced, presented, revised, accepted, declined, expired, outdated (deals.md 7)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_flow_mails import Box, mail, post, server, text_of
from test_flow_notes import ask
from world import World, world

from connector import app
from connector.billing.given import given_text
from connector.config.taxes import TaxConfig
from connector.core.lines import Given
from connector.core.terms import Coupon
from connector.errors import ConfigError
from connector.sync import intents
from connector.tax.rates import ListedRate

D = Decimal
PLAIN: dict[str, Any] = {"Contract_Term_Months__c": 12, "Billing_Action__c": "New", "Payment_Terms__c": "Net 30"}
FIELDS = ("Quote_Number__c", "Quote_Due_Now__c", "Quote_Per_Period__c", "Quote_Tax__c", "Contract_Value__c")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        for row in made.org.rows("Quote"):
            made.delete(row["Id"], "Quote")
        yield made


def offered(demo: World, status: str = "Draft", **fields: Any) -> None:
    """A deal of 3 seats at 100.00 a month for a year, and its quote."""
    demo.deal("deal", {"Quantity": 3}, Contract_Start_Date__c=date(2026, 2, 1), **PLAIN)
    demo.quote("offer", "deal", {"Quantity": 3}, **(PLAIN | {"Contract_Start_Date__c": date(2026, 2, 1), "Status": status} | fields))


def shown(demo: World, name: str = "offer") -> tuple[Any, ...]:
    """Return the status word and the amounts on a quote."""
    record = demo.record(name, "Quote")
    return (record["Billing_Status__c"], *(record[f] for f in FIELDS))


def line_of(demo: World, name: str = "offer") -> str:
    """Return the id of a quote's only line."""
    (line,) = demo.org.live_children("QuoteLineItem", "QuoteId", demo.ids[name])
    return str(line["Id"])


def rows(demo: World) -> list[tuple[Any, ...]]:
    """Return (number, revision, status) of every revision in the books."""
    return demo.query("SELECT number, revision, status FROM quote ORDER BY record, revision")


def test_the_whole_life_of_a_quote(demo: World) -> None:
    """Draft, edited, presented, edited again, taken back, presented, accepted: one number and link, one contract, the quoted invoice."""
    offered(demo)
    demo.sync()
    assert shown(demo) == ("Draft", None, D(300), D(300), D(0), D(3600))
    assert demo.said("offer", "Quote")[1].startswith("Draft. 300.00 EUR is due on 1 Feb, then 300.00 EUR a month; 3,600.00 EUR in all")
    demo.edit(line_of(demo), "QuoteLineItem", Quantity=4)
    demo.sync()
    assert shown(demo) == ("Draft", None, D(400), D(400), D(0), D(4800))
    demo.edit("offer", "Quote", Status="Presented")
    demo.sync()
    assert shown(demo) == ("Quoted", "Q-00001", D(400), D(400), D(0), D(4800))
    assert demo.said("offer", "Quote")[1].startswith("Quote Q-00001 can be accepted until 31 Jan.")
    ((token,),) = demo.query("SELECT token FROM quote")
    assert demo.record("offer", "Quote")["Quote_URL__c"] == f"{demo.config.web.public_url}/q/{token}"
    assert demo.record("offer", "Quote")["Quote_PDF_URL__c"] == f"{demo.config.web.public_url}/q/{token}.pdf"
    demo.edit(line_of(demo), "QuoteLineItem", Quantity=5)
    demo.sync()
    assert shown(demo) == ("Quoted", "Q-00001", D(500), D(500), D(0), D(6000))
    assert "Q-00001 (revision 2)" in demo.said("offer", "Quote")[1]
    assert rows(demo) == [("Q-00001", 1, "replaced"), ("Q-00001", 2, "open")]
    assert demo.query("SELECT DISTINCT token FROM quote") == [(token,)]
    demo.assert_quiet()
    demo.edit("offer", "Quote", Status="In Review")
    demo.sync()
    assert shown(demo)[:2] == ("Draft", "Q-00001")
    assert "is being revised and cannot be accepted" in demo.said("offer", "Quote")[1]
    demo.edit("offer", "Quote", Status="Presented")
    demo.sync()
    assert rows(demo)[-1] == ("Q-00001", 2, "open")
    assert demo.contracts() == []
    demo.edit("offer", "Quote", Status="Accepted")
    demo.sync()
    record = demo.record("offer", "Quote")
    assert shown(demo) == ("Accepted", "Q-00001", D(500), D(500), D(0), D(6000))
    assert record["Quote_Accepted_By__c"] == "Riley Rep" or record["Quote_Accepted_By__c"]
    assert str(record["Quote_Accepted_At__c"]).startswith("2026-01-01")
    ((contract, deal, _),) = demo.contracts()
    assert (deal, record["Billing_Contract_Id__c"]) == (demo.ids["deal"], contract)
    demo.assert_quiet()
    demo.bill("2026-02-01")
    (invoice,) = demo.invoices()
    assert invoice["Total__c"] == record["Quote_Due_Now__c"]
    demo.edit("deal_1", "OpportunityLineItem", Quantity=5)
    demo.win("deal")
    demo.sync()
    assert demo.said("deal")[0] == "Active"
    assert demo.said("deal")[1].startswith("Billed through quote Q-00001")
    assert len(demo.contracts()) == 1
    demo.assert_quiet()


def test_a_presented_quote_that_cannot_be_read_says_why_and_heals(demo: World) -> None:
    """No billing e-mail: Needs attention without a number; filled, it is presented. Broken while open, nobody can accept it."""
    demo.deal("deal", {"Quantity": 3}, account="fjord", **PLAIN)
    demo.quote("offer", "deal", {"Quantity": 3}, **PLAIN, Contract_Start_Date__c=date(2026, 2, 1))
    tally = demo.sync()
    assert [p.code for p in tally.problems] == ["no-billing-e-mail"]
    assert demo.said("offer", "Quote") == ("Needs attention", demo.said("offer", "Quote")[1])
    assert demo.said("offer", "Quote")[1].startswith("Not quoted: no billing e-mail.")
    assert shown(demo)[1] is None
    demo.assert_quiet()
    demo.edit("fjord", "Account", Billing_Email__c="billing@fjord.example")
    assert demo.sync().problems == []
    assert shown(demo)[:3] == ("Quoted", "Q-00001", D(300))
    demo.edit("fjord", "Account", Billing_Email__c=None)
    demo.sync()
    assert demo.said("offer", "Quote")[0] == "Needs attention"
    assert rows(demo) == [("Q-00001", 1, "draft")]
    demo.edit("fjord", "Account", Billing_Email__c="billing@fjord.example")
    demo.sync()
    assert rows(demo) == [("Q-00001", 1, "open")]
    demo.assert_quiet()


def test_a_declined_quote_says_so_and_can_be_presented_again(demo: World) -> None:
    """Denied: Declined, nothing billed; presented again it is the next revision of the same number."""
    offered(demo, "Presented")
    demo.sync()
    demo.edit("offer", "Quote", Status="Denied")
    demo.sync()
    assert shown(demo) == ("Declined", "Q-00001", D(300), D(300), D(0), None)
    assert demo.contracts() == []
    demo.assert_quiet()
    demo.edit("offer", "Quote", Status="Presented")
    demo.sync()
    assert shown(demo)[:2] == ("Quoted", "Q-00001")
    assert rows(demo) == [("Q-00001", 1, "replaced"), ("Q-00001", 2, "open")]
    demo.delete("offer", "Quote")
    demo.sync()
    assert rows(demo)[-1] == ("Q-00001", 2, "canceled")


def test_a_quote_expires_by_itself_and_cannot_be_accepted_then(demo: World) -> None:
    """The record's last day, else 30 days: the billing run expires it; accepted in the CRM all the same it needs attention until re-presented."""
    offered(demo, "Presented", ExpirationDate=date(2026, 1, 20))
    demo.quote("other", "acme_seats", {"Quantity": 1}, **PLAIN)
    demo.sync()
    demo.bill("2026-01-20")
    assert shown(demo)[0] == "Quoted"
    demo.bill("2026-01-21")
    assert shown(demo)[0] == "Expired"
    assert "expired on 20 Jan" in demo.said("offer", "Quote")[1]
    assert shown(demo, "other")[0] == "Quoted"
    demo.assert_quiet()
    demo.bill("2026-02-02")
    assert shown(demo, "other")[0] == "Expired"
    demo.edit("offer", "Quote", Status="Accepted")
    assert [p.code for p in demo.sync().problems] == ["quote-expired"]
    assert demo.said("offer", "Quote")[0] == "Needs attention"
    assert "Take it back to Draft and present it again" in demo.said("offer", "Quote")[1]
    assert demo.contracts() == []
    demo.edit("offer", "Quote", Status="Draft", ExpirationDate="2026-03-01")
    demo.sync()
    demo.edit("offer", "Quote", Status="Presented")
    demo.sync()
    demo.edit("offer", "Quote", Status="Accepted")
    assert demo.sync().problems == []
    assert shown(demo)[0] == "Accepted"
    assert len(demo.contracts()) == 1
    demo.assert_quiet()


def test_a_quote_presented_after_its_last_day_has_no_number(demo: World) -> None:
    """It is expired from the start, and no problem of anybody; with a later last day it is presented."""
    offered(demo, "Presented", ExpirationDate=date(2025, 12, 20))
    assert demo.sync().problems == []
    assert shown(demo)[:2] == ("Expired", None)
    demo.assert_quiet()
    demo.edit("offer", "Quote", ExpirationDate="2026-02-20")
    demo.sync()
    assert shown(demo)[:2] == ("Quoted", "Q-00001")
    demo.assert_quiet()


def test_a_later_last_day_opens_an_expired_quote_again(demo: World) -> None:
    """Only the last day is moved: the same revision is open again."""
    offered(demo, "Presented", ExpirationDate=date(2026, 1, 20))
    demo.sync()
    demo.bill("2026-01-21")
    demo.edit("offer", "Quote", ExpirationDate="2026-02-20")
    demo.sync()
    assert (shown(demo)[0], rows(demo)) == ("Quoted", [("Q-00001", 1, "open")])
    demo.assert_quiet()


def test_a_quote_on_a_contract_that_changed_is_outdated(demo: World) -> None:
    """Five more seats are quoted, then another amendment is won: the quote names it, cannot be accepted, and is revised to be."""
    demo.win("acme_seats")
    demo.sync()
    day = date(2026, 1, 15)
    change: dict[str, Any] = {"Billing_Action__c": "Amend", "Billing_Effective_Date__c": day, "Amends_Opportunity__c": "@acme_seats"}
    demo.deal("more", {"Quantity": 5, "UnitPrice": "29.00"}, account="acme", CloseDate=day, **change)
    demo.quote("more_offer", "more", {"Quantity": 5, "UnitPrice": "29.00"}, Status="Presented", **change)
    demo.sync()
    first = shown(demo, "more_offer")
    assert first[:2] == ("Quoted", "Q-00001")
    demo.deal("else", {"Quantity": 1, "UnitPrice": "29.00"}, account="acme", CloseDate=day, **(change | {"Billing_Effective_Date__c": date(2026, 2, 1)}))
    demo.win("else")
    demo.sync()
    assert shown(demo, "more_offer")[0] == "Outdated"
    assert "the contract has changed since (Else)" in demo.said("more_offer", "Quote")[1]
    demo.assert_quiet()
    demo.edit("more_offer", "Quote", Status="Accepted")
    assert [p.code for p in demo.sync().problems] == ["quote-outdated"]
    demo.edit("more_offer", "Quote", Status="Draft")
    demo.sync()
    demo.edit("more_offer", "Quote", Status="Presented")
    demo.sync()
    assert shown(demo, "more_offer")[0] == "Quoted"
    assert [r[2] for r in rows(demo)] == ["replaced", "open"]
    due = demo.record("more_offer", "Quote")["Quote_Due_Now__c"]
    demo.clock.move_to(demo.clock.now().replace(day=15))
    demo.edit("more_offer", "Quote", Status="Accepted")
    assert demo.sync().problems == []
    assert shown(demo, "more_offer")[0] == "Accepted"
    assert demo.invoices()[-1]["Total__c"] == due
    assert len(demo.contracts()) == 1
    demo.assert_quiet()


def test_with_on_won_acceptance_waits_for_the_opportunity(demo: World) -> None:
    """Accepted: who and when, nothing billed; the opportunity is won: the quote's terms become the contract, once."""
    demo.config = replace(demo.config, quotes=replace(demo.config.quotes, start="on_won"))
    offered(demo, "Presented")
    demo.sync()
    demo.edit("offer", "Quote", Status="Accepted")
    demo.sync()
    assert shown(demo)[0] == "Accepted"
    assert "Billing begins when the opportunity is won" in demo.said("offer", "Quote")[1]
    assert demo.contracts() == []
    demo.assert_quiet()
    demo.win("deal")
    demo.sync()
    assert shown(demo)[0] == "Accepted"
    assert [c[1] for c in demo.contracts()] == [demo.ids["deal"]]
    assert demo.query("SELECT status, contract_id FROM quote") == [("accepted", demo.contracts()[0][0])]
    demo.assert_quiet()


def test_an_opportunity_won_without_an_accepted_quote_cancels_its_open_ones(demo: World) -> None:
    """It is billed from its own lines; the presented quote is canceled in the books and says that it is no longer needed."""
    offered(demo, "Presented")
    demo.sync()
    demo.win("deal")
    demo.sync()
    assert shown(demo)[0] == "Replaced"
    assert demo.query("SELECT status FROM quote") == [("canceled",)]
    assert demo.said("deal")[0] == "Scheduled"
    demo.assert_quiet()


def test_a_second_accepted_quote_names_the_number_of_the_first(demo: World) -> None:
    """Two presented quotes of one opportunity; the second acceptance is parked and names Q-00001."""
    offered(demo, "Presented")
    demo.sync()
    demo.quote("second", "deal", {"Quantity": 9}, **PLAIN, Contract_Start_Date__c=date(2026, 2, 1))
    demo.sync()
    demo.edit("offer", "Quote", Status="Accepted")
    demo.sync()
    assert shown(demo, "second")[0] == "Replaced"
    demo.edit("second", "Quote", Status="Accepted")
    tally = demo.sync()
    assert [p.code for p in tally.problems] == ["second-record"]
    assert "Q-00001" in demo.said("second", "Quote")[1]
    assert len(demo.contracts()) == 1
    demo.assert_quiet()


def test_two_quotes_of_a_deal_accepted_on_their_pages_are_one_contract(demo: World) -> None:
    """Both in one round: the first one made is billed, the other needs attention and names it."""
    offered(demo, "Presented", Contract_Start_Date__c=date(2026, 1, 1))
    demo.quote("second", "deal", {"Quantity": 9}, **PLAIN, Contract_Start_Date__c=date(2026, 1, 1))
    demo.sync()
    with app.writing_house(demo.config, "test", clock=demo.clock) as house:
        with house.database.transaction() as unit:
            for number in ("Q-00001", "Q-00002"):
                intents.submit(unit, "quote.accept", {"quote": number, "name": "Ann", "via": "page"}, actor="page", now=demo.clock.now())
        intents.carry_out(house.database, house.billing, demo.clock.now())
    assert [p.code for p in demo.sync().problems] == ["second-record"]
    assert [i["Total__c"] for i in demo.invoices()] == [D(300)]
    assert shown(demo)[0] == "Accepted"
    assert demo.said("second", "Quote")[0] == "Needs attention"
    assert "already billed through quote Q-0000" in demo.said("second", "Quote")[1]
    demo.assert_quiet()


def test_a_quote_accepted_by_request_bills_what_was_accepted(demo: World) -> None:
    """Accepted on its page though the record still says Presented, and edited after: the accepted terms are billed, the edit is flagged."""
    on_accept = (("Quote", "Status", "Accepted"), ("Opportunity", "StageName", "Closed Won"))
    demo.config = replace(demo.config, quotes=replace(demo.config.quotes, on_accept=on_accept))
    offered(demo, "Presented", Contract_Start_Date__c=date(2026, 1, 1))
    demo.sync()
    ((quote,),) = demo.query("SELECT id FROM quote")
    asked = {"quote": quote, "revision": 1, "name": "Ann Bell", "title": "CFO", "address": "203.0.113.9", "via": "page"}
    assert ask(demo, "quote.accept", **asked) == "done"
    demo.sync()
    record = demo.record("offer", "Quote")
    assert (record["Billing_Status__c"], record["Quote_Accepted_By__c"], record["Status"]) == ("Accepted", "Ann Bell, CFO", "Accepted")
    assert demo.record("deal")["StageName"] == "Closed Won"
    assert [i["Total__c"] for i in demo.invoices()] == [D(300)]
    assert demo.query("SELECT accepted_from, accepted_via FROM quote") == [("203.0.113.9", "page")]
    assert ask(demo, "quote.accept", **asked) == "refused"
    demo.sync()
    demo.assert_quiet()
    demo.edit("deal", StageName="Negotiation/Review")
    demo.sync()
    assert demo.record("deal")["StageName"] == "Negotiation/Review"
    demo.assert_quiet()


def test_a_quote_accepted_by_request_and_edited_before_the_round_bills_what_was_accepted(demo: World) -> None:
    """The rep makes it 7 seats in the second of acceptance: 3 are billed, and the record needs attention."""
    offered(demo, "Presented", Contract_Start_Date__c=date(2026, 1, 1))
    demo.sync()
    ((quote,),) = demo.query("SELECT id FROM quote")
    demo.edit(line_of(demo), "QuoteLineItem", Quantity=7)
    with app.writing_house(demo.config, "test", clock=demo.clock) as house:
        with house.database.transaction() as unit:
            intents.submit(unit, "quote.accept", {"quote": quote, "name": "Ann", "revision": 1}, actor="page", now=demo.clock.now())
        intents.carry_out(house.database, house.billing, demo.clock.now())
    demo.sync()
    demo.sync()
    assert [i["Total__c"] for i in demo.invoices()] == [D(300)]
    assert demo.said("offer", "Quote")[0] == "Needs attention"
    demo.assert_quiet()


def test_a_quote_bears_the_tax_of_its_customer(demo: World) -> None:
    """20 % on top in the Netherlands: due now and per period are with tax, the value before it; the invoice has the quote's tax."""
    rates = (ListedRate(country="NL", name="BTW", percentage=D(20)),)
    demo.config = replace(demo.config, tax=TaxConfig(kind="rates", rates=rates))
    offered(demo, "Presented", Contract_Start_Date__c=date(2026, 1, 1), Discount_Percent__c=D(10))
    demo.sync()
    assert shown(demo) == ("Quoted", "Q-00001", D(324), D(324), D(54), D(3240))
    demo.edit("offer", "Quote", Status="Accepted")
    demo.sync()
    (invoice,) = demo.invoices()
    assert invoice["Total__c"] == D(324)
    assert demo.query("SELECT discount, tax, total FROM invoice") == [(3000, 5400, 32400)]
    assert demo.query("SELECT discount, tax, due_now FROM quote") == [(3000, 5400, 32400)]
    demo.assert_quiet()


def test_a_presented_quote_is_mailed_where_the_configuration_says_so(demo: World) -> None:
    """Once a presentation, with the link; an edit mails the next revision; what was taken back before it left is not sent."""
    box = Box()
    with server(box) as address:
        demo.config = replace(demo.config, mail=mail(address, test_to="desk@northwind.example"), quotes=replace(demo.config.quotes, is_sent=True))
        offered(demo, "Presented")
        demo.sync()
        assert post(demo).sent == 1
        demo.sync()
        assert post(demo).sent == 0
        ((token,),) = demo.query("SELECT token FROM quote")
        (message,) = box.taken
        assert message["Subject"].strip().startswith("Quote Q-00001 from Northwind Instruments")
        assert f"{demo.config.web.public_url}/q/{token}" in text_of(message)
        assert "accept or decline it until 31 Jan 2026." in " ".join(text_of(message).split())
        demo.edit(line_of(demo), "QuoteLineItem", Quantity=4)
        demo.sync()
        demo.edit("offer", "Quote", Status="Draft")
        demo.sync()
        assert post(demo).sent == 0
        demo.clock.move_to(demo.clock.now() + timedelta(minutes=1))  # opened twice in one second is opened once
        demo.edit("offer", "Quote", Status="Presented")
        demo.sync()
        assert post(demo).sent == 1
        assert demo.query("SELECT state FROM outbox ORDER BY id") == [("sent",), ("dropped",), ("sent",)]


def test_in_french_the_record_says_it_in_french(demo: World) -> None:
    """Draft, presented and expired quotes speak the language of the CRM."""
    demo.config = replace(demo.config, crm=replace(demo.config.crm, language="fr"))
    offered(demo)
    demo.sync()
    assert demo.said("offer", "Quote")[1].startswith("Brouillon. 300,00 EUR à payer le 1er févr., puis 300,00 EUR par mois ; 3\u202f600,00 EUR en tout")
    demo.edit("offer", "Quote", Status="Presented", ExpirationDate="2026-01-10")
    demo.sync()
    assert demo.said("offer", "Quote")[1].startswith("Le devis Q-00001 peut être accepté jusqu'au 10 janv.")
    demo.bill("2026-01-11")
    assert demo.said("offer", "Quote") == ("Expired", demo.said("offer", "Quote")[1])
    assert demo.said("offer", "Quote")[1].startswith("Le devis Q-00001 a expiré le 10 janv.")


def test_opportunities_alone_are_quoted_where_their_mapping_says_so(demo: World, tmp_path: Path) -> None:
    """One source, with `open` and `preview`: a proposal has a number, a later stage another; won, the quote is accepted and billed."""
    source = demo.config.sources[0]
    text = Path(source.mapping).read_text(encoding="utf-8")
    file = tmp_path / "opportunity.yaml"
    file.write_text(
        text.replace("  # preview: IsClosed = false AND Probability >= 50", "  open: StageName = 'Proposal/Price Quote'\n  preview: StageName = 'Value Proposition'")
        .replace("    Billing_Message__c: message\n", "    Billing_Message__c: message\n    PO_Number__c: quote_number\n", 1),
        encoding="utf-8",
    )
    demo.config = replace(demo.config, sources=(replace(source, mapping=str(file)),))
    demo.deal("deal", {"Quantity": 3}, **PLAIN, StageName="Value Proposition")
    demo.sync()
    assert demo.said("deal")[0] == "Draft"
    demo.edit("deal", StageName="Proposal/Price Quote")
    demo.sync()
    assert demo.said("deal")[0] == "Quoted"
    assert demo.said("deal")[1].startswith("Quote Q-0000")
    demo.assert_quiet()
    demo.win("deal")
    demo.sync()
    assert demo.said("deal")[0] == "Active"
    assert demo.query("SELECT status FROM quote WHERE deal = ?", demo.ids["deal"]) == [("accepted",)]
    assert [i["Total__c"] for i in demo.invoices()] == [D(300)]
    demo.assert_quiet()


def test_expiry_and_moved_quotes_are_found_by_index(demo: World) -> None:
    """What a round asks of quotes touches an index only, so that an idle one costs nothing however many there are."""
    demo.sync()
    for sql in (
        "SELECT id FROM quote WHERE status = 'open' AND expires_at <= '2026-01-01T00:00:00Z' LIMIT 5",
        "SELECT 1 FROM quote WHERE is_moved LIMIT 1",
        "SELECT id FROM quote WHERE base_contract IN ('ct_1') AND status = 'open'",
        "SELECT id FROM quote WHERE token = 'x'",
    ):
        plan = " ".join(str(row[3]) for row in demo.query(f"EXPLAIN QUERY PLAN {sql}"))
        assert "USING" in plan, (sql, plan)
        assert "INDEX quote_" in plan, (sql, plan)


def test_settings_that_cannot_work_in_this_org_stop_the_start(demo: World) -> None:
    """Waiting for opportunities that nobody reads, writing a field that does not exist: both are named at once."""
    quotes = replace(demo.config.quotes, start="on_won", on_accept=(("Quote", "Statuss", "Accepted"), ("Quote", "QuoteNumber", "1")))
    demo.config = replace(demo.config, quotes=quotes, sources=demo.config.sources[1:])
    with pytest.raises(ConfigError) as caught:
        demo.sync()
    assert [p.code for p in caught.value.problems] == ["no-opportunities", "unknown-field", "unknown-field"]
    assert "Quote.Statuss does not exist" in caught.value.problems[1].message
    assert "Quote.QuoteNumber cannot be written" in caught.value.problems[2].message


def test_a_quote_honours_catalogue_coupons_and_what_the_customer_inherits(demo: World) -> None:
    """A coupon named on the quote, and on another one the customer's own discount: quoted and billed alike."""
    entries = [{"id": "TEN", "percent_off": "10", "duration": "forever"}, {"id": "HALF", "percent_off": "50", "duration": "forever"}]
    with app.writing_house(demo.config, "test", clock=demo.clock) as house, house.database.transaction() as unit:
        unit.executemany(
            "INSERT INTO coupon (id, currency, data, is_active, updated_at) VALUES (?,?,?,?,?)",
            [(e["id"], "", json.dumps({k: v for k, v in e.items() if k != "id"}), True, "2026-01-01T00:00:00Z") for e in entries],
        )
    offered(demo, "Presented", Contract_Start_Date__c=date(2026, 1, 1), Coupons__c="TEN")
    demo.sync()
    assert shown(demo)[:3] == ("Quoted", "Q-00001", D(270))
    demo.edit("offer", "Quote", Status="Accepted")
    demo.sync()
    assert [i["Total__c"] for i in demo.invoices()] == [D(270)]
    with app.writing_house(demo.config, "test", clock=demo.clock) as house, house.database.transaction() as unit:
        half = Given(coupon=Coupon(id="HALF", percent_off=D(50)), since=datetime(2026, 1, 1))
        unit.execute("UPDATE customer SET discounts = ?", (given_text([half]),))
    demo.deal("next", {"Quantity": 3}, **PLAIN)
    demo.quote("again", "next", {"Quantity": 3}, **PLAIN, Contract_Start_Date__c=date(2026, 1, 1))
    demo.sync()
    assert shown(demo, "again")[2:4] == (D(150), D(150))
    assert demo.record("again", "Quote")["Contract_Value__c"] == D(1800)
    demo.edit("again", "Quote", Status="Accepted")
    demo.sync()
    assert demo.invoices()[-1]["Total__c"] == D(150)
    demo.assert_quiet()
