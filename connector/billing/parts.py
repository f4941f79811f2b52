"""Invoices that cover several contracts, seen from each of them: its part, what was paid of it, what is due (decision D-131).

A part is what the lines of one contract add up to, so the parts are the invoice to the cent. What was paid and what is open is split
over what is left of the parts, none below zero. Worked example: INV-0007 over 90.00 has 60.00 of contract A and 30.00 of B; 45.00
arrive: A counts 30.00 paid and 30.00 due, B 15.00 and 15.00.

Most books have no such invoice; every function then ends after one look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from connector.billing import events, store
from connector.billing.batches import in_batches
from connector.billing.store import Sums
from connector.core.money import allocate
from connector.ports import InvoiceView, Unit

_COUNTED = ("open", "paid", "uncollectible")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one contract has of an invoice: *total* of its lines with tax, what credit notes took of them, and put on the balance.

    label - what the contract was called when the invoice was issued.
    """

    invoice_id: str
    contract_id: str
    deal: str
    total: int
    label: str = ""
    credited: int = 0
    to_balance: int = 0

    @property
    def left(self) -> int:
        """Return what of the part is asked for or was paid; nothing of one that gives back."""
        return max(0, self.total - self.credited + self.to_balance)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartView:
    """A part with its invoice; *view* is the whole invoice, under the part's contract and deal."""

    part: Part
    share: Sums
    view: InvoiceView


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsOf:
    """The parts that contracts have of invoices, for their standing: by deal, except *opened* and *drafts* by contract."""

    opened: Mapping[str, Sequence[InvoiceView]]
    drafts: Mapping[str, tuple[date, int]]
    sums: Mapping[str, Sums]
    last: Mapping[str, InvoiceView]


def shares(parts: Sequence[Part], *, paid: int, due: int) -> list[Sums]:
    """Return billed, paid and due of each part; they add up to the invoice's, and paid and due of a part to what it owes in all."""
    weights = [p.left for p in parts]
    owed = allocate(paid + due, weights)
    settled = list(allocate(paid, weights))
    over = 0
    for i, most in enumerate(owed):  # the last part takes the rest of every split; it never takes more than it owes
        over += max(0, settled[i] - most)
        settled[i] = min(settled[i], most)
    for i, most in enumerate(owed):
        more = min(over, most - settled[i])
        settled[i], over = settled[i] + more, over - more
    return [
        Sums(billed=p.total - p.credited, paid=got, due=most - got) for p, got, most in zip(parts, settled, owed, strict=True)
    ]


def both(one: Sums, other: Sums) -> Sums:
    """Return two sums added up."""
    return Sums(billed=one.billed + other.billed, paid=one.paid + other.paid, due=one.due + other.due)


# ---------------------------------------------------------------- reading


def has_parts(unit: Unit) -> bool:
    """Whether any invoice ever covered several contracts."""
    return bool(unit.query("SELECT 1 FROM invoice_part LIMIT 1"))


def parts_of(unit: Unit, invoice_ids: Iterable[str]) -> dict[str, list[Part]]:
    """Return the parts of invoices, in the order of their lines; an invoice of one contract has none."""
    found: dict[str, list[Part]] = {}
    for batch, marks in in_batches(invoice_ids):
        sql = (
            "SELECT invoice_id, contract_id, deal, total, label, credited, to_balance FROM invoice_part"
            f" WHERE invoice_id IN ({marks}) ORDER BY invoice_id, place"
        )
        for row in unit.query(sql, batch):
            part = Part(
                invoice_id=row[0], contract_id=row[1], deal=row[2], total=row[3], label=row[4], credited=row[5], to_balance=row[6]
            )  # fmt: skip
            found.setdefault(part.invoice_id, []).append(part)
    return found


def contracts_on(unit: Unit, invoice_ids: Iterable[str]) -> list[str]:
    """Return the contracts of invoices that cover several."""
    return list(dict.fromkeys(p.contract_id for parts in parts_of(unit, invoice_ids).values() for p in parts))


