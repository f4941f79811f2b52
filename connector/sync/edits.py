"""Edits of billed deals: what differs, the amendment that closes it, kept until a person approves it (deals.md section 4, D-115).

What the record asks for is kept beside the deal, so that approving needs neither the CRM nor the mapping; the amendment itself
is reckoned anew on the contract as it stands at that moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from sqlmodel import Field

from connector.core.edit_ids import edit_id
from connector.core.terms import change_from_data, change_to_data, terms_from_data, terms_to_data
from connector.errors import Problem, RejectedError, Where
from connector.ports import Billing, Command, CustomerDetails, Desired, HowBilled, Proposal, Unit
from connector.sync.decide import Applied, Decision, Digests, Do, Flag, Ways, decision_key, edit_command, wanted_command
from connector.sync.ledger import Deal, Ledger, deals, iso, marks, note, save_deals, tell_contracts
from connector.sync.reasons import Reasons

EDITED = "edited-after-billing"
_encode = msgspec.json.Encoder(decimal_format="string").encode
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class ProposalRow(Ledger, table=True):
    """What the record of a billed deal asks for since it was edited; *data* is JSON, *digest* that of the terms."""

    __tablename__ = "proposal"
    deal: str = Field(primary_key=True)
    kind: str
    data: str
    digest: str
    made_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """What an edited record asks for: the command that would do it, and the digest of its terms."""

    command: Command
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """An edited deal: what its record asks for, what was applied, and what the mapping says of edits."""

    desired: Desired
    digests: Digests
    applied: Applied
    ways: Ways


def settled(billing: Billing, unit: Unit, edit: Edit, decision: Decision, now: datetime) -> tuple[Decision, Proposed]:
    """Return what becomes of an edit: the amendment at once where the mapping says so, else a flag that says what it would cost."""
    desired, applied = edit.desired, edit.applied
    command = wanted_command(desired, applied)
    proposal = billing.proposal(command, edit_id(desired.deal, applied.revision + 1), unit, now)
    proposed = Proposed(command=command, digest=edit.digests.terms)
    if edit.ways.edits == "amend" and proposal.change is not None and proposal.problem is None:
        if isinstance(decision, Do):  # who is billed and how comes first, then the amendment
            return replace(decision, is_first=True), proposed
        return Do(command=edit_command(desired, applied, proposal.change)), proposed
    flag = Flag(problem=edit.ways.reasons.edited(proposal, desired.deal, Where(object=desired.object, record=desired.record)))
    return (replace(decision, flag=flag) if isinstance(decision, Do) else flag), proposed


def save(unit: Unit, part: Sequence[Deal], proposed: Mapping[str, Proposed], now: str) -> None:
    """Keep what the edited deals of a chunk ask for, and forget what no deal asks for any more."""
    stale = [d.name for d in part if d.problem is not None and d.problem.code == EDITED]
    if stale:
        unit.execute(f"DELETE FROM proposal WHERE deal IN ({marks(stale)})", stale)
    unit.executemany(
        "INSERT INTO proposal (deal, kind, data, digest, made_at) VALUES (?,?,?,?,?) ON CONFLICT (deal) DO UPDATE SET"
        " kind = excluded.kind, data = excluded.data, digest = excluded.digest, made_at = excluded.made_at",
        [(name, p.command.kind, _text(p.command), p.digest, now) for name, p in proposed.items()],
    )


def _text(command: Command) -> str:
    if command.terms is not None:
        return _encode(terms_to_data(command.terms)).decode()
    return _encode(change_to_data(command.change) if command.change is not None else {}).decode()


# ---------------------------------------------------------------- approving


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What may be approved of a deal now: the amendment as a command, what it is and costs, the digest of the record's terms."""

    deal: Deal
    command: Command
    proposal: Proposal
    digest: str
    text: str


def offer(billing: Billing, unit: Unit, name: str, now: datetime, reasons: Reasons) -> Offer:
    """Return the amendment that an edit of a deal's record proposes, reckoned now.

    Raises: RejectedError where nothing waits for approval, or no amendment can close the difference.
    """
    deal = deals(unit, [name]).get(name)
    if deal is None:
        hint = "A deal's name is its opportunity's 18-character id; see `connector deals list`."
        raise RejectedError(Problem(code="unknown-deal", message=f"The ledger has no deal {name}.", hint=hint))
    rows = unit.query("SELECT kind, data, digest FROM proposal WHERE deal = ?", (name,))
    if not rows or deal.problem is None or deal.problem.code != EDITED:
        hint = f"See `connector deals show {name}`."
        raise RejectedError(Problem(code="nothing-to-approve", message=f"{deal.label} has no edit that waits for approval.", hint=hint))
    kind, data, digest = rows[0]
    wanted = _wanted(deal, kind, _decode(data))
    proposal = billing.proposal(wanted, edit_id(name, deal.revision + 1), unit, now)
    if proposal.change is None or proposal.problem is not None:
        raise RejectedError(replace(reasons.edited(proposal, name, Where(record=name)), code="not-approvable"))
    command = replace(wanted, kind="change", deal=proposal.change.id, change=proposal.change, terms=None)
    text = f"{reasons.differences(proposal)}. {reasons.cost(proposal)}"
    return Offer(deal=deal, command=command, proposal=proposal, digest=digest, text=text)


def _wanted(deal: Deal, kind: str, data: Any) -> Command:
    is_new = kind == "replace"
    return Command(
        key=decision_key(deal.org, deal.name, deal.revision + 1),
        kind="replace" if is_new else "replace_change",
        deal=deal.name,
        label=deal.label,
        customer=CustomerDetails(account=deal.account or "", name=""),
        how=HowBilled(),
        terms=terms_from_data(data) if is_new else None,
        change=None if is_new else change_from_data(data),
        contract_id=deal.contract_id,
    )


def approved(billing: Billing, unit: Unit, found: Offer, now: datetime, *, actor: str, reason: str) -> None:
    """Carry out an offer: the amendment in the books, and the deal as applied with what its record says.

    Raises: RejectedError where the books refuse it.
    """
    (outcome,) = billing.apply([found.command], unit, now, hold=False)
    if outcome.problem is not None:
        raise RejectedError(outcome.problem)
    deal, at = found.deal, iso(now)
    done = replace(
        deal, revision=deal.revision + 1, decision_key=found.command.key, applied_terms=found.digest, problem=None, applied_at=at,
        write_due=True, write_attempts=0, write_next_try_at=None,
    )  # fmt: skip
    save_deals(unit, [done], at)
    unit.execute("DELETE FROM proposal WHERE deal = ?", (deal.name,))
    note(unit, [(deal.name, "approve", "applied", f"{actor}: {reason} ({found.text})")], at)
    tell_contracts(unit, [deal.contract_id or ""])
