"""Payment records: payments that went another way than Stripe's, as they are reported. Source: docs.stripe.com/api/payment-record."""

from __future__ import annotations

from collections.abc import Mapping

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.listing import page
from connector.lookalike.stripe.machine.keeping import put
from connector.lookalike.stripe.metadata import merged

PATH = "/v1/payment_records"


def made(account: Account, amount: int, currency: str, guaranteed_at: int | None, params: Data) -> Data:
    """Keep a payment that was reported; *guaranteed_at* None: it is not certain yet."""
    nothing, whole = {"currency": currency, "value": 0}, {"currency": currency, "value": amount}
    id_ = account.new_id("pr")
    return put(account, "payment_record", {
        "id": id_, "object": "payment_record", "amount": whole, "amount_authorized": nothing, "amount_canceled": nothing, "amount_failed": nothing,
        "amount_guaranteed": whole if guaranteed_at is not None else nothing, "amount_refunded": nothing, "amount_requested": whole,
        "application": None, "created": account.now(), "customer_details": params.get("customer_details"),
        "customer_presence": params.get("customer_presence"), "description": params.get("description"),
        "latest_payment_attempt_record": id_.replace("pr_", "par_"), "livemode": account.is_live, "metadata": merged({}, params.get("metadata")),
        "payment_method_details": params.get("payment_method_details"), "processor_details": params.get("processor_details"),
        "reported_by": "self", "shipping_details": None,
    })  # fmt: skip


@endpoint("POST", f"{PATH}/report_payment", "PaymentRecordReportPaymentParams")
def report_payment(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Report a payment, in the state in which it is."""
    asked, outcome, now = params["amount_requested"], params.get("outcome"), account.now()
    at = (params.get("guaranteed") or {}).get("guaranteed_at")
    if asked["value"] <= 0:
        raise Refused("This value must be greater than or equal to 1.", param="amount_requested[value]")
    if (outcome == "guaranteed") != (at is not None):
        raise Refused("You must pass `guaranteed` exactly where the outcome is guaranteed.", param="guaranteed")
    if max(params["initiated_at"], at or 0) > now:
        raise Refused("The time of a reported payment must not lie in the future.", param="initiated_at")
    details = params["payment_method_details"]
    if not details.get("payment_method") and not (details.get("custom") or {}).get("display_name"):
        raise Refused("You must pass a payment method, or a custom one with a name.", param="payment_method_details")
    return made(account, asked["value"], asked["currency"], at, params)


@endpoint("GET", f"{PATH}/{{id}}", "PaymentRecordRetrieveParams")
def retrieve(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Return a payment record."""
    return account.get("payment_record", ids["id"])


@endpoint("GET", PATH, "PaymentRecordListParams")
def listed(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List payment records by when they were made."""
    after, before = params.get("created_after", 0), params.get("created_before")
    found = [r for r in reversed(account.kind("payment_record").values()) if r["created"] > after and (before is None or r["created"] < before)]
    return page(found, params, PATH)
