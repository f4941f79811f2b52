"""Salesforce CPQ: activated orders become contracts, delta orders amend, end and renew them, and no opportunity is billed beside its order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from cpq_world import ALL, activate, amendment, billed, cpq_world, first_days, item, months, order, product, totals
from world import World, at

D = Decimal


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with cpq_world(tmp_path) as made:
        product(made, "a")
        product(made, "b", "20.00")
        yield made


def base(demo: World, **more: Any) -> None:
    """10 of A at 10.00 a month for 2022: CPQ says 120.00 for the term."""
    order(demo, "base", {"Quantity": 10, "UnitPrice": "120"}, start="2022-01-01", last="2022-12-31", **more)


def test_an_activated_order_is_billed_and_says_so(demo: World) -> None:
    """Its term's price is billed month by month; status, amounts and invoice stand on the order and on the row of the invoice."""
    base(demo, PoNumber="PO-7", SBQQ__PaymentTerm__c="Net 15")
    assert demo.sync().problems == []
    status, message = demo.said("base", "Order")
    assert status == "Active"
    assert message == "Billing since 1 Jan 2022. INV-0001, 100.00 USD, is open, due 16 Jan. Next invoice 1 Feb."
    record = demo.record("base", "Order")
    assert (record["Contract_Value__c"], record["Annual_Value__c"], record["Contract_Ends_On__c"]) == (D(1200), D(1200), "2022-12-31")
    assert (record["Amount_Billed__c"], record["Next_Invoice_Date__c"], record["Next_Invoice_Amount__c"]) == (D(100), "2022-02-01", D(100))
    ((_, deal, _),) = demo.contracts()
    assert deal == demo.ids["base"]
    assert demo.query("SELECT description, quantity, unit_amount, amount FROM line") == [("A", "10", "1000", 10000)]
    demo.assert_quiet()
    months(demo, *first_days("2022-02-01", 12))
    assert totals(demo) == [D(100)] * 12
    assert demo.said("base", "Order")[0] == "Completed"
    demo.assert_quiet()


def test_a_draft_order_is_left_alone_and_one_set_back_is_withdrawn(demo: World) -> None:
    """Nothing is billed before activation; an order whose first day is to come is withdrawn when it is deactivated, and comes back."""
    order(demo, "later", {"Quantity": 1, "UnitPrice": "120"}, start="2022-03-01", last="2023-02-28", is_activated=False)
    demo.sync()
    assert demo.contracts() == []
    assert demo.said("later", "Order") == (None, "")
    activate(demo, "later")
    demo.sync()
    assert demo.said("later", "Order")[0] == "Scheduled"
    demo.edit("later", "Order", Status="Draft")
    demo.sync()
    assert demo.said("later", "Order")[0] == "Withdrawn"
    activate(demo, "later")
    demo.sync()
    assert demo.said("later", "Order")[0] == "Scheduled"
    demo.bill("2022-03-01")
    assert totals(demo) == [D(10)]


def test_an_order_edited_after_it_was_billed_is_flagged_in_its_own_words(demo: World) -> None:
    """Deactivated, the contract goes on and says so; changed and activated again, the amendment that would close it is named with its cost."""
    base(demo)
    demo.sync()
    demo.edit("base", "Order", Status="Draft")
    demo.sync()
    status, message = demo.said("base", "Order")
    assert status == "Needs attention"
    assert message.startswith("This order is no longer activated, but it was invoiced already. The contract goes on.")
    demo.edit("base_1", "OrderItem", Quantity=12)
    activate(demo, "base")
    demo.sync()
    status, message = demo.said("base", "Order")
    assert status == "Needs attention"
    assert "A 10 → 12" in message
    assert "activate an amendment order" in message
    assert totals(demo) == [D(100)]


