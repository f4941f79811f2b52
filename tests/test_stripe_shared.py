"""Shared objects are found before they are made, and calls that nobody answered are found by our mark or by their state."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from stripe_wire import RecordingHttp

from connector.billing.stripe_backend.client import StripeCalls
from connector.billing.stripe_backend.compiling.people import known_rate_step, rate_key, rate_step
from connector.billing.stripe_backend.lookup import found
from connector.billing.stripe_backend.refusals import Answer, Refusal, meant
from connector.billing.stripe_backend.shared import existing, find_or_make
from connector.billing.stripe_backend.steps import Step
from connector.core.terms import TaxRate
from connector.errors import InvariantError, RejectedError, RetryableError


def talking(*replies: Any) -> tuple[StripeCalls, RecordingHttp]:
    wire = RecordingHttp(*replies)
    return StripeCalls("sk_test_1234567890", http_client=wire), wire


def page(*objects: Mapping[str, Any]) -> tuple[int, Any]:
    return 200, {"object": "list", "url": "/v1/x", "has_more": False, "data": list(objects)}


def no(code: str, message: str = "", status: int = 400) -> tuple[int, Any]:
    return status, {"error": {"type": "invalid_request_error", "code": code, "message": message}}


GONE = no("resource_missing", "No such thing", 404)


def step(kind: str, call: str, params: Mapping[str, Any], key: str = "k") -> Step:
    return Step(name=f"{kind}-1", call=call, params=params, shared=(kind, key))


PRODUCT = step("product", "products.create", {"id": "cn_gold", "name": "Gold"})
COUPON = step("coupon", "coupons.create", {"id": "cn_10", "percent_off": 10.0, "duration": "forever"})
PRICE = step("price", "prices.create", {"currency": "eur", "product": "cn_gold", "unit_amount_decimal": Decimal("12.50"), "recurring": {"interval": "month", "interval_count": 1}, "lookup_key": "cn_p1"}, "cn_p1")
RATE = step("tax_rate", "tax_rates.create", {"display_name": "VAT", "percentage": 19.0, "inclusive": False, "metadata": {"connector_key": "vat-19"}}, "vat-19")
CUSTOMER = step("customer", "customers.create", {"name": "Acme", "email": "a@acme.example", "metadata": {"connector_customer": "C-1"}}, "C-1")
METER = step("meter", "billing.meters.create", {"display_name": "API", "event_name": "api", "default_aggregation": {"formula": "sum"}}, "api")


def test_a_product_is_made_at_once_and_found_where_it_is_there() -> None:
    """An object whose id is ours costs one call when it is new, and is fetched when Stripe says that it exists."""
    calls, wire = talking((200, {"id": "cn_gold", "object": "product"}))
    assert find_or_make(calls, PRODUCT, "d/p")["id"] == "cn_gold"
    assert [(s.method, s.path, s.key) for s in wire.sent] == [("post", "/v1/products", "d/p")]
    calls, wire = talking(no("resource_already_exists", "Product already exists."), (200, {"id": "cn_gold", "object": "product", "active": True, "name": "Renamed"}))
    assert find_or_make(calls, PRODUCT, "d/p")["name"] == "Renamed"
    assert [s.method for s in wire.sent] == ["post", "get"]


def test_an_object_with_our_key_and_other_content_is_refused() -> None:
    """A coupon of our id with another percentage, a tax rate or price with other figures: never used, and told what differs."""
    calls, _ = talking(no("resource_already_exists"), (200, {"id": "cn_10", "object": "coupon", "percent_off": 15.0, "duration": "forever"}))
    with pytest.raises(RejectedError, match=r"percent_off is 15\.0, wanted 10\.0"):
        find_or_make(calls, COUPON, "k")
    calls, _ = talking(page({"id": "txr_1", "object": "tax_rate", "percentage": 16.0, "inclusive": False, "metadata": {"connector_key": "vat-19"}}))
    with pytest.raises(RejectedError, match=r"percentage is 16\.0"):
        find_or_make(calls, RATE, "k")
    other = {"id": "price_1", "object": "price", "active": True, "currency": "eur", "unit_amount_decimal": "13", "product": "cn_gold", "recurring": {"interval": "month", "interval_count": 1}}
    calls, wire = talking(page(other))
    with pytest.raises(RejectedError) as caught:
        find_or_make(calls, PRICE, "k")
    assert caught.value.problem.code == "stripe-object-differs"
    assert "unit_amount is 13, wanted 12.50" in caught.value.problem.hint
    assert len(wire.sent) == 1
    calls, _ = talking(no("resource_already_exists"), (200, {"id": "cn_gold", "object": "product", "active": False}))
    with pytest.raises(RejectedError, match="archived"):
        find_or_make(calls, PRODUCT, "k")


def test_a_price_is_found_by_its_lookup_key() -> None:
    """A price with our lookup key and the same figures is used, however its number is written, and none is made."""
    same = {"id": "price_1", "object": "price", "active": True, "currency": "eur", "unit_amount_decimal": "12.5", "product": "cn_gold", "recurring": {"interval": "month", "interval_count": 1}}
    calls, wire = talking(page(same))
    assert find_or_make(calls, PRICE, "k")["id"] == "price_1"
    assert wire.sent[0].fields[0] == ("lookup_keys[0]", "cn_p1")


def test_a_price_made_by_another_process_meanwhile_is_used() -> None:
    """The slower of two that make the same price is told that the key is taken, and looks again."""
    same = {"id": "price_1", "object": "price", "active": True, "currency": "eur", "unit_amount_decimal": "12.5", "product": "cn_gold", "recurring": {"interval": "month", "interval_count": 1}}
    calls, wire = talking(page(), no("", "A price (`price_1`) already uses that lookup key."), page(same))
    assert find_or_make(calls, PRICE, "k")["id"] == "price_1"
    assert [s.method for s in wire.sent] == ["get", "post", "get"]


def test_an_archived_price_is_made_anew() -> None:
    """An archived price is in no list but keeps its lookup key: a new one takes that along, under a key of its own."""
    taken = no("resource_already_exists", "A price (`price_1`) already uses that lookup key.")
    calls, wire = talking(page(), taken, page(), (200, {"id": "price_2", "object": "price"}))
    assert find_or_make(calls, PRICE, "k")["id"] == "price_2"
    assert ("active", "true") in wire.sent[0].fields
    assert [s.key for s in wire.sent if s.method == "post"] == ["k", "k/t"]
    assert ("transfer_lookup_key", "true") in wire.sent[3].fields


def test_a_price_of_ours_moves_with_its_product() -> None:
    """Where another product is used now than the price's, the price is made anew for that; somebody else's price is refused."""
    base = {"object": "price", "active": True, "currency": "eur", "unit_amount_decimal": "12.5", "recurring": {"interval": "month", "interval_count": 1}}
    ours = {**base, "id": "price_1", "product": "prod_old", "metadata": {"connector_price": "cn_p1"}}
    calls, wire = talking(page(ours), (200, {"id": "price_2", "object": "price"}))
    assert find_or_make(calls, PRICE, "k")["id"] == "price_2"
    assert {("transfer_lookup_key", "true"), ("product", "cn_gold")} <= set(wire.sent[1].fields)
    calls, _ = talking(page({**ours, "metadata": {}}))
    with pytest.raises(RejectedError, match="product is prod_old, wanted cn_gold"):
        find_or_make(calls, PRICE, "k")


def test_a_price_that_runs_already_and_was_archived_is_made_as_it_was() -> None:
    """A step that names a price alone finds an archived one by its former id, or by its lookup key, and makes the same again."""
    named = step("price", "prices.create", {"lookup_key": "cn_p1"}, "cn_p1")
    tiers = [{"up_to": 5, "unit_amount": 700, "unit_amount_decimal": "700", "flat_amount": None}, {"up_to": None, "unit_amount": None, "unit_amount_decimal": "0.5", "flat_amount": 10, "flat_amount_decimal": "10"}]
    base = {"object": "price", "active": False, "currency": "eur", "product": "prod_1", "recurring": {"interval": "month", "interval_count": 3, "usage_type": "licensed", "meter": None}}
    plain = {**base, "id": "price_1", "billing_scheme": "per_unit", "unit_amount": 2000, "unit_amount_decimal": "2000", "tax_behavior": "exclusive", "nickname": "Seat"}
    tiered = {**base, "id": "price_1", "billing_scheme": "tiered", "tiers_mode": "volume", "tiers": tiers, "tax_behavior": "unspecified"}
    calls, wire = talking(page(), (200, plain), (200, {"id": "price_2", "object": "price"}))
    assert find_or_make(calls, named, "k", "price_1")["id"] == "price_2"
    assert wire.sent[1].path == "/v1/prices/price_1"
    assert set(wire.sent[2].fields) == {
        ("currency", "eur"), ("product", "prod_1"), ("lookup_key", "cn_p1"), ("transfer_lookup_key", "true"), ("nickname", "Seat"),
        ("metadata[connector_price]", "cn_p1"), ("tax_behavior", "exclusive"), ("recurring[interval]", "month"),
        ("recurring[interval_count]", "3"), ("recurring[usage_type]", "licensed"), ("unit_amount", "2000"),
    }  # fmt: skip
    calls, wire = talking(page(), page(tiered), (200, {"id": "price_2", "object": "price"}))
    assert find_or_make(calls, named, "k")["id"] == "price_2"
    assert ("active", "false") in wire.sent[1].fields
    assert {("tiers[0][up_to]", "5"), ("tiers[1][up_to]", "inf"), ("tiers[1][unit_amount_decimal]", "0.5"), ("tiers[1][flat_amount]", "10")} <= set(wire.sent[2].fields)
    calls, _ = talking(page(), page())
    with pytest.raises(RejectedError, match="no longer exists"):
        find_or_make(calls, named, "k")


def test_tiers_are_compared() -> None:
    """A tiered price of the same key with other tiers is refused; the same tiers in Stripe's spelling are not."""
    tiers = [{"up_to": 5, "unit_amount": 700}, {"up_to": "inf", "unit_amount": 600}]
    tiered = step("price", "prices.create", {"currency": "eur", "product": "p", "billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": tiers, "lookup_key": "t"})
    theirs = [{"up_to": 5, "unit_amount": 700, "unit_amount_decimal": "700", "flat_amount": None}, {"up_to": None, "unit_amount": 600, "unit_amount_decimal": "600"}]
    base = {"id": "price_1", "object": "price", "active": True, "currency": "eur", "product": "p", "billing_scheme": "tiered", "tiers_mode": "graduated"}
    calls, wire = talking(page({**base, "tiers": theirs}))
    assert find_or_make(calls, tiered, "k")["id"] == "price_1"
    assert ("expand[0]", "data.tiers") in wire.sent[0].fields
    calls, _ = talking(page({**base, "tiers": theirs[1:]}))
    with pytest.raises(RejectedError, match="tiers differ"):
        find_or_make(calls, tiered, "k")