def contracts_told(unit: Unit, invoice_ids: Sequence[str]) -> list[str]:
    """Return the contracts whose deals show something of invoices: theirs, those that share them, else the customer's newest one."""
    own: dict[str, None] = {}
    for batch, marks in in_batches(invoice_ids):
        newest = "(SELECT MAX(t.id) FROM contract t WHERE t.customer_id = i.customer_id)"
        sql = (
            f"SELECT CASE WHEN i.contract_id <> '' THEN i.contract_id ELSE {newest} END FROM invoice i WHERE i.id IN ({marks})"
            " AND NOT EXISTS (SELECT 1 FROM invoice_part p WHERE p.invoice_id = i.id)"
        )
        own |= dict.fromkeys(row[0] for row in unit.query(sql, batch) if row[0])
    return list(own | dict.fromkeys(contracts_on(unit, invoice_ids)))


def mark_overdue(unit: Unit, today: date, limit: int, now: datetime) -> list[str]:
    """Mark up to *limit* open invoices that were due before *today* and not seen so yet; return whose contracts' deals must tell."""
    rows = events.mark_overdue(unit, today, limit, now)
    shared = [row[0] for row in rows if not row[1]]
    return list(dict.fromkeys([*(row[1] for row in rows if row[1]), *(contracts_told(unit, shared) if shared else ())]))


def invoices_of_no_contract(unit: Unit, contract_ids: Iterable[str]) -> list[InvoiceView]:
    """Return the finalized invoices of the contracts' customers that belong to no single contract: shared by several, or one-off."""
    ids: list[str] = []
    for batch, marks in in_batches(contract_ids):
        people = f"SELECT customer_id FROM contract WHERE id IN ({marks})"
        sql = f"SELECT id FROM invoice WHERE contract_id = '' AND status <> 'draft' AND customer_id IN ({people})"
        ids += [row[0] for row in unit.query(sql, batch)]
    return list(store.invoices_by_id(unit, ids).values())


def invoice_ids_of(unit: Unit, contract_ids: Iterable[str]) -> list[str]:
    """Return the invoices that contracts have a part of."""
    found: list[str] = []
    for batch, marks in in_batches(contract_ids):
        found += [row[0] for row in unit.query(f"SELECT DISTINCT invoice_id FROM invoice_part WHERE contract_id IN ({marks})", batch)]
    return sorted(set(found))


def part_views(unit: Unit, contract_ids: Sequence[str]) -> list[PartView]:
    """Return the parts that contracts have of invoices and drafts, oldest first, each with its share of what was paid and is open."""
    if not contract_ids or not has_parts(unit):
        return []
    ids = invoice_ids_of(unit, contract_ids)
    views, parts, wanted = store.invoices_by_id(unit, ids), parts_of(unit, ids), set(contract_ids)
    found: list[PartView] = []
    for invoice_id in ids:
        view, own = views[invoice_id], parts[invoice_id]
        for part, share in zip(own, _shares(view, own), strict=True):
            if part.contract_id in wanted:
                found.append(PartView(part=part, share=share, view=replace(view, contract_id=part.contract_id, deal=part.deal)))
    return found


def parts_with_shares(unit: Unit, invoice_id: str) -> list[tuple[Part, Sums]]:
    """Return the parts of an invoice, each with its share of what was paid and is open; an invoice of one contract has none."""
    parts = parts_of(unit, [invoice_id]).get(invoice_id, [])
    if not parts:
        return []
    view = store.invoices_by_id(unit, [invoice_id])[invoice_id]
    return list(zip(parts, _shares(view, parts), strict=True))


def _shares(view: InvoiceView, parts: Sequence[Part]) -> list[Sums]:
    if view.status not in _COUNTED:
        return [Sums() for _ in parts]
    left = max(0, view.amount_due - view.amount_paid) if view.status in ("open", "uncollectible") else 0
    found = shares(parts, paid=view.amount_paid, due=left)
    return found if view.status == "open" else [replace(s, due=0) for s in found]


def standing_parts(unit: Unit, contract_ids: Sequence[str]) -> PartsOf:
    """Return what the standing of deals needs to know of the invoices that their contracts share with others."""
    opened: dict[str, list[InvoiceView]] = {}
    drafts: dict[str, tuple[date, int]] = {}
    sums: dict[str, Sums] = {}
    last: dict[str, InvoiceView] = {}
    for found in part_views(unit, contract_ids):
        view, part, share = found.view, found.part, found.share
        if view.status == "draft":
            if view.issued_on is not None:
                drafts[part.contract_id] = (view.issued_on, part.total)
            last.setdefault(part.deal, view)
            continue
        sums[part.deal] = both(sums.get(part.deal, Sums()), share)
        last[part.deal] = view
        if view.status == "open":
            opened.setdefault(part.contract_id, []).append(view)
    return PartsOf(opened=opened, drafts=drafts, sums=sums, last=last)


