"""Periods billed ahead by Stripe itself, and what becomes of them: exact requests, refusals, late sending, one line for all periods, kills."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from stripe_kill_works import some, work_of
from stripe_killing import staged
from stripe_world import StripeWorld, stripe_world
from test_stripe_plan import told as planned

from connector.billing.stripe_backend.reading import lines as reading
from connector.billing.stripe_backend.steps import Held, HeldGroup, HeldItem, HeldPhase
from connector.config.taxes import TaxConfig
from connector.core.lines import Line
from connector.core.terms import Interval
from connector.tax.rates import ListedRate

FIELDS: dict[str, Any] = {
    "Contract_Term_Months__c": 12, "StageName": "Closed Won", "Payment_Terms__c": "Net 30", "Prebill_Periods__c": 3, "Contract_Start_Date__c": date(2026, 1, 1),
}  # fmt: skip


def sold(here: StripeWorld, *lines: dict[str, Any], **fields: Any) -> None:
    here.account("acme")
    here.deal("base", *(lines or ({"Quantity": 2},)), account="acme", **(FIELDS | fields))


def totals(here: StripeWorld) -> list[tuple[str, Decimal]]:
    return sorted((str(r["Issued_On__c"]), r["Total__c"]) for r in here.invoices())


def posted(here: StripeWorld, path: str, method: str = "POST") -> list[Any]:
    return here.stripe_server.faults.asked(method, path)


def test_one_subscription_bills_the_periods_ahead(tmp_path: Path) -> None:
    """A plain subscription with its exact start, end and billing schedule; its three lines are the engine's, and nothing waits for anything."""
    with stripe_world(tmp_path) as here:
        sold(here)
        here.sync()
        (asked,) = posted(here, "/v1/subscriptions$")
        start = here.objects("subscription")[0]["start_date"]
        days = {name: start + 86_400 * (date(*day) - date(2026, 1, 1)).days for name, day in (("until", (2026, 4, 1)), ("end", (2027, 1, 1)))}
        assert asked.params["billing_schedules"] == {"0": {"bill_until": {"type": "timestamp", "timestamp": str(days["until"])}}}
        kept = ("backdate_start_date", "cancel_at", "proration_behavior", "collection_method", "days_until_due")
        assert [asked.params[name] for name in kept] == [str(start), str(days["end"]), "always_invoice", "send_invoice", "30"]
        assert not here.objects("subscription_schedule")
        rows = here.query("SELECT key, amount FROM line ORDER BY service_start")
        assert [(key.rpartition("/")[0].rpartition("/")[2], amount) for key, amount in rows] == [("2026-01-01", 20000), ("2026-02-01", 20000), ("2026-03-01", 20000)]
        assert here.said("base")[0] == "Active"
        here.assert_quiet()


@pytest.mark.parametrize(("lines", "fields", "why"), [
    (({"Quantity": 2},), {"Payment_Terms__c": "Charge automatically"}, "a first charge that is declined would end the subscription"),
    (({"Quantity": 2},), {"Contract_Start_Date__c": date(2026, 2, 1)}, "it does not begin today"),
    (({"Quantity": 1, "End_Date__c": date(2026, 1, 31)}, {"Quantity": 3, "ServiceDate": date(2026, 2, 1)}), {}, "use, arrears, parts of periods or changing prices stand beside it"),
    (({"Quantity": 2, "UnitPrice": "12.55"},), {"Discount_Percent__c": 15}, "a discount or a tax leaves parts of a cent, or is a fixed amount"),
    (({"Quantity": 2},), {"Prebill_Periods__c": 51, "Contract_Term_Months__c": 60}, "more than 50 periods are billed ahead"),
    (({"Quantity": 2}, {"product": "support", "Billing_Frequency__c": "Quarterly"}), {}, "not everything is billed ahead to the same day"),
])  # fmt: skip
def test_why_the_connector_bills_ahead(tmp_path: Path, lines: Any, fields: Any, why: str) -> None:
    """Where Stripe's own way is not allowed or not exact, `plan` says why, and the invoice is the connector's."""
    with stripe_world(tmp_path) as here:
        sold(here, *lines, **fields)
        text = " ".join(planned(here, "base"))
        assert f"(not by Stripe itself: {why})" in text, text
        here.sync()
        assert not posted(here, "/v1/subscriptions$")


