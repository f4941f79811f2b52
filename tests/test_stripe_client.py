"""The door to Stripe: what leaves, what comes back, and what each answer means; over the real SDK with a transport of ours."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
import stripe
from stripe_wire import RecordingHttp

from connector.billing.stripe_backend.client import StripeCalls
from connector.billing.stripe_backend.refusals import Refusal, Unanswered, decline_words, is_final_decline
from connector.documents.refused import told
from connector.errors import ConfigError, HaltError, InvariantError, RejectedError, RetryableError

KEY = "rk_test_" + "x" * 24


def answering(*replies: Any) -> tuple[StripeCalls, RecordingHttp]:
    recorder = RecordingHttp(*replies)
    return StripeCalls(KEY, http_client=recorder), recorder


def refused(status: int, headers: Mapping[str, str] | None = None, **error: Any) -> Any:
    return status, {"error": {"type": "invalid_request_error", **error}}, headers or {}


def test_a_call_leaves_as_a_form_with_its_key_version_and_name() -> None:
    """A call is a form body under its idempotency key, with the pinned version, our name, and decimals without exponent."""
    calls, wire = answering((200, {"id": "price_1", "object": "price"}))
    params = {"currency": "eur", "product": "prod_1", "unit_amount_decimal": Decimal("1E-7"), "recurring": {"interval": "month"}, "active": True}
    assert calls.do("prices.create", params, key="d-1/price") == {"id": "price_1", "object": "price"}
    (sent,) = wire.sent
    assert (sent.method, sent.path, sent.key) == ("post", "/v1/prices", "d-1/price")
    assert sent.headers["Stripe-Version"] == "2026-10-28.endive"
    assert " connector/" in sent.headers["User-Agent"]
    assert dict(sent.fields) == {"currency": "eur", "product": "prod_1", "unit_amount_decimal": "0.0000001", "recurring[interval]": "month", "active": "true"}


def test_tuples_and_mappings_are_encoded_at_any_depth() -> None:
    """Lists may be tuples and objects any Mapping; the SDK alone would write them as text."""
    calls, wire = answering((200, {"id": "sub_sched_1"}))
    calls.do("subscription_schedules.create", {"customer": "cus_1", "phases": ({"items": (MappingProxyType({"price": "price_1"}),)},)}, key="k")
    assert wire.sent[0].fields == [("customer", "cus_1"), ("phases[0][items][0][price]", "price_1")]


def test_an_answer_is_plain_data_at_any_depth() -> None:
    """What comes back holds dicts, lists and Decimals, nothing of the SDK's."""
    body = {"id": "in_1", "object": "invoice", "lines": {"object": "list", "data": [{"id": "il_1", "object": "line_item", "pricing": {"unit_amount_decimal": "12.5"}}]}}
    calls, _ = answering((200, body))
    answer = calls.do("invoices.retrieve", {}, target="in_1")
    line = answer["lines"]["data"][0]
    assert type(answer) is type(line) is dict
    assert line["pricing"]["unit_amount_decimal"] == Decimal("12.5")


def test_a_list_goes_over_pages_up_to_its_limit() -> None:
    """A list is read page by page, each after the last object of the one before, and ends at the limit or at the last page."""
    def page(ids: list[str], more: bool) -> Any:
        return 200, {"object": "list", "url": "/v1/customers", "has_more": more, "data": [{"id": i, "object": "customer"} for i in ids]}

    calls, wire = answering(page(["cus_1", "cus_2"], True), page(["cus_3"], False))
    assert [c["id"] for c in calls.listed("customers.list", {"email": "a@b.example"})] == ["cus_1", "cus_2", "cus_3"]
    assert wire.sent[1].fields == [("email", "a@b.example"), ("limit", "100"), ("starting_after", "cus_2")]
    calls, wire = answering(page(["cus_1", "cus_2"], True))
    assert [c["id"] for c in calls.listed("customers.list", {}, limit=2)] == ["cus_1", "cus_2"]
    assert wire.sent[0].fields == [("limit", "2")]


