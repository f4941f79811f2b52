"""Quotes between CRM and books: what a record offers goes to the books, what became of it there decides with the record.

A record whose mapping shows offers (`open`, `preview`) has a quote in the books. The apply pass asks here twice: before it decides, since a
quote that a customer accepted on its page speaks like a record that was accepted, and one that expired does not; and after it, when the
quotes follow their records. Worked example: presented with `quotes.start: on_won`, accepted by the rep: the quote is accepted, nothing is
billed; the opportunity is won: the quote's terms become the contract.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from connector.core.terms import change_from_data, terms_from_data
from connector.errors import Problem, Where
from connector.offers import Offer, QuoteView
from connector.ports import Condition, Desired, Unit, Upsert
from connector.sync import ledger, links
from connector.sync.decide import Digests, with_article
from connector.sync.ledger import Deal, Record
from connector.sync.mapper import desired_of, digests_of, joined, outline_of, source_of
from connector.sync.quote_words import QuoteWords
from connector.sync.reasons import Reasons
from connector.sync.seam import Seam

QUOTE = "Quote"
MOVED_AT_ONCE = 500

QuotesByRecord = Mapping[str, QuoteView]


def words_of(seam: Seam, now: datetime) -> QuoteWords:
    """Return the words on quotes in the language of the CRM."""
    return QuoteWords(seam.settings.language, now, seam.settings.timezone)


def quotes_of(seam: Seam, unit: Unit, deals: Sequence[str]) -> QuotesByRecord:
    """Return the quotes of these deals, by record; asks nothing where no source shows offers."""
    if not any(s.compiled.shows_offers for s in seam.sources):
        return {}
    return seam.quotes.of_deals(deals, unit)


def page_url(seam: Seam, view: QuoteView) -> str | None:
    """Return the address of a quote's page, None before it has one."""
    return f"{seam.settings.public_url.rstrip('/')}/q/{view.token}" if view.token else None


def name_of(deal: Deal, quotes: QuotesByRecord) -> str:
    """Return what the record that a deal is billed through is called: the number of a quote, else its label."""
    view = quotes.get(deal.owner_record or "")
    return view.number if view is not None and view.number else deal.label


def take_up_moved(seam: Seam) -> None:
    """Expire what is past its day; deals whose quotes moved (accepted on a page, expired, outdated) are decided and told again."""
    while not seam.stop.is_set():
        with seam.database.read() as unit:
            if not seam.quotes.is_moving(unit, seam.now()):
                return
        with seam.database.transaction() as unit:
            names = seam.quotes.moved(unit, seam.now(), MOVED_AT_ONCE)
            ledger.tell_crm(unit, names)
            again = "UPDATE deal SET apply_due = 1, attempts = 0, next_try_at = NULL WHERE name = ?"
            unit.executemany(again, [(name,) for name in names])


# ---------------------------------------------------------------- before deciding


def conditions(seam: Seam, found: Sequence[Record], quotes: QuotesByRecord) -> dict[str, Condition]:
    """Return by record the condition that counts: accepted in the books counts as won; waiting for the opportunity does not."""
    is_won = any(r.object != QUOTE and r.condition == "won" for r in found)
    counted: dict[str, Condition] = {}
    for record in found:
        condition: Condition = record.condition  # type: ignore[assignment]
        view = quotes.get(record.id)
        if condition == "open" and view is not None and view.status == "accepted" and view.accepted_via != "crm":
            condition = "won"
        if condition == "won" and not is_won and _waits_for_opportunity(seam, record):
            condition = "open"
        counted[record.id] = condition
    return counted


def _waits_for_opportunity(seam: Seam, record: Record) -> bool:
    return seam.settings.quotes_start_on_won and record.object == QUOTE and record.deal != record.id


def refusal(seam: Seam, record: Record, view: QuoteView | None, desired: Desired, now: datetime) -> Problem | None:
    """Return why a quote that was accepted in the CRM cannot be billed: nobody can accept what expired or is outdated.

    What the record says anew (other terms, a later last day) is a new offer, which its acceptance accepts.
    """
    if view is None or record.condition != "won" or view.asked != "open" or view.contract_id is not None:
        return None
    if digests_of(desired).terms != view.digest:
        return None
    ends = _expires_at(seam, desired)
    if view.status in ("open", "expired") and ends is not None and ends > now:
        return None
    problem = words_of(seam, now).refusal(view, now)
    return None if problem is None else replace(problem, where=Where(object=record.object, record=record.id))


