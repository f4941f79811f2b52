"""Blanks and boundaries of deals.md section 2, from the field that a rep leaves empty to the invoice that follows."""

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


def won(demo: World, *lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Win a deal of these lines, sync, and return its record."""
    demo.deal("deal", *lines, StageName="Closed Won", **fields)
    demo.sync()
    return demo.record("deal")


def test_a_blank_start_is_the_close_date_and_a_blank_term_runs_on(demo: World) -> None:
    """Closed on 1 January with nothing else filled: monthly, open-ended, Net 30 of the configuration."""
    record = won(demo, {})
    assert (record["Contract_Starts_On__c"], record["Contract_Ends_On__c"]) == ("2026-01-01", None)
    assert (record["Amount_Billed__c"], record["Contract_Value__c"]) == (D(100), D(1200))
    assert demo.invoices()[0]["Due_On__c"] == "2026-01-31"
    assert demo.bill("2028-01-01")[0].invoices == 1
    assert demo.record("deal")["Amount_Billed__c"] == D(2500)


def test_payment_terms_are_the_deals_then_the_accounts(demo: World) -> None:
    """Everest's account says Net 30; Acme's nothing; a deal's own word wins; Charge automatically is due at once."""
    demo.edit("everest", "Account", Payment_Terms__c="Net 60")
    demo.deal("by_account", {}, account="everest", StageName="Closed Won")
    demo.deal("by_deal", {}, account="everest", Payment_Terms__c="Due on receipt", StageName="Closed Won")
    demo.deal("automatic", {}, account="acme", Payment_Terms__c="Charge automatically", StageName="Closed Won")
    demo.sync()
    due = {r["Opportunity__c"]: r["Due_On__c"] for r in demo.invoices()}
    assert due[demo.ids["by_account"]] == "2026-03-02"
    assert due[demo.ids["by_deal"]] == "2026-01-01"
    assert due[demo.ids["automatic"]] in (None, "2026-01-01")


def test_the_end_date_is_the_last_day_of_service(demo: World) -> None:
    """A ramp whose first step ends on 15 March and whose second starts the day after has no hole and no overlap."""
    record = won(
        demo,
        {"Quantity": 1, "End_Date__c": date(2026, 3, 15)},
        {"Quantity": 2, "ServiceDate": date(2026, 3, 16)},
        Contract_Term_Months__c=6,
    )
    assert record["Billing_Status__c"] == "Active", record["Billing_Message__c"]
    demo.bill("2026-07-01")
    spans = demo.query("SELECT quantity, substr(service_start, 1, 10), substr(service_end, 1, 10), amount FROM line ORDER BY 2")
    ends = {s: e for _, s, e, _ in spans}
    assert ends["2026-03-01"].startswith("2026-03-16")
    assert [q for q, s, _, _ in spans if s >= "2026-03-16"] == ["2"] * len([1 for _, s, _, _ in spans if s >= "2026-03-16"])
    # 2 x 100, 15/31 of 100, then 16/31 of 200 and three months of 200
    assert demo.record("deal")["Amount_Billed__c"] == D(200) + D("48.39") + D("103.23") + D(600)


def test_a_line_that_ends_on_its_first_day_is_one_day_of_service(demo: World) -> None:
    """End_Date equal to ServiceDate is one day, not none."""
    won(demo, {"ServiceDate": date(2026, 1, 31), "End_Date__c": date(2026, 1, 31)}, {}, Contract_Term_Months__c=1)
    demo.bill("2026-02-01")
    assert demo.query("SELECT amount FROM line WHERE service_start LIKE '2026-01-31%'") == [(323,)]


def test_the_term_ends_the_day_before_its_anniversary(demo: World) -> None:
    """Twelve months from 1 January end on 31 December; twelve from 29 February 2028 on 28 February 2029."""
    assert won(demo, {}, Contract_Term_Months__c=12)["Contract_Ends_On__c"] == "2026-12-31"
    demo.deal("leap", {}, Contract_Start_Date__c=date(2028, 2, 29), Contract_Term_Months__c=12, StageName="Closed Won")
    demo.sync()
    assert demo.record("leap")["Contract_Ends_On__c"] == "2029-02-27"


def test_months_are_counted_from_the_31st(demo: World) -> None:
    """31 January, 28 February, 31 March: the boundary is counted from the first one, never from the one before."""
    won(demo, {}, Contract_Start_Date__c=date(2026, 1, 31), CloseDate=date(2026, 1, 31), Contract_Term_Months__c=4)
    for day in ("2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"):
        assert demo.bill(day)[0].invoices == 1, day
    assert [row[0] for row in demo.query("SELECT substr(service_start, 1, 10) FROM line ORDER BY 1")] == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]
    assert demo.record("deal")["Amount_Billed__c"] == D(400)


