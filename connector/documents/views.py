"""What a document shows, as frozen values with every amount and date already written out; page and PDF lay out the same values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

InvoiceStatus = Literal["draft", "open", "past_due", "paid", "void", "uncollectible", "issued"]


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
    details - further lines of small print below the description. heading - what stands above the line, where a group begins.
    """

    description: str
    amount: str
    period: str = ""
    quantity: str = ""
    unit_price: str = ""
    discount: str = ""
    tax: str = ""
    details: tuple[str, ...] = ()
    heading: str = ""


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
    is_note - a credit note: *facts* (label, value) say which invoice it corrects and what became of the money.
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
    is_note: bool = False
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def is_payable(self) -> bool:
        """Whether the customer is still asked to pay."""
        return self.status in {"open", "past_due"}

    @property
    def is_claim(self) -> bool:
        """Whether the invoice counts: a draft does not yet, a void one no longer; a credit note asks for nothing."""
        return self.status not in {"draft", "void", "issued"}

    @property
    def has_quantities(self) -> bool:
        """Whether any line has a quantity or a unit price, so that their columns are worth their room."""
        return any(line.quantity or line.unit_price for line in self.lines)

    @property
    def has_discounts(self) -> bool:
        """Whether any line is discounted."""
        return any(line.discount for line in self.lines)

    @property
    def columns(self) -> int:
        """How many columns the table of lines has."""
        return 2 + 2 * self.has_quantities + self.has_discounts + self.has_taxes

    @property
    def has_taxes(self) -> bool:
        """Whether any line is taxed."""
        return any(line.tax for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """One row of sums: its label and amount; *is_strong* for what counts most."""

    label: str
    amount: str
    is_strong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotePage:
    """A quote for the customer's eyes: *sheet* has parties and lines, one group a stage.

    status_text - in words. note - why it cannot be accepted, or what became of it. can_answer - whether it can be accepted or
    declined now. revision - what is shown, so that nobody accepts what was changed meanwhile.
    """

    language: str
    sheet: InvoicePage
    status: Literal["draft", "open", "accepted", "canceled", "expired", "outdated", "replaced"]
    status_text: str
    revision: int
    sums: tuple[Total, ...]
    facts: tuple[tuple[str, str], ...] = ()
    note: str = ""
    can_answer: bool = False
