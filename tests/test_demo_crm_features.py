"""What an org may be like: features as switches of a new org, kept in its file, and refused where they make no sense."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from demo_crm_world import Caller, Clock, error

from connector.errors import ConfigError
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.orgs import org_from, settings_from_words
from connector.lookalike.crm.seed import bulk_deals, seed

START = date(2026, 3, 1)
Made = Callable[..., Caller]


@pytest.fixture
def made() -> Made:
    """Return a caller of an org with the given settings."""

    def make(**settings: Any) -> Caller:
        clock = Clock()
        return Caller(org_from(settings, clock=clock), clock)

    return make


def described(call: Caller, kind: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in call("GET", f"sobjects/{kind}/describe").body["fields"]}


def post(call: Caller, kind: str, **fields: Any) -> str:
    reply = call("POST", f"sobjects/{kind}", fields)
    assert reply.status == 201, reply.body
    return str(reply.body["id"])


# -- person accounts ------------------------------------------------------------------------------------------------------


def test_a_person_account_is_an_account_and_a_contact(made: Made) -> None:
    """First and last name make the account's Name and a contact; one update moves both stamps; business accounts stay."""
    call = made(person_accounts=True)
    person = post(call, "Account", FirstName="Ada", LastName="Byron", PersonEmail="ada@example.com", Loyalty_Number__pc="7")
    firm = post(call, "Account", Name="Acme")
    query = "SELECT Name, IsPersonAccount, PersonContactId, PersonContact.Email, SystemModstamp FROM Account ORDER BY Id"
    one, two = call.soql(query)["records"]
    assert (one["Name"], one["IsPersonAccount"], one["PersonContact"]["Email"]) == ("Ada Byron", True, "ada@example.com")
    assert (two["Name"], two["IsPersonAccount"], two["PersonContactId"]) == ("Acme", False, None)
    call.clock.pass_by(60)
    assert call("PATCH", f"sobjects/Account/{person}", {"LastName": "Lovelace"}).status == 204
    contact = call.soql("SELECT Name, AccountId, IsPersonAccount, Loyalty_Number__c, SystemModstamp FROM Contact")["records"][0]
    assert (contact["Name"], contact["AccountId"], contact["IsPersonAccount"], contact["Loyalty_Number__c"]) == ("Ada Lovelace", person, True, "7")
    account = call.soql(query)["records"][0]
    assert account["Name"] == "Ada Lovelace"
    assert contact["SystemModstamp"] == account["SystemModstamp"] == "2026-03-10T12:01:00.000+0000"
    assert error(call("PATCH", f"sobjects/Account/{person}", {"Name": "x"}))[1] == "INVALID_FIELD_FOR_INSERT_UPDATE"
    assert error(call("PATCH", f"sobjects/Account/{firm}", {"LastName": "x"}))[1] == "INVALID_FIELD_FOR_INSERT_UPDATE"
    assert error(call("PATCH", f"sobjects/Contact/{account['PersonContactId']}", {"Email": "x@y.zz"}))[1] == "INVALID_PERSON_ACCOUNT_OPERATION"
    assert error(call("POST", "sobjects/Account", {"FirstName": "only"}))[1] == "REQUIRED_FIELD_MISSING"


def test_without_the_feature_there_are_no_persons(made: Made) -> None:
    """IsPersonAccount is unknown to describe, SOQL and saves."""
    call = made()
    assert "IsPersonAccount" not in described(call, "Account")
    assert error(call("GET", "query", q="SELECT IsPersonAccount FROM Account")) == (400, "INVALID_FIELD")
    assert error(call("POST", "sobjects/Account", {"LastName": "x"})) == (400, "INVALID_FIELD")


# -- addresses, quotes, currencies ----------------------------------------------------------------------------------------


