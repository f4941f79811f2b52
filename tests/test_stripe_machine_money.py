"""Money in the Stripe look-alike: tiers, discounts, taxes, usage, payments that fail, credit notes, refunds, previews."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest

from connector.lookalike.stripe.account import Data, Refused
from connector.lookalike.stripe.machine import control
from connector.lookalike.stripe.machine.pricing import amount_of
from tests.stripe_machine import SEND, Machine, at, day

TIERS = [{"up_to": 5, "unit_amount": 700}, {"up_to": 10, "unit_amount": 650}, {"up_to": None, "unit_amount": 600}]


def sent(world: Machine, *items: Data, **more: Data) -> Data:
    """Subscribe with sent invoices."""
    return world.subscribe(*items, collection_method="send_invoice", days_until_due=30, **more)


def one_off(world: Machine, *items: Data, **more: Data) -> Data:
    """Make a draft with items on it."""
    made = world.post(
        "invoices", {"customer": "cus_1", "collection_method": "send_invoice", "days_until_due": 30, **more}
    )
    for item in items:
        world.post("invoiceitems", {"customer": "cus_1", "invoice": made["id"], "currency": "usd", **item})
    return made


def opened(world: Machine, *items: Data, **more: Data) -> Data:
    """Make an open invoice."""
    return world.post("invoices/{id}/finalize", id=one_off(world, *items, **more)["id"])


def paid(world: Machine, *items: Data) -> Data:
    """Make an invoice that was paid by card."""
    world.card()
    made = opened(world, *items)
    return world.post("invoices/{id}/pay", id=made["id"])


@pytest.mark.parametrize(("mode", "amounts"), [("graduated", [4150, 12750, 15750]), ("volume", [3900, 12000, 15000])])
def test_documented_tiers(mode: str, amounts: list[int]) -> None:
    """Up to 5 at 700, up to 10 at 650, above at 600: the documented amounts for 6, 20 and 25 units."""
    price: Data = {"billing_scheme": "tiered", "tiers_mode": mode, "tiers": TIERS}
    assert [amount_of(price, Fraction(quantity)) for quantity in (6, 20, 25)] == amounts


def test_packages_and_fractions_of_a_cent() -> None:
    """25 units in packages of 10, rounded up, are three packages; 333 units at 0.125 cents are 41.625, so 42."""
    assert amount_of({"unit_amount": 500, "transform_quantity": {"divide_by": 10, "round": "up"}}, Fraction(25)) == 1500
    assert (
        amount_of({"unit_amount": 500, "transform_quantity": {"divide_by": 10, "round": "down"}}, Fraction(25)) == 1000
    )
    assert amount_of({"unit_amount": None, "unit_amount_decimal": "0.125"}, Fraction(333)) == 42


def test_a_fixed_discount_is_split_with_the_rest_to_the_last() -> None:
    """500 off over 1000 and 2000 takes 166 and 334, as Stripe documents."""
    world = Machine()
    world.coupon("off", amount_off=500, currency="usd")
    made = one_off(world, {"amount": 1000}, {"amount": 2000}, discounts=[{"coupon": "off"}])
    assert [line["discount_amounts"][0]["amount"] for line in made["lines"]["data"]] == [166, 334]
    assert (made["subtotal"], made["total"], made["total_discount_amounts"][0]["amount"]) == (3000, 2500, 500)


def test_a_fixed_discount_of_a_graduated_item_counts_once() -> None:
    """6 units are 3500 and 650 on two lines; 415 off the item takes 350 and 65, not 415 of each."""
    world = Machine()
    world.coupon("off", amount_off=415, currency="usd")
    tiered = world.price("p", 0, billing_scheme="tiered", tiers_mode="graduated", tiers=TIERS)
    sent(world, {"price": tiered, "quantity": 6, "discounts": [{"coupon": "off"}]})
    (invoice,) = world.invoices()
    assert [(line["amount"], line["discount_amounts"][0]["amount"]) for line in invoice["lines"]["data"]] == [(3500, 350), (650, 65)]
    assert invoice["total"] == 4150 - 415


def test_discounts_work_in_their_order() -> None:
    """10 % and then 100 off 1000 leaves 800; the other way round 810. Those of an item come first and are inside the subtotal."""
    world = Machine()
    world.coupon("ten", percent_off=10)
    world.coupon("off", amount_off=100, currency="usd")
    assert one_off(world, {"amount": 1000}, discounts=[{"coupon": "ten"}, {"coupon": "off"}])["total"] == 800
    assert one_off(world, {"amount": 1000}, discounts=[{"coupon": "off"}, {"coupon": "ten"}])["total"] == 810
    both = one_off(world, {"amount": 1000, "discounts": [{"coupon": "off"}]}, discounts=[{"coupon": "ten"}])
    assert (both["subtotal"], both["total"]) == (900, 810)


def test_what_is_not_discountable_is_left_alone() -> None:
    """A line that is not discountable keeps its amount; the whole fixed discount goes to the other."""
    world = Machine()
    world.coupon("off", amount_off=500, currency="usd")
    made = one_off(world, {"amount": 1000, "discountable": False}, {"amount": 2000}, discounts=[{"coupon": "off"}])
    assert [sum(one["amount"] for one in line["discount_amounts"]) for line in made["lines"]["data"]] == [0, 500]


def test_a_discount_beyond_the_last_line_moves_forward() -> None:
    """500 off 501 lines of 1 takes no line below zero."""
    world = Machine()
    world.coupon("off", amount_off=500, currency="usd")
    for _ in range(501):
        world.post("invoiceitems", {"customer": "cus_1", "currency": "usd", "amount": 1})
    made = one_off(world, discounts=[{"coupon": "off"}], pending_invoice_items_behavior="include")
    assert made["total"] == 1
    assert (
        min(line["amount"] - sum(one["amount"] for one in line["discount_amounts"]) for line in made["lines"]["data"])
        == 0
    )


@pytest.mark.parametrize(
    ("duration", "totals"),
    [
        ({"duration": "once"}, [900, 1000, 1000, 1000]),
        ({"duration": "repeating", "duration_in_months": 2}, [900, 900, 1000, 1000]),
        ({"duration": "forever"}, [900, 900, 900, 900]),
    ],
)
def test_how_long_a_coupon_works(duration: Data, totals: list[int]) -> None:
    """Once is one invoice, repeating every invoice of its months, forever all of them."""
    world = Machine()
    world.coupon("ten", percent_off=10, **duration)
    made = sent(world, {"price": world.price("p", 1000)}, discounts=[{"coupon": "ten"}])
    world.to("2026-04-02")
    assert [one["total"] for one in world.invoices()] == totals
    assert bool(made["discounts"]) == (duration["duration"] != "once")


def test_a_proration_holds_its_discount() -> None:
    """A flexible credit takes back the 500 that were left of 1000 after a coupon of 50 %, so half of them in mid-month."""
    world = Machine("2026-04-01")
    world.coupon("half", percent_off=50)
    made = sent(world, {"price": world.price("p", 1000)}, discounts=[{"coupon": "half"}])
    world.to("2026-04-16")
    world.post("subscriptions/{id}", {"items": [{"id": made["items"]["data"][0]["id"], "quantity": 2}]}, id=made["id"])
    assert [item["amount"] for item in world.account.kind("invoiceitem").values()] == [-250, 500]


@pytest.mark.parametrize(("twice", "words"), [("ten", "more than once"), ("eur", "currency")])
def test_discounts_that_do_not_go_together(twice: str, words: str) -> None:
    """The same coupon twice, and a fixed one in another currency, are refused."""
    world = Machine()
    world.coupon("ten", percent_off=10)
    world.coupon("eur", amount_off=10, currency="eur")
    with pytest.raises(Refused, match=words):
        sent(world, {"price": world.price("p", 1000)}, discounts=[{"coupon": "ten"}, {"coupon": twice}])


def test_a_phase_brings_its_discounts() -> None:
    """A ramp whose first phase has 10 % off bills it there and not in the next phase."""
    world = Machine()
    world.price("p", 1000, "year")
    world.coupon("ten", percent_off=10)
    world.schedule(
        {"items": [{"price": "p"}], "duration": {"interval": "year"}, "discounts": [{"coupon": "ten"}]},
        {"items": [{"price": "p"}], "duration": {"interval": "year"}, "proration_behavior": "none"},
        default_settings=SEND,
    )
    world.to("2027-01-02")
    assert [one["total"] for one in world.invoices()] == [900, 1000]


def test_taxes_of_a_line() -> None:
    """Exclusive tax is added with a half rounded up (22.5 is 23), inclusive tax lies inside (10 % of 31 is 2.82, net 28.18)."""
    world = Machine()
    made = one_off(world, {"amount": 225, "tax_rates": [world.rate("ten", "10")]})
    assert (made["total"], made["total_taxes"][0]["amount"]) == (248, 23)
    held = one_off(world, {"amount": 3100, "tax_rates": [world.rate("inside", "10", inclusive=True)]})
    assert (held["total"], held["total_excluding_tax"], held["lines"]["data"][0]["taxes"][0]["amount"]) == (
        3100,
        2818,
        282,
    )


def test_an_exclusive_rate_on_an_inclusive_price() -> None:
    """With both on a line, the exclusive rate counts on the amount less the inclusive tax."""
    world = Machine()
    rates = [world.rate("inside", "10", inclusive=True), world.rate("five", "5")]
    made = one_off(world, {"amount": 1100, "tax_rates": rates})
    assert [tax["amount"] for tax in made["lines"]["data"][0]["taxes"]] == [100, 50]
    assert made["total"] == 1150


@pytest.mark.parametrize(("exempt", "reason"), [("exempt", "customer_exempt"), ("reverse", "reverse_charge")])
def test_exempt_customers(exempt: str, reason: str) -> None:
    """Exempt or with reverse charge there is no tax, and an inclusive 100 at 10 % drops to 90.91."""
    world = Machine()
    world.customer["tax_exempt"] = exempt
    made = one_off(world, {"amount": 10000, "tax_rates": [world.rate("inside", "10", inclusive=True)]})
    assert (made["total"], made["total_taxes"][0]["amount"], made["total_taxes"][0]["taxability_reason"]) == (
        9091,
        0,
        reason,
    )


def test_tax_rounded_once_for_an_invoice() -> None:
    """Three lines of 15 at 10 % are 2 + 2 + 2 = 6 line by line and 4.5, so 5, rounded once."""
    world = Machine()
    items = [{"amount": 15, "tax_rates": [world.rate("ten", "10")]}] * 3
    assert one_off(world, *items)["total"] == 51
    world.account.machine["tax_rounding"] = "invoice"
    assert one_off(world, *items)["total"] == 50


def test_default_rates_of_a_phase_and_of_an_item() -> None:
    """A phase's default rates hold for its items; the rates of an item replace them."""
    world = Machine()
    world.rate("ten", "10")
    world.schedule(
        {
            "items": [{"price": world.price("p", 1000)}, {"price": world.price("q", 1000), "tax_rates": [world.rate("five", "5")]}],
            "duration": {"interval": "year"}, "default_tax_rates": ["ten"],
        },
        default_settings=SEND,
    )  # fmt: skip
    assert world.invoices()[0]["total"] == 2150


