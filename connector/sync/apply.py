"""The third pass: due deals are decided and carried out, a chunk in one transaction with the books (decision D-17).

An attempt is counted before anything is done. A chunk that raises is rolled back and run again in halves down to one deal,
which is parked as `internal-error`; the others go on. A deal found begun at start-up (the process died in it) runs alone.
Within a chunk a parent is applied before its changes, so that a new deal and its amendment can pass in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from connector.errors import ConfigError, ConflictError, HaltError, Problem, RetryableError, Where
from connector.ports import Desired, Outcome, Standing, Unit
from connector.sync import covering, edits, ledger, links, quoting
from connector.sync.decide import (
    Applied,
    Candidate,
    Decision,
    Digests,
    Do,
    Flag,
    Nothing,
    Park,
    Relative,
    Wait,
    Ways,
    decide,
    not_one_contract,
    speaker,
)
from connector.sync.edits import Proposed
from connector.sync.ledger import Deal, Record
from connector.sync.mapper import as_first_made, desired_of, digests_of, joined, outline_of, read_ones, source_of
from connector.sync.reasons import Reasons
from connector.sync.seam import Seam, Tally

_LONGEST_CHAIN = 100
_UNREAD_WAIT = timedelta(minutes=15)
_BUSY_WAIT = timedelta(minutes=2)  # at the latest; it is woken as soon as what it waits for has gone through


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One due deal with what it wants; *problem* where the mapping refused it. *is_unread* - its source was taken out of `sources:`."""

    deal: Deal
    record: Record | None = None
    desired: Desired | None = None
    digests: Digests | None = None
    problem: Problem | None = None
    is_unread: bool = False


@dataclass(slots=True, kw_only=True)
class _Scene:
    """The deals of a chunk and around it, as they stand while the chunk is carried out.

    links - contracts that a person linked deals to. holders - by deal, those that it is billed through; covered - the other way round. proposed - what edits of billed deals would take to count.
    """

    deals: dict[str, Deal]
    chains: dict[str, list[str]]
    standings: Mapping[str, Standing]
    local: datetime
    reasons: Reasons
    links: Mapping[str, str]
    holders: Mapping[str, Sequence[Deal]]
    covered: Mapping[str, Deal]
    proposed: dict[str, Proposed] = field(default_factory=dict)

    def is_started(self, name: str) -> bool:
        """Whether the day of a deal that stands has come."""
        standing = self.standings.get(name)
        return standing is not None and standing.effective_on is not None and standing.effective_on <= self.local.date()


def apply(seam: Seam, tally: Tally, *, hold: bool) -> bool:
    """Decide and carry out one chunk of due deals; return whether more wait.

    *hold*: the CRM has been silent too long, so new invoices stay drafts (deals.md section 9).
    """
    now = seam.now()
    with seam.database.read() as unit:
        due = ledger.due_for_apply(unit, ledger.iso(now), seam.settings.chunk_deals)
    if not due:
        return False
    with seam.database.transaction() as unit:
        ledger.begin(unit, [d.name for d in due])
    crashed, whole = [d for d in due if d.begun], [d for d in due if not d.begun]
    for part in ([whole] if whole else []) + [[d] for d in crashed]:
        _run(seam, tally, part, hold=hold)
    seam.progress("applied", len(due))
    return len(due) == seam.settings.chunk_deals


def _run(seam: Seam, tally: Tally, part: Sequence[Deal], *, hold: bool) -> None:
    """Carry out a part in one transaction; on an unexpected error in halves, down to one deal, which is parked alone."""
    now = seam.now()
    if len(part) == 1 and part[0].attempts >= seam.settings.max_attempts:
        _park_alone(seam, tally, part[0], RuntimeError("too many attempts"))
        return
    try:
        with seam.database.transaction() as unit:
            changed = _carried_out(seam, unit, part, now, hold=hold)
            ledger.save_deals(unit, changed, ledger.iso(now))
            _tell_others(unit, part, changed)
            ledger.tell_contracts(unit, _moved_contracts(part, changed))
            ledger.note(unit, _history(part, changed), ledger.iso(now))
    except (HaltError, RetryableError, ConflictError, ConfigError):
        raise
    except Exception as error:  # noqa: BLE001 - any other error is our bug in one of these deals: isolate it (D-17)
        if len(part) == 1:
            _park_alone(seam, tally, part[0], error)
            return
        middle = len(part) // 2
        _run(seam, tally, part[:middle], hold=hold)
        _run(seam, tally, part[middle:], hold=hold)
        return
    tally.applied += sum(d.revision > p.revision for p, d in zip(part, changed, strict=True))