def test_countries_and_states_by_code(made: Made) -> None:
    """Code and name follow each other, whichever is set; what the list lacks is refused; the compound address has both."""
    call = made(state_country_picklists=True)
    account = post(call, "Account", Name="A", BillingCountryCode="US", BillingStateCode="CA")
    read = call("GET", f"sobjects/Account/{account}", fields="BillingCountry,BillingState,BillingAddress").body
    assert (read["BillingCountry"], read["BillingState"]) == ("United States", "California")
    assert (read["BillingAddress"]["countryCode"], read["BillingAddress"]["stateCode"]) == ("US", "CA")
    assert call("PATCH", f"sobjects/Account/{account}", {"BillingCountry": "France", "BillingState": None}).status == 204
    read = call("GET", f"sobjects/Account/{account}", fields="BillingCountryCode,BillingStateCode").body
    assert (read["BillingCountryCode"], read["BillingStateCode"]) == ("FR", None)
    assert error(call("PATCH", f"sobjects/Account/{account}", {"BillingCountry": "Frankreich"})) == (400, "FIELD_INTEGRITY_EXCEPTION")
    assert error(call("PATCH", f"sobjects/Account/{account}", {"BillingState": "Ohio"})) == (400, "FIELD_INTEGRITY_EXCEPTION")
    assert call("PATCH", f"sobjects/Account/{account}", {"BillingCountry": None}).status == 204
    assert call.org.get("Account", account).get("BillingCountryCode") is None
    seed(call.org, START)
    assert {row["BillingCountryCode"] for row in call.soql("SELECT BillingCountryCode FROM Account WHERE Name = 'Borealis Energy'")["records"]} == {"SE"}


def test_an_org_without_quotes(made: Made) -> None:
    """Quotes are an unknown type, and opportunities have no synced quote; the demo company still loads."""
    call = made(quotes=False)
    seed(call.org, START)
    assert error(call("GET", "query", q="SELECT Id FROM Quote")) == (400, "INVALID_TYPE")
    assert error(call("GET", "sobjects/Quote/describe")) == (404, "NOT_FOUND")
    assert error(call("GET", "query", q="SELECT SyncedQuoteId FROM Opportunity")) == (400, "INVALID_FIELD")


def test_an_org_of_several_currencies(made: Made) -> None:
    """Records carry a currency, CurrencyType lists them; in other orgs both are unknown."""
    call = made(multi_currency=True, currency="USD")
    account = post(call, "Account", Name="A")
    assert call.org.get("Account", account)["CurrencyIsoCode"] == "USD"
    assert {row["IsoCode"] for row in call.soql("SELECT IsoCode FROM CurrencyType WHERE IsActive = true")["records"]} >= {"USD", "EUR"}
    single = made()
    assert error(single("GET", "query", q="SELECT Id FROM CurrencyType"))[1] == "INVALID_TYPE"
    assert error(single("GET", "query", q="SELECT CurrencyIsoCode FROM Account"))[1] == "INVALID_FIELD"


# -- formulas, rules, locks, field access ---------------------------------------------------------------------------------

FORMULAS = [
    {"field": "Opportunity.Is_Overdue__c", "is": "CloseDate < TODAY"},
    {"field": "Opportunity.Customer__c", "type": "text", "copy": "Account.Name"},
    {"field": "Opportunity.Bonus__c", "type": "currency", "cases": [{"when": "Amount >= 100", "value": 5}, {"when": "Amount = null", "value": {"field": "Probability"}}], "otherwise": 0},
]  # fmt: skip


def test_formulas_change_without_a_stamp(made: Made) -> None:
    """A formula flips by the date alone, one over the parent with the parent; both can be queried, filtered and described."""
    call = made(formulas=FORMULAS)
    deal = bulk_deals(call.org, 1, close_date=date(2026, 3, 10))[0]
    query = "SELECT Is_Overdue__c, Customer__c, Bonus__c, SystemModstamp FROM Opportunity"
    before = call.soql(query)["records"][0]
    assert (before["Is_Overdue__c"], before["Customer__c"], before["Bonus__c"]) == (False, "Customer 000001", 0)
    call.clock.pass_by(24 * 3600)
    call.org.update("Account", call.org.get("Opportunity", deal)["AccountId"], {"Name": "Renamed"})
    after = call.soql(query)["records"][0]
    assert (after["Is_Overdue__c"], after["Customer__c"], after["SystemModstamp"]) == (True, "Renamed", before["SystemModstamp"])
    assert call.ids("SELECT Id FROM Opportunity WHERE Is_Overdue__c = true AND Customer__c = 'renamed'") == [deal]
    assert call("GET", f"sobjects/Opportunity/{deal}").body["Is_Overdue__c"] is True
    told = described(call, "Opportunity")["Is_Overdue__c"]
    assert (told["calculated"], told["updateable"], told["calculatedFormula"]) == (True, False, "CASES(CloseDate < TODAY, True, False)")
    assert error(call("PATCH", f"sobjects/Opportunity/{deal}", {"Is_Overdue__c": True}))[1] == "INVALID_FIELD_FOR_INSERT_UPDATE"
    other = call.org.create("Opportunity", {"Name": "n", "StageName": "Prospecting", "CloseDate": "2026-03-10"})
    assert call("GET", f"sobjects/Opportunity/{other}", fields="Bonus__c").body["Bonus__c"] == Decimal("10.00")


