"""Twenty-five situations that connectors between a CRM and billing are judged by, each through the demo CRM with the mapping that fits.

Orders of Salesforce CPQ are 2022 and in USD; figures are those that a day-accurate bill gives. Where another product is documented to give
another figure, or to refuse, the test says which and why ours differs; docs/cpq.md has the table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cpq_world import ORDERS, amendment, billed, cpq_world, first_days, months, order, product, totals
from world import ROOT, World, at

from connector import app
from connector.asking.catalogue import entries_of
from connector.lookalike.crm.org import Org, Traits
from connector.sync.apply import apply
from connector.sync.mapper import map_records
from connector.sync.seam import Tally
from connector.sync.stage import stage

D = Decimal
DEALS = ROOT / "mappings" / "salesforce-opportunity.yaml"
YEAR = {"start": "2022-01-01", "last": "2022-12-31"}
EVERGREEN = {"SBQQ__SubscriptionType__c": "Evergreen", "EndDate": None}


@pytest.fixture(params=["internal", "stripe"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each billing backend in turn."""
    return str(request.param)


@pytest.fixture
def demo(tmp_path: Path, backend: str) -> Iterator[World]:
    """An org with CPQ on 1 January 2022, orders and opportunities both read, products A at 10.00 and B at 20.00."""
    with cpq_world(tmp_path, mappings=[ORDERS, DEALS], backend=backend) as made:
        product(made, "a")
        product(made, "b", "20.00")
        product(made, "setup", "500.00")
        yield made


def lines_of(demo: World, start: str) -> list[tuple[Any, ...]]:
    """Return (description, quantity, amount in minor units) of the recurring lines that begin on a day, in order."""
    sql = "SELECT description, quantity, amount FROM line WHERE service_start LIKE ? AND kind <> 'one_time' ORDER BY description, amount"
    return demo.query(sql, f"{start}%")


def stock(demo: World, text: str) -> list[tuple[str, str]]:
    """Import a catalogue; return (id, result) of each row."""
    file = Path(demo.config.database.removeprefix("sqlite:///")).parent / "catalog.yaml"
    file.write_text(text, encoding="utf-8")
    rows = [e.row for e in entries_of(file)]
    return [(r["id"], r["result"]) for r in demo.ask("catalogue.import", rows=rows).result["rows"]]


def test_s01_new_monthly(demo: World) -> None:
    """12 months, A x10 @10: twelve invoices of 100.00, 1,200.00 in all, until 31 December."""
    order(demo, "one", {"Quantity": 10, "UnitPrice": "120"}, **YEAR)
    demo.sync()
    months(demo, *first_days("2022-02-01", 13))
    assert totals(demo) == [D(100)] * 12
    assert demo.record("one", "Order")["Contract_Ends_On__c"] == "2022-12-31"
    assert demo.said("one", "Order")[0] == "Completed"


def test_s02_change_in_mid_term(demo: World) -> None:
    """From 1 February A -4 and B +5 @20: 100.00, then eleven times 160.00; 1,860.00 in all, the end as it was."""
    order(demo, "one", {"Quantity": 10, "UnitPrice": "120"}, **YEAR)
    amendment(demo, "two", {"Quantity": -4, "UnitPrice": "110", "revises": "one_1"}, {"product": "b", "Quantity": 5, "UnitPrice": "220"}, start="2022-02-01")
    demo.sync()
    months(demo, *first_days("2022-02-01", 13))
    assert totals(demo) == [D(100)] + [D(160)] * 11
    assert billed(demo) == D(1860)
    assert demo.record("one", "Order")["Contract_Ends_On__c"] == "2022-12-31"


def test_s03_decrease(demo: World) -> None:
    """2 of A less 1 is one line of 1, never a negative one."""
    order(demo, "one", {"Quantity": 2, "UnitPrice": "120"}, **YEAR)
    amendment(demo, "two", {"Quantity": -1, "UnitPrice": "110", "revises": "one_1"}, start="2022-02-01")
    demo.sync()
    demo.bill("2022-02-01")
    assert lines_of(demo, "2022-02-01") == [("A", "1", 1000)]


