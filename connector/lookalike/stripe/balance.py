"""What a customer has at Stripe beside its invoices: the balance, moved by transactions. Source: docs.stripe.com/billing/customer/balance.

A negative amount is a credit, which the next invoices use up.
"""

from __future__ import annotations

from collections.abc import Mapping

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.currencies import check_currency
from connector.lookalike.stripe.listing import page
from connector.lookalike.stripe.machine.invoices import move_balance
from connector.lookalike.stripe.machine.keeping import indexed
from connector.lookalike.stripe.metadata import merged

KIND = "customer_balance_transaction"
_PATH = "/v1/customers/{customer}/balance_transactions"


@endpoint("POST", _PATH, "CustomerBalanceTransactionCreateParams")
def create(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Move the balance of a customer; the first one fixes the customer's currency."""
    customer = account.get("customer", ids["customer"])
    currency = check_currency(params["currency"])
    if customer.get("currency") not in (None, currency):
        raise Refused(
            f"The currency of the balance transaction ({currency}) must be the customer's ({customer['currency']}).",
            param="currency",
        )
    customer["currency"] = currency
    made = move_balance(
        account, customer, params["amount"], "adjustment", currency=currency, description=params.get("description"),
        metadata=merged(None, params.get("metadata")),
    )  # fmt: skip
    return account.get(KIND, made)


@endpoint("GET", _PATH, "CustomerBalanceTransactionListParams")
def listed(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List the balance transactions of a customer, newest first."""
    customer = account.get("customer", ids["customer"])
    found = indexed(account, KIND, "customer", customer["id"])[::-1]
    invoice = params.get("invoice")
    return page(
        [one for one in found if invoice in (None, one["invoice"])],
        params,
        f"/v1/customers/{customer['id']}/balance_transactions",
    )


@endpoint("GET", _PATH + "/{id}", "CustomerBalanceTransactionRetrieveParams")
def retrieve(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Return a balance transaction of a customer."""
    return _of(account, ids)


@endpoint("POST", _PATH + "/{id}", "CustomerBalanceTransactionUpdateParams")
def update(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Change the description or metadata of a balance transaction: never its amount."""
    one = _of(account, ids)
    if "description" in params:
        one["description"] = params["description"]
    one["metadata"] = merged(one["metadata"], params.get("metadata"))
    return one


def _of(account: Account, ids: Mapping[str, str]) -> Data:
    one = account.get(KIND, ids["id"])
    if one["customer"] != ids["customer"]:
        raise Refused(f"No such {KIND}: '{ids['id']}'", status=404, code="resource_missing", param="id")
    return one
