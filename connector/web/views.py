"""What pages show, as frozen values with every amount and date already written out, and the functions that fetch them.

`WebServices` is the whole door of this room: the composition root fills it, a test fills it with lambdas. Templates only lay
out what stands here; where a template would have to decide, the view decides (`has_discounts`, `is_payable`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

InvoiceStatus = Literal["draft", "open", "past_due", "paid", "void", "uncollectible"]
Tone = Literal["plain", "good", "busy", "warn", "bad"]

# ---------------------------------------------------------------- the invoice behind a link


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Seller or customer as printed: *address* one line each, empty texts are left out."""

    name: str
    address: tuple[str, ...] = ()
    email: str = ""
    tax_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicePageLine:
    """One line; *period* is the service period as people read it ("1 Apr – 30 Apr 2026", last day included).

    amount - before discounts and exclusive tax. discount - what is taken off, with its sign. tax - rates ("VAT 20 %").
    details - further lines of small print below the description.
    """

    description: str
    amount: str
    period: str = ""
    quantity: str = ""
    unit_price: str = ""
    discount: str = ""
    tax: str = ""
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxLine:
    """One row of the totals: "VAT 20 % on 900.00" and its amount."""

    label: str
    amount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BankTransfer:
    """Where to pay to, and what to write as reference."""

    iban: str
    holder: str
    bic: str = ""
    bank: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicePage:
    """A read-only invoice for the customer's eyes, in *language* (en, fr; another one reads English).

    number - empty for a draft. currency - the code, as printed beside the totals. balance - what of the customer's balance
    was applied, with its sign. due - what is still open. tax_note - why no tax is charged, in words. Empty texts are left out
    of the page.
    """

    language: str
    status: InvoiceStatus
    number: str
    seller: Party
    customer: Party
    currency: str
    lines: tuple[InvoicePageLine, ...]
    subtotal: str
    total: str
    due: str
    issued_on: str = ""
    due_on: str = ""
    paid_on: str = ""
    po_number: str = ""
    memo: str = ""
    discount: str = ""
    taxes: tuple[TaxLine, ...] = ()
    tax_note: str = ""
    balance: str = ""
    paid: str = ""
    bank: BankTransfer | None = None

    @property
    def is_payable(self) -> bool:
        """Whether the customer is still asked to pay."""
        return self.status in {"open", "past_due"}

    @property
    def is_claim(self) -> bool:
        """Whether the invoice counts: a draft does not yet, a void one no longer."""
        return self.status not in {"draft", "void"}

    @property
    def has_quantities(self) -> bool:
        """Whether any line has a quantity or a unit price, so that their columns are worth their room."""
        return any(line.quantity or line.unit_price for line in self.lines)

    @property
    def has_discounts(self) -> bool:
        """Whether any line is discounted."""
        return any(line.discount for line in self.lines)

    @property
    def has_taxes(self) -> bool:
        """Whether any line is taxed."""
        return any(line.tax for line in self.lines)


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


# ---------------------------------------------------------------- what monitors ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must be reachable (CRM, billing, database, a job); *hint* is the operator's next action."""

    name: str
    is_ok: bool
    detail: str = ""
    hint: str = ""


# ---------------------------------------------------------------- the door


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

    invoice_by_token - None: no such invoice. ready - quick and without calls to the outside: what was last known counts.
    They may raise the errors of `connector.errors`; RetryableError becomes a 503.
    """

    invoice_by_token: Callable[[str], InvoicePage | None]
    console: Callable[[], ConsoleView]
    ready: Callable[[], Sequence[Check]]
    metrics: Callable[[], bytes]
    now: Callable[[], datetime]
    access: Access = Access()
