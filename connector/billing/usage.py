"""What was used of metered items, read for contracts that are billed or looked at: one statement for all of them.

Only a contract with a metered price is asked for, and only usage in its open periods: what lies before the window of a billing
run (decision D-10) stands on finalized invoices. So contracts without usage cost nothing, and the others not more with the years.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from connector.billing.store import READ_ROWS, BookedContract
from connector.core.lines import Usage
from connector.ports import Unit

_METERED = '"metered"'


def is_metered(contract: BookedContract) -> bool:
    """Whether a contract has or had a metered price; judged by its JSON text, which says so in one word."""
    return _METERED in contract.data or any(_METERED in c.data for c in contract.changes)


def with_usage(unit: Unit, contracts: Iterable[BookedContract]) -> list[BookedContract]:
    """Return the contracts, the metered ones with the usage of their open periods."""
    found = list(contracts)
    windows = {c.id: c.window_on for c in found if is_metered(c)}
    if not windows:
        return found
    used = _used(unit, windows)
    return [replace(c, usage=tuple(used[c.id])) if c.id in used else c for c in found]


def _used(unit: Unit, windows: Mapping[str, str]) -> dict[str, list[Usage]]:
    """Return by contract id what was used from the start of its window on, in order of time; an empty window reads all."""
    found: dict[str, list[Usage]] = {}
    pairs = list(windows.items())
    for start in range(0, len(pairs), READ_ROWS):
        batch = pairs[start : start + READ_ROWS]
        sql = (
            f"WITH w(id, since) AS (VALUES {','.join(['(?,?)'] * len(batch))}) SELECT u.contract_id, u.item_id, u.price_id, u.used_at, u.quantity"
            " FROM w JOIN usage_record u ON u.contract_id = w.id AND u.used_at >= w.since ORDER BY u.contract_id, u.used_at, u.id"
        )
        for contract_id, item_id, price_id, used_at, quantity in unit.query(sql, [value for pair in batch for value in pair]):
            row = Usage(price=price_id, at=datetime.fromisoformat(used_at), quantity=Decimal(quantity), item=item_id)
            found.setdefault(contract_id, []).append(row)
    return found