def _park_alone(seam: Seam, tally: Tally, deal: Deal, error: BaseException) -> None:
    problem = ledger.internal_error(error, deal.name)
    seam.log("record.parked", record_id=deal.name, error=f"{type(error).__name__}: {error}", hint=problem.hint)
    with seam.database.transaction() as unit:
        ledger.save_deals(unit, [ledger.parked(deal, problem)], ledger.iso(seam.now()))
        ledger.note(unit, [(deal.name, "apply", "internal-error", f"{type(error).__name__}: {error}")], ledger.iso(seam.now()))
    tally.internal_errors += 1


def _tell_others(unit: Unit, before: Sequence[Deal], after: Sequence[Deal]) -> None:
    """Wake the deals that wait for one whose standing changed."""
    moved = [b.name for a, b in zip(before, after, strict=True) if (a.state, a.problem) != (b.state, b.problem)]
    ledger.wake_waiting(unit, moved)


def _moved_contracts(before: Sequence[Deal], after: Sequence[Deal]) -> list[str]:
    """Return the contracts that had other deals too when one of theirs was carried out: those show other amounts now."""
    found = {
        new.contract_id: None
        for old, new in zip(before, after, strict=True)
        if new.contract_id and new.revision != old.revision and (old.contract_id or new.action != "new")
    }
    return list(found)


def _history(before: Sequence[Deal], after: Sequence[Deal]) -> list[tuple[str, str, str, str]]:
    rows = []
    for old, new in zip(before, after, strict=True):
        if new.revision != old.revision:
            rows.append((new.name, "apply", new.state, new.decision_key or ""))
        elif new.problem is not None and new.problem != old.problem:
            rows.append((new.name, "decide", new.problem.code, new.problem.message))
    return rows


# ---------------------------------------------------------------- one chunk


def _carried_out(seam: Seam, unit: Unit, part: Sequence[Deal], now: datetime, *, hold: bool) -> list[Deal]:
    """Return the deals of a part as they are after it, in the same order."""
    held = ledger.records_of_deals(unit, [d.name for d in part], with_values=True)
    values = {name: read_ones(seam, records) for name, records in held.items()}
    offered = quoting.quotes_of(seam, unit, [d.name for d in part])
    cases = [_case(seam, deal, held.get(deal.name, []), offered, now) for deal in part]
    scene = _scene(seam, unit, cases, now)
    waiting = list(cases)
    while waiting:
        names = {c.deal.name for c in waiting}
        ready = [c for c in waiting if not _relatives(c, scene) & (names - {c.deal.name})] or waiting
        _wave(seam, unit, ready, scene, now, hold=hold)
        done = {c.deal.name for c in ready}
        waiting = [c for c in waiting if c.deal.name not in done]
    edits.save(unit, [c.deal for c in cases if not c.is_unread], scene.proposed, ledger.iso(now))
    scene.deals |= quoting.follow(seam, unit, values, {d.name: scene.deals[d.name] for d in part}, offered, now)
    return [scene.deals[d.name] for d in part]