def test_a_path_may_have_two_ids() -> None:
    """A nested object is named by both ids of its path."""
    calls, wire = answering((200, {"id": "txi_2", "object": "tax_id", "deleted": True}))
    calls.do("customers.tax_ids.delete", {}, target="cus_1/txi_2", key="k")
    assert (wire.sent[0].method, wire.sent[0].path) == ("delete", "/v1/customers/cus_1/tax_ids/txi_2")


def test_a_call_that_stripe_does_not_have_is_a_bug_of_ours() -> None:
    """A misspelt call, a private name, a change without key and an endless key are caught before anything is sent."""
    calls, wire = answering()
    for call in ("invoice.pay", "invoices", "invoices._request", "invoices.pay.now"):
        with pytest.raises(InvariantError):
            calls.do(call, {}, key="k")
    with pytest.raises(InvariantError, match="idempotency key"):
        calls.do("invoices.pay", {}, target="in_1")
    with pytest.raises(InvariantError, match="255"):
        calls.do("invoices.pay", {}, target="in_1", key="k" * 256)
    assert wire.sent == []


@pytest.mark.parametrize(
    ("reply", "kind", "after"),
    [
        (refused(429, type="rate_limit_error", code="rate_limit", message="Too many"), RetryableError, 5),
        (refused(429, {"Retry-After": "7"}, code="rate_limit", message="Too many"), RetryableError, 7),
        (refused(429, code="lock_timeout", message="This object cannot be accessed right now"), RetryableError, 2),
        (refused(409, type="idempotency_error", code="idempotency_key_in_use", message="in use"), RetryableError, 5),
        ((407, "<html>proxy</html>"), RetryableError, 30),
        ((404, "<html>no</html>"), RetryableError, 30),
    ],
)
def test_what_was_not_carried_out_may_be_sent_again(reply: Any, kind: type[Exception], after: int) -> None:
    """Too many calls, a locked object, a key at work, and a stranger's answer: not carried out, with the wait that was asked for."""
    calls, _ = answering(reply)
    with pytest.raises(kind) as caught:
        calls.do("invoices.pay", {}, target="in_1", key="k")
    assert not isinstance(caught.value, Unanswered)
    assert isinstance(caught.value, RetryableError)
    assert caught.value.retry_after_s == after


@pytest.mark.parametrize(
    ("reply", "is_stored"),
    [
        (refused(500, type="api_error", message="An unknown error occurred"), True),
        (refused(500, {"Stripe-Should-Retry": "true"}, type="api_error", message="busy"), False),
        ((502, "<html>Bad gateway</html>"), False),
        ((200, "{broken"), False),
        (refused(424, type="api_error", message="elsewhere"), True),
        (stripe.APIConnectionError("read timed out"), False),
    ],
)
def test_what_nobody_answered_is_unanswered(reply: Any, is_stored: bool) -> None:
    """A failure of Stripe's is kept under the key; a gateway's, a broken answer and a lost connection leave it open."""
    calls, _ = answering(reply)
    with pytest.raises(Unanswered) as caught:
        calls.do("invoices.pay", {}, target="in_1", key="k")
    assert caught.value.is_stored is is_stored


def test_a_read_is_never_unanswered() -> None:
    """A call that only reads can have done nothing, so it is simply tried again."""
    for reply in (refused(500, type="api_error", message="no"), stripe.APIConnectionError("lost")):
        calls, _ = answering(reply)
        with pytest.raises(RetryableError) as caught:
            calls.do("invoices.retrieve", {}, target="in_1")
        assert not isinstance(caught.value, Unanswered)


