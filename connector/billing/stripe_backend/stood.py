"""Where what was billed stands at Stripe, for credit notes on it: which line of which invoice a fact of the books is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby

from connector.billing.batches import in_batches
from connector.billing.stripe_backend.compiling.noting import counted
from connector.billing.stripe_backend.compiling.wanted import Stands
from connector.billing.stripe_backend.reading.lines import UNKNOWN
from connector.core.lines import Line
from connector.ports import Unit


def stands_of(unit: Unit, facts: Mapping[str, Sequence[Line]]) -> dict[str, Stands]:
    """Return where facts (by contract) stand at Stripe, by key; those of other invoices are missing. Two queries for a chunk of contracts."""
    first = min((line.end for lines in facts.values() for line in lines), default=None)
    if first is None:
        return {}
    invoices: dict[str, str] = {}
    for batch, marks in in_batches(sorted(facts)):
        sql = f"SELECT DISTINCT s.invoice_id, s.stripe_id FROM line l JOIN stripe_invoice s ON s.invoice_id = l.invoice_id WHERE l.contract_id IN ({marks}) AND l.service_end >= ?"
        invoices |= {str(ours): str(theirs) for ours, theirs in unit.query(sql, (*batch, first.isoformat()))}
    rows = [
        row for batch, marks in in_batches(sorted(invoices))
        for row in unit.query(f"SELECT invoice_id, key, place FROM line WHERE invoice_id IN ({marks}) ORDER BY invoice_id, place", batch)
    ]  # fmt: skip
    found: dict[str, Stands] = {}
    for invoice_id, lines in groupby(rows, key=lambda row: row[0]):
        places = {str(key): int(place) - 1 for _, key, place in lines}
        counts = counted(places.values())
        found |= {key: Stands(invoice=invoices[invoice_id], place=place, count=counts[place]) for key, place in places.items()}
    return found | {key: found[there] for lines in facts.values() for key, there in _linked(lines, found)}


def _linked(lines: Sequence[Line], found: Mapping[str, Stands]) -> Iterator[tuple[str, str]]:
    """Yield the charges that were billed before their contract was linked, each with the line of Stripe's for the same days and amount, if there is one."""
    there: dict[tuple[datetime, datetime, int], list[str]] = {}
    for line in lines:
        if line.key.startswith(UNKNOWN) and line.key in found:
            there.setdefault((line.start, line.end, line.net), []).append(line.key)
    for line in lines:
        keys = there.get((line.start, line.end, line.net), []) if line.kind == "charge" and line.key not in found else []
        if len(keys) == 1:
            yield line.key, keys[0]