def test_s04_over_decrease(demo: World) -> None:
    """2 of A less 3 is refused: nothing of it is billed, and the record names the line and how much could go."""
    order(demo, "one", {"Quantity": 2, "UnitPrice": "120"}, **YEAR)
    amendment(demo, "two", {"Quantity": -3, "UnitPrice": "110", "revises": "one_1"}, start="2022-02-01")
    demo.sync()
    status, message = demo.said("two", "Order")
    assert status == "Needs attention"
    assert "The line takes 3 away, but only 2 run on 2022-02-01: 1: A 2 x 10.00." in message
    demo.bill("2022-02-01")
    assert totals(demo) == [D(20), D(20)]


@pytest.mark.parametrize("unit_price", ["110.00", "105.48", "105.26"], ids=["months", "months-and-days", "days"])
def test_s05_amendment_in_mid_month(demo: World, unit_price: str) -> None:
    """From 15 February to the end, in whichever precision CPQ prorates: accepted, 14 of 28 days for February, then whole months.

    Stripe wants an end date and a whole number of months (10), and another day of the month only where its support enables it.
    """
    order(demo, "one", {"Quantity": 10, "UnitPrice": "120"}, **YEAR)
    amendment(demo, "two", {"Quantity": 2, "UnitPrice": unit_price, "revises": "one_1"}, start="2022-02-15")
    demo.sync()
    months(demo, "2022-02-01", "2022-02-15", *first_days("2022-03-01", 10))
    assert totals(demo) == [D(100), D(100), D(10)] + [D(120)] * 10


def test_s06_yearly_amended_at_month_6(demo: World) -> None:
    """2 years of A @120 a year, one more from month 6 at 180.00 for its 18 months: 120.00, 60.50, 240.00.

    CPQ's months give 60.00 for the half year; ours counts 184 of 365 days, 60.49 credited of one and 120.99 charged for two.
    """
    order(demo, "one", {"UnitPrice": "240", "SBQQ__BillingFrequency__c": "Annual"}, start="2022-01-01", last="2023-12-31")
    line = {"UnitPrice": "180", "SBQQ__BillingFrequency__c": "Annual", "revises": "one_1"}
    amendment(demo, "two", line, start="2022-07-01", last="2023-12-31")
    demo.sync()
    months(demo, "2022-07-01", "2023-01-01", "2024-01-01")
    assert totals(demo) == [D(120), D("60.50"), D(240)]


def test_s07_months_and_days(demo: World) -> None:
    """One month and 16 days @10: CPQ's "Monthly + Daily" says 10.00 + 16 x 10/(365/12) = 15.26 for the term, and 15.26 is what is billed.

    How the term is cut into invoices is ours: January at the price of one of 1 16/28 months, the rest by days.
    """
    order(demo, "one", {"UnitPrice": "15.26"}, start="2022-01-01", last="2022-02-16")
    demo.sync()
    demo.bill("2022-02-01")
    assert totals(demo) == [D("9.71"), D("5.55")]
    assert billed(demo) == D("15.26")


def test_s08_custom_price_field(tmp_path: Path, backend: str) -> None:
    """UnitPrice 180 and a field of the org's own with 120, quarterly: a mapping that reads that field bills 30.00 a quarter."""
    own = tmp_path / "own.yaml"
    text = ORDERS.read_text(encoding="utf-8")
    assert "unit_amount: UnitPrice " in text
    own.write_text(text.replace("unit_amount: UnitPrice ", "unit_amount: SBQQ__QuotedListPrice__c "), encoding="utf-8")
    with cpq_world(tmp_path / "world", mappings=[own], backend=backend) as demo:
        product(demo, "a")
        order(demo, "one", {"UnitPrice": "180", "SBQQ__QuotedListPrice__c": D(120), "SBQQ__BillingFrequency__c": "Quarterly"}, **YEAR)
        demo.sync()
        months(demo, "2022-04-01", "2022-07-01", "2022-10-01", "2023-01-01")
        assert totals(demo) == [D(30)] * 4