def _case(seam: Seam, deal: Deal, found: Sequence[Record], offered: quoting.QuotesByRecord, now: datetime) -> _Case:
    settled = (deal.owner_object or "", deal.owner_record or "") if deal.contract_id and not deal.is_withdrawn else None
    held, found = found, read_ones(seam, found)
    if held and (not found or (settled and settled[0] in {r.object for r in held} - {r.object for r in found})):
        return _Case(deal=deal, is_unread=True)
    conditions = quoting.conditions(seam, found, offered)
    candidates = [
        Candidate(
            object=r.object,
            record=r.id,
            condition=conditions[r.id],
            made_at=ledger.instant(str((r.fields or {}).get("CreatedDate"))) if (r.fields or {}).get("CreatedDate") else None,
            synced_quote=(r.fields or {}).get("SyncedQuoteId"),
        )
        for r in found
    ]
    chosen = speaker(candidates, settled)
    if chosen is None:
        return _Case(deal=deal)
    record = next(r for r in found if (r.object, r.id) == (chosen.object, chosen.record))
    result = desired_of(seam, record, deal, as_won=chosen.condition == "won")
    if result.desired is None:
        if settled and chosen.condition != "won":
            return _Case(deal=deal, record=record)
        return _Case(deal=deal, record=record, desired=outline_of(seam, record), problem=joined(result.problems, record))
    desired = result.desired
    if (chosen.condition == "won") != (desired.condition == "won"):
        desired = replace(desired, condition="won" if chosen.condition == "won" else "open")
    if result.problems and desired.condition == "won":
        return _Case(deal=deal, record=record, desired=desired, problem=joined(result.problems, record))
    if settled is None and desired.condition == "won":
        quote = offered.get(record.id)
        refused = quoting.refusal(seam, record, quote, desired, now)
        if refused is not None:
            return _Case(deal=deal, record=record, desired=desired, problem=refused)
        desired, digests = quoting.as_accepted(desired, digests_of(desired), quote)
        return _Case(deal=deal, record=record, desired=desired, digests=digests)
    desired, digests = as_first_made(desired, digests_of(desired), deal)
    return _Case(deal=deal, record=record, desired=desired, digests=digests)


def decided(seam: Seam, unit: Unit, deal: Deal, found: Sequence[Record], now: datetime) -> tuple[Desired | None, Decision]:
    """Return what one deal wants and what would be decided for it now; writes nothing (for plans)."""
    case = _case(seam, deal, found, quoting.quotes_of(seam, unit, [deal.name]), now)
    return case.desired, _decision(seam, unit, case, _scene(seam, unit, [case], now), now)


def _scene(seam: Seam, unit: Unit, cases: Sequence[_Case], now: datetime) -> _Scene:
    """Load the deals around a chunk: parents, chains, and what was invoiced of those that stand."""
    deals = {c.deal.name: _described(c) for c in cases}
    unknown: set[str] = set()
    also = {name for c in cases if c.desired is not None for name in c.desired.also_amends}
    for _ in range(_LONGEST_CHAIN):
        missing = ({d.parent for d in deals.values() if d.parent} | also) - deals.keys() - unknown
        if not missing:
            break
        deals |= ledger.deals(unit, sorted(missing))
        unknown |= missing - deals.keys()
    for case in cases:
        root = _root(case.deal.name, deals) or case.deal.name
        if deals[case.deal.name].root != root:
            deals[case.deal.name] = replace(deals[case.deal.name], root=root)
    roots = sorted({d.root for d in deals.values() if d.root})
    chains: dict[str, list[str]] = {}
    for member in ledger.chain_members(unit, roots):
        deals.setdefault(member.name, member)
    for deal in sorted(deals.values(), key=lambda d: (d.made_at, d.name)):
        chains.setdefault(deal.root, []).append(deal.name)
    standing = [c.deal.name for c in cases if c.deal.contract_id and not c.deal.is_withdrawn]
    local = now.astimezone(ZoneInfo(seam.settings.timezone)).replace(tzinfo=None)
    return _Scene(
        deals=deals,
        chains=chains,
        standings=seam.billing.standings(standing, unit, now) if standing else {},
        local=local,
        reasons=Reasons(seam.settings.language, local.date()),
        holders=covering.holders(unit, [c.deal.name for c in cases]),
        covered=covering.covered(unit, [c.deal.name for c in cases]),
        links=links.of_deals(unit, [c.deal.name for c in cases if c.desired is not None and c.desired.action != "new"]),
    )