def as_accepted(desired: Desired, digests: Digests, view: QuoteView | None) -> tuple[Desired, Digests]:
    """Return what a customer accepted by page or command, where the record says something else by now."""
    if view is None or view.status != "accepted" or view.accepted_via == "crm" or view.digest == digests.terms:
        return desired, digests
    data = json.loads(view.data)
    if view.kind == "new":
        return replace(desired, action="new", terms=terms_from_data(data), change=None), replace(digests, terms=view.digest)
    change = replace(change_from_data(data), id=desired.deal)
    return replace(desired, action=view.kind, terms=None, change=change), replace(digests, terms=view.digest)


def _expires_at(seam: Seam, desired: Desired) -> datetime | None:
    """Return when the last day that a record names is over."""
    if desired.expires_on is None:
        return None
    return datetime.combine(desired.expires_on + timedelta(days=1), time(), ZoneInfo(seam.settings.timezone))


def on_accept(seam: Seam, quotes: QuotesByRecord) -> list[tuple[str, str, Upsert]]:
    """Return (deal, key, what to write) of quotes that were accepted by page or command: the fields that the configuration names.

    Each is written once an acceptance (the key): what a person changes after it stays.
    """
    found = []
    for view in quotes.values():
        if view.status != "accepted" or view.accepted_via == "crm":
            continue
        targets = {"Quote": view.record} if view.record != view.deal else {}
        targets |= {"Opportunity": view.deal} if view.deal.startswith("006") else {}
        for object_name, record in targets.items():
            values = {field: value for name, field, value in seam.settings.quotes_on_accept if name == object_name}
            if values:
                key = f"{record}/accepted/{view.id}"
                found.append((view.deal, key, Upsert(object=object_name, id=record, values=values, group=view.account)))
    return found


# ---------------------------------------------------------------- after deciding


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """One record as it is told to the books, and what keeps it from being quoted; *base*: the deal that it waits for."""

    record: Record
    offer: Offer | None = None
    problem: Problem | None = None
    base: str | None = None


def follow(
    seam: Seam, unit: Unit, values: Mapping[str, Sequence[Record]], deals: Mapping[str, Deal], quotes: QuotesByRecord, now: datetime
) -> dict[str, Deal]:
    """Let the books' quotes follow their records, now that the deals are decided; return the deals that changed by it."""
    told = [
        _told(seam, record, deals[name], found, quotes)
        for name, found in values.items()
        for record in found
        if _is_offering(seam, record)
    ]
    if not told:
        return {}
    bases = _bases(unit, told, deals)
    words, reasons = words_of(seam, now), Reasons(seam.settings.language, now.astimezone(ZoneInfo(seam.settings.timezone)).date())
    linked = links.of_deals(unit, sorted({t.offer.deal for t in told if t.offer is not None and t.offer.change is not None}))
    told = [_with_base(t, bases, linked, reasons) for t in told]
    refused = dict(seam.quotes.follow([t.offer for t in told if t.offer is not None], unit, now))
    rows = []
    changed: dict[str, Deal] = {}
    for one in told:
        if one.offer is not None and _is_edited_after_acceptance(one.offer, quotes.get(one.record.id)):
            changed[one.offer.deal] = replace(deals[one.offer.deal], apply_due=True)
        if one.record.condition not in ("open", "preview"):
            continue
        problem = one.problem or refused.get(one.record.id)
        shown = None if problem is None else replace(words.unquoted(problem), where=Where(object=one.record.object, record=one.record.id))
        if (shown,) != (one.record.problems or (None,)):
            rows.append((shown, one.record.object, one.record.id))
        deal = deals[one.record.deal or ""]
        if one.base is not None and deal.contract_id is None and deal.state == "idle":
            changed[deal.name] = replace(deal, wait_for=one.base)
    if rows:
        ledger.save_record_problems(unit, rows)
    return changed


def _is_edited_after_acceptance(offer: Offer, before: QuoteView | None) -> bool:
    """Whether what was accepted was carried out just now, and its record says something else: that is an edit, to be decided next."""
    if before is None or before.status != "accepted" or before.accepted_via == "crm":
        return False
    return before.contract_id is None and offer.stands is not None and offer.digest not in ("", before.digest)