def test_plan_names_stripes_own_way(tmp_path: Path) -> None:
    """`plan` says up to which day Stripe bills ahead."""
    with stripe_world(tmp_path) as here:
        sold(here)
        assert planned(here, "base") == ["On Stripe: 1 subscription: monthly from 2026-01-01 until 2027-01-01, billed in advance to 2026-04-01."]


def test_a_tax_that_could_be_rounded_in_two_ways_is_not_left_to_stripe(tmp_path: Path) -> None:
    """19 % of 30.33 is no whole cent: three lines or one would bear another tax; 20 % of 100.00 is."""
    for rate, price, is_stripes in ((19, "30.33", False), (20, "100.00", True)):
        tax = TaxConfig(kind="rates", rates=(ListedRate(name="VAT", country="FR", percentage=Decimal(rate)),))
        with stripe_world(tmp_path / str(rate), tax=tax) as here:
            sold(here, {"UnitPrice": price})
            here.sync()
            assert bool(posted(here, "/v1/subscriptions$")) is is_stripes
            assert here.query("SELECT COUNT(*) FROM event WHERE name = 'invoice.differs'") == [(0,)]


def test_refused_by_stripe_the_connector_does_it(tmp_path: Path) -> None:
    """An account that refuses billing schedules: the next round bills the same periods by items of the connector, once."""
    with stripe_world(tmp_path) as here:
        sold(here)
        here.stripe_server.faults.add("refuse", method="POST", path="/v1/subscriptions$", status=400, message="Not for this account.", times=9)
        here.sync()
        here.clock.move_to(here.clock.now() + timedelta(minutes=2))
        here.sync()
        assert here.said("base")[0] == "Active", here.said("base")
        assert len(posted(here, "/v1/subscriptions$")) == 1
        assert totals(here) == [("2026-01-01", Decimal(600))]