def _root(name: str, deals: Mapping[str, Deal]) -> str | None:
    """Return the first deal of the chain that *name* belongs to, None if its deals amend each other in a circle."""
    passed: set[str] = set()
    while name not in passed:
        passed.add(name)
        deal = deals[name]
        if deal.parent is None or deal.parent not in deals:
            return name
        name = deal.parent
    return None


def _described(case: _Case) -> Deal:
    """Return the deal with what its record says of itself."""
    desired = case.desired
    if desired is None:
        return case.deal
    return replace(
        case.deal,
        label=desired.label,
        action=desired.action,
        parent=desired.amends if desired.action != "new" else None,
        made_at=case.deal.made_at if _stands(case.deal) and desired.condition != "won" else f"{desired.closed_on.isoformat()} {ledger.iso(desired.created_at)}",
        notes="; ".join(desired.notes) if desired.action == "new" else "",
    )


def _relatives(case: _Case, scene: _Scene) -> set[str]:
    """Return the deals that must be settled before this one: its parent and earlier ones of its chain."""
    deal = scene.deals[case.deal.name]
    if case.desired is None or case.desired.action == "new":
        return set()
    chain = scene.chains.get(deal.root, [])
    before = chain[: chain.index(deal.name)] if deal.name in chain else []
    return {*before, *([deal.parent] if deal.parent else [])}


def _wave(seam: Seam, unit: Unit, cases: Sequence[_Case], scene: _Scene, now: datetime, *, hold: bool) -> None:
    """Decide some deals, give their commands to billing in one call, and note the outcome on each deal."""
    decisions = [_decision(seam, unit, case, scene, now) for case in cases]
    commands = [d.command for d in decisions if isinstance(d, Do)]
    outcomes = {o.key: o for o in seam.billing.apply(commands, unit, now, hold=hold)} if commands else {}
    for case, decision in zip(cases, decisions, strict=True):
        deal = scene.deals[case.deal.name]
        outcome = _in_its_words(seam, case, outcomes[decision.command.key]) if isinstance(decision, Do) else None
        scene.deals[case.deal.name] = _after(case, deal, decision, outcome, ledger.iso(now))
    if seam.remote is not None:
        stand = [c.deal.contract_id for c, d in zip(cases, decisions, strict=True) if isinstance(d, Nothing) and c.deal.contract_id]
        seam.remote.again(unit, stand, now)


def _in_its_words(seam: Seam, case: _Case, outcome: Outcome) -> Outcome:
    """Return an outcome whose problem names the record's fields by their labels."""
    if outcome.problem is None or outcome.problem.where.field is None or case.record is None:
        return outcome
    said = source_of(seam, case.record).compiled.in_its_words(outcome.problem, case.record.id)
    return replace(outcome, problem=said)