def test_a_delta_order_changes_the_items_its_lines_revise(demo: World) -> None:
    """Less of A and some of B from 1 February: the same contract, and both orders' records say what happened."""
    base(demo)
    demo.sync()
    amendment(
        demo, "change", {"Quantity": -4, "UnitPrice": "110", "revises": "base_1"}, {"product": "b", "Quantity": 5, "UnitPrice": "220"},
        start="2022-02-01",
    )  # fmt: skip
    assert demo.sync().problems == []
    assert demo.said("change", "Order") == ("Active", "Will change the contract on 1 Feb 2022: A −4, B +5.")
    assert len({demo.record(name, "Order")["Billing_Contract_Id__c"] for name in ("base", "change")}) == 1
    months(demo, *first_days("2022-02-01", 12))
    assert totals(demo) == [D(100)] + [D(160)] * 11
    demo.assert_quiet()


def test_an_order_finds_its_base_by_the_contract_where_no_line_revises_one(demo: World) -> None:
    """An amendment that only adds a product names the contract on its quote; the contract names the order it was made from."""
    base(demo)
    demo.sync()
    demo.add("Contract", "contract", AccountId="@helios", SBQQ__Order__c="@base")
    amendment(
        demo, "more", {"product": "b", "Quantity": 1, "UnitPrice": "220"}, start="2022-02-01", quote={"SBQQ__MasterContract__c": "@contract"}
    )  # fmt: skip
    assert demo.sync().problems == []
    months(demo, "2022-02-01")
    assert totals(demo) == [D(100), D(120)]


def test_an_amendment_read_before_its_base_waits_for_it(demo: World) -> None:
    """The delta order is activated first: it is not billed as a contract of its own, and goes through once its base does."""
    order(demo, "base", {"Quantity": 10, "UnitPrice": "120"}, start="2022-01-01", last="2022-12-31", is_activated=False)
    amendment(demo, "change", {"Quantity": 2, "UnitPrice": "110", "revises": "base_1"}, start="2022-02-01")
    demo.sync()
    status, message = demo.said("change", "Order")
    assert status == "Needs attention"
    assert message.startswith("Not billed: the order that this one changes is not in billing (not activated")
    assert demo.contracts() == []
    activate(demo, "base")
    assert demo.sync().problems == []
    months(demo, "2022-02-01")
    assert totals(demo) == [D(100), D(120)]
    demo.assert_quiet()


def test_lines_of_several_contracts_are_a_problem_and_of_several_orders_of_one_are_not(demo: World) -> None:
    """The second amendment revises the base and the first amendment's line; the third also a line of another contract, and is held."""
    base(demo)
    order(demo, "other", {"product": "b", "Quantity": 1, "UnitPrice": "240"}, start="2022-01-01", last="2022-12-31")
    amendment(demo, "first", {"product": "b", "Quantity": 5, "UnitPrice": "220"}, {"Quantity": 1, "UnitPrice": "110", "revises": "base_1"}, start="2022-02-01")
    demo.sync()
    lines = ({"Quantity": 1, "UnitPrice": "100", "revises": "base_1"}, {"product": "b", "Quantity": -2, "UnitPrice": "200", "revises": "first_1"})
    amendment(demo, "second", *lines, start="2022-03-01")
    assert demo.sync().problems == []
    amendment(demo, "third", lines[0], {"product": "b", "Quantity": -1, "UnitPrice": "90", "revises": "other_1"}, start="2022-04-01")
    demo.sync()
    status, message = demo.said("third", "Order")
    assert status == "Needs attention"
    assert message.startswith("Not billed: the lines of this order revise those of several contracts (ct_")
    months(demo, "2022-02-01", "2022-03-01", "2022-04-01")
    assert billed(demo) == D(100 + 20) + D(210 + 20) + D(180 + 20) * 2
    demo.assert_quiet()


def test_an_order_that_revises_lines_without_saying_so_is_an_amendment(demo: World) -> None:
    """Made by an integration, without a quote: its lines say what it is. One whose quote says that it is new is held."""
    base(demo)
    demo.sync()
    amendment(demo, "bare", {"Quantity": 1, "UnitPrice": "110", "revises": "base_1"}, start="2022-02-01", SBQQ__Quote__c=None)
    order(demo, "false", {"Quantity": 1, "UnitPrice": "110", "SBQQ__RevisedOrderProduct__c": "@base_1"}, start="2022-02-01", last="2022-12-31")
    demo.sync()
    assert demo.said("bare", "Order")[0] == "Active"
    status, message = demo.said("false", "Order")
    assert status == "Needs attention"
    assert "its lines revise those of another deal" in message
    months(demo, "2022-02-01")
    assert totals(demo) == [D(100), D(110)]


