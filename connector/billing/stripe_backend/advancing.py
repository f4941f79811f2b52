"""How a contract stands whose invoices Stripe makes: the engine's own view of it, over facts that were mirrored. Pure.

Status, what changes caused and when to look again come from the very functions that bill on the internal engine; only two things
differ. What is due and no fact yet is on its way at Stripe, so it neither stands on an invoice nor moves the window of facts; and
the run looks again also where Stripe needs something in time, such as the phases beyond the first ten.

Worked example: 30.00 a month from 1 April, agreed on 1 April: scheduled at Stripe at once, looked at again on 1 May; once Stripe's
invoice is mirrored, its line is a fact and the window of facts moves up to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from connector.billing.issue import Billed, brought_on, piece_of
from connector.billing.store import BookedContract, at_text
from connector.core.invoicing import proposed_on
from connector.core.lines import Line
from connector.core.period import to_local
from connector.core.schedule import timeline
from connector.core.settlement import CustomerState


def advanced(  # noqa: PLR0913 - the engine's own parameters, and what only Stripe needs
    contract: BookedContract,
    facts: Sequence[Line],
    customer: CustomerState,
    now: datetime,
    credited: Mapping[str, int],
    *,
    emitted: Sequence[Line] = (),
    look_at: datetime | None = None,
) -> Billed:
    """Return the contract as it stands at *now* (aware) with these facts.

    emitted - those of the facts that were not known before. look_at - when the run must look again at the latest (aware).
    """
    if contract.status == "withdrawn":
        return Billed(
            contract=contract, invoice=None, deal=contract.deal, status="withdrawn", is_invoiced=contract.is_invoiced, billed_until="",
            window_on="", next_due_at=None, changes=(),
        )  # fmt: skip
    piece = piece_of(contract, facts, customer, credited)
    local = to_local(now, contract.terms.timezone)
    plan = timeline(piece.contract, horizon=local)
    made = brought_on(contract, plan, piece, None, local, emitted)
    if proposed_on(plan, piece, local):  # on its way: the window stays where it is until all of it is a fact
        made = replace(made, billed_until=contract.billed_until, window_on=contract.window_on)
    if look_at is not None:
        look = at_text(look_at)
        made = replace(made, next_due_at=min(look, made.next_due_at) if made.next_due_at else look)
    return made