# ---------------------------------------------------------------- drafts


def sharing_drafts(unit: Unit, contract_ids: Iterable[str]) -> list[str]:
    """Return the contracts on the drafts that these contracts share with others: such a draft is made anew as a whole."""
    if not unit.query("SELECT 1 FROM invoice WHERE status = 'draft' AND contract_id = '' LIMIT 1"):
        return []
    return contracts_on(unit, _shared_drafts(unit, contract_ids))


def _shared_drafts(unit: Unit, contract_ids: Iterable[str]) -> list[str]:
    found: list[str] = []
    for batch, marks in in_batches(contract_ids):
        sql = (
            "SELECT DISTINCT i.id FROM invoice i CROSS JOIN invoice_part p WHERE i.status = 'draft' AND i.contract_id = ''"
            f" AND p.invoice_id = i.id AND p.contract_id IN ({marks})"
        )
        found += [row[0] for row in unit.query(sql, batch)]
    return sorted(set(found))


def drafts(unit: Unit, contract_ids: Iterable[str]) -> dict[str, tuple[date, int]]:
    """Return the day and total of the draft that each contract has for itself."""
    found: dict[str, tuple[date, int]] = {}
    for batch, marks in in_batches(contract_ids):
        sql = f"SELECT contract_id, issued_on, total FROM invoice WHERE status='draft' AND contract_id IN ({marks})"
        found.update((row[0], (date.fromisoformat(row[1]), row[2])) for row in unit.query(sql, batch))
    return found


def drafted_contracts(unit: Unit, limit: int) -> list[str]:
    """Return the contracts on up to *limit* drafts that cover several, oldest first."""
    sql = "SELECT id FROM invoice WHERE status = 'draft' AND contract_id = '' ORDER BY id LIMIT ?"
    return contracts_on(unit, [row[0] for row in unit.query(sql, (limit,))])


def delete_shared_drafts(unit: Unit, contract_ids: Iterable[str], now: datetime) -> int:
    """Delete the drafts that contracts share with others, and have all of these looked at again by the next run; return how many."""
    drafts = _shared_drafts(unit, contract_ids) if has_parts(unit) else []
    if not drafts:
        return 0
    at = store.at_text(now)
    again = [(at, contract_id, at) for contract_id in contracts_on(unit, drafts)]
    unit.executemany("UPDATE contract SET next_due_at = ? WHERE id = ? AND (next_due_at IS NULL OR next_due_at > ?)", again)
    unit.executemany("DELETE FROM invoice_part WHERE invoice_id = ?", [(draft,) for draft in drafts])
    return events.delete_invoices(unit, drafts, now)


# ---------------------------------------------------------------- writing


def insert_parts(unit: Unit, made: Sequence[Part]) -> None:
    """Save the parts of invoices, each invoice's in order."""
    places: dict[str, int] = {}
    rows = []
    for part in made:
        places[part.invoice_id] = place = places.get(part.invoice_id, 0) + 1
        rows.append((part.invoice_id, place, part.contract_id, part.deal, part.label, part.total, part.credited, part.to_balance))
    unit.executemany(
        "INSERT INTO invoice_part (invoice_id, place, contract_id, deal, label, total, credited, to_balance) VALUES (?,?,?,?,?,?,?,?)",
        rows,
    )


def credit_parts(unit: Unit, invoice_id: str, taken: Mapping[str, int], to_balance: int) -> None:
    """Count a credit note on an invoice that covers several contracts: *taken* by contract with tax, of which *to_balance* in all."""
    on_balance = allocate(to_balance, list(taken.values())) if taken else ()
    unit.executemany(
        "UPDATE invoice_part SET credited = credited + ?, to_balance = to_balance + ? WHERE invoice_id = ? AND contract_id = ?",
        [(amount, part, invoice_id, contract_id) for (contract_id, amount), part in zip(taken.items(), on_balance, strict=True)],
    )


def copy_parts(unit: Unit, old_id: str, new_id: str) -> None:
    """Give an invoice that was issued again the parts of the one it replaces."""
    parts = parts_of(unit, [old_id]).get(old_id, [])
    insert_parts(unit, [replace(p, invoice_id=new_id, credited=0, to_balance=0) for p in parts])