def _is_offering(seam: Seam, record: Record) -> bool:
    return source_of(seam, record).compiled.shows_offers


def _stands(deal: Deal) -> bool:
    return deal.contract_id is not None and not deal.is_withdrawn


def _told(seam: Seam, record: Record, deal: Deal, found: Sequence[Record], quotes: QuotesByRecord) -> _Told:
    view = quotes.get(record.id)
    is_owner = (deal.owner_object, deal.owner_record) == (record.object, record.id)
    stands = deal.contract_id if _stands(deal) and is_owner else None
    elsewhere = deal.contract_id if _stands(deal) and not is_owner else None
    asked = "gone" if record.is_deleted else "won" if stands is not None else record.condition
    offers_more = asked in ("open", "preview", "won") and elsewhere is None
    if view is None and not offers_more:
        return _Told(record=record)
    if asked == "won" and elsewhere is None:
        is_accepted = stands is not None or conditions(seam, found, quotes)[record.id] != "won"
        if not is_accepted or (view is None and record.object != QUOTE):
            return _Told(record=record)  # what keeps it from being billed stands on the deal
    bare = Offer(deal=deal.name, record=record.id, label=deal.label, asked=asked, stands=stands, elsewhere=elsewhere)  # type: ignore[arg-type]
    if not offers_more:
        return _Told(record=record, offer=bare)
    result = desired_of(seam, record, deal, as_won=True)
    desired = result.desired
    if desired is None or result.problems:
        return _Told(record=record, offer=bare if view is not None else None, problem=joined(result.problems, record))
    if view is None and asked != "won" and _is_before_start(seam, record, desired):
        return _Told(record=record)
    offer = replace(
        bare, label=desired.label, kind=desired.action, customer=desired.customer, how=desired.how, terms=desired.terms, change=desired.change,
        digest=digests_of(desired).terms, expires_at=_expires_at(seam, desired), editor=_editor(seam, record, desired, found),
        edited_at=ledger.instant(str((record.fields or {}).get("LastModifiedDate") or record.stamp)), contract_id=desired.amends_contract or None,
    )  # fmt: skip
    return _Told(record=record, offer=offer, base=desired.amends if desired.action != "new" and not desired.amends_contract else None)


def _is_before_start(seam: Seam, record: Record, desired: Desired) -> bool:
    start_from = source_of(seam, record).start_from
    return start_from is not None and desired.action == "new" and desired.closed_on < start_from


def _editor(seam: Seam, record: Record, desired: Desired, found: Sequence[Record]) -> str:
    """Return who accepted what a record offers: of a synced quote, whoever won its opportunity."""
    if record.condition != "won":
        won = next((r for r in found if r.object != QUOTE and r.condition == "won"), None)
        outline = outline_of(seam, won) if won is not None else None
        if outline is not None:
            return outline.editor
    return desired.editor


def _bases(unit: Unit, told: Sequence[_Told], deals: Mapping[str, Deal]) -> dict[str, Deal]:
    """Return the deals that offers change, by name."""
    wanted = {t.base for t in told if t.base is not None}
    known = {name: deals[name] for name in wanted if name in deals}
    return known | ledger.deals(unit, sorted(wanted - known.keys()))


def _with_base(told: _Told, bases: Mapping[str, Deal], linked: Mapping[str, str], reasons: Reasons) -> _Told:
    """Return an offer of a change with the contract that it changes, or why there is none."""
    offer = told.offer
    if offer is None or offer.change is None or offer.contract_id is not None:
        return told
    if offer.deal in linked:
        return replace(told, offer=replace(offer, contract_id=linked[offer.deal]))
    base = bases.get(told.base or "")
    if base is not None and _stands(base):
        return replace(told, offer=replace(offer, contract_id=base.contract_id))
    where = Where(object=told.record.object, record=told.record.id)
    if told.base is None:
        problem = reasons.problem("no-parent", where, action=with_article(offer.kind))
    else:
        problem = reasons.problem("unknown-parent", where, deal=offer.deal)
    return replace(told, offer=replace(offer, terms=None, change=None), problem=problem)
