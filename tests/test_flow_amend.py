"""Amend deals, sentence by sentence as deals.md section 3 has them: which item a line means, its words, its dates, what it may not do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from test_flow_changes import amendment
from world import World, at, world

from connector.lookalike.crm.org import Org

D = Decimal
MARCH = {"Billing_Effective_Date__c": date(2026, 3, 1), "CloseDate": date(2026, 3, 1)}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def billed(demo: World, *lines: dict[str, Any], until: str = "2026-02-01", **fields: Any) -> None:
    """A New deal "base" of these lines, billed up to a day."""
    demo.deal("base", *lines, account="acme", StageName="Closed Won", **fields)
    demo.sync()
    demo.bill(until)


def next_total(demo: World, day: str) -> Decimal:
    """Bill on a day and return the total of the newest invoice."""
    demo.bill(day)
    return D(demo.invoices()[-1]["Total__c"])


def test_of_two_items_the_line_means_the_one_of_its_price(demo: World) -> None:
    """10 at 29.00 and 4 at 25.00 of one product: less two at 25.00 takes them from the four."""
    billed(demo, {"Quantity": 10, "UnitPrice": "29.00"}, {"Quantity": 4, "UnitPrice": "25.00"})
    amendment(demo, "less", "base", {"Quantity": -2, "UnitPrice": "25.00"}, **MARCH)
    assert next_total(demo, "2026-03-01") == D(340)
    assert demo.said("less")[0] in ("Active", "Past due"), demo.said("less")
    demo.assert_quiet()


def test_where_several_items_fit_they_are_named_and_a_number_decides(demo: World) -> None:
    """Neither price is that of the line: the message lists both with numbers; the number in Amends Line heals it."""
    billed(demo, {"Quantity": 10, "UnitPrice": "29.00"}, {"Quantity": 4, "UnitPrice": "25.00"})
    amendment(demo, "less", "base", {"Quantity": -2, "UnitPrice": "27.00"}, **MARCH)
    demo.bill("2026-03-01")
    status, message = demo.said("less")
    assert status == "Needs attention"
    assert "Team Seat 10 x 29.00" in message
    assert "Team Seat 4 x 25.00" in message
    (number,) = re.findall(r"(\d+): Team Seat 4 x 25\.00", message)
    demo.edit("less_1", "OpportunityLineItem", Amends_Line__c=number)
    demo.sync()
    assert demo.said("less")[0] != "Needs attention", demo.said("less")
    assert next_total(demo, "2026-04-01") == D(340)


def test_of_two_items_that_differ_in_their_discount_only_a_number_decides(demo: World) -> None:
    """Same product, same price, one with 10 % off: a line that takes two away does not guess which."""
    billed(demo, {"Quantity": 10, "UnitPrice": "30.00"}, {"Quantity": 10, "UnitPrice": "30.00", "Discount": D(10)})
    amendment(demo, "less", "base", {"Quantity": -2, "UnitPrice": "30.00"}, **MARCH)
    demo.bill("2026-03-01")
    assert demo.said("less")[0] in ("Active", "Past due"), "the line without a discount means the item without one"
    assert next_total(demo, "2026-04-01") == D(240) + D(270)


def test_more_at_the_same_price_with_another_discount_is_a_new_item(demo: World) -> None:
    """5 more at 29.00 less 20 %: what was sold is billed, 116.00 beside the 290.00, not the list price (decision D-117)."""
    billed(demo, {"Quantity": 10, "UnitPrice": "29.00"})
    amendment(demo, "more", "base", {"Quantity": 5, "UnitPrice": "29.00", "Discount": D(20)}, **MARCH)
    assert next_total(demo, "2026-03-01") == D(290) + D(116)


@pytest.mark.parametrize(
    ("line", "total"),
    [
        ({"Quantity": 5, "Line_Change__c": "Add"}, D(435)),
        ({"Quantity": 5, "Line_Change__c": "Add", "UnitPrice": "20.00"}, D(390)),
        ({"Quantity": 3, "Line_Change__c": "Reduce"}, D(203)),
        ({"Quantity": -3}, D(203)),
        ({"Quantity": 4, "Line_Change__c": "Set"}, D(116)),
        ({"Quantity": 4, "Line_Change__c": "Set", "UnitPrice": "31.00"}, D(124)),
        ({"Quantity": 1, "Line_Change__c": "Remove"}, D(0)),
        ({"Quantity": 5}, D(435)),
    ],
)
def test_the_words_of_line_change(demo: World, line: dict[str, Any], total: Decimal) -> None:
    """Add, Reduce, Set and Remove spare the rep negative numbers; blank goes by the sign; Set with another price counts for all of it."""
    billed(demo, {"Quantity": 10, "UnitPrice": "29.00"}, {"product": "support", "UnitPrice": "1.00"})
    amendment(demo, "change", "base", {"UnitPrice": "29.00", **line}, **MARCH)
    assert next_total(demo, "2026-03-01") == total + 1, demo.said("change")
    demo.assert_quiet()


def test_reducing_more_than_there_is_names_the_line(demo: World) -> None:
    """Reduce 12 of 10: the message names product, quantity and price; the other line of the same deal is not half applied."""
    billed(demo, {"Quantity": 10, "UnitPrice": "29.00"})
    amendment(demo, "less", "base", {"Quantity": 12, "Line_Change__c": "Reduce", "UnitPrice": "29.00"},
              {"product": "support", "UnitPrice": "70.00"}, **MARCH)  # fmt: skip
    assert next_total(demo, "2026-03-01") == D(290)
    status, message = demo.said("less")
    assert status == "Needs attention"
    assert "takes 12 away, but only 10 run" in message
    assert "Team Seat 10 x 29.00" in message


def test_a_line_with_a_last_day_is_temporary(demo: World) -> None:
    """Five seats more from 1 March to 30 April: March and April cost 435.00, May 290.00 again."""
    billed(demo, {"Quantity": 10, "UnitPrice": "29.00"}, until="2026-02-01")
    amendment(demo, "spring", "base", {"Quantity": 5, "UnitPrice": "29.00", "End_Date__c": "2026-04-30"}, **MARCH)
    assert [next_total(demo, d) for d in ("2026-03-01", "2026-04-01", "2026-05-01")] == [D(435), D(435), D(290)]
    assert demo.record("spring")["Contract_Value__c"] == D(290)
    demo.assert_quiet()


def test_a_line_with_a_first_day_of_its_own_starts_then(demo: World) -> None:
    """ServiceDate on an amendment's line: later than the effective date it starts on its own day; earlier is a problem."""
    billed(demo, {"Quantity": 10, "UnitPrice": "29.00"}, until="2026-02-01")
    amendment(demo, "more", "base", {"Quantity": 5, "UnitPrice": "29.00", "ServiceDate": "2026-04-01"}, **MARCH)
    assert [next_total(demo, d) for d in ("2026-03-01", "2026-04-01")] == [D(290), D(435)]
    amendment(demo, "early", "base", {"Quantity": 5, "UnitPrice": "29.00", "ServiceDate": "2026-02-01"}, **MARCH)
    demo.sync()
    assert demo.said("early")[0] == "Needs attention"


