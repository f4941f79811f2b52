"""What the CRM derives and refuses when orders and order products are saved.

An order with items of 10 x 120.00 and 1 x 500.00 has TotalAmount 1,700.00. Activated, it has a StatusCode and a date of its own; its
products can neither be changed nor deleted any more, and of itself only what says nothing about what was sold. Set back to Draft it
can be edited again.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.table import Row
from connector.lookalike.crm.values import rounded

_ZERO = Decimal(0)
# What is derived, written by the system, or may change on an activated order.
_FREE = frozenset((
    "Status", "StatusCode", "ActivatedDate", "TotalAmount", "Description", "OwnerId", "Name", "PoNumber", "PoDate",
    "SystemModstamp", "LastModifiedDate", "LastModifiedById", "SBQQ__Contracted__c", "ContractId", "SBQQ__Activated__c", "SBQQ__Contract__c",
))  # fmt: skip


def save_order(draft: Row, old: Row | None, *, items: list[Row], now: str) -> None:
    """Complete an order with what its status means. Raises: Refusal of a change that an activated order does not take."""
    was_active = (old or {}).get("StatusCode") == "Activated"
    is_active = draft.get("Status") == "Activated"
    if is_active and not was_active and not items:
        raise Refusal("FAILED_ACTIVATION", "An order must have at least one product.")
    if was_active and is_active and old is not None:
        _only_free(old, draft)
    draft["StatusCode"] = "Activated" if is_active else "Draft"
    if is_active != was_active:
        draft["ActivatedDate"] = now if is_active else None
    draft["TotalAmount"] = sum((item["TotalPrice"] for item in items), _ZERO)


def save_item(order: Row, draft: Row, old: Row | None, resolve: Callable[[Row], None]) -> None:
    """Complete an order product with its list price and total; *resolve* finds its price book entry."""
    if old is None:
        _not_activated(order, "added to")
        resolve(draft)
    elif order.get("StatusCode") == "Activated":
        _only_free(old, draft)
    draft["TotalPrice"] = rounded(draft["Quantity"] * draft["UnitPrice"], 2)


def check_delete(kind: str, old: Row, order: Row | None) -> None:
    """Refuse to delete an activated order, or a product of one. *order* - of the product, None where it went too."""
    if kind == "Order" and old.get("StatusCode") == "Activated":
        raise Refusal("DELETE_FAILED", "An activated order cannot be deleted. Deactivate it first.")
    if kind == "OrderItem" and order is not None:
        _not_activated(order, "deleted from")


def _not_activated(order: Row, what: str) -> None:
    if order.get("StatusCode") == "Activated":
        raise Refusal("INVALID_STATUS", f"Order products cannot be {what} an activated order.")


def _only_free(old: Row, draft: Row) -> None:
    """Refuse a change of what was sold; the connector's own fields and custom fields of the org's stay free."""
    for name in sorted(old.keys() | draft.keys()):
        if name in _FREE or (name.endswith("__c") and not name.startswith("SBQQ__")):
            continue
        if _plain(old.get(name)) != _plain(draft.get(name)):
            raise Refusal("INVALID_STATUS", f"An activated order cannot be edited: {name}. Deactivate it first.", fields=(name,))


def _plain(value: Any) -> Any:
    return None if value in ("", False) else value
