"""Lines that we bill ourselves as Stripe's invoice items: the engine's amount net of discounts, under the engine's key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector.billing.stripe_backend.compiling.days import instant_of
from connector.billing.stripe_backend.compiling.outlook import Outlook
from connector.billing.stripe_backend.compiling.people import rate_key, rate_step
from connector.billing.stripe_backend.compiling.prices import product_ref, product_step
from connector.billing.stripe_backend.money import stripe_amount
from connector.billing.stripe_backend.steps import Ref, Step
from connector.core.lines import Line
from connector.core.matching import quantity_text
from connector.core.terms import TaxRate


class Items:
    """The making of invoice items of a contract: their words, taxes and the objects they need."""

    def __init__(self, outlook: Outlook, metadata: Mapping[str, str]) -> None:
        self.outlook, self.metadata = outlook, metadata
        self.shared: list[Step] = []
        self.rates = self._all_rates()

    def behavior(self, line: Line) -> dict[str, str]:
        """Return whether a line's amount holds its tax, where Stripe finds the tax: it takes no line that does not say so."""
        if not self.outlook.wanted.automatic_tax:
            return {}
        return {"tax_behavior": self.behaviors.get(line.item_id, "exclusive")}

    def _all_rates(self) -> dict[str, TaxRate]:
        contract = self.outlook.wanted.contract
        terms = contract.terms
        phases = [*terms.phases, *(p for c in contract.changes for p in c.phases)]
        items = [i for p in phases for i in (*p.items, *p.add_invoice_items)]
        items += [s.item for c in contract.changes for s in c.items if s.item is not None] + [i for c in contract.changes for i in c.one_time]
        self.behaviors = {i.id: i.price.tax_behavior for i in items}
        found = {r.id: r for _, row in self.outlook.piece.rates for r in row}
        found |= {r.id: r for i in items for r in i.tax_rates}
        return found | {r.id: r for r in terms.tax_rates}

    def description(self, line: Line) -> str:
        """Return what the invoice says: what, how many, and for which days where it is no whole period."""
        name = line.description or line.product
        text = name if line.quantity == 1 else f"{quantity_text(line.quantity)} × {name}"
        if line.kind == "credit":
            return f"Unused time on {text}"[:500]
        return (f"Remaining time on {text}" if line.is_proration and line.kind == "charge" else text)[:500]

    def taxes(self, line: Line) -> list[Ref | str]:
        """Return the tax rates of a line, noting the steps that make them; what Stripe taxed by a rate that is none of ours is given back by that one."""
        found: list[Ref | str] = []
        if self.outlook.wanted.automatic_tax:
            return found
        for rate_id, _, is_inside in line.taxes:
            rate = self.rates.get(rate_id)
            if rate is None:
                found += [rate_id] if rate_id.startswith("txr_") else []
                continue
            if rate.inclusive != is_inside:
                rate = TaxRate(id=rate.id, percentage=rate.percentage, inclusive=is_inside)
            self.shared.append(rate_step(rate))
            found.append(Ref(step=f"rate-{rate_key(rate)}"))
        return found

    def period(self, line: Line, at_time: str) -> tuple[int, int]:
        """Return the time that a line is for."""
        start, end = line.start.date(), line.end.date()
        return instant_of(start, at_time), instant_of(max(start, end), at_time)

    def item(self, line: Line, customer: Any, at_time: str, where: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of an invoice item. where - `invoice`, or `subscription` whose next invoice it waits for."""
        start, end = self.period(line, at_time)
        params: dict[str, Any] = {
            "customer": customer, **where, **self._amount(line), "description": self.description(line), "discountable": False,
            "period": {"start": start, "end": end}, "metadata": self._marks(line),
        }  # fmt: skip
        taxes = self.taxes(line)
        if taxes:
            params["tax_rates"] = taxes
        return params

    def rider(self, line: Line, at_time: str) -> dict[str, Any]:
        """Return the parameters of the same as an item that is billed with the start of a phase."""
        start, end = self.period(line, at_time)
        params: dict[str, Any] = {
            "price_data": self._price_data(line), "quantity": 1, "discountable": False, "metadata": self._marks(line),
            "period": {"start": {"type": "timestamp", "timestamp": start}, "end": {"type": "timestamp", "timestamp": end}},
        }  # fmt: skip
        taxes = self.taxes(line)
        if taxes:
            params["tax_rates"] = taxes
        return params

    def _amount(self, line: Line) -> dict[str, Any]:
        """Return what a line comes to; where Stripe finds the tax, by its product: taxed by that one's code, as its subscription is."""
        if self.outlook.wanted.automatic_tax and line.product:
            return {"price_data": self._price_data(line)}
        return {"amount": stripe_amount(line.net, self.outlook.currency), "currency": self.outlook.currency, **self.behavior(line)}

    def _price_data(self, line: Line) -> dict[str, Any]:
        self.shared.append(product_step(line.product, line.description or line.product))
        amount = stripe_amount(line.net, self.outlook.currency)
        return {"currency": self.outlook.currency, "product": product_ref(line.product), "unit_amount": amount, **self.behavior(line)}

    def _marks(self, line: Line) -> dict[str, str]:
        return {**self.metadata, "connector_item": line.item_id[:500], "connector_line": line.key[:500]}