def test_s09_full_termination(demo: World) -> None:
    """Every line to 0 from 1 July: it ends there, no later invoice, a later amendment is refused. On the first day: canceled, all given back."""
    order(demo, "one", {"Quantity": 10, "UnitPrice": "120"}, {"product": "b", "UnitPrice": "240"}, **YEAR)
    lines = ({"Quantity": -10, "UnitPrice": "60", "revises": "one_1"}, {"product": "b", "Quantity": -1, "UnitPrice": "120", "revises": "one_2"})
    amendment(demo, "end", *lines, start="2022-07-01")
    amendment(demo, "late", {"Quantity": 1, "UnitPrice": "30", "revises": "one_1"}, start="2022-10-01")
    demo.sync()
    assert "its last day was 2022-06-30" in demo.said("late", "Order")[1]
    months(demo, *first_days("2022-02-01", 8))
    assert totals(demo) == [D(120)] * 6
    assert demo.said("one", "Order")[0] == "Canceled"
    assert demo.record("one", "Order")["Contract_Ends_On__c"] == "2022-06-30"


def test_s09_full_termination_on_the_first_day(demo: World) -> None:
    """Taken to 0 from its very first day: canceled, and what was invoiced is credited whole."""
    order(demo, "one", {"Quantity": 10, "UnitPrice": "120"}, **YEAR)
    demo.sync()
    amendment(demo, "end", {"Quantity": -10, "UnitPrice": "120", "revises": "one_1"}, start="2022-01-01")
    demo.sync()
    assert demo.said("one", "Order")[0] == "Canceled"
    assert demo.query("SELECT SUM(amount) FROM line") == [(0,)]
    months(demo, "2022-02-01")
    assert demo.query("SELECT SUM(amount) FROM line") == [(0,)]


def test_s10_amendment_on_the_first_day_of_a_running_contract(demo: World) -> None:
    """Five more on the day it began: the difference for the whole period, at once."""
    order(demo, "one", {"Quantity": 10, "UnitPrice": "120"}, **YEAR)
    demo.sync()
    amendment(demo, "two", {"Quantity": 5, "UnitPrice": "120", "revises": "one_1"}, start="2022-01-01")
    demo.sync()
    assert totals(demo) == [D(100), D(50)]
    demo.bill("2022-02-01")
    assert totals(demo)[2:] == [D(150)]


def test_s11_amendment_on_the_first_day_of_a_contract_to_come(demo: World) -> None:
    """Both begin on 1 March: one invoice, nothing twice, the setup fee once."""
    lines = ({"Quantity": 10, "UnitPrice": "120"}, {"product": "setup", "UnitPrice": "500", "SBQQ__ChargeType__c": "One-Time"})
    order(demo, "one", *lines, start="2022-03-01", last="2023-02-28")
    demo.sync()
    amendment(demo, "two", {"Quantity": 5, "UnitPrice": "120", "revises": "one_1"}, start="2022-03-01", last="2023-02-28")
    demo.sync()
    assert totals(demo) == []
    months(demo, "2022-03-01", "2022-04-01")
    assert billed(demo) == D(500 + 150 + 150)
    assert demo.query("SELECT COUNT(*), SUM(amount) FROM line WHERE kind = 'one_time'") == [(1, 50000)]


def test_s12_backdated(demo: World) -> None:
    """Four more, effective 15 January, synced on 15 February: the days since are charged with lines that say which they are for.

    Stripe processes a backdated amendment in current time and bills from the day of the sync on.
    """
    order(demo, "one", {"Quantity": 10, "UnitPrice": "120"}, **YEAR)
    demo.sync()
    demo.bill("2022-02-01")
    demo.clock.move_to(at("2022-02-15"))
    amendment(demo, "two", {"Quantity": 4, "UnitPrice": "115.48", "revises": "one_1"}, start="2022-01-15")
    demo.sync()
    assert totals(demo) == [D(100), D(100), D("61.93")]
    found = [(q, s[:10], e[:10], a) for _, q, s, e, a in demo.invoice_lines(demo.invoices()[2]["Number__c"])]
    assert found == [
        ("10", "2022-01-15", "2022-02-01", -5484), ("14", "2022-01-15", "2022-02-01", 7677),
        ("10", "2022-02-01", "2022-03-01", -10000), ("14", "2022-02-01", "2022-03-01", 14000),
    ]  # fmt: skip


