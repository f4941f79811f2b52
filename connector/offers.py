"""The values of quotes, as they cross between the books, the sync, the pages and the command line; and their door.

A quote is draft, open (numbered), accepted, canceled, expired, outdated (what it changes has changed since) or replaced (an older
revision). Its revisions share number and link. Worked example: Q-00001 over 3 seats is presented; the rep makes it 4 seats: revision
2 of Q-00001 is open, the first one replaced, and the customer's link shows 4 seats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal, Protocol

from connector.core.terms import Change, ContractTerms
from connector.errors import Problem
from connector.ports import Action, CustomerDetails, HowBilled, Unit

AGAIN = "Take it back to Draft and present it again; it gets a new revision."

QuoteStatus = Literal["draft", "open", "accepted", "canceled", "expired", "replaced", "outdated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one CRM record offers a customer, and what was done to it there, for the books to follow.

    asked - the record's condition, or gone. terms of a new contract, or a *change* of *contract_id*; neither where the record
    cannot be read, or offers nothing (any more). digest - equal for equal terms. expires_at - None: by the configuration.
    editor, edited_at - who saved it last, and when. stands - the contract that this record was billed through.
    elsewhere - the contract of the deal that is billed through another record.
    """

    deal: str
    record: str
    label: str
    asked: Literal["won", "open", "dropped", "preview", "idle", "gone"]
    kind: Action = "new"
    customer: CustomerDetails | None = None
    how: HowBilled = field(default_factory=HowBilled)
    terms: ContractTerms | None = None
    change: Change | None = None
    contract_id: str | None = None
    digest: str = ""
    expires_at: datetime | None = None
    editor: str = ""
    edited_at: datetime | None = None
    stands: str | None = None
    elsewhere: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteLine:
    """One line as quoted; amounts in minor units, *total* with tax on top. interval - "" for what is charged once."""

    description: str
    quantity: str
    unit_amount: str | None
    start: date
    end: date
    amount: int
    discount: int
    tax: int
    total: int
    interval: str = ""
    is_proration: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteSum:
    """What one period of *interval* costs ("" = once): before discounts and tax, and after both; in minor units."""

    interval: str
    subtotal: int
    discount: int
    tax: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteStage:
    """What is paid for good from *start* on: the lines of one period, and their sum by interval; *end* None: it is open."""

    start: date
    end: date | None
    lines: tuple[QuoteLine, ...]
    periods: tuple[QuoteSum, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteSheet:
    """What a quote shows: the first invoice (*first_on* None: there is none) and the stages after it.

    Of a change, *first* is what it adds to the first invoice that it touches, and, below zero, what it takes off it; *due* is the difference.

    starts_on, ends_on - of the term. tax_note - why no tax is charged, as on invoices ("" = it is).
    """

    first_on: date | None
    first: tuple[QuoteLine, ...]
    due: QuoteSum
    stages: tuple[QuoteStage, ...]
    starts_on: date | None = None
    ends_on: date | None = None
    tax_note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteView:
    """A quote as page, CRM and command line show it: its newest revision; amounts in minor units of *currency*.

    due_now, tax and discount are the first invoice's, per_period the sum of one period of everything that runs at first, value
    the whole term before tax, after discounts (of a change: the difference it makes). data - JSON of the terms or the change.
    asked - the condition of the CRM record that was last followed, "" for a quote that has none. reason - why it was declined
    or canceled, or what changed since. accepted_via - crm, page or cli; accepted_from - the network address of the page's visitor.
    """

    id: str
    deal: str
    record: str
    label: str
    number: str | None
    revision: int
    status: QuoteStatus
    kind: Action
    account: str
    currency: str
    token: str
    customer: CustomerDetails
    how: HowBilled
    due_now: int
    per_period: int
    tax: int
    discount: int
    value: int
    sheet: QuoteSheet
    data: str
    digest: str
    asked: str
    base_contract: str | None = None
    base_seq: int = 0
    contract_id: str | None = None
    expires_at: datetime | None = None
    opened_at: datetime | None = None
    accepted_at: datetime | None = None
    accepted_by: str = ""
    accepted_title: str = ""
    accepted_from: str = ""
    accepted_via: str = ""
    reason: str = ""

    @property
    def is_being_revised(self) -> bool:
        """Whether the customer knows it, but it was taken back to be changed."""
        return self.status == "draft" and self.number is not None


def why_not(view: QuoteView, now: datetime) -> Problem | None:
    """Return why a quote cannot be accepted as it is, in plain words; None: it can."""
    name = view.number or view.label
    if view.status == "open" and (view.expires_at is None or view.expires_at > now):
        return None
    if view.status in ("open", "expired"):
        day = f" on {(view.expires_at - timedelta(seconds=1)).date()}" if view.expires_at else ""
        return Problem(code="quote-expired", message=f"Quote {name} expired{day}.", hint=AGAIN)
    if view.status == "outdated":
        what = f" ({view.reason})" if view.reason else ""
        return Problem(code="quote-outdated", message=f"Quote {name} is outdated: the contract has changed since{what}.", hint=AGAIN)
    if view.status == "draft":
        text = f"Quote {name} is being revised." if view.is_being_revised else f"Quote {name} is a draft and was never sent."
        return Problem(code="quote-draft", message=text, hint="Present it first.")
    if view.status == "canceled":
        text = f"Quote {name} was declined or canceled{': ' + view.reason if view.reason else ''}."
        return Problem(code="quote-canceled", message=text, hint=AGAIN)
    if view.status == "replaced":
        return Problem(code="quote-replaced", message=f"Quote {name} has a newer revision.", hint="Accept that one.")
    return Problem(code="quote-accepted", message=f"Quote {name} was accepted already, by {view.accepted_by}.", hint="Nothing is to be done.")


class Quotes(Protocol):
    """The quotes of the books, as the sync works with them; everything is written in the caller's unit."""

    def follow(self, offers: Sequence[Offer], unit: Unit, now: datetime) -> Mapping[str, Problem]:
        """Let the quotes follow what the CRM records say; by record, why what is offered cannot be quoted."""

    def of_deals(self, deals: Sequence[str], unit: Unit) -> Mapping[str, QuoteView]:
        """Return the quotes of these deals in their newest revision, by record."""

    def is_moving(self, unit: Unit, now: datetime) -> bool:
        """Return whether `moved` has anything to do."""

    def moved(self, unit: Unit, now: datetime, limit: int) -> tuple[str, ...]:
        """Expire what is past its day, and return the deals of up to *limit* quotes that moved since the last call."""
