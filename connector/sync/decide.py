"""What is to be done about one deal: a pure function of what the CRM wants, what was last applied, and the deals around it.

`decide` follows deals.md: one deal is one contract; the same input twice is `Nothing`; a record edited before anything of it
was invoiced is replaced, afterwards it is only flagged; a change waits for the deal it changes and for earlier changes of
the same chain. It returns values; the apply pass carries them out.

Worked example: an Amend record whose root is parked gives `Wait(for_deal=root)`, shown in the CRM as Blocked; once the root is
applied the same call gives `Do(Command(kind="change", ...))`, and after that `Nothing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Literal

from connector.core.edit_ids import edit_id, is_edit_of
from connector.core.terms import Change
from connector.errors import Problem, Where, invariant
from connector.ports import Command, CommandKind, Desired
from connector.sync.reasons import Reasons

Keeps = Literal["nothing", "terms", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What the ledger knows of a deal: its contract and digests of what was last applied.

    terms - None though there is a contract: the deal was linked to it, and no record of the deal was compared yet.
    is_invoiced - a line that stems from this deal stands on a finalized invoice. is_started - the day of a change has come.
    paused_by - the change that paused the contract, None while it is not paused. is_running - the deal's own term is not over.
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
    paused_by: str | None = None
    is_running: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What the mapping says of deals: which it leaves alone, and what becomes of records that change after they were billed.

    start_from - new deals closed before are left alone (D-06). now - the local instant. reasons - the words for people.
    """

    start_from: date | None = None
    edits: Literal["flag", "amend"] = "flag"
    on_reopen: Literal["flag", "pause"] = "flag"
    now: datetime | None = None
    reasons: Reasons = field(default_factory=Reasons)


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
    """What stands is what is wanted. *is_deal* False: this record never was a deal, or is none as long as the deal *until* stands."""

    is_deal: bool = True
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """The contract goes on as it is, but the record now says something else; *is_edit*: an amendment may close the difference."""

    problem: Problem
    is_edit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Do:
    """Carry out *command*.

    keeps - what the record says otherwise and was not carried out: the terms, or all of it. flag - what stays to be said about
    that. is_first - decide again afterwards, there is more to do.
    """

    command: Command
    keeps: Keeps = "nothing"
    flag: Flag | None = None
    is_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Not before *for_deal* is applied."""

    for_deal: str
    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Park:
    """A person must change something first; tried again by itself when the record changes, and when *until* does."""

    problem: Problem
    until: str | None = None


Decision = Nothing | Do | Wait | Park | Flag


_PLAIN = Ways()


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
    ways: Ways = _PLAIN,
) -> Decision:
    """Return what is to be done about a deal.

    Args: parent - the deal or contract that a change is for, None if it is not known. earlier - other deals of the chain made
    before this one.
    """
    stands = applied.contract_id is not None and not applied.is_withdrawn
    if stands and applied.terms is None and applied.account in (None, desired.customer.account):
        return Nothing()  # linked to a contract that no record made: what this one says counts as agreed
    if desired.condition != "won":
        return _no_longer_won(desired, applied, ways) if stands else Nothing(is_deal=False)
    if stands:
        return _edited(desired, digests, applied, ways)
    if desired.action == "new":
        if ways.start_from is not None and desired.closed_on < ways.start_from and applied.contract_id is None:
            return Nothing(is_deal=False)
        return _do("create", desired, applied)
    return _change(desired, applied, ways.reasons, parent=parent, earlier=earlier)


def _command(kind: CommandKind, desired: Desired, applied: Applied, contract_id: str | None = None) -> Command:
    return Command(
        key=decision_key(applied.org, desired.deal, applied.revision + 1),
        kind=kind,
        deal=desired.deal,
        label=desired.label,
        customer=desired.customer,
        how=desired.how,
        terms=desired.terms,
        change=desired.change,
        contract_id=contract_id or applied.contract_id if kind != "create" else None,
        currency=desired.currency,
    )


def _do(kind: CommandKind, desired: Desired, applied: Applied, contract_id: str | None = None) -> Do:
    return Do(command=_command(kind, desired, applied, contract_id))


def edit_command(desired: Desired, applied: Applied, change: Change) -> Command:
    """Return the command that carries out a change which the record's deal caused beside its own (D-115, D-116)."""
    return replace(_command("change", desired, applied), deal=change.id, change=change, terms=None, currency=None)


def wanted_command(desired: Desired, applied: Applied) -> Command:
    """Return the command that would make the deal what its record says, were nothing invoiced yet."""
    return _command("replace" if desired.action == "new" else "replace_change", desired, applied)


def _where(desired: Desired, field: str | None = None) -> Where:
    return Where(object=desired.object, record=desired.record, field=field)


