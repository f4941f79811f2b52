"""The objects of the demo org: the standard fields that sales billing reads, and the data model of the connector.

The custom fields are those that the connector's Salesforce package installs; types and lengths are theirs. Standard fields,
their types and their rights follow Salesforce's object reference.
"""

from __future__ import annotations

from connector.lookalike.crm.catalogue_extra import with_codes, with_persons
from connector.lookalike.crm.catalogue_orders import opportunity_fields, order_types, product_fields
from connector.lookalike.crm.schema import (
    Field,
    ObjectType,
    Schema,
    area,
    money,
    number,
    percent,
    pick,
    plain,
    read_only,
    ref,
    special,
    text,
)

STAGES: dict[str, tuple[int, bool, bool, str]] = {
    "Prospecting": (10, False, False, "Pipeline"),
    "Qualification": (10, False, False, "Pipeline"),
    "Needs Analysis": (20, False, False, "Pipeline"),
    "Value Proposition": (50, False, False, "Pipeline"),
    "Id. Decision Makers": (60, False, False, "Pipeline"),
    "Perception Analysis": (70, False, False, "Pipeline"),
    "Proposal/Price Quote": (75, False, False, "Best Case"),
    "Negotiation/Review": (90, False, False, "Commit"),
    "Closed Won": (100, True, True, "Closed"),
    "Closed Lost": (0, True, False, "Omitted"),
}
"""Per stage: probability in percent, is it closed, is it won, forecast category."""

QUOTE_STATUSES = ("Draft", "Needs Review", "In Review", "Approved", "Rejected", "Presented", "Accepted", "Denied")
FREQUENCIES = ("Monthly", "Quarterly", "Semiannual", "Annual", "Upfront")
PAYMENT_TERMS = ("Charge automatically", "Due on receipt", "Net 15", "Net 30", "Net 45", "Net 60")
CHARGE_TYPES = ("Recurring", "One-time", "Usage")


def schema(
    *,
    multi_currency: bool = False,
    has_quotes: bool = True,
    price_scale: int = 2,
    has_cpq: bool = False,
    has_persons: bool = False,
    has_codes: bool = False,
) -> Schema:
    """Return the schema of an org. price_scale - decimal places of unit prices; Salesforce raises it on request.

    has_cpq - with Salesforce CPQ. has_persons - person accounts. has_codes - countries and
    states are picklists.
    """
    types = [
        _organization(), _user(), _account(), _contact(), _product(has_cpq), _pricebook(), _entry(price_scale), _opportunity(has_quotes, has_cpq),
        _line("OpportunityLineItem", "Opportunity", "00k", price_scale), _invoice(), _ledger(),
        *order_types(_object, address=_address, inputs=_order_inputs(), outputs=_outputs(), price_scale=price_scale, has_cpq=has_cpq),
    ]  # fmt: skip
    if has_quotes:
        types += [_quote(), _line("QuoteLineItem", "Quote", "0QL", price_scale)]
    if multi_currency:
        types = [_with_currency(one) for one in types]
        types.append(_currency_type())
    if has_persons:
        types = with_persons(types)
    if has_codes:
        types = with_codes(types)
    return Schema(types=tuple(types))


def _object(name: str, prefix: str, *fields: Field, plural: str = "", is_writable: bool = True) -> ObjectType:
    head = (plain("Id", "id", length=18, nillable=False), plain("IsDeleted", "boolean", nillable=False))
    tail = (
        plain("CreatedDate", "datetime", nillable=False),
        ref("CreatedById", "User", nillable=False),
        plain("LastModifiedDate", "datetime", nillable=False),
        ref("LastModifiedById", "User", nillable=False),
        plain("SystemModstamp", "datetime", nillable=False),
    )
    return ObjectType(
        name=name,
        prefix=prefix,
        fields=(*read_only(head), *fields, *read_only(tail)),
        plural=plural,
        is_writable=is_writable,
    )