@pytest.mark.parametrize(
    ("line", "fields", "word"),
    [
        ({"ServiceDate": date(2025, 12, 31)}, {}, "2025-12-31"),
        ({"End_Date__c": date(2025, 12, 31)}, {}, "2025-12-31"),
        ({"End_Date__c": date(2027, 1, 31)}, {"Contract_Term_Months__c": 12}, "2027-01-31"),
        ({"ServiceDate": date(2027, 1, 1)}, {"Contract_Term_Months__c": 12}, "2027-01-01"),
        ({"Billing_Frequency__c": "Upfront"}, {}, "end"),
        ({"Quantity": -1}, {}, "-1"),
        ({"Discount": 100.5}, {}, "100.5"),
        ({}, {"Billing_Day__c": 32}, "32"),
        ({}, {"Contract_Term_Months__c": 0}, "0"),
        ({}, {"Contract_Term_Months__c": -3}, "-3"),
        ({}, {"Coupons__c": "TEN"}, "Coupons"),
        ({}, {"AccountId": None}, "account"),
    ],
)
def test_what_cannot_be_billed_says_so_on_the_record(demo: World, line: dict[str, Any], fields: dict[str, Any], word: str) -> None:
    """Each impossible value parks the deal with a message that names the value or the field, and bills nothing."""
    record = won(demo, line, **fields)
    assert record["Billing_Status__c"] == "Needs attention"
    assert record["Billing_Message__c"].startswith("Not billed")
    assert word.lower() in record["Billing_Message__c"].lower()
    assert demo.contracts() == []
    demo.assert_quiet()


def test_all_reasons_stand_in_one_message(demo: World) -> None:
    """A deal with three faults names all three, so that a rep corrects them in one go."""
    record = won(demo, {"Quantity": -1}, {"End_Date__c": date(2025, 12, 31)}, account="fjord")
    message = record["Billing_Message__c"]
    assert "several reasons" in message
    assert "(1)" in message
    assert "(3)" in message
    assert "e-mail" in message


def test_upfront_bills_the_whole_span_once(demo: World) -> None:
    """UnitPrice is the price of the whole span: 18 months are one line of 100.00."""
    record = won(demo, {}, Billing_Frequency__c="Upfront", Contract_Term_Months__c=18)
    assert (record["Amount_Billed__c"], record["Contract_Value__c"]) == (D(100), D(100))
    assert record["Contract_Ends_On__c"] == "2027-06-30"
    assert demo.query("SELECT substr(service_start, 1, 10), substr(service_end, 1, 10) FROM line") == [("2026-01-01", "2027-07-01")]
    assert demo.bill("2027-06-01")[0].invoices == 0


def test_upfront_with_an_end_date_of_its_own(demo: World) -> None:
    """A span that is no whole number of months is billed once as well."""
    record = won(demo, {"Billing_Frequency__c": "Upfront", "End_Date__c": date(2026, 2, 14)}, {})
    assert record["Billing_Status__c"] == "Active", record["Billing_Message__c"]
    assert record["Amount_Billed__c"] == D(200)
    assert demo.bill("2026-02-15")[0].invoices == 1
    assert demo.record("deal")["Amount_Billed__c"] == D(300)


