"""The block `billing:` of the configuration: who issues invoices, and the house rules of money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from connector.kit.yamlpos import Path as At

NUMBERING, PREFIX = "{prefix}-{seq:04d}", "INV"
MAX_CRM_AGE_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingConfig:
    """Who issues invoices, and how; what shapes money is copied into each contract when it is made."""

    backend: Literal["internal", "stripe"] = "internal"
    proration: Literal["day", "second"] = "day"
    tax_rounding: Literal["line", "invoice"] = "line"
    invoice_numbering: str = NUMBERING
    invoice_prefix: str = PREFIX
    cancellation_day: Literal["free"] = "free"
    payment_terms: str = "Net 30"
    max_crm_age_s: int = MAX_CRM_AGE_S


class Reader(Protocol):
    """What is used of the configuration's reader."""

    def text(self, path: At, default: str, *, is_secret: bool = False) -> str:
        """Return a text with its variables filled in."""

    def choice(self, path: At, known: Sequence[str], default: Any, *, later: Sequence[str] = ()) -> Any:
        """Return one of the known words."""

    def seconds(self, path: At, default: int) -> int:
        """Return a duration."""

    def add(self, code: str, path: At, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note a problem."""


def read_billing(reader: Reader) -> BillingConfig:
    """Return the block; what is wrong with it is noted with the reader."""

    def choice(name: str, known: Sequence[str], default: str, later: Sequence[str] = ()) -> Any:
        return reader.choice(("billing", name), known, default, later=later)

    return BillingConfig(
        backend=choice("backend", ("internal", "stripe"), "internal"),
        proration=choice("proration", ("day", "second"), "day", ("month_and_day",)),
        tax_rounding=choice("tax_rounding", ("line", "invoice"), "line"),
        invoice_numbering=_numbering(reader),
        invoice_prefix=reader.text(("billing", "invoice_prefix"), PREFIX),
        cancellation_day=choice("cancellation_day", ("free",), "free", ("billed",)),
        payment_terms=choice(
            "payment_terms", ("Charge automatically", "Due on receipt", "Net 15", "Net 30", "Net 45", "Net 60"), "Net 30"
        ),
        max_crm_age_s=reader.seconds(("billing", "max_crm_age"), MAX_CRM_AGE_S),
    )


def _numbering(reader: Reader) -> str:
    at: At = ("billing", "invoice_numbering")
    text = reader.text(at, NUMBERING)
    try:
        first, second = (text.format(prefix="INV", year=2026, seq=n) for n in (1, 2))
    except (KeyError, ValueError, IndexError):
        first = second = ""
    if first == second:
        reader.add("bad-value", at, f"{text!r} does not number invoices.", "Use {prefix}, {year} and {seq:04d}; {seq} must be there.")
        return NUMBERING
    return text