def test_a_key_that_is_refused_stops_everything_and_is_not_told() -> None:
    """A refused key halts; a missing right is named in the dashboard's words; no message holds a key."""
    calls, _ = answering(refused(401, message="Invalid API Key provided: rk_test_xxxxxxxxxxxxxxxx1234"))
    with pytest.raises(HaltError) as caught:
        calls.account()
    assert caught.value.code == "stripe-key"
    assert "rk_test" not in str(caught.value) + caught.value.hint
    message = "The provided key 'rk_test_*****1234' does not have the required permissions for this endpoint on account 'acct_1'. Having the 'rak_customer_write' permission would allow this request to continue."
    calls, _ = answering(refused(403, message=message))
    with pytest.raises(HaltError) as caught:
        calls.do("customers.create", {}, key="k")
    assert caught.value.code == "stripe-right"
    assert caught.value.hint.startswith("Give the restricted key the right 'Customers: write'")
    assert "rk_test" not in caught.value.hint
    calls, _ = answering(refused(403, message="Not allowed"))
    with pytest.raises(HaltError) as caught:
        calls.do("credit_notes.create", {"invoice": "in_1"}, key="k")
    assert "'Credit notes: write'" in caught.value.hint


def test_a_key_used_for_another_request_is_a_bug_of_ours() -> None:
    """Stripe's idempotency_error means that we sent two requests under one key."""
    calls, _ = answering(refused(400, type="idempotency_error", message="Keys for idempotent requests can only be used with the same parameters"))
    with pytest.raises(InvariantError, match="one request only"):
        calls.do("invoices.pay", {}, target="in_1", key="k")


def test_a_refusal_speaks_to_a_rep_and_keeps_stripes_words_for_ops() -> None:
    """A refusal's message has no word of Stripe's; its hint ends with Stripe's own, its code and the request."""
    calls, _ = answering(refused(404, code="resource_missing", param="phases[0][discounts][0][coupon]", message="No such coupon: 'cn_1'"))
    with pytest.raises(RejectedError) as caught:
        calls.do("subscription_schedules.create", {"customer": "cus_1"}, key="k")
    problem = caught.value.problem
    assert problem.code == "stripe-missing-coupon"
    assert problem.message == "A discount of this deal no longer exists where it is billed."
    assert problem.hint.endswith("""(Stripe: "No such coupon: 'cn_1'", resource_missing, phases[0][discounts][0][coupon], req_1)""")
    french = told(problem, "fr")
    assert french.message == "Une remise de cette affaire n'existe plus là où elle est facturée."
    assert french.hint.startswith("Adressez-vous aux responsables")
    assert french.hint.endswith("req_1)")


def test_a_declined_card_is_told_in_words() -> None:
    """A declined card is its own code, with the bank's reason in plain words; a lost card is no more than declined."""
    calls, _ = answering(refused(402, type="card_error", code="card_declined", decline_code="insufficient_funds", message="Your card has insufficient funds."))
    with pytest.raises(Refusal) as caught:
        calls.do("invoices.pay", {}, target="in_1", key="k")
    assert (caught.value.problem.code, caught.value.problem.message) == ("card-declined", "The card has not enough funds.")
    assert (caught.value.code, caught.value.decline_code, caught.value.status) == ("card_declined", "insufficient_funds", 402)
    assert decline_words("lost_card") == decline_words("stolen_card") == decline_words("") == "The card was declined."
    assert is_final_decline("stolen_card")
    assert not is_final_decline("insufficient_funds", "card_declined")


@pytest.mark.parametrize(
    ("key", "base", "code"),
    [
        ("", "https://api.stripe.com", "bad-stripe-key"),
        (KEY + "\n", "https://api.stripe.com", "bad-stripe-key"),
        ("pk_test_1234567890", "https://api.stripe.com", "bad-stripe-key"),
        (KEY, "http://api.stripe.com", "bad-stripe-base"),
        (KEY, "https://stripe.example", "bad-stripe-base"),
        (KEY, "https://api.stripe.com.example", "bad-stripe-base"),
        (KEY, "https://user@api.stripe.com", "bad-stripe-base"),
        (KEY, "nonsense", "bad-stripe-base"),
    ],
)
def test_the_key_goes_nowhere_else(key: str, base: str, code: str) -> None:
    """A key that is none, or an address that is neither Stripe's nor this machine's, is refused without telling the key."""
    with pytest.raises(ConfigError) as caught:
        StripeCalls(key, api_base=base)
    assert [p.code for p in caught.value.problems] == [code]
    assert not key.strip() or key.strip() not in str(caught.value)
