"""What somebody deleted at Stripe before it was billed, items of ours and lines of drafts: given up, and told (decision D-219).

What somebody deletes there is not billed again behind their back. The line counts as billed and given back at once: nobody waits for it, and no
later change credits what nobody paid. It stays among the lines that were sent, under `pushes.WAIVED`.

Worked example: three seats more wait with 45.00 for the invoice of 1 February. Somebody deletes the item in the dashboard: February comes without
it, the deal says so for thirty days, and fewer seats from 20 January on give back nothing of the 45.00.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from connector.billing import store
from connector.billing.desk import money_text
from connector.billing.locking import hold_contracts
from connector.billing.store import BookedInvoice
from connector.billing.stripe_backend import coding, pushes
from connector.billing.stripe_backend.reading import notices
from connector.billing.stripe_backend.settling import PRORATED
from connector.core.lines import Line
from connector.ports import Unit


def waiting(unit: Unit) -> dict[str, str]:
    """Return the contract of every line that waits on a subscription, by Stripe's id of its invoice item."""
    sql = "SELECT invoice_item, contract_id FROM stripe_line WHERE invoice_id IS NULL AND contract_id <> '' AND invoice_item LIKE '%ii_%'"
    return {row[0].removeprefix(f"{PRORATED}/"): row[1] for row in unit.query(sql)}


def is_waiting(unit: Unit, item: str) -> bool:
    """Whether a line of ours waits as that invoice item, as far as we know."""
    return bool(_rows(unit, item))


def give_up(unit: Unit, item: str, now: datetime) -> Sequence[str]:
    """Give a line up whose invoice item is gone, and tell of it; return the deals to tell. Nothing while its contract is being sent."""
    hold_contracts(unit, {contract_id for _, contract_id, _ in _rows(unit, item)})
    told: list[str] = []
    for key, contract_id, data in _rows(unit, item):
        if pushes.busy(unit, [contract_id]):
            continue  # perhaps our own doing; the nightly comparison looks again
        unit.execute("UPDATE stripe_line SET invoice_item = ? WHERE key = ? AND invoice_id IS NULL", (pushes.WAIVED, key))
        unit.execute("UPDATE contract SET next_due_at = ? WHERE id = ?", (store.at_text(now), contract_id))  # what its changes still cost is less
        line = coding.line_from_text(data)
        currency = unit.query("SELECT currency FROM contract WHERE id = ?", (contract_id,))[0][0]
        if notices.put(unit, contract_id, "item_deleted", item, notices.problem_of("item_deleted", _fact(line, currency)), now):
            told += store.deals_of_contracts(unit, [contract_id])
    return told


def left_out(unit: Unit, contract: str, booked: BookedInvoice, lines: Sequence[Line], invoice: str, now: datetime) -> None:
    """Give up what a subscription should have billed with an invoice of Stripe's that is final without it: somebody took it off."""
    if not lines:
        return
    unit.executemany(
        "INSERT INTO stripe_line (key, contract_id, push_id, data, invoice_item, invoice_id) VALUES (?,?,'',?,?,NULL)"
        " ON CONFLICT (key) DO UPDATE SET invoice_item = excluded.invoice_item",
        [(line.key, contract, coding.line_text(line), pushes.WAIVED) for line in lines],
    )
    facts = "; ".join(_fact(line, booked.invoice.currency) for line in lines)
    notices.put(unit, contract, "left_out", invoice, notices.problem_of("left_out", f"{booked.number}: {facts}"), now)


def _fact(line: Line, currency: str) -> str:
    return f"{line.description or line.product} from {line.start.date().isoformat()}: {money_text(line.net, currency)}"


def _rows(unit: Unit, item: str) -> list[tuple[str, str, str]]:
    sql = "SELECT key, contract_id, data FROM stripe_line WHERE invoice_id IS NULL AND contract_id <> '' AND invoice_item IN (?, ?)"
    return [(row[0], row[1], row[2]) for row in unit.query(sql, (item, f"{PRORATED}/{item}"))]
