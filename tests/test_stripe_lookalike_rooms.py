"""Customers, catalogue, offers, payment methods and meters of the Stripe look-alike, met by the real SDK."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import stripe
import typing_extensions

from connector.lookalike.stripe import params as typing_room
from connector.lookalike.stripe.account import ENDPOINTS
from tests.stripe_server_world import StripeWorld, seconds

MONTHLY: Any = {"interval": "month"}


@pytest.fixture(scope="module")
def world() -> Iterator[StripeWorld]:
    with StripeWorld("2026-03-01T12:00:00") as made:
        yield made


def refused(caught: pytest.ExceptionInfo[stripe.StripeError]) -> tuple[int | None, str | None, str | None]:
    """Return (status, code, param) of a refusal."""
    error = caught.value.error
    return caught.value.http_status, error.code if error else None, error.param if error else None


# -- the types of the SDK -----------------------------------------------------------------------------------------------------


def test_every_parameter_class_of_an_endpoint_can_be_read() -> None:
    """Every endpoint names a class of the SDK, and every annotation in it, at any depth, has a reader."""
    seen: set[Any] = set()

    def walk(cls: Any) -> None:
        if cls in seen:
            return
        seen.add(cls)
        for meant in typing_room._fields(cls)[0].values():
            typing_room._of(meant)
            todo = [meant]
            while todo:
                one = todo.pop()
                if typing_extensions.is_typeddict(one):
                    walk(one)
                elif typing.get_origin(one) is not typing.Literal:
                    todo += typing.get_args(one)

    for _, name in ENDPOINTS.values():
        assert name, "the SDK types every call"
        walk(typing_room._class(name))
    assert len(seen) > 500


# -- customers ----------------------------------------------------------------------------------------------------------------


def test_a_customer_is_made_changed_and_deleted(world: StripeWorld) -> None:
    """A customer keeps what it is given; metadata is merged, an empty value takes a key away; a deleted one says so and is nobody."""
    v1 = world.v1
    made = v1.customers.create({
        "name": "Acme", "email": "billing@acme.example", "address": {"country": "FR", "city": "Lyon"}, "metadata": {"a": "1", "b": "2"},
        "tax_exempt": "reverse", "preferred_locales": ["fr"], "tax_id_data": [{"type": "eu_vat", "value": "FR40303265045"}],
    })  # fmt: skip
    assert (made.name, made.address.city, made.balance, made.tax_exempt) == ("Acme", "Lyon", 0, "reverse")  # type: ignore[union-attr]
    assert made.invoice_prefix
    changed = v1.customers.update(made.id, {"metadata": {"a": "", "c": "3"}, "address": ""})
    assert changed.metadata is not None
    assert (changed.metadata.to_dict(), changed.address) == ({"b": "2", "c": "3"}, None)
    assert v1.customers.update(made.id, {"metadata": ""}).metadata.to_dict() == {}  # type: ignore[union-attr]
    shown = v1.customers.retrieve(made.id, {"expand": ["tax_ids"]})
    assert [(one.type, one.value, one.country) for one in shown.tax_ids.data] == [("eu_vat", "FR40303265045", "FR")]  # type: ignore[union-attr]
    assert v1.customers.delete(made.id).deleted is True
    assert v1.customers.retrieve(made.id).deleted is True
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.customers.update(made.id, {"name": "Again"})
    assert refused(caught) == (404, "resource_missing", "id")


def test_customers_are_found_by_their_email(world: StripeWorld) -> None:
    """A list by e-mail is exact, also in upper and lower case."""
    made = world.v1.customers.create({"email": "Find@acme.example"})
    assert [one.id for one in world.v1.customers.list({"email": "Find@acme.example"}).data] == [made.id]
    assert world.v1.customers.list({"email": "find@acme.example"}).data == []


def test_tax_ids_come_and_go(world: StripeWorld) -> None:
    """A customer's tax ids are made, listed and deleted; a misshapen EU VAT id is refused."""
    v1, id_ = world.v1, world.v1.customers.create({"name": "Taxed"}).id
    made = v1.customers.tax_ids.create(id_, {"type": "gb_vat", "value": "GB123456789"})
    assert [one.id for one in v1.customers.tax_ids.list(id_).data] == [made.id]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.customers.tax_ids.create(id_, {"type": "eu_vat", "value": "none"})
    assert refused(caught)[1] == "tax_id_invalid"
    assert v1.customers.tax_ids.delete(id_, made.id).deleted is True
    assert v1.customers.tax_ids.list(id_).data == []


