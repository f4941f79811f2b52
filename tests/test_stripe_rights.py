"""The rights of a restricted key: a row for everything that the backend calls, and the words of a missing one."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
import stripe

from connector.billing.stripe_backend.lost import REFUSED, REFUSED_PART
from connector.billing.stripe_backend.refusal_words import ACTIONS, DECLINES, DEFAULT, NOTICES, PARTLY, PATTERNS, WORDS
from connector.billing.stripe_backend.refusals import Answer, Refusal, meant
from connector.billing.stripe_backend.rights import RIGHTS, right_for, right_named, rights_needed
from connector.documents.refused import FRENCH, told
from connector.documents.texts import failure_text
from connector.errors import Problem

ROOT = Path(__file__).resolve().parent.parent / "connector"
CALL = re.compile(r"[a-z_]+(\.[a-z_]+){1,3}")


def called() -> dict[str, str]:
    """Every text in the sources that names a call of the SDK, and a file where it stands."""
    client = stripe.StripeClient("sk_test_1234567890", max_network_retries=0)
    found: dict[str, str] = {}
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "lookalike" in path.parts or "stripe" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CALL.fullmatch(node.value):
                service: object = client.v1
                for part in node.value.split("."):
                    service = getattr(service, part, None)
                if inspect.ismethod(service):
                    found[node.value] = path.name
    return found


def test_every_call_has_its_right() -> None:
    """Whatever the backend calls stands in the table of rights, so that the guide for restricted keys is whole."""
    calls = called()
    assert "products.retrieve" in calls
    missing = {call: file for call, file in calls.items() if right_for(call) is None}
    assert not missing, "add a row to RIGHTS for these"


def test_the_guide_asks_for_each_right_once() -> None:
    """Each resource stands once, with the right and a reason; every service in the table is one of the SDK's."""
    rows = rights_needed()
    assert len({r for r, _, _ in rows}) == len(rows)
    assert all(why and right in ("read", "write") for _, right, why in rows)
    client = stripe.StripeClient("sk_test_1234567890", max_network_retries=0)
    for row in RIGHTS:
        for service in row.services:
            at: object = client.v1
            for part in service.split("."):
                at = getattr(at, part)


def test_a_missing_right_is_told_in_the_dashboards_words() -> None:
    """Stripe's own name for a right becomes the dashboard's; an unknown one is told as Stripe says it."""
    assert right_named("Having the 'rak_subscription_write' permission would allow this", "x.y") == "'Subscriptions: write'"
    assert right_named("Having the 'rak_moon_base_read' permission", "x.y") == "'Moon base: read'"
    assert right_named("no", "events.list") == "'Events: read'"
    assert right_named("no", "moon.list") == ""


def test_every_word_has_its_french() -> None:
    """Each sentence that a rep can read exists in both languages, ends as a sentence, and no French is left over."""
    english = {text for text, _ in (*WORDS.values(), *NOTICES.values())} | set(ACTIONS.values()) | {DEFAULT[0], PARTLY, REFUSED.hint, REFUSED_PART.message, REFUSED_PART.hint}
    assert english - set(DECLINES.values()) == set(FRENCH)
    assert all(failure_text(text, "fr") != text for text in DECLINES.values())
    assert all(told(Problem(code="x", message=text), "fr").message != text for text in english | set(DECLINES.values()))
    assert all(text.endswith(".") for text in (*FRENCH, *FRENCH.values(), *DECLINES.values()))
    assert all(action in ACTIONS for _, action in WORDS.values())
    assert all(name in WORDS for name, _, _ in PATTERNS)


def test_no_word_speaks_of_stripe() -> None:
    """What a rep reads names neither Stripe nor its objects."""
    for text in {text for text, _ in (*WORDS.values(), *NOTICES.values())} | set(FRENCH.values()):
        assert not re.search(r"stripe|schedule|coupon|payload|parameter|API\b", text, re.IGNORECASE), text


def test_the_codes_are_stripes_own_or_found_by_words() -> None:
    """Each code is one that the SDK lists, or the name of a pattern, or one of a few that only the documentation lists."""
    listed = set(re.findall(r'"([a-z0-9_]+)"', inspect.getsource(stripe.Invoice.LastFinalizationError)))
    named = {name for name, _, _ in PATTERNS}
    only_documented = {"country_code_invalid", "invalid_charge_amount", "tax_id_prohibited", "payment_method_not_available", "invalid_address"}
    unknown = set(WORDS) - listed - named - only_documented
    assert len(listed) > 100
    assert not unknown


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("other_mode", "resource_missing", "No such customer: 'cus_1'; a similar object exists in live mode, but a test mode key was used to make this request."),
        ("missing_customer", "resource_missing", "No such customer: 'cus_1'"),
        ("missing_subscription", "resource_missing", "No such subscription: 'sub_1'"),
        ("missing_price", "resource_missing", "No such price: 'price_1'"),
        ("missing_payment_method", "resource_missing", "This customer has no attached payment source or default payment method. Please consider adding a default payment method."),
        ("mixed_currencies", "", "You cannot combine currencies on a single customer. This customer has an active subscription, subscription schedule, discount, quote, or invoice item with currency eur."),
        ("too_many_phases", "", "You can only have up to 10 current and future phases."),
        ("lookup_key_taken", "", "A price (`price_1`) already uses that lookup key."),
        ("price_inactive", "", "The price specified is inactive. This field only accepts active prices."),
        ("subscription_ended", "", "A canceled subscription can only update its cancellation_details and metadata."),
        ("schedule_ended", "", "You cannot update a subscription schedule that is currently in the `released` status."),
        ("subscription_ended", "invalid_canceled_subscription_fields", "A canceled subscription can only update its cancellation_details and metadata."),
        ("same_price_twice", "", "Cannot create a Subscription with multiple Subscription Items with the same Price: price_1."),
        ("invoice_already_paid", "", "Invoice is already paid"),
        ("invoice_already_paid", "", "Invoices with `paid` payments cannot be voided."),
        ("invoice_not_open", "", "You can only pass in open invoices. This invoice isn't open."),
        ("invoice_not_open", "", "This invoice has already been marked uncollectible."),
        ("invoice_not_editable", "", "This invoice is already finalized, you can't re-finalize a non-draft invoice."),
        ("invoice_not_editable", "", "Finalized invoices can't be updated in this way"),
        ("invoice_not_editable", "", "You can only delete draft invoices."),
        ("invoice_not_sendable", "", "This invoice cannot be sent right now. Please contact us via https://support.stripe.com/contact with details, so we can help."),
        ("refund_too_large", "", "Refund amount ($40.00) is greater than unrefunded amount on charge ($30.00)"),
        ("parameter_invalid_integer", "", "Invalid non-negative integer"),
        ("coupon_expired", "", "Coupon cn_1 is expired and cannot be applied."),
        ("usage_already_sent", "", "An event already exists with identifier u-1."),
        ("usage_too_old", "", "The timestamp must be within the past 35 calendar days."),
        ("coupon_expired", "coupon_expired", ""),
        ("amount_too_small", "amount_too_small", "Amount must be at least $0.50 usd"),
    ],
)
def test_known_refusals_find_their_words(name: str, code: str, message: str) -> None:
    """Refusals that Stripe words by itself find the sentence that says most."""
    error = meant(Answer(status=400, error={"type": "invalid_request_error", "code": code, "message": message}), "x.create")
    assert isinstance(error, Refusal)
    assert error.problem.message == WORDS[name][0]
    assert error.problem.code == "stripe-" + name.replace("_", "-")
