"""An opportunity and its quotes are one deal, whichever of them is read first (decision D-01, deals.md section 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from world import World, at, world

from connector import app
from connector.config import SourceConfig

D = Decimal
PLAIN = {"Contract_Term_Months__c": 12, "Billing_Action__c": "New", "Payment_Terms__c": "Net 30"}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def offered(demo: World, *, seats: int = 3, price: str = "100.00", quoted: int | None = None, quote_price: str | None = None) -> None:
    """An opportunity with a presented quote, of the same terms unless said otherwise."""
    demo.deal("deal", {"Quantity": seats, "UnitPrice": price}, **PLAIN)
    line = {"Quantity": quoted or seats, "UnitPrice": quote_price or price}
    demo.quote("offer", "deal", line, Contract_Start_Date__c=date(2026, 1, 1), **PLAIN)


ACTS = {
    "accept": lambda demo: demo.edit("offer", "Quote", Status="Accepted"),
    "win": lambda demo: demo.win("deal"),
    "sync_quote": lambda demo: demo.edit("deal", SyncedQuoteId=demo.ids["offer"]),
}


@pytest.mark.parametrize(
    ("order", "rounds"), list(product([("accept", "win"), ("win", "accept"), ("accept", "sync_quote", "win")], ["one", "many"]))
)
def test_a_quote_accepted_and_its_opportunity_won_are_one_contract(demo: World, order: tuple[str, ...], rounds: str) -> None:
    """In either order, in one round or many: one contract, one first invoice; the other record says where it is billed."""
    offered(demo)
    demo.sync()
    for act in order:
        ACTS[act](demo)
        if rounds == "many":
            demo.sync()
            demo.sync()
    tally = demo.sync()
    assert tally.problems == []
    ((contract, deal, _),) = demo.contracts()
    assert deal == demo.ids["deal"]
    (row,) = demo.invoices()
    assert (row["Total__c"], row["Opportunity__c"]) == (D(300), demo.ids["deal"])
    opportunity, quote = demo.record("deal"), demo.record("offer", "Quote")
    assert opportunity["Billing_Contract_Id__c"] == quote["Billing_Contract_Id__c"] == contract
    assert (opportunity["Amount_Billed__c"], quote["Amount_Billed__c"]) == (D(300), D(300))
    assert (opportunity["Billing_Status__c"], quote["Billing_Status__c"]) == ("Active", "Accepted")
    by_opportunity = rounds == "many" and order[0] == "win"
    other = ("offer", "Quote") if by_opportunity else ("deal", "Opportunity")
    owner = "Billed through opportunity Deal." if by_opportunity else "Billed through quote Q-"
    assert demo.said(*other)[1].startswith(owner)
    demo.assert_quiet()
    demo.bill("2026-02-01")
    assert len(demo.invoices()) == 2
    demo.assert_quiet()


def test_an_accepted_quote_alone_makes_the_contract(demo: World) -> None:
    """The opportunity is still open: the contract is the quote's, its name the opportunity's id; nothing is written on the open one."""
    offered(demo)
    ACTS["accept"](demo)
    demo.sync()
    assert [c[1] for c in demo.contracts()] == [demo.ids["deal"]]
    assert demo.said("offer", "Quote")[0] == "Accepted"
    assert demo.said("deal")[0] in (None, "Active")
    demo.assert_quiet()


def test_a_presented_quote_bills_nothing(demo: World) -> None:
    """Open quotes make no contract and no invoice."""
    offered(demo)
    demo.sync()
    assert demo.contracts() == []
    assert demo.invoices() == []
    demo.assert_quiet()


def test_won_with_other_terms_than_the_accepted_quote_the_quote_stands(demo: World) -> None:
    """Both totals stand in the opportunity's message, which needs attention; one contract, at the quote's price."""
    offered(demo, quoted=2)
    ACTS["accept"](demo)
    demo.sync()
    ACTS["win"](demo)
    demo.sync()
    assert len(demo.contracts()) == 1
    assert [r["Total__c"] for r in demo.invoices()] == [D(200)]
    status, message = demo.said("deal")
    assert status == "Needs attention"
    assert "2,400.00 EUR" in message
    assert "3,600.00 EUR" in message
    assert demo.said("offer", "Quote")[0] == "Accepted"
    demo.assert_quiet()
    (line,) = demo.org.live_children("OpportunityLineItem", "OpportunityId", demo.ids["deal"])
    demo.edit(line["Id"], "OpportunityLineItem", Quantity=2)
    demo.sync()
    assert demo.said("deal")[0] == "Active", demo.said("deal")
    assert len(demo.invoices()) == 1


def test_a_second_accepted_quote_is_parked_with_the_firsts_name(demo: World) -> None:
    """The first stands; the second says that the deal is already billed, and changes nothing."""
    offered(demo)
    demo.quote("rival", "deal", {"Quantity": 9}, Contract_Start_Date__c=date(2026, 1, 1), **PLAIN)
    ACTS["accept"](demo)
    demo.sync()
    demo.edit("rival", "Quote", Status="Accepted")
    tally = demo.sync()
    assert len(demo.contracts()) == 1
    assert [r["Total__c"] for r in demo.invoices()] == [D(300)]
    status, message = demo.said("rival", "Quote")
    assert status == "Needs attention"
    assert "quote Q-" in message
    assert demo.said("offer", "Quote")[0] == "Accepted"
    del tally
    demo.assert_quiet()
    demo.edit("rival", "Quote", Status="Denied")
    demo.sync()
    assert demo.said("rival", "Quote")[0] not in ("Active", "Accepted")
    assert [r["Total__c"] for r in demo.invoices()] == [D(300)]


def test_two_quotes_accepted_in_one_round_are_one_contract(demo: World) -> None:
    """The one made first stands, whichever is read first; the other needs attention."""
    offered(demo)
    demo.clock.move_to(at("2026-01-02"))
    demo.quote("rival", "deal", {"Quantity": 9}, Contract_Start_Date__c=date(2026, 1, 1), **PLAIN)
    demo.edit("rival", "Quote", Status="Accepted")
    ACTS["accept"](demo)
    demo.sync()
    assert [r["Total__c"] for r in demo.invoices()] == [D(300)]
    assert demo.said("rival", "Quote")[0] == "Needs attention"
    assert demo.said("offer", "Quote")[0] == "Accepted"
    demo.assert_quiet()


def test_a_won_opportunity_takes_its_terms_from_the_synced_quote(demo: World) -> None:
    """The standard quote sync copies no custom line fields: frequency and end come from the quote, accepted or not."""
    demo.deal("deal", **PLAIN)
    demo.quote(
        "offer",
        "deal",
        {"Quantity": 3},
        {"product": "platform", "UnitPrice": "1200.00", "Billing_Frequency__c": "Annual"},
        Contract_Start_Date__c=date(2026, 1, 1),
        **PLAIN,
    )
    demo.edit("deal", SyncedQuoteId=demo.ids["offer"])
    demo.win("deal")
    demo.sync()
    assert [r["Total__c"] for r in demo.invoices()] == [D(1500)], demo.said("deal")
    assert demo.record("deal")["Contract_Value__c"] == D(4800)
    assert demo.said("deal")[0] == "Active"
    demo.assert_quiet()
    ACTS["accept"](demo)
    demo.sync()
    assert len(demo.contracts()) == 1
    assert len(demo.invoices()) == 1
    demo.assert_quiet()


def test_an_opportunity_won_without_its_quote_is_billed_from_its_own_lines(demo: World) -> None:
    """No quote accepted or synced: the opportunity speaks, and a quote accepted later changes nothing and says so."""
    offered(demo, quoted=9)
    ACTS["win"](demo)
    demo.sync()
    assert [r["Total__c"] for r in demo.invoices()] == [D(300)]
    ACTS["accept"](demo)
    demo.sync()
    assert [r["Total__c"] for r in demo.invoices()] == [D(300)]
    status, message = demo.said("offer", "Quote")
    assert status == "Needs attention"
    assert "10,800.00 EUR" in message
    assert "3,600.00 EUR" in message
    demo.assert_quiet()


def test_the_quote_set_back_before_billing_withdraws_unless_the_opportunity_is_won(demo: World) -> None:
    """A scheduled contract of an accepted quote is withdrawn when the quote is set back: it is quoted again; the won opportunity then speaks."""
    start = date(2026, 2, 1)
    demo.deal("deal", {"Quantity": 3}, Contract_Start_Date__c=start, **PLAIN)
    demo.quote("offer", "deal", {"Quantity": 2}, Contract_Start_Date__c=start, **PLAIN)
    ACTS["accept"](demo)
    demo.sync()
    assert demo.said("offer", "Quote")[0] == "Accepted"
    demo.edit("offer", "Quote", Status="Presented")
    demo.sync()
    assert demo.said("offer", "Quote")[0] == "Quoted"
    assert demo.contracts()[0][2] == "withdrawn"
    demo.assert_quiet()
    ACTS["win"](demo)
    demo.sync()
    demo.bill("2026-02-01")
    assert [r["Total__c"] for r in demo.invoices()] == [D(300)]
    assert demo.said("deal")[0] == "Active"
    assert len(demo.contracts()) == 1
    demo.assert_quiet()


def test_a_quote_without_an_e_mail_parks_the_deal_and_heals(demo: World) -> None:
    """Accepted and won at Fjord's: both records say why, once; filling the e-mail bills one contract."""
    demo.deal("deal", {"Quantity": 3}, account="fjord", **PLAIN)
    demo.quote("offer", "deal", {"Quantity": 3}, Contract_Start_Date__c=date(2026, 1, 1), **PLAIN)
    demo.quote("draft", "deal", {"Quantity": 4}, **PLAIN)
    ACTS["accept"](demo)
    ACTS["win"](demo)
    assert demo.sync().parked == 1
    assert demo.said("offer", "Quote")[0] == "Needs attention"
    assert demo.said("deal")[0] == "Needs attention"
    assert demo.said("draft", "Quote")[0] == "Needs attention"
    demo.edit("fjord", "Account", Billing_Email__c="billing@fjord.example")
    assert demo.sync().problems == []
    assert len(demo.contracts()) == 1
    assert [r["Total__c"] for r in demo.invoices()] == [D(300)]
    demo.assert_quiet()


