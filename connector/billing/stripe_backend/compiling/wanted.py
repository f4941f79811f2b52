"""What a contract shall be at Stripe, with everything that is known about it: all that compiling needs, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime

from connector.billing.stripe_backend.compiling.days import moment
from connector.billing.stripe_backend.compiling.people import Told
from connector.billing.stripe_backend.steps import Held
from connector.core.lines import Line, Slice
from connector.core.period import to_local
from connector.core.terms import Contract
from connector.core.values import dataclass
from connector.ports import AccountTax, CustomerDetails, HowBilled


@dataclass(frozen=True, slots=True, kw_only=True)
class Stands:
    """Where a line of the books stands at Stripe: on which *invoice*, from which *place* (0 on), and as how many lines at most (tiers)."""

    invoice: str
    place: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A contract with its customer, the facts about it so far, and what Stripe holds of it (None: nothing yet).

    key - of the push. piece - the facts: lines on mirrored invoices. sent - lines that we sent and that stand on no mirrored invoice yet,
    by key; items - the invoice item of each of them that is one. now - aware. automatic_tax - Stripe finds the tax; else the rates of the contract and of *tax* are sent.
    may_bill_ahead - Stripe has not refused to bill this contract ahead. told - what Stripe knows of the customer.
    currencies - of everything else that runs for the customer, each with the name of a contract in it. stands - with automatic tax, where
    the facts stand at Stripe, by key.
    """

    key: str
    org: str
    contract: Contract
    deal: str
    label: str
    how: HowBilled
    customer_id: str
    details: CustomerDetails
    tax: AccountTax
    held: Held | None
    piece: Slice
    sent: Mapping[str, Line] = field(default_factory=dict)
    items: Mapping[str, str] = field(default_factory=dict)
    now: datetime
    automatic_tax: bool = False
    may_bill_ahead: bool = True
    told: Told = Told()
    currencies: Mapping[str, str] = field(default_factory=dict)
    stands: Mapping[str, Stands] = field(default_factory=dict)

    @property
    def local(self) -> datetime:
        """Return the present in the contract's own time."""
        return to_local(self.now, self.contract.terms.timezone)

    @property
    def not_begun(self) -> set[str]:
        """Return the keys of our lines that ride on subscriptions that have not begun: they can still be told otherwise."""
        groups = self.held.groups if self.held is not None else ()
        return {k for g in groups for p in g.phases for k in p.once if moment(p.began or p.start, g.at_time) > self.now}

    @property
    def known(self) -> Slice:
        """Return the contract with its facts, and the lines on their way counted among them."""
        here = {f.key for f in self.piece.facts} | self.not_begun
        way = tuple(line for key, line in self.sent.items() if key not in here)
        return replace(self.piece, contract=self.contract, facts=(*self.piece.facts, *way))