def _decision(seam: Seam, unit: Unit, case: _Case, scene: _Scene, now: datetime) -> Decision:
    if case.is_unread:
        return Nothing()
    holders = scene.holders.get(case.deal.name)
    if holders and not _stands(case.deal):
        return Nothing(is_deal=False, until=holders[0].name)  # billed through its order
    rival = scene.covered.get(case.deal.name)
    rival = scene.deals.get(rival.name, rival) if rival is not None else None
    if rival is not None and _stands(rival) and not _stands(case.deal) and case.desired is not None and case.desired.condition == "won":
        what = (rival.owner_object or "").lower()
        where = Where(object=case.desired.object, record=case.desired.record)
        return Park(problem=scene.reasons.problem("billed-otherwise", where, what=what, label=rival.label), until=rival.name)
    if case.problem is not None:
        return Flag(problem=case.problem) if _stands(case.deal) else Park(problem=case.problem)
    deal = scene.deals[case.deal.name]
    if case.desired is None:
        where = Where(object=case.deal.owner_object, record=case.deal.owner_record)
        return Flag(problem=scene.reasons.problem("record-gone", where)) if _stands(case.deal) else Nothing(is_deal=False)
    if not _stands(deal) and case.desired.condition == "won" and _root(deal.name, scene.deals) is None:
        where = Where(object=case.desired.object, record=case.desired.record, field="Amends_Opportunity__c")
        return Park(problem=scene.reasons.problem("circle", where))
    source = next(s for s in seam.sources if s.object == case.desired.object)
    compiled = source.compiled  # what an edit leads to is said by the newest mapping (decision D-38)
    ways = Ways(
        start_from=source.start_from, edits=compiled.edits, on_reopen=compiled.on_reopen, now=scene.local, reasons=scene.reasons
    )  # fmt: skip
    digests = case.digests or digests_of(case.desired)
    applied = _applied_of(seam, deal, scene)
    parent = _parent(seam, unit, case.desired, deal, scene)
    bases = [_relative(scene.deals[n]) if n in scene.deals else None for n in case.desired.also_amends] if not _stands(deal) else []
    several = not_one_contract(case.desired, parent, bases, scene.reasons)
    if several is not None:
        return several
    earlier = [*_earlier(deal, scene), *(b for b in bases if b is not None)] if case.desired.action != "new" else ()
    decision = decide(case.desired, digests, applied, parent=parent, earlier=earlier, ways=ways)
    if isinstance(decision, Flag) and decision.problem.code == "reopened-after-billing" and case.record is not None and case.record.is_deleted:
        where, named = decision.problem.where, deal.contract_id or ""
        return Flag(problem=scene.reasons.problem("reopened-after-billing", where, kind="deleted-after-billing", contract=named))
    is_edit = decision.is_edit if isinstance(decision, Flag) else isinstance(decision, Do) and decision.flag is not None and decision.flag.is_edit
    if not is_edit:
        return decision
    edit = edits.Edit(desired=case.desired, digests=digests, applied=applied, ways=ways)
    decision, scene.proposed[deal.name] = edits.settled(seam.billing, unit, edit, decision, now)
    return decision


def _applied_of(seam: Seam, deal: Deal, scene: _Scene) -> Applied:
    standing = scene.standings.get(deal.name)
    return Applied(
        org=seam.org.id,
        contract_id=deal.contract_id,
        revision=deal.revision,
        terms=deal.applied_terms,
        who=deal.applied_who,
        how=deal.applied_how,
        account=deal.account,
        is_withdrawn=deal.is_withdrawn,
        is_invoiced=standing is not None and standing.is_invoiced,
        is_started=scene.is_started(deal.name),
        paused_by=standing.paused_by if standing is not None else None,
        is_running=standing is not None and standing.contract_status not in ("completed", "canceled", "withdrawn"),
    )


def _stands(deal: Deal) -> bool:
    return deal.contract_id is not None and not deal.is_withdrawn


def _parent(seam: Seam, unit: Unit, desired: Desired, deal: Deal, scene: _Scene) -> Relative | None:
    named = scene.links.get(deal.name) or desired.amends_contract
    if named and desired.action != "new" and not _stands(deal):
        contract = seam.billing.contract(named, unit)
        return None if contract is None else Relative(name="", label=contract.id, state="applied", contract_id=contract.id)
    found = scene.deals.get(deal.parent or desired.amends or "")
    return None if found is None else _relative(found)


def _relative(deal: Deal) -> Relative:
    return Relative(
        name=deal.name,
        label=deal.label,
        state=deal.state,
        contract_id=deal.contract_id,
        is_withdrawn=deal.is_withdrawn,
        problem=deal.problem,
    )


def _earlier(deal: Deal, scene: _Scene) -> list[Relative]:
    """Return changes of the chain made before this one that are not settled: a parked member blocks later ones (D-02)."""
    found = []
    for name in scene.chains.get(deal.root, []):
        if name == deal.name:
            break
        other = scene.deals[name]
        if name not in (deal.root, deal.parent) and other.state in ("parked", "waiting"):
            found.append(_relative(other))
    return found


# ---------------------------------------------------------------- what became of it