def test_an_amendment_sold_by_a_quote(demo: World) -> None:
    """A quote of Amend action on its own opportunity changes the base deal's contract once, though both records say Amend."""
    demo.win("acme_seats")
    demo.sync()
    day = date(2026, 3, 15)
    change: dict[str, Any] = {"Billing_Action__c": "Amend", "Billing_Effective_Date__c": day, "Amends_Opportunity__c": "@acme_seats"}
    demo.deal("more", {"Quantity": 5, "UnitPrice": "29.00"}, account="acme", CloseDate=day, **change)
    demo.quote("more_offer", "more", {"Quantity": 5, "UnitPrice": "29.00"}, **change)
    demo.clock.move_to(at("2026-03-15"))
    demo.edit("more_offer", "Quote", Status="Accepted")
    demo.win("more")
    tally = demo.sync()
    assert tally.problems == []
    assert len(demo.contracts()) == 1
    demo.bill("2026-04-01")
    assert demo.query("SELECT SUM(amount) FROM line WHERE service_start LIKE '2026-04-01%'") == [(43500,)]
    demo.assert_quiet()


def renamed(demo: World, folder: Path) -> None:
    """Give both mappings other names, in files of other names, under sources of other names, in another order."""
    sources = []
    for number, source in enumerate(demo.config.sources, 1):
        text = Path(source.mapping).read_text(encoding="utf-8")
        file = folder / f"other-{number}.yaml"
        file.write_text(text.replace("\nname: salesforce-", "\nname: renamed-"), encoding="utf-8")
        sources.append(SourceConfig(name=f"source {number}", mapping=str(file), every_s=5))
    demo.config = replace(demo.config, sources=tuple(reversed(sources)))