def _with_currency(one: ObjectType) -> ObjectType:
    if one.name in ("Organization", "Product2", "Pricebook2", "Billing_Connector__c"):
        return one
    is_line = one.name in ("OpportunityLineItem", "Quote", "QuoteLineItem", "OrderItem", "SBQQ__QuoteLine__c")
    own = pick("CurrencyIsoCode", createable=not is_line, updateable=not is_line, restricted=False)
    return ObjectType(
        name=one.name, prefix=one.prefix, fields=(*one.fields, own), plural=one.plural, is_writable=one.is_writable
    )


def _address(name: str) -> tuple[Field, ...]:
    return (
        area(f"{name}Street", 255, compound=f"{name}Address"), text(f"{name}City", 40, compound=f"{name}Address"),
        text(f"{name}State", 80, compound=f"{name}Address"), text(f"{name}PostalCode", 20, compound=f"{name}Address"),
        text(f"{name}Country", 80, compound=f"{name}Address"),
        plain(f"{name}Address", "address", createable=False, updateable=False),
    )  # fmt: skip


def _owner() -> Field:
    return ref("OwnerId", "User")


def _organization() -> ObjectType:
    fixed = read_only((
        plain("IsSandbox", "boolean", nillable=False), text("InstanceName", 5), text("NamespacePrefix", 15),
        pick("OrganizationType", "Developer Edition", "Enterprise Edition"), text("DefaultCurrencyIsoCode", 3, nillable=False),
        plain("TrialExpirationDate", "datetime"),
    ))  # fmt: skip
    return _object(
        "Organization", "00D", text("Name", 80, nillable=False), area("Street", 255, compound="Address"), text("City", 40, compound="Address"),
        text("State", 80, compound="Address"), text("PostalCode", 20, compound="Address"), text("Country", 80, compound="Address"),
        plain("Address", "address", createable=False, updateable=False), special("Phone", "phone", 40), pick("DefaultLocaleSidKey"),
        pick("LanguageLocaleKey"), pick("TimeZoneSidKey"), *fixed, is_writable=False,
    )  # fmt: skip


def _user() -> ObjectType:
    return _object(
        "User", "005", text("Username", 80, nillable=False), text("LastName", 80, nillable=False, compound="Name"),
        text("FirstName", 40, compound="Name"), text("Name", 121, createable=False, updateable=False),
        special("Email", "email", 128, nillable=False), text("Alias", 8), text("Title", 80), text("CompanyName", 80),
        plain("IsActive", "boolean", nillable=False, default=True), pick("UserType", "Standard", default="Standard"),
        pick("TimeZoneSidKey"), pick("LocaleSidKey"), pick("LanguageLocaleKey"),
    )  # fmt: skip


def _account() -> ObjectType:
    own = (
        special("Billing_Email__c", "email", 80), text("Tax_Id__c", 255), pick("Tax_Exempt__c", "None", "Exempt", "Reverse charge"),
        pick("Payment_Terms__c", *PAYMENT_TERMS), pick("Billing_Language__c", "en", "fr"),
        plain("Consolidate_Invoices__c", "boolean", nillable=False), text("Billing_Customer_Id__c", 255), special("Portal_URL__c", "url", 255),
    )  # fmt: skip
    return _object(
        "Account", "001", text("Name", 255, nillable=False), pick("Type", "Prospect", "Customer - Direct", "Customer - Channel", "Other"),
        ref("ParentId", "Account", "ChildAccounts"), *_address("Billing"), *_address("Shipping"), special("Phone", "phone", 40),
        special("Fax", "phone", 40), text("AccountNumber", 40), special("Website", "url", 255), pick("Industry"), money("AnnualRevenue", 0),
        plain("NumberOfEmployees", "int"), area("Description", 32000), pick("Rating", "Hot", "Warm", "Cold"), text("Site", 80),
        pick("AccountSource"), _owner(), ref("MasterRecordId", "Account", createable=False, updateable=False), *own,
    )  # fmt: skip