def test_s13_evergreen(demo: World) -> None:
    """Two monthly products without an end; one is canceled from 15 March: that line only, its unused days credited.

    Stripe cancels both and credits nothing.
    """
    order(demo, "one", {"Quantity": 2, "UnitPrice": "10"} | EVERGREEN, {"product": "b", "UnitPrice": "20"} | EVERGREEN, start="2022-01-01", last=None)
    demo.sync()
    assert demo.record("one", "Order")["Contract_Ends_On__c"] is None
    months(demo, "2022-02-01", "2022-03-01")
    demo.clock.move_to(at("2022-03-15"))
    amendment(demo, "two", {"Quantity": -2, "UnitPrice": "10", "revises": "one_1"} | EVERGREEN, start="2022-03-15", last=None)
    demo.sync()
    assert demo.query("SELECT SUM(amount) FROM line WHERE is_proration = 1") == [(-1097,)]
    months(demo, "2022-04-01", "2022-05-01")
    assert lines_of(demo, "2022-04-01") == lines_of(demo, "2022-05-01") == [("B", "1", 2000)]
    assert demo.said("one", "Order")[0] in ("Active", "Past due")


def test_s14_evergreen_and_a_term_in_one_order(demo: World) -> None:
    """A for 12 months and B until canceled: one contract id, A ends, B goes on. Stripe refuses the order."""
    order(demo, "one", {"Quantity": 10, "UnitPrice": "120"}, {"product": "b", "UnitPrice": "20"} | EVERGREEN, **YEAR)
    demo.sync()
    months(demo, *first_days("2022-02-01", 13))
    assert totals(demo) == [D(120)] * 12 + [D(20)] * 2
    assert len(demo.contracts()) == 1


def test_s15_ramp_of_three_years(demo: World) -> None:
    """100.00, 120.00, 140.00 a month, one order product a segment: 4,320.00 in 36 invoices; a segment that is over cannot be changed."""
    lines = [
        {"UnitPrice": str(12 * price), "ServiceDate": date(2021 + n, 1, 1), "EndDate": date(2021 + n, 12, 31), "SBQQ__SegmentIndex__c": n}
        for n, price in enumerate((100, 120, 140), 1)
    ]
    order(demo, "one", *lines, start="2022-01-01", last="2024-12-31")
    demo.sync()
    assert demo.record("one", "Order")["Contract_Value__c"] == D(4320)
    months(demo, "2022-12-01", "2023-06-01")
    amendment(demo, "two", {"Quantity": 1, "UnitPrice": "50", "revises": "one_1", "EndDate": date(2023, 12, 31)}, start="2023-07-01", last="2024-12-31")
    demo.sync()
    status, message = demo.said("two", "Order")
    assert status == "Needs attention"
    assert "A: what this line revises does not run on 2023-07-01" in message
    months(demo, "2024-01-01", "2024-12-01", "2025-01-01")
    assert billed(demo) == D(4320)


def test_s16_introductory_discount(demo: World) -> None:
    """Three months at half of 100.00: 1,050.00 in the first year, as two segments of an order or as a discount for three months of a deal."""
    lines = (
        {"UnitPrice": "150", "EndDate": date(2022, 3, 31), "SBQQ__SegmentIndex__c": 1},
        {"UnitPrice": "900", "ServiceDate": date(2022, 4, 1), "SBQQ__SegmentIndex__c": 2},
    )
    order(demo, "one", *lines, **YEAR)
    year = {"Contract_Term_Months__c": 12, "CloseDate": date(2022, 1, 1)}
    demo.deal("two", {"product": "seat", "UnitPrice": "100", "Discount": 50, "Discount_Months__c": 3}, **year)
    demo.win("two")
    demo.sync()
    months(demo, *first_days("2022-02-01", 12))
    assert demo.record("one", "Order")["Amount_Billed__c"] == D(1050)
    assert demo.record("two")["Amount_Billed__c"] == D(1050)