def test_everything_to_zero_ends_the_contract(demo: World) -> None:
    """Cancellation in CPQ is an amendment that takes everything away: no invoice after its day, the unused rest of a period credited."""
    base(demo)
    demo.sync()
    demo.bill("2022-02-01")
    demo.clock.move_to(at("2022-02-15"))
    amendment(demo, "end", {"Quantity": -10, "UnitPrice": "105", "revises": "base_1"}, start="2022-02-15")
    assert demo.sync().problems == []
    assert demo.said("base", "Order")[0] == "Canceled"
    assert "Canceled, ended on 14 Feb 2022." in demo.said("end", "Order")[1]
    months(demo, *first_days("2022-03-01", 3))
    assert demo.query("SELECT SUM(amount) FROM line") == [(15000,)]
    amendment(demo, "after", {"Quantity": 1, "UnitPrice": "90", "revises": "base_1"}, start="2022-04-01")
    demo.sync()
    status, message = demo.said("after", "Order")
    assert status == "Needs attention"
    assert "The contract has ended; its last day was 2022-02-14." in message


def test_a_ramp_taken_to_zero_ends_at_once_and_not_with_its_last_segment(demo: World) -> None:
    """The segments that have not begun are taken back with the running one."""
    lines = [
        {"Quantity": n, "UnitPrice": "120", "ServiceDate": date(y, 1, 1), "EndDate": date(y, 12, 31), "SBQQ__SegmentIndex__c": i}
        for i, (y, n) in enumerate(((2022, 10), (2023, 12)), 1)
    ]
    order(demo, "ramp", *lines, start="2022-01-01", last="2023-12-31")
    demo.sync()
    months(demo, *first_days("2022-02-01", 5))
    gone = [
        {"Quantity": -10, "UnitPrice": "60", "revises": "ramp_1", "EndDate": date(2022, 12, 31)},
        {"Quantity": -12, "UnitPrice": "120", "revises": "ramp_2", "ServiceDate": date(2023, 1, 1), "EndDate": date(2023, 12, 31)},
    ]
    amendment(demo, "end", *gone, start="2022-07-01", last="2023-12-31")
    assert demo.sync().problems == []
    months(demo, *first_days("2022-07-01", 8))
    assert totals(demo) == [D(100)] * 6
    assert demo.said("ramp", "Order")[0] == "Canceled"
    demo.assert_quiet()


def test_a_renewal_order_adds_the_next_term_to_the_same_contract(demo: World) -> None:
    """Told by its quote's type, found by the contract that its opportunity renews; one contract for life."""
    base(demo)
    demo.sync()
    demo.add("Contract", "contract", AccountId="@helios", SBQQ__Order__c="@base")
    demo.deal("renewal_deal", CloseDate=date(2022, 12, 1), SBQQ__RenewedContract__c="@contract")
    order(
        demo, "renewal", {"Quantity": 12, "UnitPrice": "132"}, start="2023-01-01", last="2023-12-31", kind="Renewal", OpportunityId="@renewal_deal"
    )  # fmt: skip
    assert demo.sync().problems == []
    assert demo.said("renewal", "Order")[0] == "Scheduled"
    months(demo, *first_days("2022-02-01", 12))
    assert len(demo.contracts()) == 1
    assert totals(demo) == [D(100)] * 12 + [D(132)]
    assert demo.said("base", "Order") == ("Completed", demo.said("base", "Order")[1])
    assert "renewed by" in demo.said("base", "Order")[1]
    assert demo.said("renewal", "Order")[0] == "Active"
    demo.assert_quiet()


