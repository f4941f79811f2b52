"""The second pass: staged records become desired states, by the mapping revision that holds for each (decision D-07).

Mapping is a pure function, so its result is not stored twice: map keeps what the next pass must find without values (the deal's
name, the condition, the problems), and apply maps the winning record again from the very version it was decided on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from connector.errors import Problem, Where
from connector.mapping.results import MapResult
from connector.ports import Desired
from connector.sync import covering, ledger
from connector.sync.adding_up import difference
from connector.sync.agreed import terms_digest
from connector.sync.decide import Digests
from connector.sync.ledger import Deal, Record
from connector.sync.seam import Seam, Source, Tally


def map_records(seam: Seam, tally: Tally) -> bool:
    """Map one chunk of staged records; return whether more wait."""
    now = ledger.iso(seam.now())
    with seam.database.transaction() as unit:
        due = ledger.due_for_map(unit, seam.settings.chunk_deals, [s.object for s in seam.sources])
        if not due:
            return False
        known = ledger.deals(unit, sorted({r.deal for r in due if r.deal}))
        mapped, found, orders = [], [], []
        for record in due:
            name, label, condition, problems, used = _mapped(seam, record, known.get(record.deal or ""))
            mapped.append((record, name, condition, used, problems))
            if condition != "idle" or name in known or record.deal == name:
                found.append((name, label, name))
            compiled = source_of(seam, record).compiled
            if compiled.stands_instead and (condition == "won" or name in known):
                orders.append((compiled.instead_of(record.fields or {}), name))
        ledger.save_mapped(unit, mapped)
        ledger.make_due(unit, found, seam.org.id, now)
        # a record that does not speak for its deal decides nothing, but what stands on it may have to change
        ledger.tell_crm(unit, [name for name, _, _ in found])
        covering.note(unit, orders)
    tally.mapped += len(due)
    seam.progress("mapped", len(due))
    return len(due) == seam.settings.chunk_deals


def read_ones(seam: Seam, found: Iterable[Record]) -> list[Record]:
    """Return the records that a source reads: one that was taken out of `sources:` says nothing any more, and takes nothing back."""
    objects = {s.object for s in seam.sources}
    return [r for r in found if r.object in objects]


def source_of(seam: Seam, record: Record) -> Source:
    """Return the source that reads the record's object."""
    return next(s for s in seam.sources if s.object == record.object)


def is_settled(deal: Deal | None, record: Record) -> bool:
    """Return whether the record is the one that was billed, so that its mapping revision sticks."""
    return (
        deal is not None
        and deal.contract_id is not None
        and not deal.is_withdrawn
        and (deal.owner_object, deal.owner_record) == (record.object, record.id)
    )


def desired_of(seam: Seam, record: Record, deal: Deal | None, *, as_won: bool = False) -> MapResult:
    """Return what the record asks for, by the revision that holds for it; a deleted record asks for nothing.

    *as_won* gives terms also to a record that is not won itself, such as the synced quote of a won opportunity.
    """
    compiled = source_of(seam, record).compiled
    if is_settled(deal, record) and record.mapping_hash:
        compiled = seam.older(record.mapping_hash) or compiled
    fields: Mapping[str, Any] = record.fields or {}
    if fields.get("IsDeleted"):
        # its lines went with it, so that its terms can no longer be read; that it asks for nothing is known all the same
        result = compiled.map(fields, (), as_gone=True)
        return replace(result, desired=replace(result.desired, condition="idle")) if result.desired is not None else result
    return compiled.map(fields, record.lines, as_won=as_won)


def outline_of(seam: Seam, record: Record) -> Desired | None:
    """Return whose chain a record belongs to and when it was made, though its terms cannot be read; None if not even that."""
    return source_of(seam, record).compiled.map(record.fields or {}, (), as_gone=True).desired


def joined(problems: Sequence[Problem], record: Record) -> Problem:
    """Return all problems of a record as one, so that a rep reads all of them at once."""
    if len(problems) == 1:
        return problems[0]
    first = problems[0] if problems else Problem(code="unmapped", message="Not billed: this record could not be read.")
    texts = [f"{p.message} {p.hint}".strip().removeprefix("Not billed: ") for p in problems]
    return Problem(
        code=first.code,
        message="Not billed, for several reasons. " + " ".join(f"({n}) {text}" for n, text in enumerate(texts, 1)),
        where=first.where if first.where.record else Where(object=record.object, record=record.id),
    )


def digests_of(desired: Desired) -> Digests:
    """Return the digests by which two desired states of a deal are compared."""
    return Digests(
        terms=terms_digest(desired.terms if desired.action == "new" else desired.change),
        who=ledger.digest(desired.customer),
        how=ledger.digest(desired.how),
    )


def as_first_made(desired: Desired, digests: Digests, deal: Deal) -> tuple[Desired, Digests]:
    """Return a change that stands as made on the day it was first made, where that day is all that moved: an order activated again."""
    change, day = desired.change, deal.made_at[:10]
    if change is None or deal.contract_id is None or digests.terms == deal.applied_terms or not day or day == desired.closed_on.isoformat():
        return desired, digests
    closed_on = date.fromisoformat(day)
    same = replace(change, made_at=change.made_at + (closed_on - desired.closed_on))
    if terms_digest(same) != deal.applied_terms:
        return desired, digests
    return replace(desired, change=same, closed_on=closed_on), replace(digests, terms=deal.applied_terms)


def _mapped(
    seam: Seam, record: Record, deal: Deal | None
) -> tuple[str, str, str, tuple[Problem, ...], str]:
    source = source_of(seam, record)
    fields: Mapping[str, Any] = record.fields or {}
    used = record.mapping_hash if is_settled(deal, record) and record.mapping_hash else source.hash
    condition = "idle" if fields.get("IsDeleted") else source.compiled.condition(fields)
    name = source.compiled.deal_name(fields)
    label = str(fields.get("Name") or record.id)
    problems: tuple[Problem, ...] = ()
    if condition == "won":
        try:
            result = desired_of(seam, replace(record, mapping_hash=used), deal)
            problems = result.problems
            if not problems and result.desired is not None:
                note = difference(source, record, result.desired, currency=seam.org.currency, language=seam.settings.language)
                problems = (note,) if note is not None else ()
        except Exception as error:  # noqa: BLE001 - our bug in one record: apply meets it again and parks that deal alone (D-17)
            problems = (ledger.internal_error(error, record.id),)
    return name, label, condition, problems, used
