"""A plan: what one CRM record would do, by the same functions as the passes, writing nothing anywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

from connector.errors import Problem, RejectedError, Where
from connector.mapping.results import MappedValue
from connector.ports import Desired, Preview
from connector.sync import ledger
from connector.sync.adopting import words_of
from connector.sync.apply import decided
from connector.sync.decide import Decision, Do, Flag, Nothing, Park, Wait
from connector.sync.ledger import Deal
from connector.sync.seam import Seam, Source
from connector.sync.stage import read_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a record would do: the mapped values, the decision in words, the invoices that follow, and its problems."""

    object: str
    label: str
    decision: str
    values: tuple[MappedValue, ...] = ()
    preview: Preview | None = None
    problems: tuple[Problem, ...] = ()


def preview_of(seam: Seam, record_id: str) -> Planned:
    """Return the plan of one CRM record as it stands in the CRM now.

    Raises: RejectedError if no configured source knows the record.
    """
    found = read_record(seam, record_id)
    if found is None:
        raise RejectedError(
            Problem(
                code="unknown-record",
                message=f"No configured source can read the record {record_id}.",
                hint="Check the id, `sources:` in the configuration, and the integration user's rights.",
                where=Where(record=record_id),
            )
        )
    source, record = found
    fields = record.fields or {}
    name = source.compiled.deal_name(fields)
    record = replace(record, deal=name, condition=source.compiled.condition(fields))
    label = str(fields.get("Name") or record_id)
    values = tuple(source.compiled.explain(fields, record.lines))
    with seam.database.read() as unit:
        deal = ledger.deals(unit, [name]).get(name) or Deal(org=seam.org.id, name=name, label=label, root=name)
        others = [r for r in ledger.records_of_deals(unit, [name], with_values=True).get(name, []) if r.id != record.id]
        desired, decision = decided(seam, unit, deal, [record, *others], seam.now())
        if isinstance(decision, Do):
            preview = seam.billing.preview(decision.command, unit, seam.now())
            problems = (source.compiled.in_its_words(preview.problem, record_id),) if preview.problem else ()
            words = "cannot be billed" if problems else words_of(decision)
            return Planned(object=source.object, label=label, decision=words, values=values, preview=preview, problems=problems)
    problems = (decision.problem,) if isinstance(decision, (Park, Wait, Flag)) else ()
    return Planned(object=source.object, label=label, decision=_words(source, desired, decision), values=values, problems=problems)


def _words(source: Source, desired: Desired | None, decision: Decision) -> str:
    """Return a decision in words; of a won record that is left alone, why it is."""
    start_from = source.start_from
    if isinstance(decision, Nothing) and not decision.is_deal and desired is not None and desired.condition == "won":
        closed_on = desired.closed_on
        if start_from is not None and desired.action == "new" and closed_on < start_from:
            return f"nothing: it was closed on {closed_on}, and deals closed before {start_from} are left alone (`start_from` in {source.file})"
    return words_of(decision)
