"""What one record means: contract terms for a new deal, one change for every other action (deals.md sections 2 and 3).

`Deals.result` reads a record and its lines through compiled leaves and returns a desired state or every problem at once.
Worked example: an Opportunity with start 2026-01-01, 12 months and a line of 10 GOLD at 30.00 EUR, Monthly, gives
`ContractTerms` with one phase 2026-01-01..2027-01-01 and the item "GOLD" of 10 x 3000 minor units a month; an Amend record
with +5 GOLD from 2026-04-16 gives `Change(kind="amend", items=(delta of 5,))`.

Which items there are never depends on the order or the ids of the CRM's lines: lines are put into an order of their own
(product, kind, dates, price, discounts), equal ones add up, and a second different item of a product is "GOLD#2".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from connector.core.period import anchor_on, length_between, plus_months
from connector.core.terms import (
    CancelWhen,
    Change,
    ContractTerms,
    Coupon,
    EndBehavior,
    Interval,
    Phase,
    Prebill,
    ProrationBehavior,
    Renewal,
    Settings,
)
from connector.mapping.itemizing import items_of, steps_of
from connector.mapping.lines import LineReader, Span
from connector.mapping.readers import AGAIN, Leaf, Reading, Record
from connector.mapping.results import Made, MapResult
from connector.ports import Action, Address, Condition, CustomerDetails, Desired, HowBilled

_ONE_DAY = timedelta(days=1)
_MAX_TERM_MONTHS = 1_200
_MAX_TRIAL_DAYS = 3_660
_LAST_DAY_OF_MONTH = 31

_PRORATION: Mapping[str, ProrationBehavior] = {
    "next_invoice": "create_prorations",
    "immediately": "always_invoice",
    "none": "none",
    "up_front": "always_invoice",
}
_CANCEL_WHEN: Mapping[str, CancelWhen] = {"on_date": "at", "end_of_period": "period_end", "end_of_term": "term_end"}
_NAMES = {
    "customer.account": "account",
    "customer.name": "customer name",
    "customer.email": "billing e-mail",
    "start": "first day",
    "currency": "currency",
    "closed_on": "close date",
    "created_at": "date of creation",
    "effective": "effective date",
    "action": "billing action",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Discounts:
    """One discount rule compiled: what it takes off, for how many months."""

    percent: Leaf
    months: Leaf


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What holds for every record of a mapping: who it reads, what is copied into contracts, what the engine can do.

    payment - of `billing.payment_terms`: automatic, or days. supports - names of features beyond the plain ones that the
    engine bills: prebill, paid_trial, usage, tax_exempt.
    """

    object: str
    timezone: str
    settings: Settings
    payment: int | Literal["automatic"]
    payment_text: str
    supports: frozenset[str]