def test_a_customer_is_found_by_email_and_mark_and_the_oldest_is_used() -> None:
    """Customers of the same e-mail without our mark are left alone; of two with it the older one is used."""
    def customer(id_: str, created: int, mark: str) -> Mapping[str, Any]:
        return {"id": id_, "object": "customer", "created": created, "metadata": {"connector_customer": mark} if mark else {}}

    calls, wire = talking(page(customer("cus_4", 4, ""), customer("cus_3", 3, "C-1"), customer("cus_2", 2, "C-1"), customer("cus_1", 1, "C-9")))
    assert find_or_make(calls, CUSTOMER, "k")["id"] == "cus_2"
    assert ("email", "a@acme.example") in wire.sent[0].fields
    calls, wire = talking(page(customer("cus_4", 4, "")), (200, {"id": "cus_5", "object": "customer"}))
    assert find_or_make(calls, CUSTOMER, "k")["id"] == "cus_5"
    nameless = step("customer", "customers.create", {"name": "Acme", "metadata": {"connector_customer": "C-1"}}, "C-1")
    calls, wire = talking(page(), (200, {"id": "cus_6", "object": "customer"}))
    assert find_or_make(calls, nameless, "k")["id"] == "cus_6"
    assert wire.sent[0].fields == [("limit", "100")]


