"""Who is billed and how, and how they are taxed: what the CRM says of an account, as values (given out by `ports`)."""

from __future__ import annotations

from typing import Literal, Protocol

from connector.core.terms import CollectionMethod, DatedRates
from connector.core.values import dataclass
from connector.errors import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A postal address as written in the CRM; *country* is a code or a name."""

    line1: str = ""
    city: str = ""
    postal_code: str = ""
    state: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerDetails:
    """Who is billed; *account* (18 characters) is its identity; *is_consolidated*: it wants one invoice for all contracts of a run."""

    account: str
    name: str
    email: str = ""
    address: Address = Address()
    tax_id: str = ""
    tax_exempt: Literal["none", "exempt", "reverse"] = "none"
    language: str = ""
    is_consolidated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HowBilled:
    """How invoices are settled and labelled; a change counts from the next invoice on, without an amendment."""

    collection_method: CollectionMethod = "send_invoice"
    days_until_due: int = 30
    po_number: str = ""
    memo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountTax:
    """How a customer is taxed now: an address that changes counts from the next invoice on.

    exempt - as the engine takes it; *rates* are then what an inclusive price is freed of. note - what the invoice says about
    it: "" (taxed), reverse, reverse_eu, exempt, or outside:PLACE. place - of the rates, for messages. problem - why nobody can
    say; then nothing is billed.
    """

    exempt: Literal["none", "exempt", "reverse"] = "none"
    rates: DatedRates = ()
    note: str = ""
    place: str = ""
    problem: Problem | None = None


def exempt_note(customer: CustomerDetails) -> str:
    """Return the note of a customer whose account says that it is not taxed; "" for one that is."""
    return "" if customer.tax_exempt == "none" else customer.tax_exempt


class TaxSource(Protocol):
    """Who knows the tax of a customer, from the seller's standing and the customer's country, postal code and tax id."""

    def tax_of(self, customer: CustomerDetails) -> AccountTax:
        """Return the rates of a customer by the day from which they hold, or the problem that keeps it from being taxed."""