def test_frequencies_arrears_one_time_usage_decimals_and_evergreen_in_one_order(demo: World) -> None:
    """One contract: a monthly line, a yearly one in advance, a quarterly one in arrears, a setup fee, an evergreen line of 2.5 and usage."""
    for name in ("year", "quarter", "setup", "green", "gb"):
        product(demo, name)
    lines = (
        {"Quantity": 10, "UnitPrice": "120"},
        {"product": "year", "UnitPrice": "600", "SBQQ__BillingFrequency__c": "Annual"},
        {"product": "quarter", "UnitPrice": "1200", "SBQQ__BillingFrequency__c": "Quarterly", "SBQQ__BillingType__c": "Arrears"},
        {"product": "setup", "UnitPrice": "500", "SBQQ__ChargeType__c": "One-Time"},
        {"product": "green", "Quantity": "2.5", "UnitPrice": "8", "EndDate": None, "SBQQ__SubscriptionType__c": "Evergreen"},
        {"product": "gb", "UnitPrice": "0.05", "SBQQ__ChargeType__c": "Usage"},
    )
    order(demo, "mixed", *lines, start="2022-01-01", last="2022-12-31")
    assert demo.sync().problems == [], demo.said("mixed", "Order")
    assert totals(demo) == [D(100 + 600 + 500 + 20)]
    months(demo, *first_days("2022-02-01", 13))
    assert totals(demo)[1:] == [D(120), D(120), D(420)] + [D(120), D(120), D(420)] * 2 + [D(120), D(120), D(320), D(20)]
    assert demo.said("mixed", "Order")[0] != "Completed"
    assert len(demo.contracts()) == 1
    demo.assert_quiet()


def test_a_price_that_no_period_divides_is_billed_to_the_cent_over_its_term(demo: World) -> None:
    """100.00 for a year billed monthly is 8.33 a month."""
    order(demo, "odd", {"Quantity": 1, "UnitPrice": "100"}, start="2022-01-01", last="2022-12-31")
    demo.sync()
    assert totals(demo) == [D("8.33")]
    assert demo.record("odd", "Order")["Contract_Value__c"] == D("99.96")


def test_a_plan_of_invoices_and_a_missing_frequency_are_problems_in_the_labels_of_the_order(demo: World) -> None:
    """All problems at once, each with what to do; nothing is billed."""
    lines = (
        {"UnitPrice": "10", "SBQQ__BillingFrequency__c": "Invoice Plan"}, {"product": "b", "UnitPrice": "10", "SBQQ__BillingFrequency__c": None},
    )  # fmt: skip
    order(demo, "bad", *lines, start="2022-01-01", last="2022-12-31")
    demo.sync()
    status, message = demo.said("bad", "Order")
    assert status == "Needs attention"
    assert 'line "A": ' in message
    assert "Invoice Plan" in message
    assert 'line "B": no billing frequency.' in message
    assert demo.contracts() == []


# ---------------------------------------------------------------- an order, its opportunity and its quote


@pytest.fixture
def three(tmp_path: Path) -> Iterator[World]:
    """All three sources on; an opportunity with a presented quote and a draft order, all of 3 seats at 100.00 a month."""
    with cpq_world(tmp_path, mappings=ALL) as made:
        plain: dict[str, Any] = {"Contract_Term_Months__c": 12, "Contract_Start_Date__c": date(2022, 1, 1), "Payment_Terms__c": "Net 30"}
        made.deal("deal", {"Quantity": 3, "UnitPrice": "100.00", "Charge_Type__c": "Recurring"}, CloseDate=date(2022, 1, 1), **plain)
        made.quote("offer", "deal", {"Quantity": 3, "UnitPrice": "100.00", "Charge_Type__c": "Recurring"}, **plain)
        order(
            made, "order", {"product": "seat", "Quantity": 3, "UnitPrice": "1200"}, start="2022-01-01", last="2022-12-31", is_activated=False,
            OpportunityId="@deal",
        )  # fmt: skip
        made.sync()
        yield made


ACTS = {
    "activate": lambda demo: activate(demo, "order"),
    "accept": lambda demo: demo.edit("offer", "Quote", Status="Accepted"),
    "win": lambda demo: demo.win("deal"),
}