def test_s16_coupons(demo: World) -> None:
    """10 % once and 50.00 off for three months, stacked on a line in that order: 40.00, 50.00, 50.00, then 100.00."""
    stock(demo, "currency: usd\ncoupons:\n  TEN: {percent_off: 10, duration: once}\n  FIFTY: {amount_off: 5000, duration: repeating, duration_in_months: 3}\n")
    order(demo, "one", {"UnitPrice": "1200", "Coupons__c": "TEN, FIFTY"}, **YEAR)
    demo.sync()
    months(demo, *first_days("2022-02-01", 3))
    assert totals(demo) == [D(40), D(50), D(50), D(100)]


def test_s17_one_time_only(demo: World) -> None:
    """A setup fee alone is one invoice; an amendment of nothing but a one-time charge is billed, too, which Stripe refuses."""
    once = {"product": "setup", "UnitPrice": "500", "SBQQ__ChargeType__c": "One-Time"}
    order(demo, "one", once, start="2022-01-01", last=None)
    order(demo, "base", {"Quantity": 10, "UnitPrice": "120"}, **YEAR)
    demo.sync()
    assert sorted(totals(demo)) == [D(100), D(500)]
    demo.add("Contract", "contract", AccountId="@helios", SBQQ__Order__c="@base")
    amendment(demo, "two", once, start="2022-01-10", quote={"SBQQ__MasterContract__c": "@contract"})
    demo.bill("2022-01-10")
    demo.sync()
    assert sorted(totals(demo)) == [D(100), D(500), D(500)]
    demo.bill("2022-02-01")
    assert sorted(totals(demo)) == [D(100), D(100), D(500), D(500)]


def test_s18_tiers(demo: World) -> None:
    """1-10 @5, from 11 on @3, 15 units: 65.00 graduated, 45.00 by volume; a price without a last step is refused with the reason."""
    steps = "tiers: [{up_to: 10, unit_amount: 500}, {up_to: inf, unit_amount: 300}]"
    text = "currency: usd\nprices:\n" + "".join(f"  {mode}: {{recurring: {{interval: month}}, tiers_mode: {mode}, {steps}}}\n" for mode in ("graduated", "volume"))
    stock(demo, text)
    for mode in ("graduated", "volume"):
        product(demo, mode, Billing_Price__c=mode)
        order(demo, f"order_{mode}", {"product": mode, "Quantity": 15, "UnitPrice": "1"}, **YEAR)
    demo.sync()
    assert {name: demo.record(f"order_{name}", "Order")["Amount_Billed__c"] for name in ("graduated", "volume")} == {"graduated": D(65), "volume": D(45)}
    file = Path(demo.config.database.removeprefix("sqlite:///")).parent / "bad.yaml"
    file.write_text(text.replace("up_to: inf", "up_to: 20"), encoding="utf-8")
    assert all(entry.problems for entry in entries_of(file))


def test_s19_currency(tmp_path: Path, backend: str) -> None:
    """An active contract in USD and a new order in GBP are both billed; an amendment in another currency than its contract's is refused.

    Stripe takes one active currency per customer, so that on that backend the order in GBP is refused before anything is sent.
    """

    def org(clock: Any) -> Org:
        return Org(clock=clock, currency="USD", multi_currency=True, traits=Traits(has_cpq=True))

    with cpq_world(tmp_path, org=org, backend=backend) as demo:
        product(demo, "a")
        demo.add("PricebookEntry", "gbp_entry", Pricebook2Id="@standard", Product2Id="@a", UnitPrice=D(10), IsActive=True, CurrencyIsoCode="GBP")
        order(demo, "dollars", {"Quantity": 10, "UnitPrice": "120"}, **YEAR, CurrencyIsoCode="USD")
        pounds = {"Quantity": 10, "UnitPrice": "120", "PricebookEntryId": "@gbp_entry"}
        order(demo, "pounds", pounds, **YEAR, CurrencyIsoCode="GBP")
        amendment(demo, "mixed", pounds | {"revises": "dollars_1", "Quantity": 1}, start="2022-02-01", CurrencyIsoCode="GBP")
        demo.sync()
        billed_in = {"internal": [("GBP", D(100)), ("USD", D(100))], "stripe": [("USD", D(100))]}
        assert sorted((r["Currency__c"], r["Total__c"]) for r in demo.invoices()) == billed_in[backend]
        assert ("is already billed in USD" in demo.said("pounds", "Order")[1]) == (backend == "stripe")
        status, message = demo.said("mixed", "Order")
        assert status == "Needs attention"
        assert "is in USD, this deal is in GBP" in message


