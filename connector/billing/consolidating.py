"""One invoice for all contracts of a customer that fall due in one billing run (decision D-35), where the customer wants it so.

A contract of such a customer is billed like any other, line by line; only the invoice is put together at the end of the run, one
for each currency and way of paying. Applying a command bills nothing: the run does. Worked example: a licence of 60.00 and support
of 30.00, two contracts due on 1 May, are INV-0007 over 90.00 with two parts; the balance counts towards the whole.

A contract that is alone in a run gets an ordinary invoice, and so does one whose pause voids what it bills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from connector.billing import events, parts, store
from connector.billing.batches import in_batches
from connector.billing.parts import Part
from connector.billing.store import BookedContract, Customer, Unreadable
from connector.core.settlement import Invoice
from connector.ports import HowBilled, Unit

_ALONE = ("void", "uncollectible")  # what a pause made of an invoice; it is nobody else's
_GroupKey = tuple[str, str, str, int, str]


def goes_together(customer: Customer, invoice: Invoice | None) -> bool:
    """Whether what was billed goes on an invoice with the customer's other contracts."""
    return customer.is_consolidated and invoice is not None and invoice.status not in _ALONE


def bundles(found: Sequence[tuple[BookedContract, Invoice]], customers: Mapping[str, Customer]) -> list[list[int]]:
    """Return which of the contracts billed in a run share an invoice, by their places, in order of the first."""
    if not any(customers[contract.customer_id].is_consolidated for contract, _ in found):
        return [[n] for n in range(len(found))]
    groups: dict[_GroupKey | int, list[int]] = {}
    for n, (contract, invoice) in enumerate(found):
        together = goes_together(customers[contract.customer_id], invoice)
        groups.setdefault(_key(contract) if together else n, []).append(n)
    return list(groups.values())


def _key(contract: BookedContract) -> _GroupKey:
    terms = contract.terms
    return contract.customer_id, terms.currency, terms.collection_method, terms.days_until_due, terms.timezone


def holder_of(contracts: Sequence[BookedContract]) -> BookedContract:
    """Return what stands for several contracts on their invoice: no contract and no deal, the purchase orders and memos of all."""
    first, hows = contracts[0], [c.how for c in contracts]
    how = HowBilled(
        collection_method=first.how.collection_method,
        days_until_due=first.how.days_until_due,
        po_number=", ".join(dict.fromkeys(h.po_number for h in hows if h.po_number)),
        memo="\n".join(dict.fromkeys(h.memo for h in hows if h.memo)),
    )
    return replace(first, id="", deal="", label="", how=how, changes=())


def parts_for(invoice_id: str, members: Sequence[tuple[BookedContract, str, Invoice]]) -> list[Part]:
    """Return the parts of an invoice: what the lines of each (contract, deal, invoice of its own) add up to."""
    return [
        Part(
            invoice_id=invoice_id, contract_id=contract.id, deal=deal, label=contract.label, total=sum(line.gross for line in invoice.lines)
        )
        for contract, deal, invoice in members
    ]


def with_shared_drafts(unit: Unit, ids: Sequence[str], limit: int, *, with_drafts: bool) -> list[str]:
    """Return the contracts that are due, and those that share a draft with them, which is made anew as a whole.

    with_drafts - up to *limit* also those whose draft alone makes them due.
    """
    known = dict.fromkeys(ids)
    if with_drafts and len(known) < limit:
        fresh = [i for i in parts.drafted_contracts(unit, limit) if i not in known]
        known |= dict.fromkeys(fresh[: limit - len(known)])
    known |= dict.fromkeys(parts.sharing_drafts(unit, known))
    return list(known)


def with_others(
    unit: Unit, contracts: list[BookedContract], people: Sequence[Customer], as_of: str, unreadable: list[Unreadable], *, with_drafts: bool
) -> list[BookedContract]:
    """Return the contracts of a chunk with all others that are due or drafted of customers who get one invoice a run.

    Those that cannot be read are added to *unreadable*.
    """
    drafted = " OR EXISTS (SELECT 1 FROM invoice i WHERE i.status = 'draft' AND i.contract_id = o.id)" if with_drafts else ""
    others: set[str] = set()
    for batch, marks in in_batches(c.id for c in people if c.is_consolidated):
        sql = f"SELECT o.id FROM contract o WHERE o.customer_id IN ({marks}) AND (o.next_due_at <= ?{drafted})"
        others |= {row[0] for row in unit.query(sql, (*batch, as_of))}
    known = {c.id for c in contracts} | {u.id for u in unreadable}
    if not others - known:
        return contracts
    others |= set(parts.sharing_drafts(unit, others - known))
    return sorted([*contracts, *store.contracts(unit, others - known, unreadable)], key=lambda c: c.id)


def delete_drafts(unit: Unit, contract_ids: Sequence[str], now: datetime) -> int:
    """Delete the drafts of contracts, those that they share with others too, because drafts are made anew; return how many."""
    return parts.delete_shared_drafts(unit, contract_ids, now) + events.delete_drafts(unit, contract_ids, now)