def test_an_invoice_prefix_belongs_to_one_customer(world: StripeWorld) -> None:
    """A prefix is capitals and digits, and no two customers have the same."""
    world.v1.customers.create({"name": "First", "invoice_prefix": "ACME1"})
    for wrong in ("ACME1", "acme", "A"):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            world.v1.customers.create({"name": "Second", "invoice_prefix": wrong})
        assert refused(caught)[2] == "invoice_prefix"


def test_a_balance_moves_by_transactions(world: StripeWorld) -> None:
    """A negative transaction is a credit; each says where the balance stands after it; another currency is refused."""
    v1, id_ = world.v1, world.v1.customers.create({"name": "Balanced"}).id
    first = v1.customers.balance_transactions.create(id_, {"amount": -500, "currency": "eur", "description": "goodwill", "metadata": {"k": "v"}})
    assert (first.amount, first.ending_balance, first.type, first.description) == (-500, -500, "adjustment", "goodwill")
    v1.customers.balance_transactions.create(id_, {"amount": 200, "currency": "eur"})
    customer = v1.customers.retrieve(id_)
    assert (customer.balance, customer.currency) == (-300, "eur")
    assert [one.amount for one in v1.customers.balance_transactions.list(id_).data] == [200, -500]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.customers.balance_transactions.create(id_, {"amount": 1, "currency": "usd"})
    assert refused(caught)[2] == "currency"


# -- products and prices ------------------------------------------------------------------------------------------------------


def test_a_product_may_bring_its_id_once(world: StripeWorld) -> None:
    """Under an id of one's own a second product is refused with resource_already_exists."""
    made = world.v1.products.create({"id": "cn_gold", "name": "Gold", "unit_label": "seat"})
    assert (made.id, made.active, made.type) == ("cn_gold", True, "service")
    with pytest.raises(stripe.InvalidRequestError) as caught:
        world.v1.products.create({"id": "cn_gold", "name": "Gold"})
    assert refused(caught) == (400, "resource_already_exists", "id")


def test_a_product_with_prices_cannot_be_deleted(world: StripeWorld) -> None:
    """A product goes only while it has no price; it can be made inactive, and lists tell the two apart."""
    v1 = world.v1
    product = v1.products.create({"name": "Kept", "default_price_data": {"currency": "usd", "unit_amount": 100}})
    assert product.default_price is not None
    with pytest.raises(stripe.InvalidRequestError):
        v1.products.delete(product.id)
    v1.products.update(product.id, {"active": False})
    assert product.id in [one.id for one in v1.products.list({"active": False}).data]
    bare = v1.products.create({"name": "Bare"})
    assert v1.products.delete(bare.id).deleted is True


def test_a_lookup_key_stands_on_one_price(world: StripeWorld) -> None:
    """A lookup key finds its price; a second price gets it only by transfer_lookup_key, which takes it from the first."""
    v1 = world.v1
    first = v1.prices.create({"product_data": {"name": "Keyed"}, "currency": "usd", "unit_amount": 100, "recurring": MONTHLY, "lookup_key": "k"})
    assert [one.id for one in v1.prices.list({"lookup_keys": ["k", "other"]}).data] == [first.id]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.prices.create({"product": str(first.product), "currency": "usd", "unit_amount": 200, "lookup_key": "k"})
    assert refused(caught) == (400, "resource_already_exists", "lookup_key")
    with pytest.raises(stripe.InvalidRequestError):
        v1.prices.create({"product_data": {"name": "Half"}, "currency": "usd", "unit_amount": 200, "lookup_key": "k"})
    assert "Half" not in [one.name for one in v1.products.list({"limit": 100}).data]
    second = v1.prices.create({"product": str(first.product), "currency": "usd", "unit_amount": 200, "lookup_key": "k", "transfer_lookup_key": True})
    assert [one.id for one in v1.prices.list({"lookup_keys": ["k"]}).data] == [second.id]
    assert v1.prices.retrieve(first.id).lookup_key is None


