"""An org with five deals, some accounts, lines, a quote and a custom object: what the tests of SOQL ask questions about."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from demo_crm_world import Caller, Clock

from connector.lookalike.crm.orgs import org_from
from connector.lookalike.crm.seed import standard_book

_SHOP = (("Alpha", "O'Neil Ltd", "Closed Won", "2026-01-05", "100.50"), ("beta", "O'Neil Ltd", "Closed Lost", "2026-02-20", None),
         ("Gamma", "100% Wool", "Closed Won", "2026-03-10", "99.99"), ("Delta", None, "Prospecting", "2026-03-31", "-5"),
         ("alpha two", "100 Wool", "Negotiation/Review", "2026-04-01", "1000"))  # fmt: skip
"""Name, account, stage, close date, amount: saved a minute apart, the first two at noon of 10 March."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A caller of an org with five deals, of which the last has three lines and a quote; `ids` by their names."""

    call: Caller
    ids: dict[str, str]

    def names(self, condition: str, path: str = "query") -> list[str]:
        """Return the names of the opportunities for which the condition holds, in order of id."""
        return [row["Name"] for row in self.page(f"SELECT Name FROM Opportunity WHERE {condition} ORDER BY Id", path)["records"]]

    def page(self, soql: str, path: str = "query") -> dict[str, Any]:
        reply = self.call("GET", path, q=soql)
        assert reply.status == 200, reply.body
        return dict(reply.body)

    def refused(self, soql: str, code: str, *parts: str) -> str:
        """Check that the query is refused in Salesforce's form, and return its message."""
        reply = self.call("GET", "query", q=soql)
        assert (reply.status, reply.body[0].get("errorCode"), set(reply.body[0])) == (400, code, {"message", "errorCode"}), reply.body
        message = str(reply.body[0]["message"])
        lines = message.split("\n")
        caret = next(n for n, line in enumerate(lines) if line.strip() == "^")
        assert lines[0] == ""
        assert lines[caret + 1].startswith("ERROR at Row:1:Column:")
        column = int(lines[caret + 1].rpartition(":")[2])
        assert lines[caret - 1][len(lines[caret]) - 1 :][:5] == soql[column - 1 :][: len(lines[caret - 1][len(lines[caret]) - 1 :])][:5]
        assert all(part in message for part in parts), message
        return message


def shop(**settings: Any) -> Shop:
    clock = Clock()
    plan = [{"field": "Plan__c.Code__c", "type": "text"}, {"field": "Opportunity.Plan__c", "type": "lookup", "to": "Plan__c", "children": "Deals__r"},
            {"field": "Account.Interests__c", "type": "multipicklist", "values": ["Seats", "Storage", "Support"]}]  # fmt: skip
    org = org_from({"objects": ["Plan__c"], "fields": plan, **settings}, clock=clock)
    ids: dict[str, str] = {}
    for name, interests in (("O'Neil Ltd", "Seats;Storage"), ("100% Wool", "Support"), ("100 Wool", None), ("Unused", "Storage;Seats;Support")):
        ids[name] = org.create("Account", {"Name": name, "BillingCountry": "France", "OwnerId": org.rep_user, "Interests__c": interests})
    product = org.create("Product2", {"Name": "Seat", "ProductCode": "SEAT", "IsActive": True})
    entry = org.create("PricebookEntry", {"Pricebook2Id": standard_book(org), "Product2Id": product, "UnitPrice": Decimal(10), "IsActive": True})
    ids["plan"] = org.create("Plan__c", {"Name": "Pro", "Code__c": "PRO"})
    for number, (name, account, stage, close, amount) in enumerate(_SHOP):
        fields: dict[str, Any] = {"Name": name, "StageName": stage, "CloseDate": close, "Amount": amount and Decimal(amount)}
        if number > 1:
            clock.pass_by(60)
        ids[name] = org.create("Opportunity", {**fields, "AccountId": account and ids[account], "Plan__c": ids["plan"] if number == 2 else None})
    for quantity in (3, 1, 2):
        line = {"OpportunityId": ids["alpha two"], "PricebookEntryId": entry, "Quantity": quantity, "UnitPrice": Decimal(10)}
        ids[f"line {quantity}"] = org.create("OpportunityLineItem", {**line, "SortOrder": quantity % 3 or None})
    if "quote" in org.schema.by_lower:
        ids["quote"] = org.create("Quote", {"Name": "Offer", "OpportunityId": ids["alpha two"], "Status": "Accepted"})
        org.update("Opportunity", ids["alpha two"], {"SyncedQuoteId": ids["quote"]})
        for quantity in (3, 1, 2):
            line = {"OpportunityId": ids["alpha two"], "PricebookEntryId": entry, "Quantity": quantity, "UnitPrice": Decimal(10)}
            ids[f"line {quantity}"] = org.create("OpportunityLineItem", {**line, "SortOrder": quantity % 3 or None})
    clock.at = clock.at.replace(hour=14, minute=0)
    return Shop(call=Caller(org, clock), ids=ids)