def test_a_meter_is_found_by_its_event_name() -> None:
    """An active meter of the same event is used if it counts the same way."""
    sums = {"id": "mtr_1", "object": "billing.meter", "event_name": "api", "default_aggregation": {"formula": "sum"}}
    calls, _ = talking(page({**sums, "id": "mtr_0", "event_name": "other"}, sums))
    assert find_or_make(calls, METER, "k")["id"] == "mtr_1"
    calls, _ = talking(page({**sums, "default_aggregation": {"formula": "count"}}))
    with pytest.raises(RejectedError, match="formula is count, wanted sum"):
        find_or_make(calls, METER, "k")


def test_to_look_makes_nothing() -> None:
    """Looking for a shared object sends reads alone."""
    calls, wire = talking(GONE)
    assert existing(calls, PRODUCT) is None
    calls, wire = talking(page())
    assert existing(calls, RATE) is None
    assert [s.method for s in wire.sent] == ["get"]
    with pytest.raises(InvariantError):
        find_or_make(calls, Step(name="x", call="invoices.create"), "k")


def test_a_step_that_says_no_more_than_the_key_makes_nothing() -> None:
    """A price that is known by its lookup key alone is found, and refused where it is gone."""
    known = step("price", "prices.create", {"lookup_key": "cn_p1"}, "cn_p1")
    calls, wire = talking(page({"id": "price_1", "object": "price", "active": True}), page(), page())
    assert find_or_make(calls, known, "k")["id"] == "price_1"
    with pytest.raises(RejectedError, match="no price cn_p1") as caught:
        find_or_make(calls, known, "k")
    assert caught.value.problem.code == "stripe-missing-price"
    assert [s.method for s in wire.sent] == ["get", "get", "get"]
    calls, _ = talking(GONE)
    with pytest.raises(RejectedError, match="no product cn_gone"):
        find_or_make(calls, step("product", "products.create", {"id": "cn_gone"}, "cn_gone"), "k")