def test_prices_are_exact(world: StripeWorld) -> None:
    """A sub-cent price keeps its decimals and has no whole amount; a whole one has both."""
    price = world.v1.prices.create({"product_data": {"name": "Sub"}, "currency": "usd", "unit_amount_decimal": Decimal("0.055")})
    assert (price.unit_amount, price.unit_amount_decimal, price.type) == (None, Decimal("0.055"), "one_time")
    price = world.v1.prices.create({"product_data": {"name": "Whole"}, "currency": "USD", "unit_amount_decimal": Decimal("5.00"), "recurring": MONTHLY})
    assert (price.unit_amount, price.unit_amount_decimal, price.currency) == (5, Decimal(5), "usd")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"unit_amount": 1, "recurring": {"interval": "month", "interval_count": 37}}, "recurring[interval_count]"),
        ({"unit_amount": 1, "recurring": {"interval": "year", "interval_count": 4}}, "recurring[interval_count]"),
        ({"unit_amount": 1, "recurring": {"interval": "month", "usage_type": "metered"}}, "recurring[meter]"),
        ({"unit_amount": 1, "unit_amount_decimal": Decimal(1)}, "unit_amount"),
        ({"unit_amount": -1}, "unit_amount"),
        ({}, "unit_amount"),
        ({"unit_amount": 1, "currency": "xyz"}, "currency"),
        ({"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": [{"up_to": 5, "unit_amount": 1}]}, "tiers[0][up_to]"),
        ({"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": [{"up_to": 5, "unit_amount": 1}, {"up_to": 5, "unit_amount": 1}, {"up_to": "inf", "unit_amount": 1}]}, "tiers[1][up_to]"),
        ({"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": [{"up_to": "inf"}]}, "tiers[0][unit_amount]"),
        ({"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": [{"up_to": "inf", "unit_amount": 1}], "transform_quantity": {"divide_by": 2, "round": "up"}}, "transform_quantity"),
        ({"unit_amount": 1, "product": "prod_nobody", "product_data": None}, "product"),
    ],
)  # fmt: skip
def test_prices_that_stripe_does_not_have_are_refused(world: StripeWorld, fields: dict[str, Any], param: str) -> None:
    """Intervals over three years, metered prices without a meter, amounts twice or never, broken tiers: each a 400 with its parameter."""
    with pytest.raises(stripe.InvalidRequestError) as caught:
        world.v1.prices.create({"currency": "usd", "product_data": {"name": "Never"}, **fields})  # type: ignore[typeddict-item]
    assert refused(caught)[2] == param


# -- offers -------------------------------------------------------------------------------------------------------------------


def test_coupons_are_made_once_and_change_only_by_name(world: StripeWorld) -> None:
    """A coupon under an id of one's own is made once; its products show where they are asked for; deleting takes it away."""
    v1 = world.v1
    product = v1.products.create({"name": "Discounted"})
    made = v1.coupons.create({"id": "cn_ten", "percent_off": 12.5, "duration": "repeating", "duration_in_months": 3, "applies_to": {"products": [product.id]}})
    assert (made.percent_off, made.duration_in_months, made.valid) == (12.5, 3, True)
    assert "applies_to" not in made
    assert v1.coupons.retrieve("cn_ten", {"expand": ["applies_to"]}).applies_to.products == [product.id]  # type: ignore[union-attr]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.coupons.create({"id": "cn_ten", "percent_off": 10})
    assert refused(caught) == (400, "resource_already_exists", "id")
    assert v1.coupons.update("cn_ten", {"name": "Ten"}).name == "Ten"
    assert v1.coupons.delete("cn_ten").deleted is True
    with pytest.raises(stripe.InvalidRequestError):
        v1.coupons.retrieve("cn_ten")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "percent_off"),
        ({"percent_off": 10, "amount_off": 5, "currency": "usd"}, "percent_off"),
        ({"percent_off": 101}, "percent_off"),
        ({"amount_off": 5}, "currency"),
        ({"percent_off": 10, "duration": "repeating"}, "duration_in_months"),
        ({"percent_off": 10, "name": "x" * 41}, "name"),
    ],
)
def test_coupons_that_stripe_does_not_have_are_refused(world: StripeWorld, fields: Any, param: str) -> None:
    """A coupon takes off a share or an amount in a currency, and repeats for a number of months."""
    with pytest.raises(stripe.InvalidRequestError) as caught:
        world.v1.coupons.create(fields)
    assert refused(caught)[2] == param


def test_promotion_codes_stand_for_coupons(world: StripeWorld) -> None:
    """A code is found in any case, and an active one is not made twice."""
    v1 = world.v1
    coupon = v1.coupons.create({"percent_off": 10})
    made = v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "SPRING"})
    assert [one.id for one in v1.promotion_codes.list({"code": "spring"}).data] == [made.id]
    with pytest.raises(stripe.InvalidRequestError):
        v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "Spring"})
    assert v1.promotion_codes.update(made.id, {"active": False}).active is False