def test_renaming_both_mappings_bills_nothing_again(demo: World, tmp_path: Path) -> None:
    """Other names of mappings, files and sources: no decision, no write, no line."""
    offered(demo)
    ACTS["accept"](demo)
    ACTS["win"](demo)
    demo.win("acme_seats", "fjord_seats", "acme_upgrade")
    demo.clock.move_to(at("2026-03-20"))
    demo.sync()
    demo.bill()
    before = demo.query("SELECT * FROM attempt ORDER BY id")
    renamed(demo, tmp_path)
    demo.assert_quiet()
    assert demo.query("SELECT * FROM attempt ORDER BY id") == before


def test_a_changed_mapping_leaves_billed_deals_alone_and_reads_the_others_anew(demo: World, tmp_path: Path) -> None:
    """Prices taken from another field: what is billed sticks to its revision (D-07); what was parked is tried by the new one."""
    demo.win("acme_seats", "fjord_seats")
    demo.sync()
    texts = [Path(s.mapping).read_text(encoding="utf-8") for s in demo.config.sources]
    files = []
    for number, text in enumerate(texts):
        file = tmp_path / f"changed-{number}.yaml"
        file.write_text(text.replace("unit_amount: UnitPrice", "unit_amount: ListPrice").replace("Billing_Contact__r.Email", "Owner.Email"), encoding="utf-8")
        files.append(str(file))
    demo.config = replace(
        demo.config, sources=tuple(replace(s, mapping=f) for s, f in zip(demo.config.sources, files, strict=True))
    )
    tally = demo.sync()
    assert tally.problems == []
    assert demo.said("fjord_seats")[0] == "Active"
    assert demo.said("acme_seats")[0] == "Active"
    demo.assert_quiet()
    demo.bill("2026-02-01")
    assert demo.record("acme_seats")["Amount_Billed__c"] == D(580)
    demo.assert_quiet()


