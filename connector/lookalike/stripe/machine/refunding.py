"""Refunds of charges. Source: docs.stripe.com/api/refunds."""

from __future__ import annotations

from collections.abc import Mapping

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.listing import page, within
from connector.lookalike.stripe.machine.keeping import indexed, put
from connector.lookalike.stripe.metadata import merged


def charge_of(account: Account, invoice: Data) -> Data:
    """Return the charge that paid an invoice. Raises: Refused where there is none."""
    for payment in reversed(invoice["payments"]["data"]):
        intent = account.kind("payment_intent").get(payment["payment"]["payment_intent"] or "")
        if intent is not None and intent["status"] == "succeeded":
            return account.get("charge", intent["latest_charge"])
    raise Refused(f"The invoice {invoice['id']} has no charge that could be refunded.")


def refunded(account: Account, charge: Data, amount: int | None, params: Data) -> Data:
    """Give money of a charge back. Raises: Refused (more than is left, disputed, not paid)."""
    left = charge["amount"] - charge["amount_refunded"]
    if not charge["paid"]:
        raise Refused("This charge has not been paid and cannot be refunded.", code="charge_not_refundable")
    if charge["disputed"]:
        raise Refused("Charge has been charged back; cannot issue a refund.", code="charge_disputed")
    if left == 0:
        raise Refused(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount = left if amount is None else amount
    if not 0 < amount <= left:
        raise Refused(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", param="amount")
    made: Data = {
        "id": account.new_id("re"), "object": "refund", "amount": amount, "balance_transaction": None, "charge": charge["id"],
        "created": account.now(), "currency": charge["currency"], "customer": charge["customer"],
        "destination_details": {"card": {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"}, "type": "card"},
        "metadata": merged({}, params.get("metadata")), "payment_intent": charge["payment_intent"], "reason": params.get("reason"),
        "receipt_number": None, "source_transfer_reversal": None, "status": "succeeded", "transfer_reversal": None,
    }  # fmt: skip
    put(account, "refund", made, ["charge", "payment_intent"])
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    account.emit("refund.created", made)
    account.emit("charge.refunded", charge, {"amount_refunded": charge["amount_refunded"] - amount})
    return made


def failed(account: Account, refund: Data, reason: str) -> Data:
    """Let a refund come back from the customer's bank: the money is the account's again."""
    charge = account.get("charge", refund["charge"])
    refund.update(status="failed", failure_reason=reason)
    charge["amount_refunded"] -= refund["amount"]
    charge["refunded"] = False
    account.emit("refund.updated", refund, {"status": "succeeded"})
    account.emit("refund.failed", refund)
    return refund


@endpoint("POST", "/v1/refunds", "RefundCreateParams")
def create(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Refund a charge or the payment intent behind it."""
    if params.get("payment_intent"):
        intent = account.get("payment_intent", params["payment_intent"], param="payment_intent")
        if intent["latest_charge"] is None:
            raise Refused(
                f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
                code="payment_intent_unexpected_state",
            )
        charge = account.get("charge", intent["latest_charge"])
    elif params.get("charge"):
        charge = account.get("charge", params["charge"], param="charge")
    else:
        raise Refused(
            "One of the following params should be provided for this request: payment_intent or charge.",
            code="parameter_missing",
        )
    return refunded(account, charge, params.get("amount"), params)


@endpoint("GET", "/v1/refunds/{id}", "RefundRetrieveParams")
def retrieve(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Return a refund."""
    return account.get("refund", ids["id"])


@endpoint("GET", "/v1/refunds", "RefundListParams")
def listed(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List refunds by charge or payment intent."""
    for name in ("charge", "payment_intent"):
        if params.get(name):
            found = indexed(account, "refund", name, params[name])
            break
    else:
        found = list(account.kind("refund").values())
    return page(
        [one for one in reversed(found) if within(one["created"], params.get("created"))], params, "/v1/refunds"
    )


@endpoint("GET", "/v1/charges/{id}", "ChargeRetrieveParams")
def charge_retrieved(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Return a charge."""
    return account.get("charge", ids["id"])


@endpoint("GET", "/v1/charges", "ChargeListParams")
def charges(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List charges by customer or payment intent."""
    for name in ("payment_intent", "customer"):
        if params.get(name):
            found = indexed(account, "charge", name, params[name])
            break
    else:
        found = list(account.kind("charge").values())
    return page(
        [one for one in reversed(found) if within(one["created"], params.get("created"))], params, "/v1/charges"
    )


@endpoint("GET", "/v1/payment_intents/{id}", "PaymentIntentRetrieveParams")
def intent_retrieved(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Return a payment intent."""
    return account.get("payment_intent", ids["id"])


@endpoint("GET", "/v1/payment_intents", "PaymentIntentListParams")
def intents(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List payment intents by customer."""
    if params.get("customer"):
        found = indexed(account, "payment_intent", "customer", params["customer"])
    else:
        found = list(account.kind("payment_intent").values())
    return page(
        [one for one in reversed(found) if within(one["created"], params.get("created"))], params, "/v1/payment_intents"
    )