def _edited(desired: Desired, digests: Digests, applied: Applied, ways: Ways) -> Decision:
    """A deal that stands and is still wanted: deals.md section 4, rows one to three."""
    is_change = desired.action != "new"
    if applied.paused_by is not None and is_edit_of(applied.paused_by, desired.deal) and ways.now is not None:
        return Do(command=edit_command(desired, applied, _switched("resume", desired, applied, ways.now)), keeps="all", is_first=True)
    may_replace = not applied.is_invoiced and not (is_change and applied.is_started)
    moved = applied.account is not None and desired.customer.account != applied.account
    is_told = is_change or (digests.who == applied.who and digests.how == applied.how)
    if digests.terms == applied.terms and not moved:
        return Nothing() if is_told else _do("details", desired, applied)
    if may_replace:
        return _do("replace_change" if is_change else "replace", desired, applied)
    if moved:
        return Flag(problem=ways.reasons.problem("edited-after-billing", _where(desired), kind="account-after-billing"))
    problem = ways.reasons.problem("edited-after-billing", _where(desired), kind="edit-impossible", what=ways.reasons.terms, why="")
    flag = Flag(problem=problem, is_edit=True)
    return flag if is_told else Do(command=_command("details", desired, applied), keeps="terms", flag=flag)


def _switched(kind: Literal["pause", "resume"], desired: Desired, applied: Applied, now: datetime) -> Change:
    """Return the pause or resumption that a record leads to which was reopened, or won again (decision D-116)."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return Change(
        id=edit_id(desired.deal, applied.revision + 1), kind=kind, effective=today, made_at=now, proration_behavior="always_invoice"
    )


def _no_longer_won(desired: Desired, applied: Applied, ways: Ways) -> Decision:
    """A deal that stands, but whose record was reopened, lost or deleted: deals.md section 4, rows four and five."""
    if desired.action == "new":
        if not applied.is_invoiced:
            return _do("withdraw", desired, applied)
    elif not applied.is_invoiced and not applied.is_started:
        return _do("withdraw_change", desired, applied)
    if applied.paused_by is not None and is_edit_of(applied.paused_by, desired.deal):
        return Flag(problem=ways.reasons.problem("paused-after-reopening", _where(desired)))
    owns_a_term = desired.action in ("new", "renew")
    if ways.on_reopen == "pause" and owns_a_term and applied.is_running and applied.paused_by is None and ways.now is not None:
        pause = edit_command(desired, applied, _switched("pause", desired, applied, ways.now))
        return Do(command=pause, keeps="all", flag=Flag(problem=ways.reasons.problem("paused-after-reopening", _where(desired))))
    return Flag(problem=ways.reasons.problem("reopened-after-billing", _where(desired)))


def _change(
    desired: Desired,
    applied: Applied,
    reasons: Reasons,
    *,
    parent: Relative | None,
    earlier: Sequence[Relative],
) -> Decision:
    """A new amendment, renewal, cancellation, pause or resumption: deals.md section 3."""

    def parked(code: str, field: str = "Amends_Opportunity__c", **values: str) -> Park:
        return Park(problem=reasons.problem(code, _where(desired, field), **values))

    if desired.amends is None and desired.amends_contract is None and parent is None:
        return parked("no-parent", action=with_article(desired.action))
    if parent is None and desired.amends_contract is not None:
        return parked("unknown-contract", "Amends_Contract_Id__c", contract=desired.amends_contract)
    if parent is None or (parent.contract_id is None and parent.state in ("idle", "staged")):
        return parked("unknown-parent", deal=desired.deal)
    if parent.is_withdrawn:
        return parked("withdrawn-parent", label=parent.label)
    for relative in (parent, *earlier):
        if relative.contract_id is None or relative.state in ("parked", "waiting"):
            return Wait(for_deal=relative.name, problem=_blocked(relative, desired, reasons))
    invariant(desired.change is not None, "a change record maps to a Change")
    return _do("change", desired, applied, contract_id=parent.contract_id)


def not_one_contract(desired: Desired, parent: Relative | None, bases: Sequence[Relative | None], reasons: Reasons) -> Park | None:
    """Return why a change whose lines change those of several deals cannot be made: one is not known, or they are several contracts (D-01)."""
    where = _where(desired)
    if any(base is None for base in bases):
        return Park(problem=reasons.problem("unknown-parent", where, deal=desired.deal))
    contracts = sorted({r.contract_id for r in (parent, *bases) if r is not None and r.contract_id is not None})
    if len(contracts) > 1:
        return Park(problem=reasons.problem("several-contracts", where, contracts=", ".join(contracts)))
    return None


def with_article(action: Literal["new", "amend", "renew", "cancel", "pause", "resume"]) -> str:
    """Return an action as messages name it: an Amend, a Renew."""
    return f"an {action.title()}" if action == "amend" else f"a {action.title()}"


def _blocked(relative: Relative, desired: Desired, reasons: Reasons) -> Problem:
    if relative.problem is not None and relative.problem.code == "blocked":
        # what blocks the other one blocks this one: the record that a person must look at is named, not a chain of messages
        return replace(relative.problem, where=_where(desired))
    reason = reasons.without_head(relative.problem.message) if relative.problem else reasons.pending
    return reasons.problem("blocked", _where(desired), label=relative.label, reason=reason)


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