def test_sent_a_day_late_it_begins_on_its_day(tmp_path: Path) -> None:
    """Stripe was away: the subscription begins on the day that was agreed, and bills the same periods."""
    with stripe_world(tmp_path) as here:
        sold(here)
        here.stripe_server.faults.add("cut_before", method="POST", path="/v1/subscriptions$", times=1)
        here.sync()
        here.stripe_server.faults.clear()
        here.clock.move_to(here.clock.now() + timedelta(days=1))
        here.sync()
        here.sync()
        assert here.said("base")[0] == "Active", here.said("base")
        (subscription,) = here.objects("subscription")
        assert [subscription["start_date"] // 86_400, subscription["items"]["data"][0]["billed_until"] // 86_400] == [20454, 20544]
        assert [total for _, total in totals(here)] == [Decimal(600)]


def test_new_terms_of_payment_end_it_and_a_schedule_goes_on(tmp_path: Path) -> None:
    """Whatever changes of such a subscription, it is ended without a credit and nothing of it is billed again."""
    with stripe_world(tmp_path) as here:
        sold(here)
        here.sync()
        here.clock.move_to(here.clock.now() + timedelta(days=40))
        head = {"Billing_Action__c": "Amend", "Amends_Opportunity__c": "@base", "StageName": "Closed Won", "CloseDate": date(2026, 2, 10)}
        here.deal("less", {"Quantity": -1}, account="acme", Proration__c="None", **head)
        here.sync()
        (canceled,) = posted(here, "/v1/subscriptions/", "DELETE")
        assert (canceled.params["prorate"], canceled.params["invoice_now"]) == ("false", "false")
        (schedule,) = here.objects("subscription_schedule")
        assert (schedule["status"], schedule["phases"][0]["start_date"] // 86_400) == ("not_started", 20544)
        assert totals(here) == [("2026-01-01", Decimal(600))]


# ---------------------------------------------------------------- however Stripe shows it


def _engine(day: int, month: int) -> Line:
    start = date(2026, month, day)
    end = date(2026, month + 1, day)
    return Line(
        key=f"k/seat//{start}/charge", contract_id="k", item_id="seat", price_id="p", product="seat", description="Seat", quantity=Decimal(2), unit_amount=Decimal(100),
        amount=1001, kind="charge", start=datetime(start.year, start.month, start.day), end=datetime(end.year, end.month, end.day),
        due=datetime(2026, 1, 1), taxes=(("vat", 200, False),),
    )  # fmt: skip


ITEM = {"subscription_item_details": {"subscription_item": "si_1", "proration": False}}
PRORATED = {"invoice_item_details": {"invoice_item": "ii_1", "proration": True, "subscription": "sub_1"}}


def shown(*rows: tuple[int, int, int, int], parent: dict[str, Any]) -> list[Line]:
    """Return what is read of lines (first month, month after the last, amount, tax) at one price."""
    item = HeldItem(item_id="seat", price="cn_p", quantity=Decimal(2), interval=Interval(unit="month"))
    phase = HeldPhase(start=date(2026, 1, 1), end=None, items=(item,))
    group = HeldGroup(
        name="month", interval=Interval(unit="month"), at_time="09:00:00", anchor=date(2026, 1, 1), since=date(2026, 1, 1), phases=(phase,),
        subscription="sub_1", bills_from=date(2026, 1, 1), ahead_to=date(2026, 4, 1),
    )  # fmt: skip
    known = reading.Known(
        contract_id="k", own={}, proposed=[_engine(1, month) for month in (1, 2, 3, 4)], held=Held(contract_id="k", groups=(group,)),
        prices={"price_1": ["cn_p"]}, taken=frozenset(), timezone="UTC",
    )  # fmt: skip
    lines = [
        {
            "id": f"il_{first}", "amount": amount, "quantity": 2, "pricing": {"price_details": {"price": "price_1"}}, "parent": parent,
            "period": {name: int(datetime(2026, month, 1, 9, tzinfo=UTC).timestamp()) for name, month in (("start", first), ("end", after))},
            "taxes": [{"amount": tax, "tax_behavior": "exclusive", "tax_rate_details": {"tax_rate": "txr_1"}}],
        }
        for first, after, amount, tax in rows
    ]  # fmt: skip
    return reading.told({"currency": "eur", "lines": {"data": lines}}, known)


@pytest.mark.parametrize("parent", [ITEM, PRORATED], ids=["item", "proration"])
@pytest.mark.parametrize(("rows", "amounts", "taxes"), [
    ([(1, 4, 3003, 600)], [1001, 1001, 1001], [200, 200, 200]),
    ([(1, 4, 3005, 601)], [1001, 1001, 1003], [200, 200, 201]),
    ([(1, 2, 1001, 200), (2, 3, 1001, 200), (3, 4, 1001, 200)], [1001, 1001, 1001], [200, 200, 200]),
    ([(1, 2, 1001, 200), (2, 4, 2002, 400)], [1001, 1001, 1001], [200, 200, 200]),
])  # fmt: skip
def test_however_stripe_shows_the_periods_ahead(rows: Any, amounts: list[int], taxes: list[int], parent: dict[str, Any]) -> None:
    """A line for each period, one for all, one for those after the first, called prorations or not: the engine's three, Stripe's sum to the cent."""
    found = shown(*rows, parent=parent)
    assert [x.key for x in found] == [_engine(1, month).key for month in (1, 2, 3)]
    assert [x.amount for x in found] == amounts
    assert [sum(t[1] for t in x.taxes) for x in found] == taxes


# ---------------------------------------------------------------- killed


def acts(here: StripeWorld, *, is_changed: bool) -> None:
    """Sell, and in February let half of it go; the last of it is not read yet."""
    sold(here)
    if is_changed:
        here.sync()
        here.clock.move_to(here.clock.now() + timedelta(days=40))
        head = {"Billing_Action__c": "Amend", "Amends_Opportunity__c": "@base", "StageName": "Closed Won", "CloseDate": date(2026, 2, 10)}
        here.deal("less", {"Quantity": -1}, account="acme", Proration__c="Immediately", **head)


@pytest.mark.slow
@pytest.mark.parametrize("is_changed", [False, True])
def test_ended_at_every_call(tmp_path: Path, is_changed: bool) -> None:
    """Ended at each call of a sale billed ahead, or of its change, the next run ends as if undisturbed: nothing is billed twice."""
    work = work_of("billed ahead", lambda here: acts(here, is_changed=is_changed))
    with staged(tmp_path, work) as stage:
        found = stage.everywhere(some(work))
    assert found.worlds > 10
    assert not found.told, "\n".join(found.told)