def test_s20_same_price_twice(demo: World) -> None:
    """A x3 and A x4 @10 are one item of 7, 70.00 a month, and it knows both lines of the CRM."""
    order(demo, "one", {"Quantity": 3, "UnitPrice": "120"}, {"Quantity": 4, "UnitPrice": "120"}, **YEAR)
    demo.sync()
    assert totals(demo) == [D(70)]
    ((terms,),) = demo.query("SELECT terms FROM contract")
    body = json.loads(terms)["body"]["phases"][0]["items"]
    assert [sorted(i["crm_lines"]) for i in body] == [sorted([demo.ids["one_1"], demo.ids["one_2"]])]
    amendment(demo, "two", {"Quantity": -2, "UnitPrice": "110", "revises": "one_2"}, start="2022-02-01")
    demo.sync()
    demo.bill("2022-02-01")
    assert lines_of(demo, "2022-02-01") == [("A", "5", 5000)]


def test_s21_periods_from_a_day_of_the_month(demo: World) -> None:
    """28 March 2025 to 4 February 2026 at 90.00 a month, periods from the 5th: 8/31 + 10 months = 923.23.

    Revenue Cloud's rule without partial periods (11 x 90 = 990.00) is not offered: what is not served is not billed.
    """
    demo.clock.move_to(at("2025-03-28"))
    order(demo, "one", {"UnitPrice": "923.23"}, start="2025-03-28", last="2026-02-04", Billing_Day__c=5)
    line = {"product": "seat", "UnitPrice": "90", "End_Date__c": date(2026, 2, 4)}
    demo.deal("two", line, Billing_Day__c=5, CloseDate=date(2025, 3, 28), Contract_Start_Date__c=date(2025, 3, 28))
    demo.win("two")
    demo.sync()
    days = [f"2025-{m:02d}-05" for m in range(4, 13)] + ["2026-01-05", "2026-02-05"]
    months(demo, *days)
    assert demo.record("one", "Order")["Amount_Billed__c"] == D("923.23")
    assert demo.record("two")["Amount_Billed__c"] == D("923.23")


def test_s22_multipliers(demo: World) -> None:
    """CPQ multiplies a yearly list price of 100 by 830/365, 35/12 or 13/12 and says the result for the term; in which measure is its own affair.

    Billed monthly it comes to that, but for each of the 28, 35 and 13 lines being rounded: 227.41 of 227.40, 291.55 of 291.67, 108.28 of 108.33.
    """
    cases = {"days": ("227.40", "2024-04-09"), "months": ("291.67", "2024-11-30"), "up": ("108.33", "2023-01-09")}
    for name, (price, last) in cases.items():
        product(demo, name)
        order(demo, f"order_{name}", {"product": name, "UnitPrice": price}, start="2022-01-01", last=last)
    demo.sync()
    months(demo, "2022-12-31", "2023-12-31", "2024-12-31")
    found = {name: demo.record(f"order_{name}", "Order")["Amount_Billed__c"] for name in cases}
    assert found == {"days": D("227.41"), "months": D("291.55"), "up": D("108.28")}
    assert [demo.query("SELECT COUNT(*) FROM line WHERE description = ?", n.upper()) for n in cases] == [[(28,)], [(35,)], [(13,)]]


