"""The life of a quote that lives in the CRM: the books follow what people do to its record (deals.md section 7).

`followed` is the table of that life: what a quote was, what its record asks for now, what the quote is then. Worked example: Q-00001 is
open and the rep changes a line: revision 2 is open under the same number and link, revision 1 is replaced. The rep takes the record back
to Draft: the quote is a draft with a number ("being revised"), which nobody can accept; presented again it is open.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta

from connector.billing import outbox, quotes
from connector.billing.intents import Engine
from connector.billing.quoting import Figured, figures
from connector.core.period import to_local, to_utc
from connector.errors import Problem
from connector.kit.db import new_id
from connector.offers import Offer, QuoteView
from connector.ports import Command, CustomerDetails, Unit

_DAY_S = 86_400
_LIVE = ("draft", "open", "expired", "outdated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One revision as it becomes; *before* None: it is new. name - of the event, "" where there is nothing to tell."""

    name: str
    before: QuoteView | None
    after: QuoteView


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What deciding needs beside quote and offer: *made* - what the offer comes to, None where nobody needs it or can say."""

    made: Figured | None
    now: datetime
    timezone: str
    expires_after_s: int

    def last_instant(self) -> datetime | None:
        """Return until when a quote that is opened now can be accepted, None: for good; days count to their end."""
        if not self.expires_after_s:
            return None
        ends = self.now + timedelta(seconds=self.expires_after_s)
        if self.expires_after_s < _DAY_S:
            return ends
        day = to_local(ends, self.timezone).date() + timedelta(days=1)
        return to_utc(datetime.combine(day, time()), self.timezone)


class QuoteBooks:
    """The quotes of one org's books (the port `offers.Quotes`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def follow(self, offers: Sequence[Offer], unit: Unit, now: datetime) -> Mapping[str, Problem]:
        """Let the quotes follow what the CRM records say; by record, why what is offered cannot be quoted."""
        engine, now = self._engine, quotes.utc(now)
        known = quotes.of_deals(unit, engine.org, sorted({o.deal for o in offers}))
        wanted = [o for o in offers if needs_figures(known.get(o.record), o)]
        figured = figures(engine, unit, [_command(o) for o in wanted], now)
        problems = {key: found for key, found in figured.items() if isinstance(found, Problem)}
        steps: list[tuple[str, Step]] = []
        for offer in offers:
            made = figured.get(offer.record)
            if isinstance(made, Problem):
                offer = replace(offer, terms=None, change=None)
                made = None
            scene = Scene(made=made, now=now, timezone=engine.timezone, expires_after_s=engine.quote_expiry_s)
            steps += [(offer.editor or "crm", s) for s in followed(known.get(offer.record), offer, scene)]
        save_steps(unit, engine, steps, now)
        return problems

    def of_deals(self, deals: Sequence[str], unit: Unit) -> Mapping[str, QuoteView]:
        """Return the quotes of these deals in their newest revision, by record."""
        return quotes.of_deals(unit, self._engine.org, deals)

    def is_moving(self, unit: Unit, now: datetime) -> bool:
        """Return whether `moved` has anything to do."""
        return quotes.is_moving(unit, now)

    def moved(self, unit: Unit, now: datetime, limit: int) -> tuple[str, ...]:
        """Expire what is past its day, and return the deals of up to *limit* quotes that moved since the last call."""
        return quotes.moved_deals(unit, self._engine.org, now, limit)


def _command(offer: Offer) -> Command:
    who = offer.customer or CustomerDetails(account="", name="")
    return Command(
        key=offer.record, kind="create" if offer.terms is not None else "change", deal=f"quote {offer.record}", label=offer.label, customer=who,
        how=offer.how, terms=offer.terms, change=offer.change, contract_id=offer.contract_id,
    )  # fmt: skip


def save_steps(unit: Unit, engine: Engine, steps: Sequence[tuple[str, Step]], now: datetime, *, is_moved: bool = False) -> None:
    """Save (who, step) of each, with a number for every quote that is shown for the first time; numbers are taken last.

    Where `quotes.send` says so, what is opened is mailed, in the same transaction.
    """
    unnumbered = {s.after.id for _, s in steps if s.after.number is None and s.after.status in ("open", "accepted")}
    numbers = dict(zip(sorted(unnumbered), quotes.take_numbers(unit, len(unnumbered)), strict=True))
    whole = [(who, _numbered(s, numbers.get(s.after.id))) for who, s in steps]
    quotes.save(unit, engine.org, [s.after for _, s in whole], now, is_moved=is_moved)
    quotes.note(unit, [(who, s.name, s.before, s.after) for who, s in whole if s.name], now)
    if engine.mailing.has_quotes:
        opened = [s.after for _, s in whole if s.after.status == "open" and (s.before is None or s.before.status != "open")]
        mail_quotes(unit, engine, opened, now)


