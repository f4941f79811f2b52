"""Why the org shows no such object or field: it does not exist, is switched off, or is hidden from the integration user.

The API answers all three alike (pitfall P21). What can be told apart: a standard field that every org has can only be hidden;
some standard ones come with a feature; and where not one custom field of an object is seen, our package is not there at all.
"""

from __future__ import annotations

from collections.abc import Mapping

from connector.ports import ObjectInfo

_SYSTEM = frozenset({"Id", "IsDeleted", "CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById", "SystemModstamp"})
_LINE = frozenset({"PricebookEntryId", "Product2Id", "Quantity", "UnitPrice", "ListPrice", "Subtotal", "TotalPrice", "Discount", "ServiceDate", "Description"})
_EVERYWHERE: Mapping[str, frozenset[str]] = {
    "Account": frozenset({
        "Name", "ParentId", "BillingStreet", "BillingCity", "BillingPostalCode", "BillingState", "BillingCountry", "ShippingCountry", "Phone",
        "OwnerId", "MasterRecordId",
    }),
    "Contact": frozenset({"Name", "FirstName", "LastName", "Email", "AccountId", "MasterRecordId"}),
    "Opportunity": frozenset({
        "Name", "AccountId", "Amount", "CloseDate", "StageName", "IsWon", "IsClosed", "Probability", "Type", "OwnerId", "Pricebook2Id",
    }),
    "OpportunityLineItem": _LINE | {"OpportunityId", "ProductCode", "Name"},
    "Quote": frozenset({"Name", "OpportunityId", "AccountId", "Status", "ExpirationDate", "IsSyncing", "QuoteNumber", "TotalPrice", "Tax", "ContactId"}),
    "QuoteLineItem": _LINE | {"QuoteId", "LineNumber"},
    "Product2": frozenset({"Name", "ProductCode", "Description", "IsActive", "Family"}),
    "User": frozenset({"Name", "Email", "Username"}),
}  # fmt: skip
_BY_FEATURE: Mapping[str, str] = {
    "CurrencyIsoCode": "it exists only in an org with several currencies, or the integration user lacks field access.",
    "SyncedQuoteId": "it exists only with quotes enabled (Setup, Quote Settings), or the integration user lacks field access.",
    "BillingCountryCode": "it exists only with State and Country picklists, or the integration user lacks field access.",
    "BillingStateCode": "it exists only with State and Country picklists, or the integration user lacks field access.",
}
EITHER = "it does not exist, or the integration user lacks field access."


def why_missing(owner: str, field: str, shown: ObjectInfo) -> tuple[str, str]:
    """Return why an object does not show a field, as well as it can be told, and what to do."""
    grant = f"let an administrator grant the integration user access to {owner}.{field}."
    if field in _SYSTEM or field in _EVERYWHERE.get(owner, ()):
        return "every org has it, so the integration user lacks field access.", f"L{grant[1:]}"
    if field in _BY_FEATURE:
        return _BY_FEATURE[field], f"Leave it out (`if_exists` reads what is there), or {grant}"
    if field.endswith("__c") and not any(name.endswith("__c") for name in shown.fields):
        return (
            "it shows no custom field at all, so our package is not in this org, or the integration user lacks field access.",
            "Deploy our package (`connector crm package`), and give the integration user its permission set.",
        )
    return EITHER, f"Correct the name, or {grant}"


def why_no_object(name: str) -> tuple[str, str]:
    """Return (code, hint) for an object that the org does not show; the code tells what is switched off where that is known."""
    if name in ("Quote", "QuoteLineItem"):
        return "quotes-disabled", (
            "Enable quotes (Setup, Quote Settings) and grant the integration user read access, or remove the source from config.yaml."
        )
    if name.startswith("Billing_") and name.endswith("__c"):
        return "unknown-object", "Deploy our package (`connector crm package`), and give the integration user its permission set."
    return "unknown-object", "Check the name, and that the integration user may read the object."