def test_a_source_added_later_finds_the_deal_already_billed(demo: World) -> None:
    """First only opportunities are read; when the quotes' source comes, its accepted quote makes no second contract."""
    both = demo.config.sources
    demo.config = replace(demo.config, sources=both[:1])
    offered(demo)
    ACTS["accept"](demo)
    ACTS["win"](demo)
    demo.sync()
    assert len(demo.invoices()) == 1
    demo.config = replace(demo.config, sources=both)
    demo.sync()
    assert len(demo.contracts()) == 1
    assert len(demo.invoices()) == 1
    assert demo.said("offer", "Quote")[1].startswith("Billed through opportunity Deal.")
    demo.assert_quiet()


def test_a_source_that_is_taken_out_of_the_configuration_takes_nothing_back(demo: World) -> None:
    """Quotes are no longer a source: what they billed stands untouched, other deals with a quote go on, and it heals when they are one again."""
    offered(demo)
    ACTS["accept"](demo)
    demo.deal("other", {"Quantity": 1, "UnitPrice": "50.00"}, **PLAIN)
    demo.quote("unused", "other", {"Quantity": 1, "UnitPrice": "50.00"}, Contract_Start_Date__c=date(2026, 1, 1), **PLAIN)
    assert demo.sync().problems == []
    both = demo.config
    demo.config = replace(both, sources=tuple(s for s in both.sources if "quote" not in s.mapping))
    assert len(demo.config.sources) < len(both.sources)
    ACTS["win"](demo)  # the quote is billed, so this tells nothing new
    demo.win("other")
    tally = demo.sync()
    assert (tally.internal_errors, tally.problems) == (0, [])
    assert sorted(c[1] for c in demo.contracts()) == sorted((demo.ids["deal"], demo.ids["other"]))
    assert sorted(row["Total__c"] for row in demo.invoices()) == [D(50), D(300)]
    with app.writing_house(demo.config, "test", clock=demo.clock) as house, house.database.transaction() as unit:
        unit.execute("UPDATE record SET map_due = 1")  # as where everything is to be read by a new mapping
    assert demo.sync().internal_errors == 0
    demo.bill("2026-02-01")
    assert sorted(row["Total__c"] for row in demo.invoices()) == [D(50), D(50), D(300), D(300)]
    demo.config = both
    assert demo.sync().problems == []
    assert demo.said("offer", "Quote")[0] == "Accepted"
    assert (len(demo.contracts()), len(demo.invoices())) == (2, 4)
    demo.assert_quiet()
