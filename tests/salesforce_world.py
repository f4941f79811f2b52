"""The demo CRM on a port with 1,100 deals in it, and a client of ours: what the tests of the Salesforce client share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

from connector.crm.login import Login
from connector.crm.salesforce import SalesforceCrm
from connector.lookalike.crm.gate import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.seed import bulk_deals
from connector.lookalike.crm.server import CrmServer
from connector.ports import Upsert

DEALS = 1_100


@dataclass
class World:
    """A running demo CRM. waits - the seconds that clients made by `crm` wanted to sleep."""

    server: CrmServer
    deals: list[str]
    waits: list[float] = field(default_factory=list)

    def login(self, **changes: Any) -> Login:
        return replace(
            Login(url=self.server.url, client_id=DEMO_CLIENT_ID, client_secret=DEMO_CLIENT_SECRET), **changes
        )

    def crm(self, **changes: Any) -> SalesforceCrm:
        return SalesforceCrm(self.login(**changes), sleep=self.waits.append)

    def connected(self, **changes: Any) -> SalesforceCrm:
        """Return a client that is logged in, with the counters at zero."""
        crm = self.crm(**changes)
        crm.connect()
        self.server.front.reset_counters()
        return crm

    def fault(self, **knobs: Any) -> None:
        self.server.org.faults.apply(knobs)
        if knobs.get("revoke_tokens"):
            self.server.front.gate.revoke()

    def calls(self) -> dict[str, int]:
        return dict(self.server.front.counters()["by_kind"])

    def values(self, name: str, records: list[str]) -> list[Any]:
        return [self.server.org.get("Opportunity", record).get(name) for record in records]

    def fresh(self) -> World:
        """Return this world without faults and with the counters at zero, for the next test."""
        self.server.org.faults.apply({"reset": True})
        self.server.front.reset_counters()
        return World(self.server, self.deals)


@contextmanager
def running_world() -> Iterator[World]:
    org = Org()
    deals = bulk_deals(org, DEALS, close_date=date(2026, 1, 31))
    with CrmServer(org) as server:
        yield World(server, deals)


def billed(record: str, amount: Decimal, group: str = "") -> Upsert:
    return Upsert(object="Opportunity", id=record, values={"Amount_Billed__c": amount}, group=group)


def invoice(key: str, **values: Any) -> Upsert:
    return Upsert(object="Billing_Invoice__c", key_field="Billing_Invoice_Id__c", key=key, values=values)
