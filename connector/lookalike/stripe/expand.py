"""What an answer shows: ids become objects where `expand[]` asks for them, and what Stripe shows on request only stays hidden.

`expand[]=data.customer` on a list, `expand[]=latest_invoice.payments` on a subscription; at most four levels.
Source: docs.stripe.com/api/expanding_objects, docs.stripe.com/expand.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from connector.lookalike.stripe.account import Account, Data, Refused

KINDS: dict[str, str] = {
    "charge": "charge", "configuration": "billing_portal.configuration", "coupon": "coupon", "credit_note": "credit_note",
    "customer": "customer", "default_payment_method": "payment_method", "default_price": "price", "discount": "discount",
    "discounts": "discount", "invoice": "invoice", "latest_charge": "charge", "latest_invoice": "invoice", "latest_revision": "invoice",
    "new_price": "price", "parent_subscription": "subscription", "payment_intent": "payment_intent", "payment_record": "payment_record", "payment_method": "payment_method",
    "pending_setup_intent": "setup_intent", "price": "price", "product": "product", "promotion_code": "promotion_code", "refund": "refund",
    "customer_balance_transaction": "customer_balance_transaction", "schedule": "subscription_schedule", "subscription": "subscription",
    "tax_rate": "tax_rate", "default_tax_rates": "tax_rate", "dispute": "dispute", "source_charge": "charge",
}  # fmt: skip
"""Name of a field -> kind of the object whose id it holds."""

Shown = Callable[[Account, Data], Any]

HIDDEN: dict[tuple[str, str], Shown | None] = {
    ("price", "tiers"): None,
    ("price", "currency_options"): None,
    ("coupon", "applies_to"): None,
    ("coupon", "currency_options"): None,
    ("customer", "sources"): None,
    ("customer", "tax"): None,
    ("invoice", "payments"): None,
}
"""(object, field) that is shown only where it is asked for -> how it is made; None: it stands in the object that is kept."""

_DEEPEST = 4
_LINES = 10
"""How many lines and payments stand inside an invoice or credit note; the others are listed by a call of their own."""


def shown(account: Account, answer: Data, asked: Iterable[str] = ()) -> Data:
    """Return an answer of its own with the fields *asked* expanded and the hidden ones left out. Raises: Refused."""
    made: Data = _bare(answer)
    for path in asked:
        steps = path.split(".")
        if len(steps) - (steps[0] == "data") > _DEEPEST:
            raise Refused(
                f"You cannot expand more than {_DEEPEST} levels of a property. Property: {path}", param="expand"
            )
        _open(account, made, answer, steps, path)
    return made


def _bare(value: Any) -> Any:
    """Return a copy without what is hidden."""
    if isinstance(value, dict):
        said = value.get("object")
        kind = said if isinstance(said, str) else ""  # in an event it is the object itself
        return {
            key: _bare(_first_lines(one) if key in ("lines", "payments") else one)
            for key, one in value.items()
            if (kind, key) not in HIDDEN
        }
    if isinstance(value, list):
        return [_bare(one) for one in value]
    return copy.copy(value)


def _first_lines(held: Any) -> Any:
    """Return the list of lines or payments as it stands inside its object."""
    if not isinstance(held, dict) or len(held.get("data", ())) <= _LINES:
        return held
    return {**held, "data": held["data"][:_LINES], "has_more": True}


def _open(account: Account, made: Data, whole: Data, steps: list[str], path: str) -> None:
    """Expand the first of *steps* in *made* (as it is answered; *whole* as it is kept), then go on below it."""
    name, rest = steps[0], steps[1:]
    if made.get("object") == "list" and name == "data" and rest:
        for one, kept in zip(made["data"], whole["data"], strict=False):
            _open(account, one, _kept(account, kept), rest, path)
        return
    kind = (str(made.get("object")), name)
    if kind not in HIDDEN and name not in made:
        hint = f" You may want to try expanding 'data.{path}' instead." if made.get("object") == "list" else ""
        raise Refused(f"This property cannot be expanded ({path}).{hint}", param="expand")
    found = _hidden(account, whole, kind) if kind in HIDDEN else whole.get(name)
    old = made.get(name)
    if isinstance(found, list):
        olds = old if isinstance(old, list) else found
        made[name] = [_opened(account, name, (a, b), rest, path) for a, b in zip(olds, found, strict=True)]
    else:
        made[name] = None if found is None else _opened(account, name, (old, found), rest, path)


def _opened(account: Account, name: str, pair: tuple[Any, Any], rest: list[str], path: str) -> Data:
    """Return the object that a field shows now: pair - (as it is answered so far, as it is kept)."""
    old, kept = pair
    whole = _whole(account, name, kept, path)
    made: Data = old if isinstance(old, dict) and old is not whole else _bare(_first_lines(whole) if name == "payments" else whole)
    if rest:
        _open(account, made, _kept(account, whole), rest, path)
    return made


def _whole(account: Account, name: str, value: Any, path: str) -> Data:
    """Return the object that a field holds or names."""
    if isinstance(value, dict):
        return value
    found = account.objects.get(KINDS.get(name, ""), {}).get(value)
    if found is None:
        raise Refused(f"This property cannot be expanded ({path}).", param="expand")
    return found


def _kept(account: Account, value: Data) -> Data:
    """Return the object as it is kept, where *value* is a copy of one."""
    return account.objects.get(str(value.get("object")), {}).get(str(value.get("id")), value)


def _hidden(account: Account, whole: Data, kind: tuple[str, str]) -> Any:
    make = HIDDEN[kind]
    kept = _kept(account, whole)
    return make(account, kept) if make else kept.get(kind[1])
