"""Stories that every billing backend must tell alike: what a rep closes in the CRM, and which totals it leads to on which day.

Each `Story` is played through the demo CRM by the real passes; its figures are worked out by hand. `tests/test_backends.py` plays them
on every backend, and makes of it the table in docs/stripe.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from world import World

from connector.config import BillingConfig
from connector.config.collecting import PaymentsConfig
from connector.config.taxes import TaxConfig
from connector.lookalike.crm.org import Org
from connector.tax.rates import ListedRate

D = Decimal
Play = Callable[[World], None]
Line = Mapping[str, Any]

AREAS = {"seats": "What is sold", "percent": "Discounts, trials, billing ahead, tax", "more_next": "Changes and ends", "quote": "Quotes, invoices, payments"}
"""The areas of the capability table, each by the story that it begins with."""

CATALOGUE = """\
currency: eur
prices:
  steps: {recurring: {interval: month}, tiers_mode: graduated, tiers: [{up_to: 5, unit_amount: 700}, {up_to: 10, unit_amount: 650}, {up_to: inf, unit_amount: 600}]}
  lot: {recurring: {interval: month}, tiers_mode: volume, tiers: [{up_to: 5, unit_amount: 700}, {up_to: inf, unit_amount: 600}]}
  packs: {unit_amount: 500, recurring: {interval: month}, transform_quantity: {divide_by: 10, round: up}}
  sub: {unit_amount: "0.25", recurring: {interval: month}}
  late: {unit_amount: 1000, recurring: {interval: month, timing: in_arrears}}
  gb: {unit_amount: "12.5", recurring: {interval: month, usage_type: metered}}
  gold: {unit_amount: 3000, recurring: {interval: month}}
  gold_v2: {unit_amount: 3600, recurring: {interval: month}}
