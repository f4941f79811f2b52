"""Disputes: a customer's bank takes a payment back, until it is won or lost. Source: docs.stripe.com/disputes."""

from __future__ import annotations

from collections.abc import Mapping

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.listing import page, within
from connector.lookalike.stripe.machine.keeping import indexed, put
from connector.lookalike.stripe.machine.times import DAY

ANSWER_DAYS = 9


def opened(account: Account, charge: Data, amount: int | None, reason: str) -> Data:
    """Open a dispute of a charge."""
    if charge["disputed"] or not charge["paid"]:
        raise Refused("Only a paid charge can be disputed, and only once.")
    now = account.now()
    made: Data = {
        "id": account.new_id("dp"), "object": "dispute", "amount": charge["amount"] if amount is None else amount, "balance_transactions": [],
        "charge": charge["id"], "created": now, "currency": charge["currency"], "enhanced_eligibility_types": [], "evidence": {},
        "evidence_details": {"due_by": now + ANSWER_DAYS * DAY, "has_evidence": False, "past_due": False, "submission_count": 0},
        "is_charge_refundable": False, "livemode": account.is_live, "metadata": {}, "payment_intent": charge["payment_intent"],
        "payment_method_details": {"card": {"brand": "visa", "case_type": "chargeback", "network_reason_code": "10.4"}, "type": "card"},
        "reason": reason, "status": "needs_response",
    }  # fmt: skip
    put(account, "dispute", made, ["charge", "payment_intent"])
    charge["disputed"] = True
    account.emit("charge.dispute.created", made)
    account.emit("charge.dispute.funds_withdrawn", made)
    return made


def closed(account: Account, dispute: Data, *, is_won: bool) -> Data:
    """End a dispute; won, the money comes back."""
    before = dispute["status"]
    dispute["status"] = "won" if is_won else "lost"
    if is_won:
        account.get("charge", dispute["charge"])["disputed"] = False
        account.emit("charge.dispute.funds_reinstated", dispute)
    account.emit("charge.dispute.closed", dispute, {"status": before})
    return dispute


@endpoint("GET", "/v1/disputes/{id}", "DisputeRetrieveParams")
def retrieve(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Return a dispute."""
    return account.get("dispute", ids["id"])


@endpoint("GET", "/v1/disputes", "DisputeListParams")
def listed(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List disputes by charge or payment intent."""
    for name in ("charge", "payment_intent"):
        if params.get(name):
            found = indexed(account, "dispute", name, params[name])
            break
    else:
        found = list(account.kind("dispute").values())
    return page(
        [one for one in reversed(found) if within(one["created"], params.get("created"))], params, "/v1/disputes"
    )