MARKED = {"metadata": {"connector_step": "d-1/x"}, "created": 5}
CREATES = [
    ("subscription_schedules.create", {"customer": "cus_1", "phases": [{"items": [{"price": "p"}]}]}, None, "/v1/subscription_schedules", [("customer", "cus_1")]),
    ("subscriptions.create", {"customer": "cus_1", "items": [{"price": "p"}]}, None, "/v1/subscriptions", [("status", "all"), ("customer", "cus_1")]),
    ("invoices.create", {"customer": "cus_1"}, None, "/v1/invoices", [("customer", "cus_1")]),
    ("invoice_items.create", {"customer": "cus_1", "invoice": "in_1", "amount": 1, "currency": "eur"}, None, "/v1/invoiceitems", [("customer", "cus_1"), ("invoice", "in_1")]),
    ("credit_notes.create", {"invoice": "in_1", "amount": 5}, None, "/v1/credit_notes", [("invoice", "in_1")]),
    ("refunds.create", {"payment_intent": "pi_1"}, None, "/v1/refunds", [("payment_intent", "pi_1")]),
    ("customers.balance_transactions.create", {"amount": 5, "currency": "eur"}, "cus_1", "/v1/customers/cus_1/balance_transactions", []),
]  # fmt: skip


@pytest.mark.parametrize(("call", "params", "target", "path", "narrowed"), CREATES)
def test_what_was_created_is_found_by_its_mark(call: str, params: Mapping[str, Any], target: str | None, path: str, narrowed: list[tuple[str, str]]) -> None:
    """The list of the same customer, invoice or payment is searched for our mark; others in it are left alone."""
    lost = Step(name="x", call=call, params=params, target=target)
    calls, wire = talking(page({"id": "o_9", "metadata": {"connector_step": "d-9/x"}}, {"id": "o_1", **MARKED}))
    answer = found(calls, lost, params, "d-1/x")
    assert answer is not None
    assert answer["id"] == "o_1"
    (sent,) = wire.sent
    assert (sent.method, sent.path) == ("get", path)
    assert sent.fields[: len(narrowed)] == narrowed
    calls, wire = talking(page({"id": "o_9", "metadata": {}}))
    assert found(calls, lost, params, "d-1/x", since=1790000000) is None
    assert ("created[gte]", str(1790000000 - 600)) in wire.sent[0].fields