def test_usage_is_billed_in_arrears() -> None:
    """Usage of January comes on the invoice of 1 February, by the meter's events inside the period."""
    world = Machine()
    world.add("billing.meter", "mtr_1", event_name="calls", default_aggregation={"formula": "sum"})
    world.price("m", 2, recurring={"interval": "month", "interval_count": 1, "usage_type": "metered", "meter": "mtr_1"})
    sent(world, {"price": "m"}, {"price": world.price("p", 1000)})
    for number, (moment, value) in enumerate((("2026-01-10", "40"), ("2026-01-31T23:59:59", "2"), ("2026-02-01", "7"))):
        payload = {"stripe_customer_id": "cus_1", "value": value}
        world.add("billing.meter_event", f"evt_{number}", event_name="calls", timestamp=at(moment), payload=payload)
    world.to("2026-03-02")
    assert [[line["amount"] for line in one["lines"]["data"]] for one in world.invoices()] == [
        [1000],
        [84, 1000],
        [14, 1000],
    ]
    usage = world.invoices()[1]["lines"]["data"][0]
    assert (usage["quantity"], day(usage["period"]["start"]), day(usage["period"]["end"])) == (
        42,
        "2026-01-01",
        "2026-02-01",
    )


def test_a_declined_card_is_tried_again() -> None:
    """A declined card leaves the invoice open and the subscription past due; tries follow after 3, 5 and 7 days, then no more."""
    world = Machine()
    world.card("0341")
    made = world.schedule({"items": [{"price": world.price("p", 1000, "year")}], "duration": {"interval": "year"}})
    world.wait(hours=2)
    (invoice,) = world.invoices()
    subscription = world.account.get("subscription", made["subscription"])
    assert (invoice["status"], invoice["attempt_count"], subscription["status"]) == ("open", 1, "past_due")
    assert day(invoice["next_payment_attempt"]) == "2026-01-04T01:00"
    world.to("2026-02-01")
    assert world.events("invoice.payment_failed") == [
        f"{moment} invoice.payment_failed"
        for moment in ("2026-01-01T01:00", "2026-01-04T01:00", "2026-01-09T01:00", "2026-01-16T01:00")
    ]
    assert (invoice["attempt_count"], invoice["next_payment_attempt"]) == (4, None)
    world.card()
    world.post("invoices/{id}/pay", id=invoice["id"])
    assert (invoice["status"], subscription["status"]) == ("paid", "active")