coupons:
  TEN: {percent_off: 10, duration: forever}
  ONCE20: {amount_off: 2000, duration: once}
  SPRING: {percent_off: 50, duration: repeating, duration_in_months: 2}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One story. feature - the row of the capability table. totals - what is invoiced by day, in the CRM's rows, all customers
    together; a day that is missing bills nothing. days - the days the clock stops at (those of *totals* are among them). acts - what
    the rep does on a day, before that day is read and billed. said - by deal, the status word at the end. config - settings.
    """

    name: str
    feature: str
    begin: Play
    totals: Mapping[str, Decimal]
    acts: Mapping[str, Play] = field(default_factory=dict)
    said: Mapping[str, str] = field(default_factory=dict)
    days: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def calendar(self) -> list[str]:
        """Every day on which something happens, in order."""
        return sorted({"2026-01-01", *self.totals, *self.acts, *self.days})


def _deal(*lines: Line, ref: str = "base", **fields: Any) -> Play:
    """A deal of a year from 1 January, monthly, invoiced, that is won."""

    def play(here: World) -> None:
        head = {"Contract_Term_Months__c": 12, "StageName": "Closed Won", "Payment_Terms__c": "Net 30"}
        here.deal(ref, *(lines or ({},)), account="acme", **(head | fields))

    return play


def _change(action: str, *lines: Line, ref: str = "change", of: str = "base", **fields: Any) -> Play:
    """A won deal that changes another one, closed on the day it is played."""

    def play(here: World) -> None:
        today = here.clock.now().date()
        head = {"Billing_Action__c": action, "Amends_Opportunity__c": f"@{of}", "StageName": "Closed Won", "CloseDate": today}
        here.deal(ref, *lines, account="acme", **(head | fields))

    return play


def _both(*plays: Play) -> Play:
    def play(here: World) -> None:
        for one in plays:
            one(here)

    return play


def _product(here: World, ref: str, price: str, charge: str = "Recurring") -> None:
    """Sell a product that names a price of the catalogue."""
    here.add("Product2", ref, Name=ref.title(), ProductCode=ref.upper(), IsActive=True, Charge_Type__c=charge, Billing_Price__c=price)
    here.add("PricebookEntry", f"{ref}_entry", Pricebook2Id="@standard", Product2Id=f"@{ref}", UnitPrice=D("1.00"), IsActive=True)


def _catalogued(price: str, quantity: int, term: int | None = 12, **line: Any) -> Play:
    charge = "Usage" if price == "gb" else "Recurring"

    def play(here: World) -> None:
        _product(here, f"p_{price}", price, charge)
        lines = {"product": f"p_{price}", "UnitPrice": "77.77", **({} if charge == "Usage" else {"Quantity": quantity}), **line}
        _deal(lines, Contract_Term_Months__c=term)(here)

    return play


def _uses(quantity: str, day: str, name: str = "P_GB") -> Play:
    def play(here: World) -> None:
        contract = here.contracts()[0][0]
        row = {"id": f"u-{day}", "contract": contract, "for": name, "time": day, "quantity": quantity}
        here.ask("usage.record", rows=[row])

    return play


def _quoted(here: World) -> None:
    plain = {"Contract_Term_Months__c": 12, "Billing_Action__c": "New", "Payment_Terms__c": "Net 30"}
    here.deal("base", {"Quantity": 3}, account="acme", **plain)
    here.quote("offer", "base", {"Quantity": 3}, **plain)


def _accept(here: World) -> None:
    here.edit("base", SyncedQuoteId=here.ids["offer"])
    here.edit("offer", "Quote", Status="Accepted")
    here.edit("base", StageName="Closed Won")


def _credit(here: World) -> None:
    (number,) = (r["Number__c"] for r in here.invoices())
    here.ask("invoice.credit", invoice=number, amount=2500, reason="A gesture")


def _migrate(here: World) -> None:
    here.ask("price.migrate", **{"from": "gold", "to": "gold_v2", "at": "now", "proration": "none", "contracts": [here.contracts()[0][0]]})


SEATS: Line = {"Quantity": 10, "UnitPrice": "30.00"}
MORE: Line = {"Quantity": 5, "UnitPrice": "30.00"}
FEWER: Line = {"Quantity": -4, "UnitPrice": "30.00"}
CHEAP: Line = {"Quantity": 10, "UnitPrice": "3.10"}  # so that minutes make no cent where seconds count
CHEAP_MORE: Line = {"Quantity": 5, "UnitPrice": "3.10"}
CHEAP_FEWER: Line = {"Quantity": -4, "UnitPrice": "3.10"}
CALLS: Line = {"Charge_Type__c": "Usage", "UnitPrice": "0.10"}
SUPPORT: Line = {"product": "support", "Quantity": 1}
CALLED = {"2026-01-10": _uses("1000", "2026-01-05", "SEAT-TEAM"), "2026-01-25": _uses("100", "2026-01-24", "SEAT-TEAM"), "2026-02-20": _uses("10", "2026-02-10", "SEAT-TEAM")}
SECONDS = {"billing": BillingConfig(proration="second")}
VAT = TaxConfig(kind="rates", rates=(ListedRate(name="VAT", country="FR", percentage=D(20)),))

STORIES = (
    # ---------------------------------------------------------------- what is sold
    Story(name="seats", feature="Monthly subscription for a term", begin=_deal(SEATS), totals={"2026-01-01": D(300), "2026-02-01": D(300), "2026-03-01": D(300)}, said={"base": "Past due"}),
    Story(name="open_ended", feature="Open-ended subscription", begin=_deal(SEATS, Contract_Term_Months__c=None), totals={"2026-01-01": D(300), "2026-02-01": D(300)}, said={"base": "Past due"}),
    Story(name="one_off", feature="One-off deal (no subscription)", begin=_deal({"Charge_Type__c": "One-time", "UnitPrice": "500.00"}), totals={"2026-01-01": D(500)}, days=("2026-02-01",)),
    Story(name="setup", feature="One-time line beside a subscription", begin=_deal({}, {"Charge_Type__c": "One-time", "UnitPrice": "250.00", "product": "setup"}), totals={"2026-01-01": D(350), "2026-02-01": D(100)}),
    Story(name="later_fee", feature="One-time line on a later day", begin=_deal({}, {"Charge_Type__c": "One-time", "UnitPrice": "250.00", "product": "setup", "ServiceDate": date(2026, 2, 10)}), totals={"2026-01-01": D(100), "2026-02-01": D(100), "2026-02-10": D(250), "2026-03-01": D(100)}),
    Story(name="mixed", feature="Monthly and yearly lines in one deal", begin=_deal({}, {"UnitPrice": "1200.00", "Billing_Frequency__c": "Annual", "product": "support"}), totals={"2026-01-01": D(1300), "2026-02-01": D(100)}),
    Story(name="quarters", feature="Quarterly, semiannual and yearly billing", begin=_deal({"UnitPrice": "300.00"}, Billing_Frequency__c="Quarterly"), totals={"2026-01-01": D(300), "2026-04-01": D(300)}, days=("2026-02-01",)),
    Story(name="upfront", feature="The whole term up front", begin=_deal({"UnitPrice": "2400.00"}, Billing_Frequency__c="Upfront", Contract_Term_Months__c=24), totals={"2026-01-01": D(2400)}, days=("2026-02-01", "2027-01-01")),
    Story(name="future", feature="Start in the future", begin=_deal(SEATS, Contract_Start_Date__c=date(2026, 2, 1)), totals={"2026-02-01": D(300), "2026-03-01": D(300)}, said={"base": "Active"}),
    Story(name="backdated", feature="Start in the past", begin=_deal({}, Contract_Start_Date__c=date(2025, 11, 1)), totals={"2026-01-01": D(300), "2026-02-01": D(100)}),
    Story(name="billing_day", feature="Invoices on another day of the month", begin=_deal({}, Billing_Day__c=15), totals={"2026-01-01": D("45.16"), "2026-01-15": D(100), "2026-02-15": D(100)}),
    Story(name="month_end", feature="Periods from the 31st of a month", begin=_deal({}, Contract_Start_Date__c=date(2026, 1, 31)), totals={"2026-01-31": D(100), "2026-02-28": D(100), "2026-03-31": D(100), "2026-04-30": D(100)}),
    Story(name="last_part", feature="A last part of a period", begin=_deal({"End_Date__c": date(2026, 2, 14)}, Contract_Term_Months__c=2), totals={"2026-01-01": D(100), "2026-02-01": D(50)}, days=("2026-03-01",)),
    Story(name="last_part_more", feature="More in a last part of a period", begin=_deal({"End_Date__c": date(2026, 2, 14)}, Contract_Term_Months__c=2), acts={"2026-02-08": _change("Amend", {"Quantity": 1, "End_Date__c": date(2026, 3, 31)}, Proration__c="Immediately")}, totals={"2026-01-01": D(100), "2026-02-01": D(50), "2026-02-08": D(75)}, said={"base": "Completed"}, days=("2026-03-01",)),
    Story(name="ramp", feature="Ramps (several phases)", begin=_deal({"Quantity": 50, "UnitPrice": "10.00", "End_Date__c": date(2026, 2, 28)}, {"Quantity": 100, "UnitPrice": "10.00", "ServiceDate": date(2026, 3, 1)}), totals={"2026-01-01": D(500), "2026-02-01": D(500), "2026-03-01": D(1000), "2026-04-01": D(1000)}),
    Story(name="tiers", feature="Graduated price", begin=_catalogued("steps", 20), totals={"2026-01-01": D("127.50"), "2026-02-01": D("127.50")}),
    Story(name="volume", feature="Volume price", begin=_catalogued("lot", 20), totals={"2026-01-01": D(120), "2026-02-01": D(120)}),
    Story(name="packages", feature="Package price", begin=_catalogued("packs", 41), totals={"2026-01-01": D(25), "2026-02-01": D(25)}),
    Story(name="sub_cent", feature="Price below a cent", begin=_catalogued("sub", 1001), totals={"2026-01-01": D("2.50"), "2026-02-01": D("2.50")}),
    Story(name="arrears", feature="Fixed price in arrears", begin=_catalogued("late", 3), totals={"2026-02-01": D(30), "2026-03-01": D(30)}),
    Story(name="usage", feature="Usage, billed at the end of its period", begin=_catalogued("gb", 1), acts={"2026-01-10": _uses("160", "2026-01-05")}, totals={"2026-02-01": D(20)}),
    Story(name="usage_open", feature="Usage without a known end", begin=_catalogued("gb", 1, term=None), acts={"2026-04-10": _uses("160", "2026-04-05")}, totals={"2026-05-01": D(20)}, days=("2026-02-01", "2026-03-01", "2026-04-01")),
    Story(name="terms", feature="Due on receipt, net days", begin=_deal({}, Payment_Terms__c="Due on receipt"), totals={"2026-01-01": D(100)}, said={"base": "Past due"}, days=("2026-01-20",)),
    # ---------------------------------------------------------------- discounts, trials, prebilling, taxes
    Story(name="percent", feature="Discount of the deal", begin=_deal({}, Discount_Percent__c=10), totals={"2026-01-01": D(90), "2026-02-01": D(90)}),
    Story(name="months_off", feature="Discount for some months", begin=_deal({}, Discount_Percent__c=10, Discount_Months__c=2), totals={"2026-01-01": D(90), "2026-02-01": D(90), "2026-03-01": D(100)}),
    Story(name="line_off", feature="Discounts of line and deal, stacked", begin=_deal({"Discount": 25}, {"UnitPrice": "200.00", "product": "support"}, Discount_Percent__c=10), totals={"2026-01-01": D("247.50"), "2026-02-01": D("247.50")}),
    Story(name="coupons", feature="Coupons of the catalogue, stacked in order", begin=_deal({}, Coupons__c="ONCE20, SPRING, TEN"), totals={"2026-01-01": D(36), "2026-02-01": D(45), "2026-03-01": D(90)}),
    Story(name="free", feature="Discount of 100 % for some months", begin=_deal(SEATS, Discount_Percent__c=100, Discount_Months__c=2), totals={"2026-03-01": D(300)}, said={"base": "Active"}, days=("2026-02-01",)),
    Story(name="equal_off", feature="Equal discounts, stacked", begin=_deal({"Discount": 10}, Discount_Percent__c=10, Coupons__c="TEN"), totals={"2026-01-01": D("72.90"), "2026-02-01": D("72.90")}),
    Story(name="trial", feature="Free trial", begin=_deal({"Quantity": 2}, Free_Trial_Days__c=14), totals={"2026-01-15": D(200)}, said={"base": "Active"}),
    Story(name="paid_trial", feature="Paid trial", begin=_deal({"Quantity": 3, "Trial_Price__c": D("10.00"), "Trial_Periods__c": 2}), totals={"2026-01-01": D(30), "2026-02-01": D(30), "2026-03-01": D(300)}),
    Story(name="prebill", feature="Prebilling", begin=_deal({"Quantity": 2}, Prebill_Periods__c=3), totals={"2026-01-01": D(600), "2026-04-01": D(200)}, days=("2026-02-01", "2026-03-01")),
    Story(name="prebill_ramp", feature="Prebilling of a ramp", begin=_deal({"Quantity": 1, "End_Date__c": date(2026, 1, 31)}, {"Quantity": 3, "ServiceDate": date(2026, 2, 1)}, Prebill_Periods__c=3), totals={"2026-01-01": D(700), "2026-04-01": D(300)}, days=("2026-02-01", "2026-03-01")),
    Story(name="prebill_term", feature="Prebilling of a whole term", begin=_deal({"Quantity": 2}, {"Charge_Type__c": "One-time", "UnitPrice": "250.00", "product": "setup"}, Contract_Term_Months__c=3, Prebill_Periods__c=3), totals={"2026-01-01": D(850)}, days=("2026-02-01", "2026-04-01"), said={"base": "Completed"}),
    Story(name="prebill_card", feature="Prebilling, charged automatically", begin=_deal({"Quantity": 2}, Prebill_Periods__c=3, Payment_Terms__c="Charge automatically"), totals={"2026-01-01": D(600), "2026-04-01": D(200)}, days=("2026-02-01",), config={"payments": PaymentsConfig(methods=("manual", "test"))}),
    Story(name="prebill_off", feature="Prebilling with a discount", begin=_deal({"Quantity": 2}, Prebill_Periods__c=3, Discount_Percent__c=10), totals={"2026-01-01": D(540), "2026-04-01": D(180)}, days=("2026-02-01", "2026-03-01")),
    Story(name="prebill_more", feature="More while prebilled", begin=_deal({"Quantity": 2}, Prebill_Periods__c=3), acts={"2026-01-16": _change("Amend", {"Quantity": 3}, Proration__c="Immediately")}, totals={"2026-01-01": D(600), "2026-01-16": D("754.83"), "2026-04-01": D(500), "2026-05-01": D(500)}, days=("2026-02-01", "2026-03-01")),
    Story(name="prebill_next", feature="More while prebilled, on the next invoice", begin=_deal({"Quantity": 2}, Prebill_Periods__c=3), acts={"2026-01-16": _change("Amend", {"Quantity": 3}, Proration__c="Next invoice")}, totals={"2026-01-01": D(600), "2026-02-01": D("754.83"), "2026-04-01": D(500), "2026-05-01": D(500)}, days=("2026-03-01",)),
    Story(name="prebill_cancel", feature="Cancellation while prebilled, unused time credited", begin=_deal({"Quantity": 2}, Prebill_Periods__c=3), acts={"2026-01-16": _change("Cancel", Billing_Effective_Date__c=date(2026, 1, 16), Proration__c="Immediately")}, totals={"2026-01-01": D(600), "2026-01-16": D("-503.23")}, said={"base": "Canceled"}, days=("2026-02-01", "2026-04-01")),
    Story(name="prebill_kept", feature="Cancellation at the end of what is prebilled", begin=_deal({"Quantity": 2}, Prebill_Periods__c=3), acts={"2026-01-16": _change("Cancel", Billing_Effective_Date__c=date(2026, 4, 1), Proration__c="None")}, totals={"2026-01-01": D(600)}, said={"base": "Canceled"}, days=("2026-02-01", "2026-04-01", "2026-05-01")),
    Story(name="prebill_renew", feature="Renewal, prebilled anew", begin=_deal({"Quantity": 2}, Contract_Term_Months__c=3, Prebill_Periods__c=3), acts={"2026-03-10": _change("Renew", Contract_Term_Months__c=12, Prebill_Periods__c=3)}, totals={"2026-01-01": D(600), "2026-04-01": D(600), "2026-07-01": D(200)}, days=("2026-02-01", "2026-05-01")),
    Story(name="prebill_auto", feature="Prebilling beyond a term that renews itself", begin=_deal({"Quantity": 2}, Contract_Term_Months__c=3, Auto_Renew__c=True, Renewal_Uplift_Percent__c=5, Prebill_Periods__c=5), totals={"2026-01-01": D(600), "2026-04-01": D(420), "2026-06-01": D(210), "2026-07-01": D("220.50")}, days=("2026-02-01", "2026-05-01")),
    Story(name="prebill_auto_cancel", feature="Prebilling beyond a term that renews itself, declined in time", begin=_deal({"Quantity": 2}, Contract_Term_Months__c=3, Auto_Renew__c=True, Prebill_Periods__c=5), acts={"2026-03-10": _change("Cancel", Cancel_When__c="End of term")}, totals={"2026-01-01": D(600)}, said={"base": "Completed"}, days=("2026-04-01", "2026-05-01")),
    Story(name="prebill_pause", feature="Pause and resumption while prebilled", begin=_deal({"Quantity": 2}, Prebill_Periods__c=3), acts={"2026-01-16": _change("Pause", ref="pause", Billing_Effective_Date__c=date(2026, 1, 16)), "2026-02-15": _change("Resume", ref="resume", Billing_Effective_Date__c=date(2026, 2, 15))}, totals={"2026-01-01": D(600), "2026-01-16": D("-503.23"), "2026-03-01": D(300), "2026-04-01": D(200), "2026-05-01": D(200)}, days=("2026-02-01",)),
    Story(name="vat", feature="Tax rates", begin=_deal(SEATS), totals={"2026-01-01": D(360), "2026-02-01": D(360)}, config={"tax": VAT}),
    # ---------------------------------------------------------------- changes
    Story(name="more_next", feature="More in mid-period, on the next invoice", begin=_deal(SEATS), acts={"2026-01-16": _change("Amend", MORE, Proration__c="Next invoice")}, totals={"2026-01-01": D(300), "2026-02-01": D("527.42"), "2026-03-01": D(450)}),
    Story(name="more_now", feature="More in mid-period, at once", begin=_deal(SEATS), acts={"2026-01-16": _change("Amend", MORE, Proration__c="Immediately")}, totals={"2026-01-01": D(300), "2026-01-16": D("77.42"), "2026-02-01": D(450)}),
    Story(name="more_free", feature="More in mid-period, not prorated", begin=_deal(SEATS), acts={"2026-01-16": _change("Amend", MORE, Proration__c="None")}, totals={"2026-01-01": D(300), "2026-02-01": D(450)}),
    Story(name="up_front", feature="A coming change, prorated up front", begin=_deal({"Quantity": 2}), acts={"2026-01-10": _change("Amend", {}, Billing_Effective_Date__c=date(2026, 2, 15), Proration__c="Up front")}, totals={"2026-01-01": D(200), "2026-02-01": D(250), "2026-03-01": D(300)}, days=("2026-02-15",)),
    Story(name="planned", feature="A change planned for a later day", begin=_deal(SEATS), acts={"2026-01-10": _change("Amend", MORE, Billing_Effective_Date__c=date(2026, 2, 16), Proration__c="Immediately")}, totals={"2026-01-01": D(300), "2026-02-01": D(300), "2026-02-16": D("69.64"), "2026-03-01": D(450)}),
    Story(name="fewer", feature="Fewer in mid-period, credited", begin=_deal(SEATS), acts={"2026-01-16": _change("Amend", FEWER, Proration__c="Immediately")}, totals={"2026-01-01": D(300), "2026-01-16": D("-61.94"), "2026-02-01": D(180)}),
    Story(name="late_change", feature="A change in the past", begin=_deal(SEATS), acts={"2026-03-10": _change("Amend", MORE, Billing_Effective_Date__c=date(2026, 1, 16), Proration__c="Immediately")}, totals={"2026-01-01": D(300), "2026-02-01": D(300), "2026-03-01": D(300), "2026-03-10": D("377.42"), "2026-04-01": D(450)}),
    Story(name="new_item", feature="Another product in mid-period", begin=_deal(SEATS), acts={"2026-01-16": _change("Amend", {"product": "support", "UnitPrice": "62.00"}, Proration__c="Immediately")}, totals={"2026-01-01": D(300), "2026-01-16": D(32), "2026-02-01": D(362)}),
    Story(name="yearly_more", feature="More of a yearly line", begin=_deal({"UnitPrice": "365.00"}, Billing_Frequency__c="Annual", Contract_Term_Months__c=24), acts={"2026-07-01": _change("Amend", {"UnitPrice": "365.00"}, Proration__c="Immediately")}, totals={"2026-01-01": D(365), "2026-07-01": D(184), "2027-01-01": D(730)}),
    Story(name="taken_along", feature="A change at once takes along what waits for the next invoice", begin=_deal({"UnitPrice": "365.00"}, Billing_Frequency__c="Annual", Contract_Term_Months__c=24), acts={"2026-03-01": _change("Amend", {"UnitPrice": "365.00"}, ref="wait", Proration__c="Next invoice"), "2026-07-01": _change("Amend", {"UnitPrice": "365.00"}, Proration__c="Immediately")}, totals={"2026-01-01": D(365), "2026-07-01": D(490), "2027-01-01": D(1095)}),
    Story(name="fee_takes_along", feature="A one-time charge takes along what waits for the next invoice", begin=_deal({"UnitPrice": "365.00"}, {"Charge_Type__c": "One-time", "UnitPrice": "250.00", "product": "setup", "ServiceDate": date(2026, 4, 10)}, Billing_Frequency__c="Annual", Contract_Term_Months__c=24), acts={"2026-03-01": _change("Amend", {"UnitPrice": "365.00"}, ref="wait", Proration__c="Next invoice")}, totals={"2026-01-01": D(365), "2026-04-10": D(556), "2027-01-01": D(730)}),
    Story(name="item_takes_along", feature="A new rhythm takes along what waits for the next invoice", begin=_deal({"UnitPrice": "365.00"}, Billing_Frequency__c="Annual", Contract_Term_Months__c=24), acts={"2026-03-01": _change("Amend", {"UnitPrice": "365.00"}, ref="wait", Proration__c="Next invoice"), "2026-07-01": _change("Amend", {"UnitPrice": "10.00", "product": "support", "Billing_Frequency__c": "Monthly"}, Proration__c="Immediately")}, totals={"2026-01-01": D(365), "2026-07-01": D(316), "2026-08-01": D(10)}),
    Story(name="same_day", feature="A change on the first day", begin=_deal(SEATS), acts={"2026-01-01": _change("Amend", MORE, Proration__c="Immediately")}, totals={"2026-01-01": D(450), "2026-02-01": D(450)}),
    Story(name="two_changes", feature="Two changes on one day", begin=_deal(SEATS), acts={"2026-01-16": _both(_change("Amend", MORE, Proration__c="Immediately"), _change("Amend", FEWER, ref="other", Proration__c="Immediately"))}, totals={"2026-01-01": D(300), "2026-01-16": D("15.48"), "2026-02-01": D(330)}),
    Story(name="by_the_second", feature="Proration by the second", begin=_deal(CHEAP), acts={"2026-01-16": _change("Amend", CHEAP_MORE, Proration__c="Immediately")}, totals={"2026-01-01": D(31), "2026-01-16": D(8), "2026-02-01": D("46.50")}, config=SECONDS),
    Story(name="fewer_by_second", feature="Proration by the second, fewer", begin=_deal(CHEAP), acts={"2026-01-16": _change("Amend", CHEAP_FEWER, Proration__c="Immediately")}, totals={"2026-01-01": D(31), "2026-01-16": D("-6.40"), "2026-02-01": D("18.60")}, config=SECONDS),
    Story(name="next_by_second", feature="Proration by the second, on the next invoice", begin=_deal(CHEAP), acts={"2026-01-16": _change("Amend", CHEAP_FEWER, Proration__c="Next invoice")}, totals={"2026-01-01": D(31), "2026-02-01": D("12.20"), "2026-03-01": D("18.60")}, config=SECONDS),
    Story(name="product_by_second", feature="Proration by the second, another product", begin=_deal(CHEAP), acts={"2026-01-16": _change("Amend", {"product": "support", "UnitPrice": "6.20"}, Proration__c="Immediately")}, totals={"2026-01-01": D(31), "2026-01-16": D("3.20"), "2026-02-01": D("37.20")}, config=SECONDS),
    Story(name="yearly_by_second", feature="Proration by the second, of a yearly line", begin=_deal({"UnitPrice": "36.50"}, Billing_Frequency__c="Annual", Contract_Term_Months__c=24), acts={"2026-07-01": _change("Amend", {"UnitPrice": "36.50"}, Proration__c="Immediately")}, totals={"2026-01-01": D("36.50"), "2026-07-01": D("18.40"), "2027-01-01": D(73)}, config=SECONDS),
    Story(name="last_by_second", feature="Proration by the second, in the last period", begin=_deal({"UnitPrice": "36.50"}, Billing_Frequency__c="Annual"), acts={"2026-07-01": _change("Amend", {"UnitPrice": "36.50"}, Proration__c="Immediately")}, totals={"2026-01-01": D("36.50"), "2026-07-01": D("18.40")}, days=("2027-01-01",), config=SECONDS),
    Story(name="twice_by_second", feature="Proration by the second, twice in a period", begin=_deal(CHEAP), acts={"2026-01-16": _change("Amend", CHEAP_MORE, Proration__c="Immediately"), "2026-01-24": _change("Amend", CHEAP_MORE, ref="again", Proration__c="Next invoice")}, totals={"2026-01-01": D(31), "2026-01-16": D(8), "2026-02-01": D(66)}, config=SECONDS),
    Story(name="taken_by_second", feature="Proration by the second, at once after one that waits", begin=_deal(CHEAP), acts={"2026-01-16": _change("Amend", CHEAP_FEWER, ref="wait", Proration__c="Next invoice"), "2026-01-24": _change("Amend", CHEAP_MORE, Proration__c="Immediately")}, totals={"2026-01-01": D(31), "2026-01-24": D("-2.40"), "2026-02-01": D("34.10")}, config=SECONDS),
    Story(name="fee_by_second", feature="Proration by the second that waits, taken along by a one-time charge", begin=_deal(CHEAP, {"Charge_Type__c": "One-time", "UnitPrice": "250.00", "product": "setup", "ServiceDate": date(2026, 1, 24)}), acts={"2026-01-16": _change("Amend", CHEAP_FEWER, Proration__c="Next invoice")}, totals={"2026-01-01": D(31), "2026-01-24": D("243.60"), "2026-02-01": D("18.60")}, config=SECONDS),
    Story(name="taxed_by_second", feature="Proration by the second, with tax and a discount", begin=_deal({"Quantity": 10, "UnitPrice": "6.20"}, Discount_Percent__c=50), acts={"2026-01-16": _change("Amend", {"Quantity": 5, "UnitPrice": "6.20"}, Proration__c="Immediately")}, totals={"2026-01-01": D("37.20"), "2026-01-16": D("9.60"), "2026-02-01": D("55.80")}, config={**SECONDS, "tax": VAT}),
    Story(name="late_by_second", feature="Proration by the second, of a change in the past", begin=_deal(CHEAP), acts={"2026-01-20": _change("Amend", CHEAP_MORE, Billing_Effective_Date__c=date(2026, 1, 16), Proration__c="Immediately")}, totals={"2026-01-01": D(31), "2026-01-20": D(8), "2026-02-01": D("46.50")}, config=SECONDS),
    Story(name="cancel_by_second", feature="Proration by the second, of a cancellation", begin=_deal(CHEAP), acts={"2026-01-16": _change("Cancel", Billing_Effective_Date__c=date(2026, 1, 16), Proration__c="Immediately")}, totals={"2026-01-01": D(31), "2026-01-16": D(-16)}, said={"base": "Canceled"}, days=("2026-02-01",), config=SECONDS),
    Story(name="cancel_now", feature="Cancellation, unused time credited", begin=_deal(SEATS), acts={"2026-01-16": _change("Cancel", Billing_Effective_Date__c=date(2026, 1, 16), Proration__c="Immediately")}, totals={"2026-01-01": D(300), "2026-01-16": D("-154.84")}, said={"base": "Canceled"}, days=("2026-02-01",)),
    Story(name="cancel_waiting", feature="Cancellation while something waits for the next invoice", begin=_deal(SEATS), acts={"2026-01-16": _change("Amend", MORE, ref="more", Proration__c="Next invoice"), "2026-01-21": _change("Cancel", Billing_Effective_Date__c=date(2026, 1, 21), Proration__c="Immediately")}, totals={"2026-01-01": D(300), "2026-01-21": D("-82.26")}, said={"base": "Canceled"}, days=("2026-02-01",)),
    Story(name="cancel_later_waiting", feature="Cancellation on a coming day while something waits", begin=_deal(SEATS), acts={"2026-01-16": _change("Amend", MORE, ref="more", Proration__c="Next invoice"), "2026-01-21": _change("Cancel", Billing_Effective_Date__c=date(2026, 1, 28), Proration__c="None")}, totals={"2026-01-01": D(300), "2026-01-28": D("19.35")}, said={"base": "Canceled"}, days=("2026-01-28", "2026-02-01")),
    Story(name="cancel_before_waiting", feature="Cancellation that counts from before what waits", begin=_deal(SEATS), acts={"2026-01-16": _change("Amend", MORE, ref="more", Proration__c="Next invoice"), "2026-01-25": _change("Cancel", Billing_Effective_Date__c=date(2026, 1, 10), Proration__c="None")}, totals={"2026-01-01": D(300)}, said={"base": "Canceled"}, days=("2026-02-01",)),
    Story(name="pause_waiting", feature="Pause while something waits for the next invoice", begin=_deal(SEATS), acts={"2026-01-16": _change("Amend", FEWER, ref="less", Proration__c="Next invoice"), "2026-01-20": _change("Pause", ref="pause", Billing_Effective_Date__c=date(2026, 1, 20)), "2026-02-15": _change("Resume", ref="resume", Billing_Effective_Date__c=date(2026, 2, 15))}, totals={"2026-01-01": D(300), "2026-01-20": D("-131.62"), "2026-03-01": D(270), "2026-04-01": D(180)}, days=("2026-02-01", "2026-03-01")),
    Story(name="cancel_usage", feature="Cancellation of usage in mid-period", begin=_catalogued("gb", 1), acts={"2026-01-10": _uses("160", "2026-01-05"), "2026-01-16": _change("Cancel", Billing_Effective_Date__c=date(2026, 1, 16), Proration__c="Immediately")}, totals={"2026-01-16": D(20)}, said={"base": "Canceled"}, days=("2026-02-01",)),
    Story(name="usage_price", feature="Another price of usage in mid-period", begin=_deal(CALLS, SUPPORT), acts={**CALLED, "2026-01-15": _change("Amend", {**CALLS, "UnitPrice": "0.08", "Line_Change__c": "Set"}, Proration__c="Immediately")}, totals={"2026-01-01": D(100), "2026-02-01": D(208), "2026-03-01": D("100.80")}),
    Story(name="usage_again", feature="Usage removed in mid-period and added again", begin=_deal(CALLS, SUPPORT), acts={**CALLED, "2026-01-12": _change("Amend", {**CALLS, "Line_Change__c": "Remove"}, ref="less", Proration__c="Immediately"), "2026-01-20": _change("Amend", {**CALLS, "Line_Change__c": "Add"}, Proration__c="Immediately")}, totals={"2026-01-01": D(100), "2026-02-01": D(210), "2026-03-01": D(101)}),
    Story(name="cancel_period", feature="Cancellation at the end of the period", begin=_deal(SEATS), acts={"2026-01-16": _change("Cancel", Cancel_When__c="End of period")}, totals={"2026-01-01": D(300)}, said={"base": "Canceled"}, days=("2026-02-01", "2026-03-01")),
    Story(name="cancel_term", feature="Cancellation at the end of the term", begin=_deal({}, Contract_Term_Months__c=2, Auto_Renew__c=True), acts={"2026-01-16": _change("Cancel", Cancel_When__c="End of term")}, totals={"2026-01-01": D(100), "2026-02-01": D(100)}, said={"base": "Completed"}, days=("2026-03-01",)),
    Story(name="auto_renew", feature="Renewal by itself, with an uplift", begin=_deal({}, Contract_Term_Months__c=2, Auto_Renew__c=True, Renewal_Uplift_Percent__c=5), totals={"2026-01-01": D(100), "2026-02-01": D(100), "2026-03-01": D(105), "2026-04-01": D(105), "2026-05-01": D("110.25")}),
    Story(name="renew", feature="Renewal by a Renew deal", begin=_deal(SEATS, Contract_Term_Months__c=2), acts={"2026-02-10": _change("Renew", Contract_Term_Months__c=12, Renewal_Uplift_Percent__c=10)}, totals={"2026-01-01": D(300), "2026-02-01": D(300), "2026-03-01": D(330), "2026-04-01": D(330)}),
    Story(name="pause", feature="Pause and resumption", begin=_deal(SEATS), acts={"2026-01-16": _change("Pause", ref="pause", Billing_Effective_Date__c=date(2026, 1, 16)), "2026-02-15": _change("Resume", ref="resume", Billing_Effective_Date__c=date(2026, 2, 15))}, totals={"2026-01-01": D(300), "2026-01-16": D("-154.84"), "2026-03-01": D(450)}, days=("2026-02-01",)),
    Story(name="migration", feature="Price migration", begin=_catalogued("gold", 1), acts={"2026-01-10": _migrate}, totals={"2026-01-01": D(30), "2026-02-01": D(36)}),
    Story(name="edited", feature="A deal edited before its first invoice", begin=_deal(SEATS, Contract_Start_Date__c=date(2026, 2, 1)), acts={"2026-01-10": lambda here: here.edit("base_1", "OpportunityLineItem", Quantity=D(12))}, totals={"2026-02-01": D(360), "2026-03-01": D(360)}),
    Story(name="withdrawn", feature="A deal lost before its first invoice", begin=_deal(SEATS, Contract_Start_Date__c=date(2026, 2, 1)), acts={"2026-01-10": lambda here: here.edit("base", StageName="Closed Lost")}, totals={}, said={"base": "Withdrawn"}, days=("2026-02-01",)),
    # ---------------------------------------------------------------- around the invoice
    Story(name="quote", feature="Accepted quote", begin=_quoted, acts={"2026-01-05": _accept}, totals={"2026-01-05": D(300), "2026-02-01": D(300)}),
    Story(name="credit_note", feature="Credit note", begin=_deal({}), acts={"2026-01-05": _credit}, totals={"2026-01-01": D(100), "2026-01-05": D(-25), "2026-02-01": D(100)}),
    Story(name="no_card", feature="Automatic payment without a payment method", begin=_deal({}, Payment_Terms__c="Charge automatically"), totals={"2026-01-01": D(100)}, days=("2026-01-03",), said={"base": "Past due"}, config={"payments": PaymentsConfig(methods=("manual", "test"))}),
)  # fmt: skip


_PLAIN = _deal({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What the internal engine does and Stripe cannot: a deal (*begin*) or, on an invoice of 100.00, a request.

    feature, area - its row of the capability table. why - in few words. said - what the record, or whoever asked, reads.
    """

    feature: str
    area: str
    why: str
    said: str
    begin: Play = _PLAIN
    request: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def _in_two_currencies(here: World) -> None:
    here.add("PricebookEntry", "gbp_entry", Pricebook2Id="@standard", Product2Id="@seat", UnitPrice=D(10), IsActive=True, CurrencyIsoCode="GBP")
    _deal({}, ref="euros")(here)
    here.sync()
    _deal({"PricebookEntryId": "@gbp_entry"}, CurrencyIsoCode="GBP")(here)


SOLD, AROUND = AREAS["seats"], AREAS["quote"]
REFUSALS = (
    Refusal(feature="Contracts of a customer in several currencies", area=SOLD, why="one currency a customer", begin=_in_two_currencies, said="one customer has one currency there", config={"org": lambda clock: Org(clock=clock, multi_currency=True)}),
    Refusal(feature="A line over 999,999.99", area=SOLD, why="8 digits a line", begin=_deal({"UnitPrice": "1000000.00"}), said="more than Stripe takes on one line"),
    Refusal(feature="One invoice for all contracts of a customer", area=AROUND, why="an invoice for each subscription; plan says so where the account asks for one", request="customer.settle", data={"customer": "Acme", "consolidate": "yes"}, said="one invoice for each subscription"),
    Refusal(feature="Another due date of an issued invoice", area=AROUND, why="the due date stands once it is issued", request="invoice.due", data={"on": "2026-03-01"}, said="keeps the due date"),
    Refusal(feature="An issued invoice made anew", area=AROUND, why="no revision of a subscription's invoice", request="invoice.reissue", data={"reason": "address"}, said="does not revise an invoice of a subscription"),
)  # fmt: skip