class Deals:
    """The compiled meaning of a mapping's `deal` block."""

    def __init__(self, frame: Frame, deal: Mapping[str, Leaf], discounts: Sequence[Discounts], lines: LineReader) -> None:
        self._frame = frame
        self._deal = deal
        self._discounts = tuple(discounts)
        self._lines = lines
        self._read = {key: leaf.read for key, leaf in deal.items()}
        self._no_customer = CustomerDetails(account="", name="")

    # ------------------------------------------------------------ the whole

    def result(self, record: Record, lines: Sequence[Record], condition: Condition, name: str, *, is_full: bool) -> MapResult:
        """Return what the record asks for; *is_full* False: only who it is, for a record that is no deal (any more)."""
        read = self._read
        reading = Reading(self._frame.object, record.get("Id") or "", record)
        closed_on = self._needed("closed_on", record, reading)
        created_at = self._needed("created_at", record, reading)
        bases = self._lines.bases(lines, reading)
        action: Action | None = self._needed("action", record, reading)
        if action == "new" and bases and self._deal["action"].raw(record) in (None, ""):
            action = "amend"  # nobody says what it is, but its lines change those of another record
        if closed_on is None or created_at is None or action is None:
            return MapResult(desired=None, problems=tuple(reading.problems))
        terms: ContractTerms | None = None
        change: Change | None = None
        if is_full:
            customer = self._customer(record, reading, is_new=action == "new")
            how = self._how(record, reading)
            if action == "new":
                terms = self._terms(record, lines, reading, bases)
            else:
                change = self._change(action, record, lines, reading, Made(name, closed_on, created_at, bases))
            if reading.problems:
                return MapResult(desired=None, problems=tuple(reading.problems))
        else:
            customer, how = self._bare_customer(record), HowBilled()
        desired = Desired(
            object=self._frame.object,
            record=reading.record,
            deal=name,
            label=read["label"](record, reading) or name,
            action=action,
            condition=condition,
            closed_on=closed_on.date(),
            created_at=created_at,
            customer=customer,
            how=how,
            terms=terms,
            change=change,
            amends=bases[0] if bases else read["amends"](record, reading),
            also_amends=bases[1:],
            amends_contract=read["amends_contract"](record, reading),
            synced_quote=read["synced_quote"](record, reading),
            expires_on=day.date() if (day := read["expires_on"](record, reading)) is not None else None,
            contact=read["contact"](record, reading),
            editor=read["editor"](record, reading) or "",
            notes=tuple(reading.notes),
            currency=terms.currency if terms is not None else self._currency_said(record) if is_full else None,
        )
        return MapResult(desired=desired)

    def _needed(self, key: str, record: Record, reading: Reading) -> Any:
        before = len(reading.problems)
        value = self._read[key](record, reading)
        if (value is None or value == "") and len(reading.problems) == before:
            leaf = self._deal[key]
            reading.fail(f"no-{_NAMES[key].replace(' ', '-')}", f"no {_NAMES[key]}.", f"Fill {leaf.fill(record)}{AGAIN}", leaf.field)
        return value

    def _unsupported(self, leaf: Leaf, record: Record, reading: Reading) -> None:
        hint = f"Clear {leaf.fill(record)}{AGAIN}"
        reading.fail("not-supported", f"{leaf.label} is not supported yet.", hint, leaf.field)

    # ------------------------------------------------------------ who and how

    def _bare_customer(self, record: Record) -> CustomerDetails:
        notes = Reading(self._frame.object, record.get("Id") or "", record)
        account = self._read["customer.account"](record, notes) or ""
        return CustomerDetails(account=account, name=self._read["customer.name"](record, notes) or "")

    def _customer(self, record: Record, reading: Reading, *, is_new: bool) -> CustomerDetails:
        read = self._read
        account = self._needed("customer.account", record, reading)
        if account is None:
            return self._no_customer
        # a change may leave blank what the contract already knows (deals.md section 3)
        email = self._needed("customer.email", record, reading) if is_new else read["customer.email"](record, reading)
        name = self._needed("customer.name", record, reading) if is_new else read["customer.name"](record, reading)
        tax_exempt: Literal["none", "exempt", "reverse"] = read["customer.tax_exempt"](record, reading) or "none"
        if tax_exempt != "none" and "tax_exempt" not in self._frame.supports:
            self._unsupported(self._deal["customer.tax_exempt"], record, reading)
        return CustomerDetails(
            account=account,
            name=name or "",
            email=email or "",
            address=Address(
                line1=read["customer.address.line1"](record, reading) or "",
                city=read["customer.address.city"](record, reading) or "",
                postal_code=read["customer.address.postal_code"](record, reading) or "",
                state=read["customer.address.state"](record, reading) or "",
                country=read["customer.address.country"](record, reading) or "",
            ),
            tax_id=read["customer.tax_id"](record, reading) or "",
            tax_exempt=tax_exempt,
            language=read["customer.language"](record, reading) or "",
            is_consolidated=bool(read["customer.consolidate"](record, reading)),
        )

    def _how(self, record: Record, reading: Reading) -> HowBilled:
        terms = self._read["payment_terms"](record, reading)
        if terms is None:
            terms = self._frame.payment
            reading.notes.append(f"Payment terms: {self._frame.payment_text}, from the configuration")
        is_automatic = terms == "automatic"
        return HowBilled(
            collection_method="charge_automatically" if is_automatic else "send_invoice",
            days_until_due=0 if is_automatic else terms,
            po_number=self._read["po_number"](record, reading) or "",
            memo=self._read["memo"](record, reading) or "",
        )

    # ------------------------------------------------------------ a new deal

    def _terms(self, record: Record, lines: Sequence[Record], reading: Reading, bases: Sequence[str]) -> ContractTerms | None:
        self._forgotten_action(record, reading, bases)
        start = self._needed("start", record, reading)
        currency = self._currency(record, reading)
        term = self._term_months(record, reading)
        span = self._span(start, term, record, reading)
        found = self._lines.read(lines, span, currency, reading, action="new", term_months=term)
        coupons, _ = self._coupons(record, reading)
        anchor = self._anchor(start, record, reading)
        trial_end = self._trial_end(start, record, reading)
        uplift = self._uplift(record, reading)
        prebill = self._prebill(record, reading)
        unpaid_trial: str = self._read["trial_without_payment"](record, reading) or "invoice"
        is_renewing = bool(self._read["auto_renew"](record, reading))
        proration = self._deal["amend.proration"]
        if proration.raw(record) and proration.read(record, reading) == "up_front":
            self._only_for_amend("amend.proration", "Up front", record, reading)
        if not found and not reading.problems:
            reading.fail("no-lines", "the deal has no product to bill; an amount alone is never billed.", f"Add products{AGAIN}")
        if reading.problems or start is None or currency is None:
            return None
        end = None if any(line.is_open for line in found) else span[1]
        items, one_time = items_of(found)
        end_behavior: EndBehavior = "release" if end is None else "renew" if is_renewing else "cancel"
        return ContractTerms(
            currency=currency,
            timezone=self._frame.timezone,
            settings=self._frame.settings,
            start=start,
            phases=(Phase(start=start, end=end, items=items, add_invoice_items=one_time),),
            anchor=anchor,
            discounts=coupons,
            end_behavior=end_behavior,
            renewal=Renewal(uplift_percent=uplift) if uplift and end_behavior == "renew" else _NO_UPLIFT,
            trial_end=trial_end,
            trial_missing_payment=_WITHOUT_PAYMENT[unpaid_trial],
            prebill=prebill,
        )

    def _forgotten_action(self, record: Record, reading: Reading, bases: Sequence[str]) -> None:
        """A record that names a deal to change, but not what to do with it, must not become a second contract."""
        action, amends = self._deal["action"], self._deal["amends"]
        if bases:
            hint = f"Correct {action.fill(record)}, or clear the lines that its lines revise{AGAIN}"
            reading.fail("action-missing", f"its lines revise those of another deal, but {action.label} says that it is a new one.", hint, action.field)
        elif action.raw(record) in (None, "") and amends.raw(record):
            hint = f"Choose Amend, Renew or Cancel in {action.fill(record)}, or clear {amends.label}{AGAIN}"
            reading.fail("action-missing", f"{amends.label} is filled, but {action.label} does not say what to do.", hint, action.field)

    def _span(self, start: datetime | None, term: int | None, record: Record, reading: Reading) -> Span:
        """Return the first day of the term and the day after its last, as the last day or the months of the record say it."""
        last: datetime | None = self._read["last_day"](record, reading)
        if last is None or start is None:
            return start, plus_months(start, term) if start is not None and term else None
        end = last + _ONE_DAY
        if end <= start:
            leaf = self._deal["last_day"]
            reading.fail("bad-term", f"{leaf.label} {last:%Y-%m-%d} is before the first day.", f"Correct it{AGAIN}", leaf.field)
        return start, end

    def _currency(self, record: Record, reading: Reading) -> str | None:
        code = self._needed("currency", record, reading)
        return self._lines.currency(code, self._deal["currency"], reading) if code else None

    def _currency_said(self, record: Record) -> str | None:
        """Return the currency of a change's record, where it says one: it must be its contract's."""
        code = self._read["currency"](record, Reading(self._frame.object, record.get("Id") or "", record))
        return str(code).lower() if code else None

    def _term_months(self, record: Record, reading: Reading) -> int | None:
        months: int | None = self._read["term_months"](record, reading)
        if months is not None and not 0 < months <= _MAX_TERM_MONTHS:
            leaf = self._deal["term_months"]
            reading.fail("bad-term", f"{leaf.label} is {months}.", f"Write 1 to {_MAX_TERM_MONTHS}, or leave it empty{AGAIN}", leaf.field)
            return None
        return months

    def _coupons(self, record: Record, reading: Reading) -> tuple[tuple[Coupon, ...], bool]:
        """Return the deal's discounts, and whether a discount was said at all (0 says there is none)."""
        found = []
        is_said = False
        for rule in self._discounts:
            percent = rule.percent.read(record, reading)
            is_said = is_said or percent is not None
            coupon = self._lines.coupon(percent, rule.months.read(record, reading), rule.percent, reading)
            if coupon is not None:
                found.append(coupon)
        named = self._lines.named_coupons(self._read["coupons"](record, reading))
        return (*found, *named), is_said or bool(named)

    def _anchor(self, start: datetime | None, record: Record, reading: Reading) -> datetime | None:
        day = self._read["billing_day"](record, reading)
        if day is None or start is None:
            return None
        if not 1 <= day <= _LAST_DAY_OF_MONTH:
            leaf = self._deal["billing_day"]
            reading.fail("bad-billing-day", f"{leaf.label} is {day}.", f"Write 1 to 31, or leave it empty{AGAIN}", leaf.field)
            return None
        return anchor_on(start, day)

    def _trial_end(self, start: datetime | None, record: Record, reading: Reading) -> datetime | None:
        days = self._read["trial_days"](record, reading)
        if not days or start is None:
            return None
        if not 0 < days <= _MAX_TRIAL_DAYS:
            leaf = self._deal["trial_days"]
            reading.fail("bad-trial", f"{leaf.label} is {days}.", f"Write 1 to {_MAX_TRIAL_DAYS}, or leave it empty{AGAIN}", leaf.field)
            return None
        return start + timedelta(days=days)

    def _uplift(self, record: Record, reading: Reading) -> Decimal:
        percent: Decimal | None = self._read["renewal_uplift_percent"](record, reading)
        return self._lines.plain(percent) if percent else Decimal(0)

    def _prebill(self, record: Record, reading: Reading) -> Prebill | None:
        periods = self._read["prebill.periods"](record, reading)
        until = self._read["prebill.until"](record, reading)
        if not periods and until is None:
            return None
        if "prebill" not in self._frame.supports:
            for key, value in (("prebill.periods", periods), ("prebill.until", until)):
                if value:
                    self._unsupported(self._deal[key], record, reading)
            return None
        if periods and until is not None:
            one, other = self._deal["prebill.periods"], self._deal["prebill.until"]
            reading.fail("prebill-twice", f"both {one.label} and {other.label} are filled.", f"Keep one of them{AGAIN}", one.field)
        return Prebill(periods=periods or None, until=until)

    def _only_for_amend(self, key: str, value: str, record: Record, reading: Reading) -> None:
        leaf = self._deal[key]
        hint = f"Choose another value in {leaf.fill(record)}{AGAIN}"
        reading.fail("wrong-action", f'{leaf.label} "{value}" is for Amend deals only.', hint, leaf.field)

    # ------------------------------------------------------------ changes

    def _change(self, action: Action, record: Record, lines: Sequence[Record], reading: Reading, made: Made) -> Change | None:
        self._base(action, record, reading, made)
        if action == "amend":
            return self._amend(record, lines, reading, made)
        if action == "renew":
            return self._renew(record, lines, reading, made)
        if action == "cancel":
            return self._cancel(record, lines, reading, made)
        effective = self._needed("effective", record, reading)
        if effective is None:
            return None
        kind: Literal["pause", "resume"] = "pause" if action == "pause" else "resume"
        return Change(id=made.name, kind=kind, effective=effective, made_at=made.at, pause_behavior="credit")

    def _base(self, action: Action, record: Record, reading: Reading, made: Made) -> None:
        amends, contract = self._deal["amends"], self._deal["amends_contract"]
        if made.bases or amends.raw(record) or contract.raw(record):
            return
        known = [leaf for leaf in (amends, contract) if leaf.places]
        hint = f"Fill {' or '.join(leaf.fill(record) for leaf in known)}{AGAIN}" if known else "The mapping has no `deal.amends`."
        reading.fail("no-base", f"{_with_article(action)} deal must say which contract it changes.", hint, amends.field)

    def _proration(self, record: Record, reading: Reading) -> str | None:
        word: str | None = self._read["amend.proration"](record, reading)
        if word is None:
            leaf = self._deal["amend.proration"]
            reading.fail("no-proration", f"{leaf.label} is empty.", f"Fill {leaf.fill(record)}{AGAIN}", leaf.field)
        return word

    def _amend(self, record: Record, lines: Sequence[Record], reading: Reading, made: Made) -> Change | None:
        effective = self._needed("effective", record, reading)
        proration = self._proration(record, reading)
        currency = self._currency(record, reading)
        term = self._term_months(record, reading)
        span = self._span(effective, term, record, reading)
        found = self._lines.read(lines, span, currency, reading, action="amend", term_months=term)
        coupons, has_discount = self._coupons(record, reading)
        anchor = self._anchor(effective, record, reading)
        trial_end = self._trial_end(effective, record, reading)
        prebill = self._prebill(record, reading)
        if reading.problems or effective is None or proration is None:
            return None
        if not found and not has_discount and not any((span[1], anchor, trial_end, prebill)):
            hint = f"Add the products that change, with the change in quantity{AGAIN}"
            reading.fail("nothing-changes", "this Amend deal changes nothing.", hint)
            return None
        steps, one_time = steps_of(found, made.name, keeps_interval=not self._deal["frequency"].raw(record))
        return Change(
            id=made.name,
            kind="amend",
            effective=effective,
            made_at=made.at,
            items=steps,
            one_time=one_time,
            proration_behavior=_PRORATION[proration],
            billing_behavior="prorate_up_front" if proration == "up_front" else "prorate_on_next_phase",
            discounts_set=coupons if has_discount else None,
            billing_cycle_anchor=anchor if anchor is not None else "unchanged",
            new_end=span[1],
            trial_end=trial_end,
            prebill=prebill,
            is_delta_order=self._lines.has_revisions,
        )

    def _renew(self, record: Record, lines: Sequence[Record], reading: Reading, made: Made) -> Change | None:
        start: datetime | None = self._read["renew.start"](record, reading)
        currency = self._currency(record, reading)
        term = self._term_months(record, reading)
        # without a day of its own the term begins where the old one ends, which only the contract knows
        effective = start if start is not None else made.closed_on
        span = self._span(start, term, record, reading) if start is not None else (None, None)
        found = self._lines.read(lines, span, currency, reading, action="renew", term_months=term)
        uplift = self._uplift(record, reading)
        coupons, has_discount = self._coupons(record, reading)
        prebill = self._prebill(record, reading)
        is_renewing = bool(self._read["auto_renew"](record, reading))
        if start is None and any(line.start is not None or line.end is not None for line in found):
            day = self._deal["renew.start"]
            hint = f"Fill {day.fill(record)}, or clear the dates of the lines{AGAIN}"
            reading.fail("no-renewal-start", "lines with dates of their own need the first day of the new term.", hint, day.field)
        if reading.problems:
            return None
        items, one_time = items_of(found)
        is_open = any(line.is_open for line in found)
        end = None if is_open else span[1] if span[1] is not None else plus_months(effective, term) if term else None
        phases = (Phase(start=effective, end=end, items=items, add_invoice_items=one_time),) if found else ()
        end_behavior: EndBehavior = "release" if phases and end is None else "renew" if is_renewing else "cancel"
        return Change(
            id=made.name,
            kind="renew",
            effective=effective,
            made_at=made.at,
            phases=phases,
            duration=None if is_open else _length(span) or (Interval(unit="month", count=term) if term else None),
            uplift_percent=uplift,
            discounts_set=coupons if has_discount else None,
            end_behavior=end_behavior,
            when="at" if start is not None else "term_end",
            prebill=prebill,
        )

    def _cancel(self, record: Record, lines: Sequence[Record], reading: Reading, made: Made) -> Change | None:
        read = self._read
        on: datetime | None = read["cancel.on"](record, reading)
        word = read["cancel.when"](record, reading) or ("on_date" if on is not None else "end_of_period")
        when = _CANCEL_WHEN[word]
        if when == "at" and on is None:
            said, day = self._deal["cancel.when"], self._deal["cancel.on"]
            hint = f"Fill {day.fill(record)}{AGAIN}"
            reading.fail("no-effective-date", f"{said.label} says on which date, but the date is empty.", hint, day.field)
        how = self._cancel_proration(when, record, reading)
        item_ids = self._lines.names(lines, reading)
        if reading.problems:
            return None
        return Change(
            id=made.name,
            kind="cancel",
            effective=on if on is not None else made.closed_on,
            made_at=made.at,
            when=when,
            prorate=None if how is None else how in ("immediately", "next_invoice"),
            invoice_now=how == "immediately",
            item_ids=item_ids,
        )

    def _cancel_proration(self, when: CancelWhen, record: Record, reading: Reading) -> str | None:
        """Return what becomes of unused time; None where it is not said, which the engine refuses inside a period."""
        leaf = self._deal["cancel.proration"]
        word: str | None = leaf.read(record, reading)
        if word == "up_front":
            self._only_for_amend("cancel.proration", "Up front", record, reading)
        return "none" if word is None and when != "at" else word


_NO_UPLIFT = Renewal()
_WITHOUT_PAYMENT: Mapping[str, Literal["cancel", "pause", "create_invoice"]] = {"invoice": "create_invoice", "cancel": "cancel", "pause": "pause"}


def _with_article(action: str) -> str:
    return f"an {action.title()}" if action[0] in "aeiou" else f"a {action.title()}"


def _length(span: Span) -> Interval | None:
    start, end = span
    return length_between(start, end) if start is not None and end is not None else None