def test_tax_rates_keep_their_percentage(world: StripeWorld) -> None:
    """A rate has at most four decimals; its name may change, its percentage not."""
    rate = world.v1.tax_rates.create({"display_name": "TVA", "percentage": 5.5, "inclusive": False, "country": "FR", "metadata": {"k": "v"}})
    assert (rate.percentage, rate.inclusive, rate.active) == (5.5, False, True)
    assert world.v1.tax_rates.update(rate.id, {"active": False}).active is False
    assert rate.id in [one.id for one in world.v1.tax_rates.list({"active": False}).data]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        world.v1.tax_rates.create({"display_name": "Odd", "percentage": 5.12345, "inclusive": False})
    assert refused(caught)[2] == "percentage"


# -- payment methods ----------------------------------------------------------------------------------------------------------


def test_test_cards_are_attached_listed_and_detached(world: StripeWorld) -> None:
    """A test card becomes the customer's own, can be its default, and is no default any more once detached."""
    v1, id_ = world.v1, world.v1.customers.create({"name": "Payer"}).id
    card = v1.payment_methods.attach("pm_card_visa", {"customer": id_})
    assert card.card is not None
    assert (card.type, card.card.last4, card.customer) == ("card", "4242", id_)
    v1.customers.update(id_, {"invoice_settings": {"default_payment_method": card.id}})
    assert [one.id for one in v1.customers.payment_methods.list(id_).data] == [card.id]
    assert [one.id for one in v1.payment_methods.list({"customer": id_, "type": "card"}).data] == [card.id]
    v1.payment_methods.detach(card.id)
    assert v1.customers.retrieve(id_).invoice_settings.default_payment_method is None  # type: ignore[union-attr]
    assert v1.payment_methods.list({"customer": id_}).data == []


def test_a_default_must_be_the_customers_own(world: StripeWorld) -> None:
    """A payment method of nobody, or of another customer, cannot be a customer's default."""
    other = world.v1.payment_methods.attach("pm_card_visa", {"customer": world.v1.customers.create({}).id})
    customer = world.v1.customers.create({"name": "Mine"})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        world.v1.customers.update(customer.id, {"name": "Lost", "invoice_settings": {"default_payment_method": other.id}})
    assert refused(caught)[1] == "resource_missing"
    assert world.v1.customers.retrieve(customer.id).name == "Mine"


def test_a_declined_card_cannot_be_attached(world: StripeWorld) -> None:
    """A card that is always declined is a 402 when it is attached; the one that fails when charged can be attached."""
    id_ = world.v1.customers.create({"name": "Declined"}).id
    with pytest.raises(stripe.CardError) as caught:
        world.v1.payment_methods.attach("pm_card_chargeDeclined", {"customer": id_})
    assert (caught.value.http_status, caught.value.code) == (402, "card_declined")
    fails = world.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": id_})
    assert fails.card.last4 == "0341"  # type: ignore[union-attr]


def test_a_customer_may_come_with_a_payment_method(world: StripeWorld) -> None:
    """payment_method at creation is attached, and may be its default under the same name; one that does not exist leaves no customer behind."""
    made = world.v1.customers.create({"name": "With card", "payment_method": "pm_card_visa"})
    assert len(world.v1.payment_methods.list({"customer": made.id}).data) == 1
    default: Any = {"default_payment_method": "pm_card_visa"}
    with_default = world.v1.customers.create({"payment_method": "pm_card_visa", "invoice_settings": default})
    (card,) = world.v1.payment_methods.list({"customer": with_default.id}).data
    assert with_default.invoice_settings.default_payment_method == card.id  # type: ignore[union-attr]
    before = len(world.account.kind("customer"))
    with pytest.raises(stripe.InvalidRequestError):
        world.v1.customers.create({"name": "Without", "payment_method": "pm_nobody"})
    assert len(world.account.kind("customer")) == before


def test_payment_methods_are_made_from_tokens(world: StripeWorld) -> None:
    """A card token or an IBAN makes a payment method that belongs to nobody yet."""
    card = world.v1.payment_methods.create({"type": "card", "card": {"token": "tok_mastercard"}})
    assert (card.card.brand, card.customer) == ("mastercard", None)  # type: ignore[union-attr]
    debit = world.v1.payment_methods.create({
        "type": "sepa_debit", "sepa_debit": {"iban": "DE89370400440532013000"}, "billing_details": {"name": "A", "email": "a@b.example"},
    })  # fmt: skip
    assert (debit.sepa_debit.last4, debit.billing_details.name) == ("3000", "A")  # type: ignore[union-attr]