@pytest.mark.parametrize(("now", "is_done"), [("open", False), ("paid", True), ("void", True)])
def test_collecting_what_is_settled_is_done(now: str, is_done: bool) -> None:
    """Refused because the customer was quicker, the wish that an invoice be collected has come true; one that is open is still to be told."""
    lost = Step(name="x", call="invoices.update", target="in_1", params={"auto_advance": True})
    calls, _ = talking((200, {"id": "in_1", "status": now, "auto_advance": False}))
    assert (found(calls, lost, {"auto_advance": True}, "d-1/x") is not None) is is_done


def test_a_schedule_from_a_subscription_is_found_at_the_subscription() -> None:
    """A schedule made from a subscription takes no mark: the subscription says which it has."""
    params = {"from_subscription": "sub_1"}
    lost = Step(name="x", call="subscription_schedules.create", params=params)
    calls, _ = talking((200, {"id": "sub_1", "object": "subscription", "schedule": "ss_1"}), (200, {"id": "ss_1", "object": "subscription_schedule"}))
    answer = found(calls, lost, params, "d-1/x")
    assert answer is not None
    assert answer["id"] == "ss_1"
    calls, _ = talking((200, {"id": "sub_1", "object": "subscription", "schedule": None}))
    assert found(calls, lost, params, "d-1/x") is None


@pytest.mark.parametrize(
    ("call", "done", "open_"),
    [
        ("invoices.finalize_invoice", "open", "draft"),
        ("invoices.finalize_invoice", "paid", "draft"),
        ("invoices.pay", "paid", "open"),
        ("invoices.void_invoice", "void", "open"),
        ("invoices.mark_uncollectible", "uncollectible", "open"),
        ("subscriptions.cancel", "canceled", "active"),
        ("subscription_schedules.cancel", "canceled", "active"),
        ("subscription_schedules.release", "released", "active"),
        ("credit_notes.void_credit_note", "void", "issued"),
    ],
)
def test_a_change_is_done_if_its_object_says_so(call: str, done: str, open_: str) -> None:
    """Whether an invoice was finalized, paid or voided, or a contract canceled, is read from its status."""
    lost = Step(name="x", call=call, target="o_1")
    for status, is_done in ((done, True), (open_, False)):
        calls, _ = talking((200, {"id": "o_1", "status": status}))
        assert (found(calls, lost, {}, "d-1/x") is not None) is is_done
    calls, _ = talking(GONE)
    assert found(calls, lost, {}, "d-1/x") is None


def test_an_update_is_done_if_its_mark_is_there() -> None:
    """An update that sets our mark is done where the object bears that very mark; one without mark cannot be told."""
    params = {"proration_behavior": "none", "metadata": {"connector_step": "d-1/x"}}
    lost = Step(name="x", call="subscription_schedules.update", params=params, target="ss_1")
    calls, _ = talking((200, {"id": "ss_1", **MARKED}))
    assert found(calls, lost, params, "d-1/x") is not None
    calls, _ = talking((200, {"id": "ss_1", "metadata": {"connector_step": "d-0/x"}}))
    assert found(calls, lost, params, "d-1/x") is None
    calls, wire = talking()
    assert found(calls, lost, {"proration_behavior": "none"}, "d-1/x") is None
    assert wire.sent == []