def test_a_request_to_pay_that_is_declined() -> None:
    """Paying with a card without funds is a card error, HTTP 402, with its decline code; without any card a plain refusal."""
    world = Machine()
    made = opened(world, {"amount": 1000})
    with pytest.raises(Refused) as caught:
        world.post("invoices/{id}/pay", id=made["id"])
    assert caught.value.status == 400
    world.card("9995")
    with pytest.raises(Refused) as caught:
        world.post("invoices/{id}/pay", id=made["id"])
    assert (caught.value.status, caught.value.kind, caught.value.more["decline_code"]) == (
        402,
        "card_error",
        "insufficient_funds",
    )


def test_a_card_that_asks_for_its_holder() -> None:
    """A card with 3-D Secure leaves the invoice open and says that an action is needed."""
    world = Machine()
    world.card("3184")
    world.schedule({"items": [{"price": world.price("p", 1000)}], "duration": {"interval": "year"}})
    world.wait(hours=2)
    assert len(world.events("invoice.payment_action_required")) == 1
    assert world.invoices()[0]["status"] == "open"


def test_a_first_invoice_that_is_not_paid() -> None:
    """A subscription whose first charge fails is incomplete and given up after 23 hours; with error_if_incomplete nothing is made."""
    world = Machine()
    world.card("0341")
    world.price("p", 1000)
    with pytest.raises(Refused) as caught:
        world.subscribe({"price": "p"}, payment_behavior="error_if_incomplete")
    assert caught.value.status == 402
    assert not world.account.kind("subscription")
    made = world.subscribe({"price": "p"})
    assert made["status"] == "incomplete"
    world.wait(hours=24)
    assert (made["status"], world.invoices()[0]["status"]) == ("incomplete_expired", "void")


