"""The forty queries that any client of the CRM may send, numbered as in our notes on the protocol: exact rows, shapes and errors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from demo_crm_shop import Shop, shop
from demo_crm_world import BASE, Caller, Clock

from connector.lookalike.crm.orgs import org_from
from connector.lookalike.crm.seed import bulk_deals


@pytest.fixture(scope="module")
def one() -> Shop:
    """A shop in a single-currency org."""
    return shop()


@pytest.fixture(scope="module")
def many() -> Shop:
    """A shop in a multi-currency org, where 1 EUR is 1.1 USD."""
    return shop(multi_currency=True)


def row(kind: str, record: str, **fields: Any) -> dict[str, Any]:
    """Return a record as an answer holds it."""
    return {"attributes": {"type": kind, "url": f"{BASE}/sobjects/{kind}/{record}"}, **fields}


def keys(record: dict[str, Any]) -> list[str]:
    return list(record)


# -- the window, the page, relationships ----------------------------------------------------------------------------------


def q01(one: Shop) -> None:
    page = one.page("SELECT Id FROM Opportunity LIMIT 1")
    assert page == {"totalSize": 1, "done": True, "records": [row("Opportunity", one.ids["Alpha"], Id=one.ids["Alpha"])]}


def q02(one: Shop) -> None:
    fields = "Id, Name, StageName, Amount, CloseDate, IsWon, IsClosed, SystemModstamp"
    window = "SystemModstamp >= 2026-03-10T12:00:00Z AND SystemModstamp < 2026-03-10T12:01:00Z ORDER BY SystemModstamp ASC, Id ASC"
    page = one.page(f"SELECT {fields} FROM Opportunity WHERE {window}")
    alpha = {"Name": "Alpha", "StageName": "Closed Won", "Amount": Decimal("100.50"), "CloseDate": "2026-01-05", "IsWon": True, "IsClosed": True}
    first = row("Opportunity", one.ids["Alpha"], Id=one.ids["Alpha"], **alpha, SystemModstamp="2026-03-10T12:00:00.000+0000")
    assert page["records"][0] == first
    assert keys(page["records"][0]) == ["attributes", *fields.split(", ")]
    assert (page["totalSize"], page["done"], page["records"][1]["Amount"]) == (2, True, None)
    big = Caller(org_from({}), Clock())
    bulk_deals(big.org, 450, close_date=date(2026, 1, 1))
    page, seen = big.soql("SELECT Id FROM Opportunity WHERE SystemModstamp >= 2026-01-01T00:00:00Z ORDER BY SystemModstamp ASC, Id ASC"), []
    big.faults(page_size=200)
    page = big.soql("SELECT Id FROM Opportunity WHERE SystemModstamp >= 2026-01-01T00:00:00Z ORDER BY SystemModstamp ASC, Id ASC")
    while True:
        assert (page["totalSize"], page["done"]) == (450, "nextRecordsUrl" not in page)
        seen += [record["Id"] for record in page["records"]]
        if page["done"]:
            break
        page = big("GET", page["nextRecordsUrl"]).body
    assert seen == sorted(set(seen))
    assert len(seen) == 450


def q03(one: Shop) -> None:
    first, second = sorted((one.ids["Alpha"], one.ids["beta"]))
    at = "2026-03-10T12:00:00Z"
    page = one.page(f"SELECT Id FROM Opportunity WHERE (SystemModstamp = {at} AND Id > '{first}') OR SystemModstamp > {at} ORDER BY SystemModstamp, Id LIMIT 2")
    assert [record["Id"] for record in page["records"]] == [second, one.ids["Gamma"]]


def q04(one: Shop) -> None:
    page = one.page("SELECT Id, Account.Name, Account.BillingCountry, Account.Owner.Name FROM Opportunity WHERE IsWon = true")
    org = one.call.org
    owner = row("User", org.rep_user, Name="Robin Sales")
    account = row("Account", one.ids["O'Neil Ltd"], Name="O'Neil Ltd", BillingCountry="France", Owner=owner)
    assert page["records"][0] == row("Opportunity", one.ids["Alpha"], Id=one.ids["Alpha"], Account=account)
    assert one.page("SELECT Account.Name FROM Opportunity WHERE Name = 'Delta'")["records"][0]["Account"] is None


def q05(one: Shop) -> None:
    children = "(SELECT Id, Quantity, UnitPrice, TotalPrice, Product2.ProductCode FROM OpportunityLineItems ORDER BY SortOrder NULLS LAST)"
    soql = f"SELECT Id, {children} FROM Opportunity WHERE Id IN ('{one.ids['alpha two']}', '{one.ids['Alpha'][:15]}') ORDER BY Name"
    alpha, two = one.page(soql)["records"]
    assert alpha["OpportunityLineItems"] is None
    page = two["OpportunityLineItems"]
    assert (page["totalSize"], page["done"], [line["Quantity"] for line in page["records"]]) == (3, True, [1, 2, 3])
    assert page["records"][0]["Product2"]["ProductCode"] == "SEAT"
    assert keys(page["records"][0]) == ["attributes", "Id", "Quantity", "UnitPrice", "TotalPrice", "Product2"]
    big = Caller(org_from({}), Clock())
    deal = bulk_deals(big.org, 1, lines=450, close_date=date(2026, 1, 1))[0]
    child = big.soql(f"SELECT Id, (SELECT Id FROM OpportunityLineItems) FROM Opportunity WHERE Id = '{deal}'")["records"][0]["OpportunityLineItems"]
    seen = [line["Id"] for line in child["records"]]
    assert (child["totalSize"], child["done"], len(seen)) == (450, False, 200)
    while not child["done"]:
        child = big("GET", child["nextRecordsUrl"], headers={"sforce-query-options": "batchSize=200"}).body
        seen += [line["Id"] for line in child["records"]]
    assert (len(seen), len(set(seen))) == (450, 450)


def q06(one: Shop) -> None:
    semi = "OpportunityId IN (SELECT Id FROM Opportunity WHERE SystemModstamp >= 2026-03-10T12:00:00Z)"
    page = one.page(f"SELECT Id, OpportunityId, Quantity, UnitPrice, PricebookEntry.Product2Id FROM OpportunityLineItem WHERE {semi} ORDER BY Quantity")
    assert [record["Quantity"] for record in page["records"]] == [1, 2, 3]
    assert page["records"][0]["PricebookEntry"]["Product2Id"].startswith("01t")
    late = semi.replace("12:00:00Z", "23:00:00Z")
    assert one.page(f"SELECT Id FROM OpportunityLineItem WHERE {late}")["totalSize"] == 0


def q07(one: Shop) -> None:
    page = one.page("SELECT Id, Name FROM Account WHERE Id NOT IN (SELECT AccountId FROM Opportunity WHERE IsWon = true)")
    assert {record["Name"] for record in page["records"]} == {"100 Wool", "Unused"}
    page = one.page("SELECT Name FROM Account WHERE Id NOT IN (SELECT AccountId FROM Opportunity)")
    assert [record["Name"] for record in page["records"]] == ["Unused"]


def q08(one: Shop, many: Shop) -> None:
    soql = "SELECT Id FROM Opportunity WHERE StageName IN ('Closed Won','Negotiation') AND CurrencyIsoCode = 'EUR'"
    one.refused(soql, "INVALID_FIELD", "No such column 'CurrencyIsoCode' on entity 'Opportunity'.")
    assert {record["Id"] for record in many.page(soql)["records"]} == {many.ids["Alpha"], many.ids["Gamma"]}


# -- conditions -----------------------------------------------------------------------------------------------------------


def q09(one: Shop) -> None:
    assert one.names("StageName NOT IN ('Closed Lost')") == ["Alpha", "Gamma", "Delta", "alpha two"]


def q10(one: Shop) -> None:
    assert one.names("NOT (StageName = 'Closed Lost' OR Amount = null)") == ["Alpha", "Gamma", "Delta", "alpha two"]


def q11(one: Shop) -> None:
    assert one.names("Amount != null AND Amount >= 100.50") == ["Alpha"]
    assert one.names("Amount = 99.99 OR Amount < -4.99") == ["Gamma", "Delta"]


def q12(one: Shop) -> None:
    page = one.page("SELECT Id FROM Account WHERE Name LIKE 'O\\'Neil%'")
    assert [record["Id"] for record in page["records"]] == [one.ids["O'Neil Ltd"]]
    made = one.call.org.create("Account", {"Name": 'a\\b\'c"d_e\tf\ng'})
    pattern = "a\\\\b\\'c\\\"d\\_e\\tf\\ng"
    assert one.call.ids(f"SELECT Id FROM Account WHERE Name = '{pattern}'") == [made]
    assert one.call.ids(f"SELECT Id FROM Account WHERE Name LIKE '{pattern}'") == [made]
    one.call.org.erase("Account", made)
    one.refused("SELECT Id FROM Account WHERE Name = 'a\\q'", "MALFORMED_QUERY", "Illegal character sequence '\\q' in string literal")


def q13(one: Shop) -> None:
    page = one.page("SELECT Name FROM Account WHERE Name LIKE '100\\%%' LIMIT 10")
    assert [record["Name"] for record in page["records"]] == ["100% Wool"]
    assert one.page("SELECT Name FROM Account WHERE Name LIKE '100%'")["totalSize"] == 2
    assert one.page("SELECT Name FROM Account WHERE Name LIKE '___ WOOL'")["totalSize"] == 1


def q14(one: Shop) -> None:
    assert one.names("CloseDate >= 2026-01-01 AND CloseDate < 2026-02-01") == ["Alpha"]


def q15(one: Shop) -> None:
    assert one.names("CloseDate = LAST_N_DAYS:30") == ["beta", "Gamma"]


def q16(one: Shop) -> None:
    assert len(one.names("CreatedDate = TODAY")) == 5
    assert one.names("CreatedDate = YESTERDAY") == []
    # noon in UTC is already the next day in Auckland, and at two it still is: the day is the org's
    assert len(shop(timezone="Pacific/Auckland").names("CreatedDate = TODAY AND CreatedDate > YESTERDAY")) == 5


def q17(one: Shop) -> None:
    page = one.page("SELECT Id FROM Opportunity WHERE CloseDate = THIS_MONTH ORDER BY CloseDate DESC NULLS LAST")
    assert [record["Id"] for record in page["records"]] == [one.ids["Delta"], one.ids["Gamma"]]
    page = one.page("SELECT Name FROM Opportunity ORDER BY Amount DESC NULLS LAST")
    assert page["records"][-1]["Name"] == "beta"
    page = one.page("SELECT Name FROM Opportunity ORDER BY Amount, Name")
    assert [record["Name"] for record in page["records"]][:2] == ["beta", "Delta"]


# -- aggregates and functions ---------------------------------------------------------------------------------------------


def q18(one: Shop) -> None:
    assert one.page("SELECT COUNT() FROM Opportunity WHERE IsWon = true") == {"totalSize": 2, "done": True, "records": []}


def q19(one: Shop) -> None:
    page = one.page("SELECT COUNT(Id) FROM Opportunity")
    assert page == {"totalSize": 1, "done": True, "records": [{"attributes": {"type": "AggregateResult"}, "expr0": 5}]}


def q20(one: Shop) -> None:
    page = one.page("SELECT StageName, COUNT(Id) cnt, SUM(Amount) total FROM Opportunity GROUP BY StageName")
    won = next(record for record in page["records"] if record["StageName"] == "Closed Won")
    assert won == {"attributes": {"type": "AggregateResult"}, "StageName": "Closed Won", "cnt": 2, "total": Decimal("200.49")}
    assert page["totalSize"] == 4


def q21(one: Shop) -> None:
    page = one.page("SELECT AccountId, MAX(SystemModstamp) FROM Opportunity GROUP BY AccountId HAVING COUNT(Id) > 1")
    assert page["records"] == [{"attributes": {"type": "AggregateResult"}, "AccountId": one.ids["O'Neil Ltd"], "expr0": "2026-03-10T12:00:00.000+0000"}]


def q22(one: Shop) -> None:
    page = one.page("SELECT FIELDS(ALL) FROM Opportunity LIMIT 200")
    assert {"Id", "StageName", "Plan__c", "SystemModstamp"} <= set(page["records"][0])
    one.refused("SELECT FIELDS(ALL) FROM Opportunity", "MALFORMED_QUERY", "LIMIT of at most 200")
    one.refused("SELECT FIELDS(ALL) FROM Opportunity LIMIT 201", "MALFORMED_QUERY", "LIMIT of at most 200")
    one.refused("SELECT FIELDS(CUSTOM) FROM Opportunity", "MALFORMED_QUERY", "LIMIT of at most 200")


def q23(one: Shop) -> None:
    record = one.page("SELECT FIELDS(STANDARD) FROM Opportunity")["records"][0]
    assert "StageName" in record
    assert not [name for name in record if name.endswith("__c")]


def q24(one: Shop) -> None:
    org = one.call.org
    made = org.create("Account", {"Name": "Loser"})
    org.merge("Account", one.ids["Unused"], made)
    soql = "SELECT Id, IsDeleted, MasterRecordId FROM Account WHERE IsDeleted = true"
    assert one.page(soql, "queryAll")["records"] == [row("Account", made, Id=made, IsDeleted=True, MasterRecordId=one.ids["Unused"])]
    assert one.page(soql)["records"] == []
    org.erase("Account", made)


def q25(one: Shop) -> None:
    record = one.page("SELECT o.Id, o.Account.Name FROM Opportunity o WHERE o.IsWon = true")["records"][0]
    assert (keys(record), record["Account"]["Name"]) == (["attributes", "Id", "Account"], "O'Neil Ltd")


def q26(one: Shop) -> None:
    page = one.page("SELECT Id FROM Opportunity ORDER BY CreatedDate DESC, Id DESC LIMIT 10 OFFSET 3")
    assert [record["Id"] for record in page["records"]] == [one.ids["beta"], one.ids["Alpha"]]
    assert one.page("SELECT Id FROM Opportunity ORDER BY CreatedDate DESC LIMIT 10 OFFSET 2000")["records"] == []
    one.refused("SELECT Id FROM Opportunity LIMIT 10 OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000")


def q27(one: Shop, many: Shop) -> None:
    soql = "SELECT Id, convertCurrency(Amount) converted FROM Opportunity WHERE Name = 'Gamma'"
    one.refused(soql, "INVALID_FIELD")
    deal = many.ids["Gamma"]
    many.call.org.update("Opportunity", deal, {"CurrencyIsoCode": "USD", "Amount": 110})
    assert many.page(soql)["records"] == [row("Opportunity", deal, Id=deal, converted=Decimal(100))]
    many.refused("SELECT Id FROM Opportunity WHERE convertCurrency(Amount) > 5", "MALFORMED_QUERY", "unexpected token: 'convertCurrency'")


def q28(one: Shop) -> None:
    record = one.page("SELECT Id, toLabel(StageName) FROM Opportunity LIMIT 1")["records"][0]
    assert (keys(record), record["StageName"]) == (["attributes", "Id", "StageName"], "Closed Won")


def q29(one: Shop) -> None:
    # TYPEOF is the documented gap: no lookup of this org leads to objects of several types
    one.refused("SELECT Id, Owner.Name, TYPEOF Owner WHEN User THEN Email END FROM Opportunity", "MALFORMED_QUERY", "unexpected token: 'TYPEOF'")


def q30(one: Shop) -> None:
    soql = "SELECT Id, Name FROM Quote WHERE Status = 'Accepted' AND IsSyncing = true AND OpportunityId != null"
    assert one.page(soql)["records"] == [row("Quote", one.ids["quote"], Id=one.ids["quote"], Name="Offer")]
    shop(quotes=False).refused(soql, "INVALID_TYPE", "sObject type 'Quote' is not supported.")


def q31(one: Shop) -> None:
    record = one.page("SELECT Id, Billing_Status__c, Plan__r.Code__c FROM Opportunity WHERE Plan__r.Code__c = 'PRO'")["records"]
    plan = row("Plan__c", one.ids["plan"], Code__c="PRO")
    assert record == [row("Opportunity", one.ids["Gamma"], Id=one.ids["Gamma"], Billing_Status__c=None, Plan__r=plan)]
    child = one.page("SELECT Id, (SELECT Name FROM Deals__r) FROM Plan__c")["records"][0]["Deals__r"]
    assert [deal["Name"] for deal in child["records"]] == ["Gamma"]


def q32(one: Shop) -> None:
    org = one.call.org.org_id
    assert one.page("SELECT Id, IsSandbox, InstanceName FROM Organization LIMIT 1")["records"] == [row("Organization", org, Id=org, IsSandbox=False, InstanceName="DEMO1")]


def q33(one: Shop, many: Shop) -> None:
    soql = "SELECT Id, IsoCode, ConversionRate FROM CurrencyType WHERE IsActive = true"
    assert {record["IsoCode"]: record["ConversionRate"] for record in many.page(soql)["records"]}["USD"] == Decimal("1.1")
    one.refused(soql, "INVALID_TYPE", "sObject type 'CurrencyType' is not supported.")


def q34(one: Shop) -> None:
    record = one.page("select id, name from opportunity where stagename = 'closed won'")["records"][0]
    assert (record["attributes"]["type"], keys(record), record["Name"]) == ("Opportunity", ["attributes", "Id", "Name"], "Alpha")


# -- errors ---------------------------------------------------------------------------------------------------------------


def q35(one: Shop) -> None:
    text = ("No such column 'Nope__c' on entity 'Opportunity'. If you are attempting to use a custom field, be sure to append the '__c' after "
            "the custom field name. Please reference your WSDL or the describe call for the appropriate names.")  # fmt: skip
    assert one.refused("SELECT Id, Nope__c FROM Opportunity", "INVALID_FIELD").endswith(text)
    one.call.faults(hide=["Opportunity.NextStep"])
    missing = one.refused("SELECT Id, NextStep FROM Opportunity", "INVALID_FIELD")
    assert missing.rpartition("\n")[2] == text.replace("Nope__c", "NextStep")
    one.call.faults(show=["Opportunity.NextStep"])


def q36(one: Shop) -> None:
    text = ("sObject type 'Nope__c' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the "
            "entity name. Please reference your WSDL or the describe call for the appropriate names.")  # fmt: skip
    assert one.refused("SELECT Id FROM Nope__c", "INVALID_TYPE").endswith(text)


def q37(one: Shop) -> None:
    one.refused("SELECT Id FRM Opportunity", "MALFORMED_QUERY", "unexpected token: 'FRM'")


def q38(one: Shop) -> None:
    one.refused("SELECT Id FROM Opportunity WHERE CreatedDate > '2026-01-01'", "INVALID_FIELD", "must be of type dateTime and should not be enclosed in quotes")


def q39(one: Shop) -> None:
    one.refused("SELECT Id FROM Opportunity WHERE IsWon = true AND Amount > 1 OR Amount < 0", "MALFORMED_QUERY", "unexpected token: OR")


def q40(one: Shop) -> None:
    one.refused("SELECT Id, Id FROM Opportunity", "MALFORMED_QUERY", "duplicate field selected: Id")


_QUERIES: list[Callable[..., None]] = [value for name, value in sorted(globals().items()) if name[0] == "q" and name[1:].isdigit()]
_OF_MANY = ("q08", "q27", "q33")


@pytest.mark.parametrize("query", _QUERIES, ids=lambda query: query.__name__)
def test_query(query: Callable[..., None], one: Shop, many: Shop) -> None:
    """Each numbered query brings back exactly what our notes on the protocol say, or the error with its text."""
    if query.__name__ in _OF_MANY:
        query(one, many)
    else:
        query(one)


def test_all_forty_are_there() -> None:
    """No number is missing."""
    assert [query.__name__ for query in _QUERIES] == [f"q{number:02}" for number in range(1, 41)]
