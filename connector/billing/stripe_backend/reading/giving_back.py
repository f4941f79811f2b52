"""Credits of the engine that went to Stripe as credit notes: facts of the books with Stripe's amounts, and not taken off their charge twice.

A credit note takes of an invoice's line, and what it takes no change credits once more. A note of ours that carries out a change *is* that
change's credit: its lines stand among the facts under the note's id, so the engine knows the time as given back; for the rest it is a note as any other.

Worked example: of 145.00 for March a note of ours gives back 79.52 from the 15th on. The fact `.../credit/...` is -79.52; on the invoice 65.48 can
still be credited; a further change finds nothing of these days any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from connector.billing import store
from connector.billing.batches import in_batches
from connector.billing.stripe_backend import coding, pushes
from connector.billing.stripe_backend.money import minor_amount
from connector.billing.stripe_backend.reading.picked import Data, id_of, metadata_of
from connector.billing.taken import take_from_lines
from connector.core.lines import Line
from connector.ports import Unit


def booked(unit: Unit, note: Data) -> list[Line]:
    """Make facts of the credits of ours that a note of the books bears and that are none yet; return them."""
    sent = _sent(unit, note)
    rows = unit.query("SELECT invoice_id FROM stripe_invoice WHERE stripe_id = ?", (id_of(note),)) if sent else []
    if not rows or note.get("status") == "void":
        return []
    note_id = str(rows[0][0])
    facts = [_billed(line, [row for row in _lines(note) if _key(row) == key], str(note["currency"])) for key, line in sent.items()]
    store.insert_lines(unit, [(note_id, facts)])
    pushes.save_facts(unit, note_id, facts)
    taken = unit.query("SELECT line_key, SUM(amount) FROM credit_note_line WHERE note_id = ? GROUP BY line_key", (note_id,))
    take_from_lines(unit, f"{note_id}/change", {key: -int(amount) for key, amount in taken})
    return facts


def _sent(unit: Unit, note: Data) -> dict[str, Line]:
    """Return the credits that a note bears and that are no facts, by key: as they were sent, or are just being sent."""
    keys = sorted({_key(line) for line in _lines(note)} - {""})
    found: dict[str, Line] = {}
    for batch, marks in in_batches(keys):
        for key, data, invoice_id in unit.query(f"SELECT key, data, invoice_id FROM stripe_line WHERE key IN ({marks})", batch):
            keys.remove(key)
            if invoice_id is None:
                found[key] = coding.line_from_text(data)
    contract_id = metadata_of(note).get("connector_contract", "")
    if keys and contract_id:
        found |= {line.key: line for line in pushes.lines_on_way(unit, contract_id) if line.key in keys}
    return {key: line for key, line in found.items() if line.credits is not None}


def _lines(note: Data) -> Sequence[Data]:
    return (note.get("lines") or {}).get("data") or ()


def _key(line: Data) -> str:
    return str((line.get("metadata") or {}).get("connector_line") or "")


def _billed(line: Line, rows: Sequence[Data], currency: str) -> Line:
    """Return a credit with what Stripe credited."""
    amount = minor_amount(sum(int(row["amount"]) for row in rows), currency)
    off = minor_amount(sum(int(row.get("discount_amount") or 0) for row in rows), currency)
    taxes: dict[tuple[str, bool], int] = {}
    for tax in (tax for row in rows for tax in row.get("taxes") or ()):
        name = (id_of((tax.get("tax_rate_details") or {}).get("tax_rate")) or "tax", tax.get("tax_behavior") == "inclusive")
        taxes[name] = taxes.get(name, 0) - minor_amount(tax["amount"], currency)
    told = replace(line, taxes=tuple((rate, tax, is_inside) for (rate, is_inside), tax in taxes.items()))
    if amount - off == -line.net:
        return told
    return replace(told, amount=-amount, discounts=(("discount", -off),) if off else ())