@pytest.mark.parametrize("rounds", ["one", "many"])
@pytest.mark.parametrize("acts", list(permutations(ACTS)), ids="-".join)
def test_order_quote_and_opportunity_of_one_deal_are_one_contract(three: World, acts: tuple[str, ...], rounds: str) -> None:
    """In any order of arrival, in one round or many: one contract, one first invoice, and every record says where it is billed."""
    for act in acts:
        ACTS[act](three)
        if rounds == "many":
            three.sync()
    three.sync()
    ((contract, deal, _),) = three.contracts()
    (row,) = three.invoices()
    assert (row["Total__c"], row["Opportunity__c"]) == (D(300), three.ids["deal"])
    is_by_order = rounds == "one" or acts[0] == "activate"
    assert deal == three.ids["order" if is_by_order else "deal"]
    if is_by_order:
        number = three.record("order", "Order")["OrderNumber"]
        for name, kind in (("deal", "Opportunity"), ("offer", "Quote")):
            assert three.said(name, kind)[1].startswith(f"Billed through order {number}. Billing since 1 Jan 2022."), three.said(name, kind)
            assert three.record(name, kind)["Billing_Contract_Id__c"] == contract
            assert three.record(name, kind)["Amount_Billed__c"] == D(300)
        assert (three.said("deal")[0], three.said("offer", "Quote")[0], three.said("order", "Order")[0]) == ("Active", "Accepted", "Active")
    else:
        status, message = three.said("order", "Order")
        assert status == "Needs attention"
        assert message.startswith("Not billed: this order's opportunity is already billed through ")
    three.assert_quiet()
    three.bill("2022-02-01")
    assert totals(three) == [D(300), D(300)]
    if is_by_order:
        assert three.record("deal")["Amount_Billed__c"] == D(600)
    three.assert_quiet()


def test_an_order_set_back_before_billing_leaves_the_deal_to_its_opportunity(tmp_path: Path) -> None:
    """A scheduled order is deactivated: its contract is withdrawn, and the won opportunity is billed; the other way round, too."""
    with cpq_world(tmp_path, mappings=ALL) as demo:
        plain: dict[str, Any] = {"Contract_Term_Months__c": 12, "Contract_Start_Date__c": date(2022, 3, 1)}
        demo.deal("deal", {"Quantity": 3, "UnitPrice": "100.00"}, CloseDate=date(2022, 1, 1), **plain)
        line = {"product": "seat", "Quantity": 3, "UnitPrice": "1200"}
        order(demo, "order", line, start="2022-03-01", last="2023-02-28", OpportunityId="@deal")
        demo.win("deal")
        demo.sync()
        assert [c[1:] for c in demo.contracts()] == [(demo.ids["order"], "scheduled")]
        demo.edit("order", "Order", Status="Draft")
        demo.sync()
        assert sorted(c[1:] for c in demo.contracts()) == sorted([(demo.ids["order"], "withdrawn"), (demo.ids["deal"], "scheduled")])
        assert demo.said("deal")[0] == "Scheduled"
        activate(demo, "order")
        demo.sync()
        assert demo.said("order", "Order")[0] == "Needs attention"
        demo.edit("deal", StageName="Negotiation/Review")
        demo.sync()
        assert demo.said("order", "Order")[0] == "Scheduled", demo.said("order", "Order")
        demo.win("deal")
        demo.bill("2022-03-01")
        demo.sync()
        assert totals(demo) == [D(300)]
        assert demo.said("deal")[1].startswith("Billed through order ")
        demo.assert_quiet()


def test_an_amendment_deactivated_and_activated_again_is_the_same_amendment(demo: World) -> None:
    """The day of activation moves with it; that alone is no edit."""
    base(demo)
    amendment(demo, "more", {"Quantity": 2, "UnitPrice": "110", "revises": "base_1"}, start="2022-02-01")
    demo.sync()
    demo.bill("2022-02-01")
    before = demo.said("more", "Order")
    demo.clock.move_to(at("2022-02-10"))
    demo.edit("more", "Order", Status="Draft")
    demo.sync()
    assert demo.said("more", "Order")[0] == "Needs attention"
    activate(demo, "more")
    demo.sync()
    assert demo.said("more", "Order") == before
    assert totals(demo) == [D(100), D(120)]
    demo.assert_quiet()


