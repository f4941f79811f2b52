"""A small account for tests of the billing machine: a clock, a customer, prices; and words to ask it with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from connector.lookalike.stripe.account import ENDPOINTS, Account, Data, catch_up
from connector.lookalike.stripe.machine import loading

assert loading.ROOMS


def at(text: str) -> int:
    """Return the seconds of a UTC day or moment."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def day(seconds: int | None) -> str:
    """Return the UTC day, with the time where it is not midnight."""
    if seconds is None:
        return "-"
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%d}" if seconds % 86400 == 0 else f"{moment:%Y-%m-%dT%H:%M}"


class Machine:
    """An account and its clock, called as the server calls it: under the lock, after catching up."""

    def __init__(self, start: str = "2026-01-01") -> None:
        self.moment = datetime.fromisoformat(start).replace(tzinfo=UTC)
        self.account = Account(clock=lambda: self.moment)
        self.customer = self.add(
            "customer",
            "cus_1",
            name="Acme",
            email="a@example.com",
            balance=0,
            currency=None,
            metadata={},
            tax_exempt="none",
        )
        self.add("product", "prod_1", name="Gold")

    def add(self, kind: str, id_: str, **fields: Any) -> Data:
        made: Data = {"id": id_, "object": kind, **fields}
        self.account.kind(kind)[id_] = made
        return made

    def price(self, id_: str, amount: int | None, interval: str = "month", count: int = 1, **more: Any) -> str:
        fields: Data = {
            "active": True, "currency": "usd", "product": "prod_1", "unit_amount": amount, "billing_scheme": "per_unit",
            "unit_amount_decimal": None if amount is None else str(amount), "tax_behavior": "exclusive", "type": "recurring",
            "recurring": {"interval": interval, "interval_count": count, "usage_type": "licensed", "meter": None},
        }  # fmt: skip
        self.add("price", id_, **(fields | more))
        return id_

    def coupon(self, id_: str, **more: Any) -> str:
        fields: Data = {
            "percent_off": None,
            "amount_off": None,
            "currency": None,
            "duration": "forever",
            "duration_in_months": None,
            "valid": True,
        }
        self.add("coupon", id_, **(fields | more))
        return id_

    def rate(self, id_: str, percentage: str, *, inclusive: bool = False) -> str:
        self.add("tax_rate", id_, percentage=percentage, inclusive=inclusive, active=True)
        return id_

    def card(self, last4: str = "4242") -> str:
        id_ = f"pm_{last4}"
        self.add("payment_method", id_, type="card", card={"last4": last4, "brand": "visa"}, customer="cus_1")
        self.customer["invoice_settings"] = {"default_payment_method": id_}
        return id_

    def call(self, method: str, path: str, params: Data | None = None, **ids: str) -> Data:
        with self.account.lock:
            catch_up(self.account)
            return ENDPOINTS[method, path][0](self.account, ids, params or {})

    def post(self, path: str, params: Data | None = None, **ids: str) -> Data:
        return self.call("POST", f"/v1/{path}", params, **ids)

    def to(self, moment: str) -> None:
        """Let the clock stand at a moment, and everything due be done."""
        self.moment = datetime.fromisoformat(moment).replace(tzinfo=UTC)
        catch_up(self.account)

    def wait(self, **parts: int) -> None:
        self.moment += timedelta(**parts)
        catch_up(self.account)

    def schedule(self, *phases: Data, start: int | str = "now", **more: Any) -> Data:
        return self.post(
            "subscription_schedules", {"customer": "cus_1", "start_date": start, "phases": list(phases), **more}
        )

    def subscribe(self, *items: Data, **more: Any) -> Data:
        return self.post("subscriptions", {"customer": "cus_1", "items": list(items), **more})

    def invoices(self) -> list[Data]:
        return list(self.account.kind("invoice").values())

    def table(self) -> list[str]:
        """Return each invoice as `day status total: amount start..end, …`."""
        return [
            f"{day(one['created'])} {one['status']} {one['total']}: "
            + ", ".join(
                f"{line['amount']} {day(line['period']['start'])}..{day(line['period']['end'])}"
                for line in one["lines"]["data"]
            )
            for one in self.invoices()
        ]

    def events(self, *types: str) -> list[str]:
        """Return `day type` of the events of some types."""
        return [f"{day(one['created'])} {one['type']}" for one in self.account.events if one["type"] in types]


SEND: Data = {"collection_method": "send_invoice", "invoice_settings": {"days_until_due": 30}}
"""Default settings of a schedule whose invoices are sent."""