def mail_quotes(unit: Unit, engine: Engine, opened: Sequence[QuoteView], now: datetime) -> None:
    """Write the mail of every quote that can be accepted from now on."""
    rows = [(v.id, v.number or "", v.token, now.isoformat()) for v in opened]
    engine.mailing.write(unit, outbox.presented(rows), now)


def _numbered(step: Step, number: str | None) -> Step:
    if number is None:
        return step
    return replace(step, after=replace(step.after, number=number, token=secrets.token_hex(16)))


# ---------------------------------------------------------------- the table of a quote's life


def _offers_something(offer: Offer) -> bool:
    return offer.terms is not None or offer.change is not None


def needs_figures(quote: QuoteView | None, offer: Offer) -> bool:
    """Return whether what is offered must be worked out: it is new, differs from what was quoted, or is shown anew."""
    if offer.asked not in ("open", "preview", "won") or not _offers_something(offer) or offer.elsewhere is not None:
        return False
    if quote is None or quote.digest != offer.digest:
        return quote is None or quote.status != "accepted" or offer.stands is None
    if quote.status == "accepted":
        return offer.asked == "open" and quote.asked == "won" and offer.stands is None
    if offer.asked == "won":
        return False
    return (quote.status != "open" and offer.asked == "open") or quote.customer != (offer.customer or quote.customer)


def _is_too_late(offer: Offer, scene: Scene) -> bool:
    return offer.expires_at is not None and offer.expires_at <= scene.now


def followed(quote: QuoteView | None, offer: Offer, scene: Scene) -> Iterator[Step]:
    """Yield what becomes of a quote (None: the record has none yet) by what its record asks for."""
    if offer.elsewhere is not None:
        if quote is not None and quote.status in _LIVE:
            yield _step("quote.canceled", quote, offer, status="canceled", contract_id=offer.elsewhere, reason="")
    elif offer.asked in ("dropped", "gone"):
        yield from _dropped(quote, offer)
    elif offer.asked in ("idle", "preview"):
        yield from _drafted(quote, offer, scene)
    elif offer.asked == "open":
        yield from _presented(quote, offer, scene)
    else:
        yield from _accepted(quote, offer, scene)


def _dropped(quote: QuoteView | None, offer: Offer) -> Iterator[Step]:
    if quote is None or (quote.status not in _LIVE and not (quote.status == "accepted" and offer.stands is None)):
        return
    reason = "the record was deleted" if offer.asked == "gone" else ""
    yield _step("quote.declined" if not reason else "quote.canceled", quote, offer, status="canceled", reason=reason)


def _drafted(quote: QuoteView | None, offer: Offer, scene: Scene) -> Iterator[Step]:
    """Not shown to the customer yet, or taken back to be changed."""
    if quote is None:
        if offer.asked == "preview" and scene.made is not None:
            yield Step(name="", before=None, after=revision_of(None, offer, scene, "draft"))
        return
    if quote.status == "accepted" and offer.stands is not None:
        return
    taken_back = quote.status != "draft"
    if scene.made is None or (quote.digest == offer.digest and quote.customer == offer.customer):
        if taken_back or quote.asked != offer.asked:
            yield _step("quote.revising" if taken_back else "", quote, offer, status="draft", reason="", contract_id=None)
    elif quote.opened_at is None:
        yield Step(name="", before=quote, after=revision_of(quote, offer, scene, "draft"))
    else:
        yield from _revised(quote, offer, scene, "draft", "quote.revising" if taken_back else "")


def _presented(quote: QuoteView | None, offer: Offer, scene: Scene) -> Iterator[Step]:
    made = scene.made
    if quote is None:
        if made is not None:
            is_late = _is_too_late(offer, scene)  # presented after the last day that it names: it gets no number
            after = revision_of(None, offer, scene, "expired" if is_late else "open")
            yield Step(name="" if is_late else "quote.opened", before=None, after=after)
    elif quote.status == "accepted" and (offer.stands is not None or quote.asked == "open"):
        return
    elif not _offers_something(offer):
        if quote.status == "open":  # what the record says now cannot be read: nobody shall accept what it said before
            yield _step("quote.revising", quote, offer, status="draft")
    elif quote.status == "open":
        yield from _still_open(quote, offer, scene)
    else:
        yield from _shown_again(quote, offer, scene)