def test_a_credit_note_on_an_open_invoice() -> None:
    """It reduces what is due; at nothing the invoice is paid; voided, it is due again; above the rest it is refused."""
    world = Machine()
    made = opened(world, {"amount": 1000})
    note = world.post("credit_notes", {"invoice": made["id"], "amount": 400})
    assert (made["amount_due"], made["amount_remaining"], note["type"], note["number"]) == (
        600,
        600,
        "pre_payment",
        "CUS1-0001-CN-01",
    )
    world.post("credit_notes/{id}/void", id=note["id"])
    assert (made["amount_due"], note["status"]) == (1000, "void")
    with pytest.raises(Refused, match="more than what is left"):
        world.post("credit_notes", {"invoice": made["id"], "amount": 1001})
    world.post("credit_notes", {"invoice": made["id"], "amount": 1000})
    assert (made["status"], made["amount_paid"]) == ("paid", 0)


def test_a_credit_note_on_a_paid_invoice() -> None:
    """Refund, credit and money given back outside must come to its total; each does what it says."""
    world = Machine()
    made = paid(world, {"amount": 1000})
    with pytest.raises(Refused, match="must equal"):
        world.post("credit_notes", {"invoice": made["id"], "amount": 600, "refund_amount": 100})
    note = world.post(
        "credit_notes",
        {"invoice": made["id"], "amount": 600, "refund_amount": 300, "credit_amount": 200, "out_of_band_amount": 100},
    )
    assert (note["type"], note["post_payment_amount"], world.customer["balance"]) == ("post_payment", 600, -200)
    refund = world.account.get("refund", note["refunds"][0]["refund"])
    assert (refund["amount"], made["post_payment_credit_notes_amount"], made["status"]) == (300, 600, "paid")


def test_a_credit_note_takes_discount_and_tax_along() -> None:
    """Crediting a line in two halves gives back its discount and tax to the cent."""
    world = Machine()
    world.coupon("ten", percent_off=10)
    made = opened(world, {"amount": 1005, "tax_rates": [world.rate("tax", "7.7")]}, discounts=[{"coupon": "ten"}])
    line = made["lines"]["data"][0]["id"]
    notes = [
        world.post(
            "credit_notes",
            {
                "invoice": made["id"],
                "lines": [{"type": "invoice_line_item", "invoice_line_item": line, "amount": amount}],
            },
        )
        for amount in (503, 502)
    ]
    assert sum(note["total"] for note in notes) == made["total"]
    assert made["status"] == "paid"