def _contact() -> ObjectType:
    return _object(
        "Contact", "003", ref("AccountId", "Account", "Contacts", cascades=True), text("LastName", 80, nillable=False, compound="Name"),
        text("FirstName", 40, compound="Name"), pick("Salutation", compound="Name"), text("Name", 121, createable=False, updateable=False),
        special("Email", "email", 80), special("Phone", "phone", 40), special("MobilePhone", "phone", 40), text("Title", 128),
        text("Department", 80), *_address("Mailing"), area("Description", 32000), _owner(),
        ref("MasterRecordId", "Contact", createable=False, updateable=False),
    )  # fmt: skip


def _product(has_cpq: bool) -> ObjectType:
    return _object(
        "Product2", "01t", text("Name", 255, nillable=False), text("ProductCode", 255), area("Description", 4000),
        plain("IsActive", "boolean", nillable=False), pick("Family"), pick("QuantityUnitOfMeasure"), text("StockKeepingUnit", 180),
        special("DisplayUrl", "url", 1000), pick("Charge_Type__c", *CHARGE_TYPES), text("Billing_Price__c", 255),
        *(product_fields() if has_cpq else ()), plural="Products",
    )  # fmt: skip


def _pricebook() -> ObjectType:
    return _object(
        "Pricebook2", "01s", text("Name", 255, nillable=False), plain("IsActive", "boolean", nillable=False),
        plain("IsStandard", "boolean", nillable=False, createable=False, updateable=False), area("Description", 255), plural="Price Books",
    )  # fmt: skip


def _entry(price_scale: int) -> ObjectType:
    return _object(
        "PricebookEntry", "01u", text("Name", 255, createable=False, updateable=False),
        ref("Pricebook2Id", "Pricebook2", "PricebookEntries", nillable=False, updateable=False),
        ref("Product2Id", "Product2", "PricebookEntries", nillable=False, updateable=False, cascades=True),
        money("UnitPrice", price_scale, nillable=False), plain("IsActive", "boolean", nillable=False),
        plain("UseStandardPrice", "boolean", nillable=False), text("ProductCode", 255, createable=False, updateable=False),
        plural="Price Book Entries",
    )  # fmt: skip


def _deal_fields() -> tuple[Field, ...]:
    inputs = (
        plain("Contract_Start_Date__c", "date"), number("Contract_Term_Months__c", 4), pick("Billing_Frequency__c", *FREQUENCIES),
        pick("Payment_Terms__c", *PAYMENT_TERMS), pick("Billing_Action__c", "New", "Amend", "Renew", "Cancel", "Pause", "Resume"),
        plain("Billing_Effective_Date__c", "date"), pick("Proration__c", "Next invoice", "Immediately", "None", "Up front"),
        number("Free_Trial_Days__c", 4), number("Prebill_Periods__c", 4), plain("Prebill_Until__c", "date"),
        plain("Auto_Renew__c", "boolean", nillable=False), percent("Discount_Percent__c"), number("Discount_Months__c", 4),
        number("Billing_Day__c", 2), text("PO_Number__c", 255), area("Invoice_Memo__c", 255), percent("Renewal_Uplift_Percent__c"),
        text("Coupons__c", 255), pick("Cancel_When__c", "On date", "End of period", "End of term"), text("Amends_Contract_Id__c", 255),
    )  # fmt: skip
    return (*inputs, *_outputs())


def _order_inputs() -> tuple[Field, ...]:
    """Return what an order can say beside its CPQ fields: those of the inputs of a deal that CPQ has no field for."""
    names = (
        "Billing_Action__c", "Proration__c", "Free_Trial_Days__c", "Prebill_Periods__c", "Prebill_Until__c", "Auto_Renew__c", "Discount_Percent__c",
        "Discount_Months__c", "Billing_Day__c", "Invoice_Memo__c", "Renewal_Uplift_Percent__c", "Coupons__c", "Amends_Contract_Id__c",
    )  # fmt: skip
    return tuple(one for one in _deal_fields() if one.name in names)