# -- meters -------------------------------------------------------------------------------------------------------------------


def meter(world: StripeWorld, name: str, formula: Any = "sum") -> str:
    """Make a meter; return its id."""
    return world.v1.billing.meters.create({"display_name": name, "event_name": name, "default_aggregation": {"formula": formula}}).id


@pytest.mark.parametrize(("formula", "total"), [("sum", 7.5), ("count", 3), ("last", 4)])
def test_usage_is_added_up(world: StripeWorld, formula: str, total: float) -> None:
    """A meter sums, counts, or takes the last value of a customer's events in [start, end)."""
    id_, customer = meter(world, f"api_{formula}", formula), world.v1.customers.create({}).id
    for at, value in (("2026-02-10", "1.5"), ("2026-02-27", "4"), ("2026-02-20", "2"), ("2026-03-01", "9")):
        world.v1.billing.meter_events.create({
            "event_name": f"api_{formula}", "payload": {"stripe_customer_id": customer, "value": value}, "timestamp": seconds(at),
        })  # fmt: skip
    found = world.v1.billing.meters.event_summaries.list(id_, {"customer": customer, "start_time": seconds("2026-02-01"), "end_time": seconds("2026-03-01")})
    assert [one.aggregated_value for one in found.data] == [total]


def test_usage_by_day_is_listed_newest_first(world: StripeWorld) -> None:
    """A window of a day gives one sum for each day with usage."""
    id_, customer = meter(world, "daily"), world.v1.customers.create({}).id
    for at in ("2026-02-10T10:00", "2026-02-10T11:00", "2026-02-12"):
        world.v1.billing.meter_events.create({"event_name": "daily", "payload": {"stripe_customer_id": customer, "value": "1"}, "timestamp": seconds(at)})
    found = world.v1.billing.meters.event_summaries.list(id_, {
        "customer": customer, "start_time": seconds("2026-02-01"), "end_time": seconds("2026-03-01"), "value_grouping_window": "day",
    })  # fmt: skip
    assert [(one.start_time, one.aggregated_value) for one in found.data] == [(seconds("2026-02-12"), 1), (seconds("2026-02-10"), 2)]


def test_usage_that_cannot_count_is_refused(world: StripeWorld) -> None:
    """No such meter, too old, too far ahead, nobody, no number, the same identifier again within a day: each is refused by code."""
    meter(world, "strict")
    customer = world.v1.customers.create({}).id
    payload = {"stripe_customer_id": customer, "value": "1"}
    good = {"event_name": "strict", "payload": payload, "identifier": "u-1"}
    world.v1.billing.meter_events.create(good)  # type: ignore[arg-type]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"event_name": "nothing"}, "no_meter"),
        ({"timestamp": seconds("2026-01-20")}, "timestamp_too_far_in_past"),
        ({"timestamp": seconds("2026-03-01T12:06:00")}, "timestamp_in_future"),
        ({"payload": {"stripe_customer_id": "cus_nobody", "value": "1"}}, "meter_event_customer_not_found"),
        ({"payload": {"stripe_customer_id": customer, "value": "many"}}, "meter_event_invalid_value"),
        ({"payload": {"value": "1"}}, "meter_event_no_customer_defined"),
        ({}, "duplicate_meter_event"),
    ]
    for change, code in wrong:
        with pytest.raises(stripe.InvalidRequestError) as caught:
            world.v1.billing.meter_events.create({**good, **change})  # type: ignore[typeddict-item]
        assert refused(caught)[1] == code
    world.v1.billing.meter_event_adjustments.create({"event_name": "strict", "type": "cancel", "cancel": {"identifier": "u-1"}})
    with pytest.raises(stripe.InvalidRequestError):
        world.v1.billing.meter_event_adjustments.create({"event_name": "strict", "type": "cancel", "cancel": {"identifier": "u-1"}})


def test_the_name_of_events_belongs_to_one_active_meter(world: StripeWorld) -> None:
    """A second active meter of the same events is refused; after deactivation there may be one."""
    first = meter(world, "unique")
    with pytest.raises(stripe.InvalidRequestError):
        meter(world, "unique")
    assert world.v1.billing.meters.deactivate(first).status == "inactive"
    meter(world, "unique")
    with pytest.raises(stripe.InvalidRequestError):
        world.v1.billing.meters.reactivate(first)