def test_a_term_counts_from_the_effective_date(demo: World) -> None:
    """Term 6 on an amendment of 1 March: the contract now ends on 31 August; checkboxes of the amendment are ignored."""
    billed(demo, {"Quantity": 10, "UnitPrice": "29.00"}, Contract_Term_Months__c=12)
    amendment(demo, "shorter", "base", Contract_Term_Months__c=6, Auto_Renew__c=True, **MARCH)
    demo.bill("2026-03-01")
    assert demo.record("base")["Contract_Ends_On__c"] == "2026-08-31", demo.said("shorter")
    for month in range(4, 11):
        demo.bill(f"2026-{month:02d}-01")
    assert demo.said("base")[0] == "Completed"
    assert demo.record("base")["Amount_Billed__c"] == 8 * D(290)


def test_an_unticked_box_on_an_amendment_ends_no_renewal(demo: World) -> None:
    """Auto Renew of the contract stays although the amendment's box is not ticked: a renewal is ended by a Cancel deal."""
    billed(demo, {"Quantity": 10, "UnitPrice": "29.00"}, Contract_Term_Months__c=3, Auto_Renew__c=True)
    amendment(demo, "more", "base", {"Quantity": 1, "UnitPrice": "29.00"}, **MARCH)
    demo.bill("2026-03-01")
    assert next_total(demo, "2026-04-01") == D(319)
    demo.deal("end", account="acme", StageName="Closed Won", Billing_Action__c="Cancel", Amends_Opportunity__c="@base",
              CloseDate=date(2026, 4, 2), Cancel_When__c="End of term")  # fmt: skip
    demo.bill("2026-05-01")
    demo.bill("2026-06-01")
    assert demo.bill("2026-07-01")[0].invoices == 0
    assert demo.record("base")["Contract_Ends_On__c"] == "2026-06-30"