def test_s23_what_a_quantity_a_product_and_a_renewal_do(demo: World) -> None:
    """Quantity 0 cancels from its day, another quantity at the same price is an update, a new product joins the same contract, a renewal keeps it.

    Zuora splits a new product off into a subscription of its own, and carries no price lift.
    """
    order(demo, "one", {"Quantity": 10, "UnitPrice": "120"}, {"product": "b", "UnitPrice": "240"}, **YEAR)
    demo.add("Contract", "contract", AccountId="@helios", SBQQ__Order__c="@one")
    product(demo, "c")
    lines = ({"Quantity": 1, "UnitPrice": "100", "revises": "one_1"}, {"product": "b", "Quantity": -1, "UnitPrice": "200", "revises": "one_2"})
    amendment(demo, "two", *lines, {"product": "c", "Quantity": 3, "UnitPrice": "50"}, start="2022-03-01")
    demo.deal("deal", CloseDate=date(2022, 12, 1), SBQQ__RenewedContract__c="@contract")
    again = ({"Quantity": 11, "UnitPrice": "126"}, {"product": "c", "Quantity": 3, "UnitPrice": "63"})
    order(demo, "three", *again, start="2023-01-01", last="2023-12-31", kind="Renewal", OpportunityId="@deal")
    demo.sync()
    months(demo, *first_days("2022-02-01", 12))
    assert totals(demo) == [D(120)] * 2 + [D(125)] * 10 + [D("131.25")]
    assert len(demo.contracts()) == 1
    assert len({demo.record(n, "Order")["Billing_Contract_Id__c"] for n in ("one", "two", "three")}) == 1


def test_s24_synced_twice_and_cut_off_before_the_write_back(demo: World) -> None:
    """Dead between billing and writing back, then polled again and again: one contract, one invoice, and its id is written on the next run."""
    order(demo, "one", {"Quantity": 10, "UnitPrice": "120"}, **YEAR)
    with app.writing_house(demo.config, "sync", clock=demo.clock) as house:  # the process ends after its third pass
        stage(house.seam, Tally())
        map_records(house.seam, Tally())
        apply(house.seam, Tally(), hold=False)
    assert len(demo.contracts()) == 1
    assert demo.said("one", "Order") == (None, "")
    demo.sync()
    ((contract, _, _),) = demo.contracts()
    assert demo.record("one", "Order")["Billing_Contract_Id__c"] == contract
    for how in ({}, {"is_full": True}, {"record": demo.ids["one"]}):
        demo.sync(**how)
    assert totals(demo) == [D(100)]
    demo.assert_quiet()


@pytest.mark.parametrize("names", [("first", "second"), ("second", "first")])
def test_s25_two_amendments_at_once(demo: World, names: tuple[str, str]) -> None:
    """20 seats, +10 and +5 quoted on the same base, activated in either order: 35, never 45, and the later one says what it was agreed on."""
    order(demo, "one", {"Quantity": 20, "UnitPrice": "120"}, **YEAR)
    demo.sync()
    more = {"first": 10, "second": 5}
    for day, name in enumerate(names, 10):
        demo.clock.move_to(at(f"2022-01-{day}"))
        amendment(demo, name, {"Quantity": more[name], "UnitPrice": "110", "revises": "one_1", "prior": 20}, start="2022-02-01")
        demo.sync()
    assert demo.said(names[0], "Order")[0] == "Active"
    status, message = demo.said(names[1], "Order")
    assert status == "Needs attention"
    assert message.startswith(f"Please check: this change was agreed when 20 A ran, but {20 + more[names[0]]} ran on that day.")
    demo.bill("2022-02-01")
    assert lines_of(demo, "2022-02-01") == [("A", "35", 35000)]
    demo.assert_quiet()


def test_the_scenarios_are_all_here() -> None:
    """Twenty-five situations, each with its number."""
    numbers = {name[6:8] for name in globals() if name.startswith("test_s") and name[6:8].isdigit()}
    assert numbers == {f"{n:02d}" for n in range(1, 26)}
