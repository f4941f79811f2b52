"""What is to be done about one deal: a pure function of what the CRM wants, what was last applied, and the deals around it.

`decide` follows deals.md: one deal is one contract; the same input twice is `Nothing`; a record edited before anything of it
was invoiced is replaced, afterwards it is only flagged; a change waits for the deal it changes and for earlier changes of
the same chain. It returns values; the apply pass carries them out.

Worked example: an Amend record whose root is parked gives `Wait(for_deal=root)`, shown in the CRM as Blocked; once the root is
applied the same call gives `Do(Command(kind="change", ...))`, and after that `Nothing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from connector.errors import Problem, Where, invariant
from connector.ports import Command, CommandKind, Desired


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What the ledger knows of a deal: its contract and digests of what was last applied.

    is_invoiced - a line that stems from this deal stands on a finalized invoice. is_started - the day of a change has come.
    """

    org: str
    contract_id: str | None = None
    revision: int = 0
    terms: str | None = None
    who: str | None = None
    how: str | None = None
    account: str | None = None
    is_withdrawn: bool = False
    is_invoiced: bool = False
    is_started: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """Digests of a desired state: what is agreed, who is billed, how."""

    terms: str
    who: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relative:
    """A deal of the same chain: the parent, or an earlier change of the same contract."""

    name: str
    label: str
    state: str
    contract_id: str | None = None
    is_withdrawn: bool = False
    problem: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """What stands is what is wanted. *is_deal* False: this record never was a deal."""

    is_deal: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Do:
    """Carry out *command*."""

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Not before *for_deal* is applied."""

    for_deal: str
    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Park:
    """A person must change something first; tried again by itself when the record changes."""

    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """The contract goes on as it is, but the record now says something else."""

    problem: Problem


Decision = Nothing | Do | Wait | Park | Flag


def decision_key(org: str, deal: str, revision: int) -> str:
    """Return `{org}/{deal}/r{revision}` (architecture.md section 2)."""
    return f"{org}/{deal}/r{revision}"


def decide(
    desired: Desired,
    digests: Digests,
    applied: Applied,
    *,
    parent: Relative | None,
    earlier: Sequence[Relative] = (),
    start_from: date | None = None,
) -> Decision:
    """Return what is to be done about a deal.

    Args: parent - the deal or contract that a change is for, None if it is not known. earlier - other deals of the chain made
    before this one. start_from - new deals closed before are left alone (D-06).
    """
    stands = applied.contract_id is not None and not applied.is_withdrawn
    if desired.condition != "won":
        return _no_longer_won(desired, applied) if stands else Nothing(is_deal=False)
    if stands:
        return _edited(desired, digests, applied)
    if desired.action == "new":
        if start_from is not None and desired.closed_on < start_from and applied.contract_id is None:
            return Nothing(is_deal=False)
        return _do("create", desired, applied)
    return _change(desired, applied, parent=parent, earlier=earlier)


def _do(kind: CommandKind, desired: Desired, applied: Applied, contract_id: str | None = None) -> Do:
    return Do(
        command=Command(
            key=decision_key(applied.org, desired.deal, applied.revision + 1),
            kind=kind,
            deal=desired.deal,
            label=desired.label,
            customer=desired.customer,
            how=desired.how,
            terms=desired.terms,
            change=desired.change,
            contract_id=contract_id or applied.contract_id if kind != "create" else None,
        )
    )


def _where(desired: Desired, field: str | None = None) -> Where:
    return Where(object=desired.object, record=desired.record, field=field)


def _edited(desired: Desired, digests: Digests, applied: Applied) -> Decision:
    """A deal that stands and is still wanted: deals.md section 4, rows one to three."""
    is_change = desired.action != "new"
    may_replace = not applied.is_invoiced and not (is_change and applied.is_started)
    moved = applied.account is not None and desired.customer.account != applied.account
    if digests.terms == applied.terms and not moved:
        if is_change or (digests.who == applied.who and digests.how == applied.how):
            return Nothing()
        return _do("details", desired, applied)
    if may_replace:
        return _do("replace_change" if is_change else "replace", desired, applied)
    what = "the account" if moved else "the terms (lines, prices, discounts or dates)"
    return Flag(
        problem=Problem(
            code="edited-after-billing",
            message=f"Already invoiced, and then {what} on this record {'was' if moved else 'were'} changed."
            " The contract goes on unchanged.",
            hint="Undo the edit, or close an Amend deal with the difference.",
            where=_where(desired),
        )
    )


def _no_longer_won(desired: Desired, applied: Applied) -> Decision:
    """A deal that stands, but whose record was reopened, lost or deleted: deals.md section 4, rows four and five."""
    if desired.action == "new":
        if not applied.is_invoiced:
            return _do("withdraw", desired, applied)
    elif not applied.is_invoiced and not applied.is_started:
        return _do("withdraw_change", desired, applied)
    return Flag(
        problem=Problem(
            code="reopened-after-billing",
            message="This deal is no longer won, but it was invoiced already. The contract goes on.",
            hint="To stop it, close a Cancel deal that amends this one; to go on, win this deal again.",
            where=_where(desired),
        )
    )


def _change(
    desired: Desired,
    applied: Applied,
    *,
    parent: Relative | None,
    earlier: Sequence[Relative],
) -> Decision:
    """A new amendment, renewal, cancellation, pause or resumption: deals.md section 3."""
    if desired.amends is None and desired.amends_contract is None:
        return Park(
            problem=Problem(
                code="no-parent",
                message=f"Not billed: this is {_with_article(desired.action)} deal, but it does not say which deal it changes.",
                hint="Fill Amends Opportunity (or Amends Contract Id) on this record; it is tried again by itself.",
                where=_where(desired, "Amends_Opportunity__c"),
            )
        )
    if parent is None or (parent.contract_id is None and parent.state in ("idle", "staged")):
        return Park(
            problem=Problem(
                code="unknown-parent",
                message="Not billed: the deal that this one changes is not in billing (not won, or closed before billing"
                " by this connector began).",
                hint="Win that deal, or import its contract and name it in Amends Contract Id.",
                where=_where(desired, "Amends_Opportunity__c"),
            )
        )
    if parent.is_withdrawn:
        return Park(
            problem=Problem(
                code="withdrawn-parent",
                message=f"Not billed: '{parent.label}', which this deal changes, was withdrawn before it was billed.",
                hint="Win that deal again, or change which deal this one amends.",
                where=_where(desired, "Amends_Opportunity__c"),
            )
        )
    for relative in (parent, *earlier):
        if relative.contract_id is None or relative.state in ("parked", "waiting"):
            return Wait(for_deal=relative.name, problem=_blocked(relative, desired))
    invariant(desired.change is not None, "a change record maps to a Change")
    return _do("change", desired, applied, contract_id=parent.contract_id)


def _with_article(action: Literal["new", "amend", "renew", "cancel", "pause", "resume"]) -> str:
    return f"an {action.title()}" if action == "amend" else f"a {action.title()}"


def _blocked(relative: Relative, desired: Desired) -> Problem:
    if relative.problem is not None and relative.problem.code == "blocked":
        # what blocks the other one blocks this one: the record that a person must look at is named, not a chain of messages
        return replace(relative.problem, where=_where(desired))
    reason = relative.problem.message.removeprefix("Not billed: ").rstrip(".") if relative.problem else "not billed yet"
    return Problem(
        code="blocked",
        message=f"Blocked by '{relative.label}' ({reason}).",
        hint="Nothing to do here.",
        where=_where(desired),
    )


# Which record speaks for a deal: an activated Order before an accepted Quote before the Opportunity (decision D-01).
_RANK = {"Order": 0, "Quote": 1, "QuoteDocument": 2, "Opportunity": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A record of a deal: its condition and when it was made."""

    object: str
    record: str
    condition: str
    made_at: datetime | None = None
    synced_quote: str | None = None


def speaker(candidates: Sequence[Candidate], owner: tuple[str, str] | None) -> Candidate | None:
    """Return the record that speaks for the deal: the settled owner, else the best won record, else None.

    A won opportunity with a synced quote takes its terms from that quote, as if the quote had been accepted (deals.md 1).
    """
    by_key = {(c.object, c.record): c for c in candidates}
    if owner is not None and owner in by_key:
        return by_key[owner]
    won = [c for c in candidates if c.condition == "won"]
    if not won:
        return None
    best = min(won, key=lambda c: (_RANK.get(c.object, 2), c.made_at is None, c.made_at, c.record))
    synced = by_key.get(("Quote", best.synced_quote)) if best.synced_quote else None
    return replace(synced, condition="won") if synced is not None else best