def _outputs() -> tuple[Field, ...]:
    return (
        text("Billing_Status__c", 255), area("Billing_Message__c", 32768), text("Billing_Contract_Id__c", 255),
        plain("Billing_Synced_At__c", "datetime"), plain("Next_Invoice_Date__c", "date"), money("Next_Invoice_Amount__c"),
        text("Last_Invoice_Number__c", 255), text("Last_Invoice_Status__c", 255), special("Last_Invoice_URL__c", "url", 255),
        money("Amount_Billed__c"), money("Amount_Paid__c"), money("Amount_Due__c"), money("Contract_Value__c"),
    )  # fmt: skip


def _opportunity(has_quotes: bool, has_cpq: bool) -> ObjectType:
    derived = read_only((
        plain("IsClosed", "boolean", nillable=False), plain("IsWon", "boolean", nillable=False), pick("ForecastCategory"),
        money("ExpectedRevenue", calculated=True), number("TotalOpportunityQuantity", 18, 2), plain("HasOpportunityLineItem", "boolean", nillable=False),
        text("Fiscal", 6), plain("FiscalYear", "int"), plain("FiscalQuarter", "int"),
    ))  # fmt: skip
    own = (
        ref("Amends_Opportunity__c", "Opportunity", "Amendments__r"), ref("Billing_Contact__c", "Contact", "Billed_Opportunities__r"),
        plain("Contract_Starts_On__c", "date"), plain("Contract_Ends_On__c", "date"), money("Annual_Value__c"), area("Billing_Preview__c", 32768),
    )  # fmt: skip
    synced = (ref("SyncedQuoteId", "Quote", createable=False),) if has_quotes else ()
    return _object(
        "Opportunity", "006", text("Name", 120, nillable=False), ref("AccountId", "Account", "Opportunities", cascades=True),
        ref("ContactId", "Contact", updateable=False), area("Description", 32000),
        pick("StageName", *STAGES, nillable=False, restricted=True), money("Amount"), percent("Probability"),
        plain("CloseDate", "date", nillable=False), pick("Type", "New Business", "Existing Business", "Renewal"), text("NextStep", 255),
        pick("LeadSource"), plain("IsPrivate", "boolean", nillable=False), ref("Pricebook2Id", "Pricebook2", "Opportunities"),
        pick("ForecastCategoryName", "Omitted", "Pipeline", "Best Case", "Commit", "Closed"), *derived, *synced, _owner(), *_deal_fields(), *own,
        *(opportunity_fields() if has_cpq else ()), plural="Opportunities",
    )  # fmt: skip


def _quote() -> ObjectType:
    derived = read_only((
        text("QuoteNumber", 30, nillable=False, auto_number="{:08d}"), plain("IsSyncing", "boolean", nillable=False),
        ref("AccountId", "Account", "Quotes"), money("Subtotal"), money("TotalPrice"), money("GrandTotal"), percent("Discount"),
        plain("LineItemCount", "int"),
    ))  # fmt: skip
    own = (
        ref("Amends_Opportunity__c", "Opportunity", "Amending_Quotes__r"), ref("Billing_Contact__c", "Contact", "Billed_Quotes__r"),
        special("Quote_URL__c", "url", 255), special("Quote_PDF_URL__c", "url", 255), text("Quote_Number__c", 255), money("Quote_Due_Now__c"),
        money("Quote_Per_Period__c"), money("Quote_Tax__c"), text("Quote_Accepted_By__c", 255), plain("Quote_Accepted_At__c", "datetime"),
        plain("Contract_Starts_On__c", "date"), plain("Contract_Ends_On__c", "date"), money("Annual_Value__c"), area("Billing_Preview__c", 32768),
    )  # fmt: skip
    return _object(
        "Quote", "0Q0", text("Name", 255, nillable=False), ref("OpportunityId", "Opportunity", "Quotes", updateable=False, cascades=True),
        ref("ContactId", "Contact", "Quotes"), pick("Status", *QUOTE_STATUSES, restricted=True, default="Draft"), plain("ExpirationDate", "date"),
        ref("Pricebook2Id", "Pricebook2", "Quotes"), money("Tax"), money("ShippingHandling"), area("Description", 32000),
        special("Email", "email", 80), special("Phone", "phone", 40), text("BillingName", 255), *_address("Billing"), *derived, _owner(),
        *_deal_fields(), *own,
    )  # fmt: skip


