"""The look-alike's machine in the place of the compiler's model of Stripe: what plans bill there, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from stripe_lives import Life
from stripe_model import Billed
from stripe_wire import validated

from connector.billing.stripe_backend.reading.lines import together
from connector.billing.stripe_backend.steps import Plan, Ref
from connector.core.terms import Contract
from connector.lookalike.stripe import resources
from connector.lookalike.stripe.account import ENDPOINTS, Account, Data
from connector.lookalike.stripe.machine.keeping import due

assert resources.ROOMS

PATHS = {
    "customers.create": ("POST", "/v1/customers"), "products.create": ("POST", "/v1/products"), "prices.create": ("POST", "/v1/prices"),
    "coupons.create": ("POST", "/v1/coupons"), "tax_rates.create": ("POST", "/v1/tax_rates"),
    "subscription_schedules.create": ("POST", "/v1/subscription_schedules"), "subscription_schedules.update": ("POST", "/v1/subscription_schedules/{id}"),
    "subscription_schedules.retrieve": ("GET", "/v1/subscription_schedules/{id}"),
    "subscription_schedules.cancel": ("POST", "/v1/subscription_schedules/{id}/cancel"), "subscriptions.create": ("POST", "/v1/subscriptions"), "subscriptions.retrieve": ("GET", "/v1/subscriptions/{id}"),
    "subscriptions.update": ("POST", "/v1/subscriptions/{id}"), "subscriptions.cancel": ("DELETE", "/v1/subscriptions/{id}"),
    "invoices.create": ("POST", "/v1/invoices"), "invoices.finalize_invoice": ("POST", "/v1/invoices/{id}/finalize"),
    "invoices.update": ("POST", "/v1/invoices/{id}"), "invoice_items.create": ("POST", "/v1/invoiceitems"),
    "invoice_items.delete": ("DELETE", "/v1/invoiceitems/{id}"), "subscription_schedules.release": ("POST", "/v1/subscription_schedules/{id}/release"),
    "billing.meters.create": ("POST", "/v1/billing/meters"),
}  # fmt: skip


@dataclass(kw_only=True)
class Waking:
    """Where the machine has something to do next; it has the shape of a model's subscription."""

    is_ended: bool = False


class Machinery:
    """Has the face of `stripe_model.Model`, and the look-alike's account behind it."""

    def __init__(self) -> None:
        self.now = 0
        self.account = Account(clock=lambda: datetime.fromtimestamp(self.now, UTC), currency="eur")
        self.results: dict[str, dict[str, Any]] = {}
        self.billed: list[Billed] = []
        self.subs = {"all": Waking()}
        self.items: dict[str, str] = {}
        self.seen: set[str] = set()

    def _instants(self, _: Waking) -> Iterator[int]:
        queue = self.account.machine.get("queue", [])
        yield from (at for at, *_, name, _ in queue if name in ("schedule", "subscription", "finalize"))

    def carry_out(self, plan: Plan, now: int) -> dict[str, dict[str, Any]]:
        self.advance(now)
        self.results = {}
        for step in plan.steps:
            if step.needs is not None and not self._resolved(step.needs):
                self.results[step.name] = {"id": None, "latest_invoice": None}
                continue
            params, target = self._resolved(step.params), self._resolved(step.target)
            found = self._there(step.shared, params) or self._final(step.call, target)
            if found is None:
                validated(step.call, params)
                method, path = PATHS[step.call]
                found = ENDPOINTS[method, path][0](self.account, {"id": target} if target else {}, params)
            self.results[step.name] = found
            self._look()
        self._read()
        return self.results

    def _final(self, call: str, target: Any) -> Data | None:
        """Return an invoice that Stripe has finalized itself: refused, it would be looked up and taken as done."""
        invoice = self.account.kind("invoice").get(str(target)) if call == "invoices.finalize_invoice" else None
        return invoice if invoice is not None and invoice["status"] != "draft" else None

    def _there(self, shared: tuple[str, str] | None, params: Data) -> Data | None:
        if shared is None:
            return None
        if "lookup_key" in params:
            found = [
                one for one in self.account.kind("price").values() if one.get("lookup_key") == params["lookup_key"]
            ]
            return found[0] if found else None
        if "id" in params:
            return self.account.kind(shared[0]).get(params["id"])
        found = [
            one
            for one in self.account.kind(shared[0]).values()
            if params.get("metadata") and one.get("metadata") == params["metadata"]
        ]
        return found[0] if found else None

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, Ref):
            found: Any = self.results[value.step]
            for part in value.path.split("."):
                found = found[int(part)] if part.isdigit() else found.get(part)
            return found
        if isinstance(value, Mapping):
            return {k: self._resolved(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._resolved(v) for v in value]
        return value

    def advance(self, until: int) -> None:
        self.now = max(self.now, until)
        while due(self.account, self.now) is not None:
            self._look()
            self._read()
        self.account.moment = None

    def _look(self) -> None:
        for id_, item in self.account.kind("subscription_item").items():
            self.items[id_] = item["metadata"].get("connector_item", "")

    def _read(self) -> None:
        for id_, invoice in list(self.account.kind("invoice").items()):
            if id_ not in self.seen:
                self.seen.add(id_)
                self.billed += [
                    one for _, line in together(invoice) if (one := self._billed(invoice, line)) is not None
                ]

    def _billed(self, invoice: Data, line: Data) -> Billed | None:
        net = line["amount"] - sum(one["amount"] for one in line["discount_amounts"])
        own = line["metadata"].get("connector_line", "")
        subscription = self.account.kind("subscription").get(line["subscription"] or "") or {}
        if own and line["parent"]["invoice_item_details"]:
            return Billed(at=invoice["created"], net=net, line=own)
        item = line["parent"]["subscription_item_details"]
        if (line["description"] or "").startswith("Free trial"):
            return None
        if item["proration"]:
            kind = "credit" if net < 0 or item["proration_details"]["credited_items"] else "charge"
            return Billed(at=invoice["created"], net=net, item_id=self.items[item["subscription_item"]], prorated=kind, began=line["period"]["start"])
        price = self.account.kind("price")[line["pricing"]["price_details"]["price"]]
        start: date = datetime.fromtimestamp(line["period"]["start"], UTC).date()
        return Billed(
            at=invoice["created"], net=net, item_id=self.items[item["subscription_item"]], start=start,
            is_metered=price["recurring"]["usage_type"] == "metered", is_void=bool(subscription.get("pause_collection")),
        )  # fmt: skip


class MachineLife(Life):
    """The life of a contract on the look-alike's machine."""

    def __init__(self, contract: Contract, made: datetime) -> None:
        super().__init__(contract, made)
        self.model: Any = Machinery()


def lived(contract: Contract, made: datetime, until: datetime) -> MachineLife:
    life = MachineLife(contract, made)
    life.run(until)
    return life
