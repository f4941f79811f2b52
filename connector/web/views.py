"""What pages show, as frozen values with every amount and date already written out, and the functions that fetch them.

`WebServices` is the whole door of this room: the composition root fills it, a test fills it with lambdas. Templates only lay
out what stands here; where a template would have to decide, the view decides (`has_discounts`, `is_payable`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from connector.documents.views import InvoicePage, InvoiceStatus, Party, QuotePage

Tone = Literal["plain", "good", "busy", "warn", "bad"]

# ---------------------------------------------------------------- the console


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One figure with its name."""

    label: str
    value: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountGroup:
    """Figures that belong together, such as deals by state."""

    title: str
    counts: tuple[Count, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One of the daemon's jobs: how it stands, its last run and the next one."""

    job: str
    state: str
    tone: Tone = "plain"
    started: str = ""
    took: str = ""
    summary: str = ""
    next: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollRow:
    """One source: when it was last read to the end."""

    source: str
    at: str
    age: str = ""
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldDeal:
    """A deal that is parked or waits: what is wrong, and what to do; *url* opens its record in the CRM."""

    label: str
    record: str
    state: str
    message: str
    hint: str = ""
    url: str = ""
    since: str = ""
    tone: Tone = "warn"

    @property
    def has_link(self) -> bool:
        """Whether *url* is a web address; one of another scheme could run something."""
        return self.url.startswith(("https://", "http://"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something the operator must know before all else, such as a config that was not taken over."""

    title: str
    text: str
    hint: str = ""
    tone: Tone = "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleView:
    """The console's first page.

    where - the org and the ledger we run on. clock - said only where the demo clock is shifted. held_note - where not all
    held deals are listed, how many there are.
    """

    where: str
    now: str
    version: str
    groups: tuple[CountGroup, ...] = ()
    runs: tuple[RunRow, ...] = ()
    polls: tuple[PollRow, ...] = ()
    held: tuple[HeldDeal, ...] = ()
    held_note: str = ""
    clock: str = ""
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleHead:
    """What stands above every page of the console: the org, the time, and that the clock is shifted."""

    where: str
    now: str
    clock: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedInvoice:
    """An invoice in the console's list; *name* leads to its page, *kind* colours its status."""

    name: str
    number: str
    customer: str
    issued_on: str
    due_on: str
    total: str
    open: str
    status: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleInvoices:
    """A page of invoices. *number* - the one invoice that was searched for; *following* leads to the page after this one."""

    head: ConsoleHead
    status: str
    search: str
    invoices: tuple[ListedInvoice, ...]
    following: str = ""
    complaint: str = ""
    number: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleRow:
    """Something that happened about an invoice, or is asked for."""

    on: str
    what: str
    detail: str = ""
    amount: str = ""
    state: str = ""
    tone: Tone = "plain"
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentForm:
    """A payment as typed. *entry* - the form's own number; *latest* - the last day that can be chosen; *complaint* - what is wrong."""

    entry: str
    amount: str
    on: str
    method: str = "bank_transfer"
    reference: str = ""
    latest: str = ""
    currency: str = ""
    complaint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleInvoice:
    """One invoice as operators see it. *form* is None where no payment can be recorded; *is_waiting* - one is kept and not yet carried out."""

    head: ConsoleHead
    name: str
    page: InvoicePage
    crm_url: str
    contract: str
    public_url: str
    facts: tuple[tuple[str, str], ...]
    payments: tuple[ConsoleRow, ...] = ()
    notes: tuple[ConsoleRow, ...] = ()
    requests: tuple[ConsoleRow, ...] = ()
    steps: tuple[ConsoleRow, ...] = ()
    is_waiting: bool = False
    form: PaymentForm | None = None

    @property
    def has_crm_link(self) -> bool:
        """Whether *crm_url* is a web address."""
        return self.crm_url.startswith(("https://", "http://"))


# ---------------------------------------------------------------- the customer portal


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalInvoice:
    """A finalized invoice in the customer's list; *token* leads to its page."""

    number: str
    token: str
    issued_on: str
    total: str
    status: InvoiceStatus
    status_text: str
    due_on: str = ""
    open: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalItem:
    """What a contract has running; *plain_quantity* is what a form starts from."""

    number: int
    description: str
    quantity: str
    unit_price: str
    plain_quantity: str = ""
    can_change: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalContract:
    """A contract of the customer's."""

    id: str
    name: str
    status: str
    since: str
    items: tuple[PortalItem, ...]
    ends: str = ""
    next_on: str = ""
    can_cancel: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalField:
    """One billing detail that the customer may change."""

    name: str
    label: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalRequest:
    """What the customer asked for lately and what became of it."""

    what: str
    on: str
    state: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalPage:
    """A customer's own page, in *language*; *open* is what is to be paid, one amount a currency.

    method - how the customer is charged, in words; *methods* it can choose from. can_pay - whether an open invoice can be charged
    to it by a button.
    """

    language: str
    seller: Party
    customer: Party
    open: tuple[str, ...]
    invoices: tuple[PortalInvoice, ...]
    contracts: tuple[PortalContract, ...]
    fields: tuple[PortalField, ...] = ()
    requests: tuple[PortalRequest, ...] = ()
    can_download: bool = True
    can_pay: bool = False
    method: str = ""
    methods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalDoor:
    """Where a portal link leads that is not our own page: the address outside, or *why* nobody can be let in just now.

    why - early: nothing of the customer is there yet; often: the link was followed too often; closed: the outside does not answer.
    """

    language: str
    url: str = ""
    why: Literal["", "early", "often", "closed"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalAsk:
    """A form that a customer sent: *what* (details, cancel, quantity, pay, payment_method), its texts, and whether the cost was agreed to."""

    what: str
    values: Mapping[str, str]
    is_agreed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalAnswer:
    """What became of a form: kept; refused with a *complaint*; or a question, *title* and *lines*, before *values* are sent again."""

    language: str
    is_kept: bool = False
    complaint: str = ""
    title: str = ""
    lines: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    what: str = ""


# ---------------------------------------------------------------- answers to quotes


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteAnswer:
    """What a customer answers to the *revision* it read: *what* is accept or decline. address - the visitor's network address."""

    what: str
    revision: str
    name: str = ""
    title: str = ""
    reason: str = ""
    is_agreed: bool = False
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteReply:
    """Whether an answer is kept; else the *complaint*."""

    language: str
    is_kept: bool = False
    complaint: str = ""


# ---------------------------------------------------------------- what monitors ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must be reachable (CRM, billing, database, a job); *hint* is the operator's next action.

    is_degraded - it works, but less or later than it should, and heals by itself.
    """

    name: str
    is_ok: bool
    is_degraded: bool = False
    detail: str = ""
    hint: str = ""


# ---------------------------------------------------------------- the door


@dataclass(frozen=True, slots=True, kw_only=True)
class Pdf:
    """A document to download; *name* is a file name of plain signs."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """A page or document that stands elsewhere: where a reader is led on to."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may open the console.

    password - `web.admin_password`; empty: only clients on this machine, without sign-in. secret - `web.secret`, signs
    sessions; empty: a new one at each start. is_https - `web.public_url` starts with https, so that cookies are sent
    encrypted only and browsers remember to use https.
    """

    password: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    is_https: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServices:
    """Everything the pages need to know, as functions; each may be called from several threads at once.

    *_by_token - None: no such document. ready - quick and without calls to the outside: what was last known counts.
    stripe_event - (body, signature) -> whether it was taken; None: nobody listens.
    They may raise the errors of `connector.errors`; RetryableError becomes a 503.
    """

    invoice_by_token: Callable[[str], InvoicePage | Hosted | None]
    invoice_pdf_by_token: Callable[[str], Pdf | Hosted | None]
    quote_by_token: Callable[[str], QuotePage | None]
    quote_pdf_by_token: Callable[[str], Pdf | None]
    quote_answer: Callable[[str, QuoteAnswer], QuoteReply | None]
    portal_by_token: Callable[[str], PortalPage | PortalDoor | None]
    portal_ask: Callable[[str, PortalAsk], PortalAnswer | None]
    console: Callable[[], ConsoleView]
    console_invoices: Callable[[str, str, str], ConsoleInvoices]
    console_invoice: Callable[[str], ConsoleInvoice | None]
    console_pay: Callable[[str, PaymentForm], str | None]
    stripe_event: Callable[[bytes, str], bool | None]
    ready: Callable[[], Sequence[Check]]
    metrics: Callable[[], bytes]
    now: Callable[[], datetime]
    access: Access = Access()