def _line(name: str, parent: str, prefix: str, price_scale: int) -> ObjectType:
    derived = read_only((
        text("ProductCode", 255), money("ListPrice", price_scale), money("Subtotal", calculated=True), money("TotalPrice", calculated=True),
        *((text("Name", 376),) if parent == "Opportunity" else (text("LineNumber", 30, auto_number="{:08d}"),)),
    ))  # fmt: skip
    own = (
        pick("Charge_Type__c", *CHARGE_TYPES), pick("Billing_Frequency__c", *FREQUENCIES), plain("End_Date__c", "date"),
        money("Trial_Price__c", price_scale), number("Trial_Periods__c", 4), plain("Skip_Billing__c", "boolean", nillable=False),
        text("Coupons__c", 255), number("Discount_Months__c", 4), pick("Line_Change__c", "Add", "Reduce", "Set", "Remove"),
        text("Amends_Line__c", 255),
    )  # fmt: skip
    extra = (ref("OpportunityLineItemId", "OpportunityLineItem"),) if parent == "Quote" else ()
    return _object(
        name, prefix, ref(f"{parent}Id", parent, f"{parent}LineItems" if parent == "Opportunity" else "QuoteLineItems", nillable=False, updateable=False, cascades=True),
        ref("PricebookEntryId", "PricebookEntry", f"{parent}LineItems", updateable=False), ref("Product2Id", "Product2", f"{parent}LineItems", updateable=False),
        number("Quantity", 12, 2, nillable=False), money("UnitPrice", price_scale, nillable=False), percent("Discount"), plain("ServiceDate", "date"),
        area("Description", 255), plain("SortOrder", "int"), *derived, *extra, *own,
    )  # fmt: skip


def _invoice() -> ObjectType:
    return _object(
        "Billing_Invoice__c", "a0B", text("Name", 80, nillable=False, createable=False, updateable=False, auto_number="BI-{:06d}"),
        text("Billing_Invoice_Id__c", 255, external_id=True, unique=True), ref("Opportunity__c", "Opportunity", "Billing_Invoices__r"),
        ref("Account__c", "Account", "Billing_Invoices__r"), text("Number__c", 255), text("Status__c", 255),
        pick("Type__c", "Invoice", "Credit note"), text("Contract_Id__c", 255), plain("Issued_On__c", "date"), plain("Due_On__c", "date"),
        plain("Paid_On__c", "date"), money("Total__c"), money("Amount_Paid__c"), money("Amount_Due__c"), text("Currency__c", 3),
        special("URL__c", "url", 255), money("Payment_Received__c"), plain("Payment_Received_On__c", "date"),
        text("Payment_Reference__c", 140), area("Payment_Message__c", 1000), _owner(), plural="Billing Invoices",
    )  # fmt: skip


def _ledger() -> ObjectType:
    return _object(
        "Billing_Connector__c", "a0C", text("Name", 80), text("Ledger__c", 255, external_id=True, unique=True), text("Mark__c", 255),
        plain("Written_At__c", "datetime"), _owner(), plural="Billing Connectors",
    )  # fmt: skip


def _currency_type() -> ObjectType:
    return _object(
        "CurrencyType", "01L", pick("IsoCode", nillable=False), number("ConversionRate", 18, 6, nillable=False), plain("DecimalPlaces", "int", nillable=False),
        plain("IsActive", "boolean", nillable=False), plain("IsCorporate", "boolean", nillable=False), is_writable=False,
    )  # fmt: skip
