"""The end of a free trial for want of a payment method: decided when the trial ends, not before, because a card may still come.

Worked example: 14 free days from 1 March, `trial_without_payment: pause`. The run of 15 March finds no stored method: the contract is
paused from that day and nothing is billed until somebody resumes it; with a card stored on 14 March it is billed on the 15th.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from connector.billing import store
from connector.billing.commands import last_day
from connector.billing.events import contract_event
from connector.billing.issue import Moment, window_with
from connector.billing.methods import labels_of
from connector.billing.store import BookedChange, BookedContract
from connector.core.period import to_local
from connector.core.schedule import ends_on, timeline
from connector.core.terms import Change
from connector.ports import Unit

PREFIX = "trial/"
_LABEL = "The free trial ended without a payment method"


def ended(unit: Unit, contracts: Sequence[BookedContract], moment: Moment) -> dict[str, BookedContract]:
    """Return the contracts that end or pause now because their trial is over and nobody can be charged, with that change, by id."""
    at_end = [(c, end) for c in contracts if (end := _end_of_trial(c, moment.at)) is not None]
    if not at_end:
        return {}
    paying = labels_of(unit, [c.customer_id for c, _ in at_end])
    return {c.id: _with_end(c, end, moment.at) for c, end in at_end if c.customer_id not in paying}


def save(unit: Unit, org: str, contracts: Sequence[BookedContract], moment: Moment) -> None:
    """Write the changes of `ended` for contracts that are saved otherwise by what was billed of them."""
    store.insert_changes(unit, org, [(c.id, c.changes[-1]) for c in contracts], moment.text)
    made = [contract_event(_without_end(c), c, actor="run", now=moment.at) for c in contracts]
    store.insert_events(unit, [event for event in made if event is not None], moment.text)
    unit.executemany(
        "UPDATE contract SET seq = ?, ends_on = ? WHERE id = ?", [(c.seq, c.ends_on.isoformat() if c.ends_on else None, c.id) for c in contracts]
    )


def _without_end(contract: BookedContract) -> BookedContract:
    standing = replace(contract, seq=contract.seq - 1, changes=contract.changes[:-1])
    return replace(standing, ends_on=last_day(ends_on(standing.contract)))


def _end_of_trial(contract: BookedContract, now: datetime) -> datetime | None:
    """Return where the trial ended (local), if it has and no run has passed that instant yet; None otherwise."""
    terms = contract.terms
    if terms.trial_missing_payment == "create_invoice" or contract.status == "withdrawn":
        return None
    local = to_local(now, terms.timezone)
    plan = timeline(contract.contract, horizon=local)
    end = plan.trial_end
    if end is None or end > local or (contract.billed_until and datetime.fromisoformat(contract.billed_until) > end):
        return None
    is_over = plan.end is not None and plan.end <= end
    return None if is_over or any(c.change.id == PREFIX + contract.id for c in contract.changes) else end


def _with_end(contract: BookedContract, end: datetime, now: datetime) -> BookedContract:
    change = Change(
        id=PREFIX + contract.id,
        kind="cancel" if contract.terms.trial_missing_payment == "cancel" else "pause",
        effective=end,
        made_at=to_local(now, contract.terms.timezone),
        pause_behavior="credit",
    )
    seq = contract.seq + 1
    booked = BookedChange(seq=seq, change=change, data=store.change_text(change), label=_LABEL)
    made = replace(contract, seq=seq, changes=(*contract.changes, booked))
    return replace(made, ends_on=last_day(ends_on(made.contract)), window_on=window_with(contract, [change]))