@pytest.mark.parametrize("order", list(permutations((0, 1, 2))))
def test_amendments_in_any_order_of_arrival_are_the_same_contract(demo: World, order: tuple[int, ...]) -> None:
    """+5 in April, -3 in May, a price of 31.00 in June, won in any order: the same invoices from April to July."""
    billed(demo, {"Quantity": 10, "UnitPrice": "29.00"})
    changes: list[tuple[str, dict[str, Any]]] = [
        ("2026-04-01", {"Quantity": 5, "UnitPrice": "29.00"}),
        ("2026-05-01", {"Quantity": 3, "UnitPrice": "29.00", "Line_Change__c": "Reduce"}),
        ("2026-06-01", {"Quantity": 12, "UnitPrice": "31.00", "Line_Change__c": "Set"}),
    ]
    for place, number in enumerate(order):
        day, line = changes[number]
        amendment(demo, f"change{number}", "base", line, CloseDate=date(2026, 2, 2), Billing_Effective_Date__c=date.fromisoformat(day),
                  Name=f"Change {place}")  # fmt: skip
        demo.sync()
    assert [next_total(demo, f"2026-0{m}-01") for m in (3, 4, 5, 6, 7)] == [D(290), D(435), D(348), D(372), D(372)]
    assert {demo.said(f"change{n}")[0] for n in range(3)} <= {"Active", "Past due"}
    demo.assert_quiet()


@pytest.mark.parametrize("action", ["Amend", "Cancel", "Pause"])
def test_a_contract_that_has_ended_takes_no_change(demo: World, action: str) -> None:
    """Whatever is asked of an ended contract: the message names its last day and says to close a Renew or New deal."""
    billed(demo, {"Quantity": 10, "UnitPrice": "29.00"}, Contract_Term_Months__c=2, until="2026-04-01")
    lines = [{"Quantity": 1, "UnitPrice": "29.00"}] if action == "Amend" else []
    amendment(demo, "late", "base", *lines, Billing_Action__c=action, CloseDate=date(2026, 4, 2), Billing_Effective_Date__c=date(2026, 4, 2))
    demo.bill("2026-04-02")
    status, message = demo.said("late")
    assert status == "Needs attention"
    assert "28 Feb 2026" in message or "2026-02-28" in message
    assert "Renew or New" in message
    demo.assert_quiet()


def test_an_amendment_in_another_currency_is_refused(tmp_path: Path) -> None:
    """A dollar deal that amends a contract in euro: 29.00 of one is not 29.00 of the other."""
    with world(tmp_path, org=lambda clock: Org(clock=clock, multi_currency=True)) as demo:
        entry = {"UnitPrice": D(100), "IsActive": True, "Pricebook2Id": "@standard", "Product2Id": "@seat"}
        demo.add("PricebookEntry", "seat_usd_entry", CurrencyIsoCode="USD", **entry)
        billed(demo, {"Quantity": 10, "UnitPrice": "29.00"})
        amendment(demo, "dollar", "base", {"product": "seat_usd", "UnitPrice": "29.00"}, CurrencyIsoCode="USD", **MARCH)
        assert next_total(demo, "2026-03-01") == D(290)
        status, message = demo.said("dollar")
        assert status == "Needs attention"
        assert "is in EUR, this deal is in USD" in message
        demo.assert_quiet()


def test_an_amendment_of_another_account_is_refused(demo: World) -> None:
    """A deal of another account never changes this contract, also where it names the contract's id; the account is named."""
    billed(demo, {"Quantity": 10, "UnitPrice": "29.00"})
    contract = demo.contracts()[0][0]
    amendment(demo, "foreign", "base", {"Quantity": 5, "UnitPrice": "29.00"}, account="gaia", **MARCH)
    amendment(demo, "named", "base", {"Quantity": 5, "UnitPrice": "29.00"}, account="gaia", **MARCH)
    demo.edit("named", Amends_Opportunity__c=None, Amends_Contract_Id__c=contract)
    assert next_total(demo, "2026-03-01") == D(290)
    for name in ("foreign", "named"):
        status, message = demo.said(name)
        assert status == "Needs attention"
        assert "belongs to another account" in message
    demo.edit("foreign", AccountId=demo.ids["acme"])
    demo.clock.move_to(at("2026-03-02"))
    demo.sync()
    assert demo.said("foreign")[0] in ("Active", "Past due")


def test_an_amended_amendment_that_waits_names_the_record_that_blocks(demo: World) -> None:
    """Three deals in a chain, the first without an e-mail: both others are Blocked and name the first, with its reason."""
    demo.deal("base", {"Quantity": 10, "UnitPrice": "29.00"}, account="fjord", StageName="Closed Won")
    amendment(demo, "second", "base", {"Quantity": 1, "UnitPrice": "29.00"}, account="fjord", **MARCH)
    amendment(demo, "third", "second", {"Quantity": 1, "UnitPrice": "29.00"}, account="fjord", CloseDate=date(2026, 3, 2))
    demo.sync()
    for name in ("second", "third"):
        assert demo.said(name) == ("Blocked", "Blocked by 'Base' (no billing e-mail). Nothing to do here.")
    demo.assert_quiet()