def test_what_is_gone_was_deleted() -> None:
    """A deletion is done where the object is gone, or only its shadow is left."""
    lost = Step(name="x", call="invoice_items.delete", target="ii_1")
    for reply in (GONE, (200, {"id": "ii_1", "object": "invoiceitem", "deleted": True})):
        calls, _ = talking(reply)
        assert found(calls, lost, {}, "d-1/x") == {"id": "ii_1", "deleted": True}
    calls, _ = talking((200, {"id": "ii_1", "object": "invoiceitem"}))
    assert found(calls, lost, {}, "d-1/x") is None


def test_tax_numbers_payment_methods_and_usage_have_signs_of_their_own() -> None:
    """A tax number is known by type and value, a payment method by its customer, usage by Stripe's refusal of the same again."""
    tax = {"type": "eu_vat", "value": "DE 123456789"}
    calls, _ = talking(page({"id": "txi_1", "type": "eu_vat", "value": "DE123456789"}))
    assert found(calls, Step(name="x", call="customers.tax_ids.create", target="cus_1"), tax, "k") is not None
    calls, _ = talking((200, {"id": "pm_1", "customer": "cus_1"}))
    assert found(calls, Step(name="x", call="payment_methods.attach", target="pm_1"), {"customer": "cus_1"}, "k") is not None
    event = {"event_name": "api", "payload": {"value": "1"}, "identifier": "u-1"}
    said = meant(Answer(status=400, error={"type": "invalid_request_error", "message": "An event already exists with identifier u-1."}), "billing.meter_events.create")
    assert isinstance(said, Refusal)
    calls, wire = talking()
    lost = Step(name="x", call="billing.meter_events.create")
    assert found(calls, lost, event, "k", refusal=said) == {"object": "billing.meter_event", **event}
    assert found(calls, lost, event, "k") is None
    assert found(calls, Step(name="x", call="billing_portal.sessions.create"), {"customer": "cus_1"}, "k") is None
    assert found(calls, Step(name="x", call="invoices.send_invoice", target="in_1"), {}, "k") is None
    assert wire.sent == []


def test_a_shared_object_is_looked_for_as_it_is_found() -> None:
    """A lost creation of something shared is looked for by its own key."""
    calls, _ = talking(page({"id": "txr_1", "percentage": 19.0, "inclusive": False, "metadata": {"connector_key": "vat-19"}, "created": 1}))
    answer = found(calls, RATE, RATE.params, "d-1/rate")
    assert answer is not None
    assert answer["id"] == "txr_1"


def test_a_look_up_never_takes_over_other_content() -> None:
    """A lost creation is not taken for done where the object with our key has other content."""
    calls, _ = talking((200, {"id": "cn_10", "object": "coupon", "percent_off": 15.0, "duration": "forever"}))
    with pytest.raises(RejectedError, match=r"percent_off is 15\.0"):
        found(calls, COUPON, COUPON.params, "d-1/coupon")


def test_a_look_up_that_fails_tells_nothing() -> None:
    """Where the list itself cannot be read, nothing is concluded: the error goes up, to try again."""
    calls, _ = talking((500, {"error": {"type": "api_error", "message": "no"}}))
    lost = Step(name="x", call="invoices.create", params={"customer": "cus_1"})
    with pytest.raises(RetryableError):
        found(calls, lost, {"customer": "cus_1"}, "d-1/x")


def test_a_tax_rate_bears_the_mark_by_which_it_is_found_again() -> None:
    """What the compiler makes of a rate is found by its own metadata, with all it says and where only its key is known; nothing is made twice."""
    rate = TaxRate(id="VAT DE 19%", percentage=Decimal(19), inclusive=False)
    made = rate_step(rate)
    there = page({"id": "txr_7", "object": "tax_rate", "active": True, **made.params})
    for wanted in (made, known_rate_step(rate_key(rate))):
        calls, wire = talking(there)
        assert find_or_make(calls, wanted, "k")["id"] == "txr_7"
        assert [s.method for s in wire.sent] == ["get"]