def _shown_again(quote: QuoteView, offer: Offer, scene: Scene) -> Iterator[Step]:
    """A quote that nobody could accept is presented: the same revision where it says what it said, else the next one."""
    made, is_draft = scene.made, quote.status == "draft"
    is_longer = quote.digest == offer.digest and _is_longer(quote, offer, scene)
    if made is None or not (is_draft or is_longer or quote.asked != "open" or quote.digest != offer.digest):
        return
    if _is_too_late(offer, scene):
        if is_draft:
            yield _step("", quote, offer, status="expired", expires_at=offer.expires_at)
        return
    if quote.opened_at is None or (is_draft and not _differs(quote, offer, made)) or (quote.status == "expired" and is_longer):
        yield Step(name="quote.opened", before=quote, after=revision_of(quote, offer, scene, "open"))
    else:
        yield from _revised(quote, offer, scene, "open", "quote.revised")


def _still_open(quote: QuoteView, offer: Offer, scene: Scene) -> Iterator[Step]:
    if scene.made is not None and _differs(quote, offer, scene.made):
        yield from _revised(quote, offer, scene, "open", "quote.revised")
        return
    after = replace(quote, label=offer.label, asked="open", customer=offer.customer or quote.customer, how=offer.how)
    if offer.expires_at is not None:
        after = replace(after, expires_at=offer.expires_at)
    if after != quote:
        yield Step(name="", before=quote, after=after)


def _accepted(quote: QuoteView | None, offer: Offer, scene: Scene) -> Iterator[Step]:
    if quote is not None and quote.status == "accepted":
        after = replace(quote, contract_id=offer.stands or quote.contract_id, asked="won" if quote.accepted_via == "crm" else quote.asked)
        if after != quote:
            yield Step(name="", before=quote, after=after)
        return
    if quote is None and scene.made is None:
        return
    base = quote
    if base is None or (scene.made is not None and base.digest != offer.digest):
        if base is not None and base.opened_at is not None:
            for step in _revised(base, offer, scene, "open", ""):
                if step.before is not None:
                    yield step
                base = step.after
        else:
            base = revision_of(base, offer, scene, "open")
    after = replace(
        base, status="accepted", asked="won", contract_id=offer.stands, accepted_at=offer.edited_at or scene.now, accepted_by=offer.editor,
        accepted_via="crm", reason="", label=offer.label, opened_at=base.opened_at or scene.now,
    )  # fmt: skip
    yield Step(name="quote.accepted", before=quote if quote is not None and quote.id == base.id else None, after=after)


def _differs(quote: QuoteView, offer: Offer, made: Figured) -> bool:
    """Whether the customer would read other terms or other amounts."""
    same = (quote.due_now, quote.per_period, quote.tax, quote.value) == (made.sheet.due.total, made.per_period, made.sheet.due.tax, made.value)
    return quote.digest != offer.digest or (quote.customer != offer.customer and not same) or quote.base_seq != made.base_seq


def _is_longer(quote: QuoteView, offer: Offer, scene: Scene) -> bool:
    return offer.expires_at is not None and offer.expires_at > max(scene.now, quote.expires_at or scene.now)


def _revised(quote: QuoteView, offer: Offer, scene: Scene, status: str, name: str) -> Iterator[Step]:
    """Yield the old revision as replaced, and the next one under the same number and link."""
    yield Step(name="", before=quote, after=replace(quote, status="replaced"))
    base = replace(quote, id=new_id("qt", scene.now), revision=quote.revision + 1, opened_at=None, expires_at=None)
    yield Step(name=name, before=None, after=revision_of(base, offer, scene, status))


def _step(name: str, quote: QuoteView, offer: Offer, **changes: object) -> Step:
    return Step(name=name, before=quote, after=replace(quote, asked=offer.asked, label=offer.label, **changes))  # type: ignore[arg-type]


def revision_of(quote: QuoteView | None, offer: Offer, scene: Scene, status: str) -> QuoteView:
    """Return the revision with what is offered now; *quote* None: the first one."""
    made = scene.made
    assert made is not None
    who = offer.customer or CustomerDetails(account="", name="")
    is_open, due = status == "open", made.sheet.due
    return QuoteView(
        id=quote.id if quote else new_id("qt", scene.now), deal=offer.deal, record=offer.record, label=offer.label,
        number=quote.number if quote else None, token=quote.token if quote else "", revision=quote.revision if quote else 1,
        status=status, kind=offer.kind, account=who.account, currency=made.currency, customer=who, how=offer.how,  # type: ignore[arg-type]
        due_now=due.total, per_period=made.per_period, tax=due.tax, discount=due.discount, value=made.value, sheet=made.sheet,
        data=made.data, digest=offer.digest, asked=offer.asked, base_contract=made.base_contract, base_seq=made.base_seq,
        opened_at=scene.now if is_open else None, expires_at=(offer.expires_at or scene.last_instant()) if is_open else offer.expires_at,
    )  # fmt: skip