def test_a_refund_and_a_dispute_in_the_dashboard() -> None:
    """A refund shows on the charge; a dispute stands until it is won or lost, and a disputed charge is not refunded."""
    world = Machine()
    made = paid(world, {"amount": 1000})
    refund = control.refund(world.account, made["id"], amount=250)
    charge = world.account.get("charge", refund["charge"])
    assert (charge["amount_refunded"], charge["refunded"]) == (250, False)
    dispute = control.dispute(world.account, made["id"])
    with pytest.raises(Refused, match="charged back"):
        world.post("refunds", {"payment_intent": charge["payment_intent"]})
    control.close_dispute(world.account, dispute["id"], is_won=True)
    rest = world.post("refunds", {"payment_intent": charge["payment_intent"]})
    assert (rest["amount"], charge["refunded"]) == (750, True)
    assert [one["type"] for one in world.account.events if "dispute" in one["type"]] == [
        "charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated", "charge.dispute.closed",
    ]  # fmt: skip


def test_the_customer_pays_on_the_hosted_page() -> None:
    """A sent invoice that its customer pays is paid by a charge; the overdue subscription is active again."""
    world = Machine()
    made = sent(world, {"price": world.price("p", 1000, "year")})
    world.to("2026-02-15")
    (invoice,) = world.invoices()
    assert made["status"] == "past_due"
    control.pay(world.account, invoice["id"])
    assert (invoice["status"], made["status"], len(world.account.kind("charge"))) == ("paid", "active", 1)


def test_an_invoice_is_voided_or_given_up() -> None:
    """A voided invoice gives the balance back that it had used; an uncollectible one can still be paid."""
    world = Machine()
    world.customer["balance"] = -300
    made = opened(world, {"amount": 1000})
    assert (made["amount_due"], world.customer["balance"]) == (700, 0)
    world.post("invoices/{id}/void", id=made["id"])
    assert (made["status"], world.customer["balance"]) == ("void", -300)
    other = opened(world, {"amount": 1000})
    world.post("invoices/{id}/mark_uncollectible", id=other["id"])
    world.post("invoices/{id}/pay", {"paid_out_of_band": True}, id=other["id"])
    assert other["status"] == "paid"
    with pytest.raises(Refused, match="void"):
        world.post("invoices/{id}/void", id=other["id"])


def test_a_preview_leaves_no_trace() -> None:
    """A preview shows the next invoice with its prorations, and neither items nor invoices nor events remain of it."""
    world = Machine("2026-04-01")
    made = sent(world, {"price": world.price("p", 1000)})
    world.to("2026-04-16")
    count = len(world.account.events)
    change = {"items": [{"id": made["items"]["data"][0]["id"], "quantity": 3}], "proration_date": at("2026-04-16")}
    shown = world.post("invoices/create_preview", {"subscription": made["id"], "subscription_details": change})
    assert [line["amount"] for line in shown["lines"]["data"]] == [3000, -500, 1500]
    assert (shown["status"], shown["total"], day(shown["created"])) == ("draft", 4000, "2026-05-01")
    assert (len(world.account.events), len(world.invoices()), world.account.kind("invoiceitem")) == (count, 1, {})
    assert made["items"]["data"][0]["quantity"] == 1
    now = world.post(
        "invoices/create_preview",
        {"subscription": made["id"], "subscription_details": {**change, "proration_behavior": "always_invoice"}},
    )
    assert (now["total"], now["billing_reason"]) == (1000, "subscription_update")


def test_a_preview_of_a_schedule_that_has_not_begun() -> None:
    """The preview of a future schedule is its first invoice."""
    world = Machine("2026-04-01")
    made = world.schedule(
        {"items": [{"price": world.price("p", 1000)}], "duration": {"interval": "year"}},
        start=at("2026-06-01"),
        default_settings=SEND,
    )
    shown = world.post("invoices/create_preview", {"schedule": made["id"]})
    assert (shown["total"], day(shown["created"])) == (1000, "2026-06-01")
    assert made["status"] == "not_started"


def test_the_cost_does_not_grow_with_history() -> None:
    """The tenth year of a monthly schedule takes about as long as the first."""
    world = Machine("2020-01-01")
    world.price("p", 1000)
    for _ in range(3):
        world.schedule(
            {"items": [{"price": "p"}], "duration": {"interval": "year", "interval_count": 20}}, default_settings=SEND
        )
    spent = []
    for year in range(2021, 2031):
        begun = time.perf_counter()
        world.to(f"{year}-01-01")
        spent.append(time.perf_counter() - begun)
    assert len(world.invoices()) == 363
    assert min(spent[7:]) < 5 * min(spent[:3])