def test_two_amendments_quoted_on_the_same_base(demo: World) -> None:
    """20 seats, +10 by A and +5 by B, which was quoted before A was closed: 35 run, never 45, and B says what it was agreed on."""
    order(demo, "base", {"Quantity": 20, "UnitPrice": "120"}, start="2022-01-01", last="2022-12-31")
    amendment(demo, "one", {"Quantity": 10, "UnitPrice": "110", "revises": "base_1", "prior": 20}, start="2022-02-01")
    amendment(demo, "two", {"Quantity": 5, "UnitPrice": "110", "revises": "base_1", "prior": 20}, start="2022-02-01")
    demo.sync()
    assert demo.said("one", "Order") == ("Active", "Will change the contract on 1 Feb 2022: A +10.")
    status, message = demo.said("two", "Order")
    assert status == "Needs attention"
    assert message.startswith("Please check: this change was agreed when 20 A ran, but 30 ran on that day.")
    demo.bill("2022-02-01")
    assert demo.query("SELECT quantity FROM line WHERE service_start LIKE '2022-02-01%'") == [("35",)]
    demo.assert_quiet()


def test_more_of_a_line_at_another_price_is_an_item_beside_it(demo: World) -> None:
    """CPQ does not change a price by amendment; where an integration does, what was agreed is billed, and the old item keeps its price."""
    base(demo)
    demo.sync()
    amendment(demo, "dear", {"Quantity": 2, "UnitPrice": "220", "revises": "base_1"}, start="2022-02-01")
    assert demo.sync().problems == []
    demo.bill("2022-02-01")
    assert totals(demo) == [D(100), D(140)]


def test_an_item_added_by_an_amendment_is_renewed_with_the_contract(demo: World) -> None:
    """Its last day is the term's, as CPQ writes it; a contract that renews itself goes on with it."""
    base(demo, Auto_Renew__c=True)
    demo.sync()
    amendment(demo, "more", {"product": "b", "Quantity": 1, "UnitPrice": "220"}, {"Quantity": 1, "UnitPrice": "110", "revises": "base_1"}, start="2022-02-01")
    demo.sync()
    months(demo, *first_days("2022-02-01", 12))
    assert totals(demo)[-1] == D(130)
    assert demo.record("base", "Order")["Next_Invoice_Amount__c"] == D(130)


def test_the_demo_company_has_orders_to_activate(tmp_path: Path) -> None:
    """In an org with CPQ the demo company's draft orders bill nothing; activated, each is billed or planned without a problem."""
    names = ("order_seats", "order_more", "order_ramp", "order_support")
    with cpq_world(tmp_path, day="2026-01-01") as demo:
        demo.sync()
        assert demo.contracts() == []
        activate(demo, *names)
        assert demo.sync().problems == []
        assert [demo.said(name, "Order")[0] for name in names] == ["Active"] * 4
        assert sorted(totals(demo)) == [D(450), D(2790)]
        demo.bill("2026-04-01")
        assert demo.query("SELECT quantity, amount FROM line WHERE service_start LIKE '2026-04-01%' AND description = 'Team Seat'") == [("15", 43500)]
        assert demo.query("SELECT amount FROM line WHERE description = 'Pro Seat'") == [(735000,)]


def test_item_is_used_by_hand(demo: World) -> None:
    """A line added to a draft order before it is activated is billed with it."""
    order(demo, "draft", {"Quantity": 1, "UnitPrice": "120"}, start="2022-01-01", last="2022-12-31", is_activated=False)
    item(demo, "extra", "draft", product="b", UnitPrice="240", ServiceDate=date(2022, 1, 1), EndDate=date(2022, 12, 31))
    activate(demo, "draft")
    demo.sync()
    assert totals(demo) == [D(30)]