def test_validation_rules_and_record_locks(made: Made) -> None:
    """A rule refuses what it describes, alone in a collection; a locked record refuses every save until it is so no more."""
    call = made(
        rules=[{"object": "Opportunity", "when": "StageName = 'Closed Won' AND NextStep = null", "message": "Say what comes next.", "field": "NextStep"}],
        record_locks=[{"object": "Opportunity", "when": "IsWon = true"}],
    )
    made_ids = [call.org.create("Opportunity", {"Name": f"d{n}", "StageName": "Prospecting", "CloseDate": "2026-03-10"}) for n in range(2)]
    rows = [{"attributes": {"type": "Opportunity"}, "id": one, "StageName": "Closed Won", "NextStep": step} for one, step in zip(made_ids, (None, "x"), strict=True)]
    results = call("PATCH", "composite/sobjects", {"records": rows}).body
    assert results[0]["errors"] == [{"statusCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "Say what comes next.", "fields": ["NextStep"]}]
    assert results[1]["success"] is True
    assert error(call("PATCH", f"sobjects/Opportunity/{made_ids[1]}", {"NextStep": "y"})) == (400, "ENTITY_IS_LOCKED")
    assert error(call("DELETE", f"sobjects/Opportunity/{made_ids[1]}")) == (400, "ENTITY_IS_LOCKED")


def test_settings_are_kept_in_the_file(tmp_path: Path) -> None:
    """A file opened again has the features, formulas and field access with which it was made."""
    path = tmp_path / "crm.db"
    org = org_from({"person_accounts": True, "formulas": FORMULAS, "hide": ["Account.Fax"], "currency": "CHF"}, path=path)
    org.close()
    again = Org(path=path)
    assert (again.currency, again.faults.hidden) == ("CHF", {("Account", "Fax")})
    assert {"ispersonaccount", "fax"} <= set(again.type("Account").by_lower)
    assert again.type("Opportunity").by_lower["bonus__c"].formula is not None


def test_wrong_settings_are_all_named(tmp_path: Path) -> None:
    """Unknown settings, wrong types and broken conditions are said together, and no file is left behind."""
    with pytest.raises(ConfigError) as raised:
        org_from({"nope": 1, "multi_currency": "yes", "timezone": "Mars", "rules": [{"object": "Account"}]})
    said = " ".join(one.message for one in raised.value.problems)
    assert all(part in said for part in ("no setting nope", "multi_currency takes true or false", "no time zone Mars", "rules, number 1: it needs message, object, when"))
    for settings, part in (
        ({"rules": [{"object": "Nope", "when": "Name = 'x'", "message": "m"}]}, "no such object"),
        ({"rules": [{"object": "Account", "when": "Nope = 1", "message": "m"}]}, "No such column 'Nope'"),
        ({"record_locks": [{"object": "Account", "when": "Name ="}]}, "unexpected token"),
        ({"formulas": [{"field": "Account.X__c", "copy": "Nope"}]}, "No such column"),
        ({"formulas": [{"field": "Account.X__c", "is": "Id IN (SELECT Id FROM Account)"}]}, "no sub-select"),
        ({"formulas": [{"field": "Account.X", "is": "Name = 'x'"}]}, "Object.Name__c"),
        ({"formulas": [{"field": "Account.X__c", "is": "Name = 'x'"}, {"field": "Account.Y__c", "is": "X__c = true"}]}, "used by another formula"),
        ({"formulas": [{"field": "Account.X__c", "type": "magic"}]}, "type is one of"),
        ({"hide": ["Fax"]}, "Object.Field"),
    ):
        with pytest.raises(ConfigError) as raised:
            org_from(settings, path=tmp_path / "crm.db")
        assert part in " ".join(one.message for one in raised.value.problems), settings
    assert not (tmp_path / "crm.db").exists()


def test_settings_come_as_words_of_the_command() -> None:
    """`--org NAME` is true, numbers are numbers, lists are split at commas."""
    words = ["multi_currency", "quotes=false", "currency=USD", "daily_limit=500", "hide=Account.Fax,Account.Site"]
    assert settings_from_words(words) == {
        "multi_currency": True, "quotes": False, "currency": "USD", "daily_limit": 500, "hide": ["Account.Fax", "Account.Site"],
    }  # fmt: skip