@pytest.mark.parametrize(("word", "months", "price"), [("Quarterly", 3, 100), ("Semiannual", 6, 100), ("Annual", 12, 100)])
def test_unit_price_is_the_price_of_one_billing_period(demo: World, word: str, months: int, price: int) -> None:
    """100.00 quarterly is 100.00 a quarter: the next invoice comes a period later, with the same amount."""
    record = won(demo, {}, Billing_Frequency__c=word, Contract_Term_Months__c=24)
    assert record["Amount_Billed__c"] == D(price)
    assert record["Next_Invoice_Date__c"] == (date(2026 + months // 12, 1 + months % 12, 1)).isoformat()
    assert record["Contract_Value__c"] == D(price * 24 // months)


def test_lines_of_several_frequencies_stand_on_one_contract(demo: World) -> None:
    """A monthly, a yearly and a one-time line: 100 + 1,200 + 500 at once, then 100 a month."""
    record = won(
        demo,
        {},
        {"product": "licence", "UnitPrice": "1200.00", "Billing_Frequency__c": "Annual"},
        {"product": "setup", "UnitPrice": "500.00"},
        Contract_Term_Months__c=12,
    )
    assert record["Amount_Billed__c"] == D(1800)
    assert (record["Next_Invoice_Date__c"], record["Next_Invoice_Amount__c"]) == ("2026-02-01", D(100))
    assert record["Contract_Value__c"] == D(2900)
    demo.bill("2026-02-01")
    assert demo.invoices()[-1]["Total__c"] == D(100)


def test_a_billing_day_moves_the_periods(demo: World) -> None:
    """Start 1 January, billing day 15: fourteen days first, then whole months from the 15th."""
    record = won(demo, {}, Billing_Day__c=15)
    assert record["Amount_Billed__c"] == D("45.16")  # 14 of 31 days
    assert record["Next_Invoice_Date__c"] == "2026-01-15"
    demo.bill("2026-01-15")
    assert demo.invoices()[-1]["Total__c"] == D(100)


def test_a_skipped_line_is_not_billed(demo: World) -> None:
    """Skip Billing leaves the line out; a deal of skipped lines only has nothing to bill."""
    record = won(demo, {}, {"Skip_Billing__c": True, "UnitPrice": "999.00", "Charge_Type__c": "Usage"})
    assert record["Amount_Billed__c"] == D(100)
    demo.deal("nothing", {"Skip_Billing__c": True}, StageName="Closed Won")
    demo.sync()
    assert demo.said("nothing")[0] == "Needs attention"


def test_a_free_line_is_billed_at_nothing(demo: World) -> None:
    """A price of 0 is a price: the invoice has the line, and is settled at once."""
    record = won(demo, {"UnitPrice": 0})
    assert record["Billing_Status__c"] == "Active"
    assert (record["Amount_Billed__c"], record["Amount_Due__c"]) == (D(0), D(0))
    demo.assert_quiet()


def test_sub_cent_amounts_are_rounded_once_a_line(demo: World) -> None:
    """3 x 0.335 has no whole cents in this org's price scale of two; 33.33 % off 100.00 rounds half away from zero."""
    record = won(demo, {"Discount": D("33.33")}, {"Discount": D("12.5"), "UnitPrice": "0.04"})
    assert record["Amount_Billed__c"] == D("66.67") + D("0.03")  # 0.5 cents off 4 rounds to 1


def test_discount_months_end(demo: World) -> None:
    """10 % for two months: 90, 90, then 100."""
    won(demo, {}, Discount_Percent__c=10, Discount_Months__c=2)
    for day in ("2026-02-01", "2026-03-01"):
        demo.bill(day)
    assert [r["Total__c"] for r in demo.invoices()] == [D(90), D(90), D(100)]


def test_who_is_a_deal_is_decided_here_not_by_the_poll(demo: World, tmp_path: Path) -> None:
    """A deal closed before start_from is left alone, and an amendment of it says to import the contract (decision D-06)."""
    text = Path(demo.config.sources[0].mapping).read_text(encoding="utf-8")
    file = tmp_path / "from.yaml"
    file.write_text(text.replace("  # start_from: 2026-01-01 ", "  start_from: 2026-01-01 "), encoding="utf-8")
    with world(tmp_path / "other", mappings=[file]) as other:
        other.deal("old", {}, account="acme", CloseDate=date(2025, 12, 31), StageName="Closed Won")
        other.deal("new", {}, account="acme", CloseDate=date(2026, 1, 1), StageName="Closed Won")
        other.deal("more", {}, account="acme", Billing_Action__c="Amend", Amends_Opportunity__c="@old", StageName="Closed Won")
        other.sync()
        assert other.said("old") == (None, "")
        assert other.said("new")[0] == "Active"
        status, message = other.said("more")
        assert status == "Needs attention"
        assert "import" in message
        other.assert_quiet()


@pytest.mark.parametrize("names", [("one",), ("one", "two"), ("one", "two", "three")])
def test_deals_that_amend_each_other_in_a_circle_come_to_rest(demo: World, names: tuple[str, ...]) -> None:
    """A deal that amends itself, or two that amend each other, need attention and cost no endless work."""
    for name in names:
        demo.deal(name, {}, account="acme", Billing_Action__c="Amend")
    for name, base in zip(names, (*names[1:], names[0]), strict=True):
        demo.edit(name, Amends_Opportunity__c=demo.ids[base], StageName="Closed Won")
    demo.sync()
    attempts = demo.query("SELECT COUNT(*) FROM attempt")[0][0]
    assert attempts <= 3 * len(names)
    for name in names:
        status, message = demo.said(name)
        assert status in ("Needs attention", "Blocked")
        assert len(message) < 400
    demo.assert_quiet()
    assert demo.query("SELECT COUNT(*) FROM attempt")[0][0] == attempts


def test_a_deal_in_a_far_past_is_caught_up_within_bounds(demo: World) -> None:
    """A contract of 1990 is one invoice of hundreds of lines, or a problem; never a hang."""
    record = won(demo, {}, Contract_Start_Date__c=date(1990, 1, 1))
    assert record["Billing_Status__c"] in ("Active", "Needs attention")
    if record["Billing_Status__c"] == "Active":
        assert demo.lines() == 36 * 12 + 1


def test_a_name_with_every_sign_survives_the_way_there_and_back(demo: World) -> None:
    """Quotes, backslashes, emoji and markup in names and memos neither break SOQL nor the message."""
    name = "O'Brien \\ \"Sons\" & <b>Søn</b> 🚀 %s {x} ${y}"
    demo.account("strange", Name=name)
    demo.deal("base", {}, account="strange", Name=name, Invoice_Memo__c=name, PO_Number__c=name)
    demo.deal("more", {}, account="strange", Billing_Action__c="Amend", Amends_Opportunity__c="@base", StageName="Closed Won")
    demo.edit("base", StageName="Closed Won", Billing_Action__c="Cancel")
    demo.sync()
    demo.edit("base", Billing_Action__c="New")
    demo.sync()
    assert demo.said("base")[0] == "Active", demo.said("base")
    assert demo.query("SELECT name FROM customer") == [(name,)]
    demo.assert_quiet()


def test_a_zero_decimal_currency_has_no_cents(tmp_path: Path) -> None:
    """In an org that counts in yen, 1,000 is 1,000 minor units."""
    from connector.lookalike.crm.org import Org

    with world(tmp_path, org=lambda clock: Org(clock=clock, currency="JPY")) as demo:
        demo.deal("deal", {"UnitPrice": 1000, "Quantity": 3}, StageName="Closed Won")
        demo.sync()
        assert demo.record("deal")["Amount_Billed__c"] == D(3000)
        assert demo.query("SELECT total, currency FROM invoice") == [(3000, "jpy")]
        assert "3,000 JPY" in demo.said("deal")[1]


def test_several_currencies_in_one_org(tmp_path: Path) -> None:
    """In a multi-currency org each deal is billed in its own currency, and its rows carry the code."""
    from connector.lookalike.crm.org import Org

    with world(tmp_path, org=lambda clock: Org(clock=clock, multi_currency=True)) as demo:
        entry = {"UnitPrice": D(100), "IsActive": True, "Pricebook2Id": "@standard", "Product2Id": "@seat"}
        demo.add("PricebookEntry", "seat_usd_entry", CurrencyIsoCode="USD", **entry)
        demo.deal("euro", {}, StageName="Closed Won")
        demo.deal("dollar", {"product": "seat_usd"}, CurrencyIsoCode="USD", StageName="Closed Won")
        demo.sync()
        assert demo.record("dollar")["Amount_Billed__c"] == D(100), demo.said("dollar")
        assert {r["Opportunity__c"]: r["Currency__c"] for r in demo.invoices()} == {demo.ids["euro"]: "EUR", demo.ids["dollar"]: "USD"}
        demo.assert_quiet()


def test_time_zones_decide_which_day_it_is(tmp_path: Path) -> None:
    """At 20:00 UTC on 31 January it is February in Auckland: the invoice of 1 February is made and dated there."""
    with world(tmp_path, timezone="Pacific/Auckland") as demo:
        demo.deal("deal", {}, StageName="Closed Won")
        demo.sync()
        demo.clock.move_to(at("2026-01-31").replace(hour=10))
        assert demo.bill()[0].invoices == 0
        demo.clock.move_to(at("2026-01-31").replace(hour=12))
        assert demo.bill()[0].invoices == 1
        assert demo.invoices()[-1]["Issued_On__c"] == "2026-02-01"


def test_extreme_values_stop_nobody_else(demo: World) -> None:
    """Dates at the end of time and sums beyond belief are billed or refused one by one; the plain deal beside them is billed."""
    wild: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
        ({}, {"Contract_Start_Date__c": date(9999, 12, 31), "Contract_Term_Months__c": 12}),
        ({}, {"Contract_Start_Date__c": date(9999, 1, 1)}),
        ({}, {"Contract_Start_Date__c": date(1, 1, 1)}),
        ({}, {"Contract_Start_Date__c": date(1700, 3, 1), "Billing_Frequency__c": "Annual"}),
        ({"End_Date__c": date(9999, 12, 31)}, {}),
        ({"Quantity": D("9999999999.99"), "UnitPrice": D("9999999999999.99")}, {}),
        ({"Quantity": D("0.01"), "UnitPrice": D("0.01")}, {}),
        ({}, {"Free_Trial_Days__c": 9999}),
        ({}, {"Contract_Term_Months__c": 9999}),
        ({}, {"Discount_Percent__c": 100}),
        ({}, {"Discount_Percent__c": D("99.99"), "Discount_Months__c": 9999}),
        ({}, {"Billing_Day__c": 31, "Contract_Start_Date__c": date(2024, 2, 29)}),
        ({}, {"Auto_Renew__c": True, "Contract_Term_Months__c": 1, "Renewal_Uplift_Percent__c": 999, "Contract_Start_Date__c": date(2020, 1, 1)}),
    )
    for number, (line, fields) in enumerate(wild):
        demo.deal(f"wild_{number}", line, StageName="Closed Won", **fields)
    demo.deal("plain", {}, StageName="Closed Won")
    tally = demo.sync()
    assert demo.said("plain")[0] == "Active"
    bugs = [n for n in range(len(wild)) if "itself failed" in demo.said(f"wild_{n}")[1]]
    assert (bugs, tally.internal_errors) == ([], 0)
    assert all(demo.said(f"wild_{n}")[0] for n in range(len(wild)))
    demo.assert_quiet()