def _after(case: _Case, deal: Deal, decision: Decision, outcome: Outcome | None, now: str) -> Deal:
    """Return the deal after its decision was carried out."""
    if isinstance(decision, Do) and outcome is not None and outcome.problem is None:
        return _applied(case, deal, decision, outcome, now)
    if outcome is not None and outcome.is_waiting:
        state = "mapped" if deal.state in ("staged", "parked", "waiting") else deal.state
        waits = replace(deal, state=state, begun=False, attempts=0, problem=None if state == "mapped" else deal.problem)
        return replace(waits, wait_for=outcome.waits_for, next_try_at=ledger.iso(ledger.instant(now) + _BUSY_WAIT), write_due=True)
    if case.is_unread:
        return replace(deal, begun=False, attempts=0, next_try_at=ledger.iso(ledger.instant(now) + _UNREAD_WAIT))
    settled = replace(deal, apply_due=False, begun=False, attempts=0, next_try_at=None, wait_for=None)
    if isinstance(decision, Nothing):
        if decision.is_deal:
            if _stands(deal) and deal.applied_terms is None and case.desired is not None and case.desired.condition == "won":
                digests = case.digests or digests_of(case.desired)
                settled = replace(settled, applied_terms=digests.terms, applied_who=digests.who, applied_how=digests.how)
            return replace(settled, problem=None, write_due=deal.write_due or deal.problem is not None)
        was_shown = deal.state in ("parked", "waiting")
        state = deal.state if deal.is_withdrawn else "idle"
        return replace(settled, state=state, problem=None, wait_for=decision.until, write_due=deal.write_due or was_shown)
    if isinstance(decision, Park):
        # a change whose base is not in billing is looked at again when that deal is decided
        base = decision.until or (case.desired.amends if case.desired is not None and case.desired.action != "new" else None)
        return _told(settled, replace(ledger.parked(settled, decision.problem), wait_for=base))
    if isinstance(decision, Wait):
        return _told(settled, replace(settled, state="waiting", problem=decision.problem, wait_for=decision.for_deal))
    if isinstance(decision, Flag):
        return _told(settled, replace(settled, problem=decision.problem))
    problem = outcome.problem if outcome and outcome.problem else ledger.internal_error(RuntimeError("no outcome"), deal.name)
    return _told(settled, replace(settled, problem=problem) if _stands(deal) else ledger.parked(settled, problem))


def _told(before: Deal, after: Deal) -> Deal:
    """Tell the CRM only where what a rep reads there changes."""
    same = (before.state, before.problem) == (after.state, after.problem)
    return replace(after, write_due=before.write_due if same else True, write_attempts=0, write_next_try_at=None)


def _applied(case: _Case, deal: Deal, decision: Do, outcome: Outcome, now: str) -> Deal:
    if case.desired is None:
        return deal
    is_withdrawn = decision.command.kind in ("withdraw", "withdraw_change")
    digests = case.digests or digests_of(case.desired)
    if decision.keeps != "nothing":  # what was not carried out of the record still differs from what stands
        held = Digests(terms=deal.applied_terms or "", who=deal.applied_who or "", how=deal.applied_how or "")
        digests = held if decision.keeps == "all" else replace(digests, terms=held.terms)
    return replace(
        deal,
        state="applied",
        apply_due=decision.is_first,
        begun=False,
        attempts=0,
        next_try_at=None,
        wait_for=None,
        problem=decision.flag.problem if decision.flag is not None else None,
        owner_object=case.desired.object,
        owner_record=case.desired.record,
        contract_id=outcome.contract_id or deal.contract_id,
        account=deal.account if decision.keeps == "all" else case.desired.customer.account,
        revision=deal.revision + 1,
        decision_key=decision.command.key,
        applied_terms=digests.terms,
        applied_who=digests.who,
        applied_how=digests.how,
        is_withdrawn=is_withdrawn,
        write_due=True,
        write_attempts=0,
        write_next_try_at=None,
        write_problem=None,
        applied_at=now,
    )
