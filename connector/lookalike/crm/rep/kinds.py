"""Which objects have pages, and what stands on them. Fields that an org does not have, or hides, are left out by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from connector.lookalike.crm.catalogue import QUOTE_STATUSES, STAGES
from connector.lookalike.crm.table import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A group of fields that is edited as one form. is_quiet - folded while all its fields are empty."""

    key: str
    title: str
    fields: tuple[str, ...]
    is_quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListView:
    """A tab of a list: which records it shows. has_message - with what billing says about each."""

    key: str
    title: str
    shows: Callable[[Row], bool]
    has_message: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """An object that has pages.

    one, many - its names in the middle of a sentence. state - the field that its path changes. lines, lookup - the object of its
    lines and their field that names it. is_made - whether a rep makes new ones. order - the field by which its list stands, newest first. filters - picklists to choose by.
    """

    name: str
    path: str
    one: str
    many: str
    columns: tuple[str, ...]
    sections: tuple[Section, ...]
    views: tuple[ListView, ...]
    order: str = "Name"
    is_ascending: bool = False
    state: str = ""
    states: tuple[str, ...] = ()
    lines: str = ""
    lookup: str = ""
    filters: tuple[str, ...] = ()
    found_by: tuple[str, ...] = ("Name",)
    is_billed: bool = False
    is_read_only: bool = False
    is_made: bool = True

    @property
    def title(self) -> str:
        """The heading of its list."""
        return self.many[:1].upper() + self.many[1:]


def _status_in(*words: str) -> Callable[[Row], bool]:
    return lambda row: row.get("Billing_Status__c") in words


_ALL = ListView(key="all", title="All", shows=lambda _row: True)
_ATTENTION = ListView(key="attention", title="Needs attention", shows=_status_in("Needs attention", "Blocked"), has_message=True)
_LATE = ListView(key="late", title="Past due", shows=_status_in("Past due", "Unpaid"), has_message=True)

_TERMS = Section(
    key="terms", title="Contract terms",
    fields=(
        "Contract_Start_Date__c", "Contract_Term_Months__c", "Auto_Renew__c", "Renewal_Uplift_Percent__c", "Free_Trial_Days__c",
        "Discount_Percent__c", "Discount_Months__c", "Coupons__c",
    ),
)  # fmt: skip
_BILLING = Section(
    key="billing", title="Billing inputs",
    fields=(
        "Billing_Frequency__c", "Payment_Terms__c", "Billing_Contact__c", "Billing_Day__c", "PO_Number__c", "Invoice_Memo__c",
        "Prebill_Periods__c", "Prebill_Until__c",
    ),
)  # fmt: skip
_CHANGE = Section(
    key="change", title="What the deal does",
    fields=(
        "Billing_Action__c", "Amends_Opportunity__c", "Amends_Contract_Id__c", "Billing_Effective_Date__c", "Proration__c",
        "Cancel_When__c",
    ),
)  # fmt: skip

OPPORTUNITY = Kind(
    name="Opportunity", path="opportunities", one="opportunity", many="opportunities", order="CloseDate",
    state="StageName", states=tuple(STAGES), lines="OpportunityLineItem", lookup="OpportunityId", is_billed=True,
    columns=("Name", "AccountId", "StageName", "CloseDate", "Amount", "Billing_Action__c", "Billing_Status__c", "Next_Invoice_Date__c"),
    filters=("StageName", "Billing_Action__c", "Billing_Status__c"), found_by=("Name", "Billing_Contract_Id__c", "PO_Number__c"),
    sections=(
        Section(key="deal", title="Deal", fields=("Name", "AccountId", "CloseDate", "Type", "Amount", "NextStep", "Description")),
        _CHANGE, _TERMS, _BILLING,
    ),
    views=(
        _ALL, ListView(key="open", title="Open", shows=lambda row: not row.get("IsClosed")),
        ListView(key="won", title="Won", shows=lambda row: bool(row.get("IsWon"))), _ATTENTION, _LATE,
    ),
)  # fmt: skip

QUOTE = Kind(
    name="Quote", path="quotes", one="quote", many="quotes", order="CreatedDate", state="Status", states=QUOTE_STATUSES,
    lines="QuoteLineItem", lookup="QuoteId", is_billed=True,
    columns=("Name", "QuoteNumber", "AccountId", "Status", "ExpirationDate", "GrandTotal", "Billing_Status__c"),
    filters=("Status", "Billing_Status__c"), found_by=("Name", "QuoteNumber", "Quote_Number__c"),
    sections=(
        Section(key="deal", title="Quote", fields=("Name", "OpportunityId", "ContactId", "ExpirationDate", "Description")),
        _CHANGE, _TERMS, _BILLING,
    ),
    views=(
        _ALL, ListView(key="open", title="Open", shows=lambda row: row.get("Status") not in ("Accepted", "Denied", "Rejected")),
        ListView(key="presented", title="Presented", shows=lambda row: row.get("Status") == "Presented"),
        ListView(key="accepted", title="Accepted", shows=lambda row: row.get("Status") == "Accepted"), _ATTENTION,
    ),
)  # fmt: skip

ACCOUNT = Kind(
    name="Account", path="accounts", one="account", many="accounts", is_ascending=True,
    columns=("Name", "Type", "BillingCity", "BillingCountry", "Billing_Email__c", "Billing_Customer_Id__c"),
    filters=("Type",), found_by=("Name", "BillingCity", "Billing_Email__c", "Billing_Customer_Id__c"),
    sections=(
        Section(key="account", title="Account", fields=("Name", "Type", "ParentId", "Industry", "Phone", "Website", "Description")),
        Section(key="billing", title="Billing", fields=(
            "Billing_Email__c", "Payment_Terms__c", "Tax_Id__c", "Tax_Exempt__c", "Billing_Language__c", "Consolidate_Invoices__c",
        )),
        Section(key="address", title="Billing address", fields=("BillingStreet", "BillingPostalCode", "BillingCity", "BillingState", "BillingCountry")),
    ),
    views=(
        _ALL, ListView(key="billed", title="Billed", shows=lambda row: bool(row.get("Billing_Customer_Id__c"))),
        ListView(key="no_email", title="No billing e-mail", shows=lambda row: not row.get("Billing_Email__c")),
    ),
)  # fmt: skip

CONTACT = Kind(
    name="Contact", path="contacts", one="contact", many="contacts", is_ascending=True, columns=("Name", "Title", "AccountId", "Email", "Phone"),
    found_by=("Name", "Email"),
    sections=(Section(key="contact", title="Contact", fields=("FirstName", "LastName", "AccountId", "Title", "Email", "Phone")),),
    views=(_ALL, ListView(key="no_email", title="No e-mail", shows=lambda row: not row.get("Email"))),
)  # fmt: skip

PRODUCT = Kind(
    name="Product2", path="products", one="product", many="products", is_ascending=True, is_made=False,
    columns=("Name", "ProductCode", "Family", "Charge_Type__c", "Billing_Price__c", "IsActive"),
    filters=("Family", "Charge_Type__c"), found_by=("Name", "ProductCode", "Family", "Billing_Price__c"),
    sections=(Section(key="product", title="Product", fields=(
        "Name", "ProductCode", "Family", "IsActive", "Charge_Type__c", "Billing_Price__c", "Description",
    )),),
    views=(_ALL, ListView(key="active", title="Active", shows=lambda row: bool(row.get("IsActive")))),
)  # fmt: skip

INVOICE = Kind(
    name="Billing_Invoice__c", path="invoices", one="invoice", many="invoices", order="Issued_On__c", is_read_only=True, is_made=False,
    columns=("Number__c", "Account__c", "Opportunity__c", "Type__c", "Status__c", "Issued_On__c", "Due_On__c", "Total__c", "Amount_Due__c"),
    filters=("Status__c", "Type__c"), found_by=("Number__c", "Contract_Id__c"),
    sections=(Section(key="invoice", title="Invoice", fields=(
        "Number__c", "Type__c", "Status__c", "Account__c", "Opportunity__c", "Contract_Id__c", "Issued_On__c", "Due_On__c", "Paid_On__c", "Total__c",
        "Amount_Paid__c", "Amount_Due__c", "URL__c",
    )),),
    views=(_ALL, ListView(key="due", title="To be paid", shows=lambda row: bool(row.get("Amount_Due__c")))),
)  # fmt: skip

KINDS = (OPPORTUNITY, QUOTE, ACCOUNT, CONTACT, PRODUCT, INVOICE)

OUTPUTS = frozenset({
    "Billing_Status__c", "Billing_Message__c", "Billing_Contract_Id__c", "Billing_Synced_At__c", "Next_Invoice_Date__c", "Next_Invoice_Amount__c",
    "Last_Invoice_Number__c", "Last_Invoice_Status__c", "Last_Invoice_URL__c", "Amount_Billed__c", "Amount_Paid__c", "Amount_Due__c",
    "Contract_Value__c", "Contract_Starts_On__c", "Contract_Ends_On__c", "Annual_Value__c", "Billing_Preview__c", "Quote_URL__c",
    "Quote_PDF_URL__c", "Quote_Number__c", "Quote_Due_Now__c", "Quote_Per_Period__c", "Quote_Tax__c", "Quote_Accepted_By__c",
    "Quote_Accepted_At__c", "Billing_Customer_Id__c", "Portal_URL__c",
})  # fmt: skip
"""What billing writes: shown on the card, never in a form."""

LINE_FIELDS = ("Quantity", "UnitPrice", "Discount", "Charge_Type__c", "ServiceDate", "End_Date__c", "Description")
"""What a new line asks for."""
LINE_MORE = (
    "Billing_Frequency__c", "Discount_Months__c", "Coupons__c", "Trial_Price__c", "Trial_Periods__c", "Line_Change__c", "Amends_Line__c",
    "Skip_Billing__c",
)  # fmt: skip
"""What a line may say besides."""

LABELS = {
    "Product2": "Product", "OpportunityLineItem": "Opportunity line", "QuoteLineItem": "Quote line", "Billing_Invoice__c": "Invoice",
}  # fmt: skip
FIELD_LABELS = {
    "StageName": "Stage", "TotalPrice": "Total", "Number__c": "Number", "Type__c": "Type", "Status__c": "Status", "Total__c": "Total",
    "Amount_Due__c": "Due", "Amount_Paid__c": "Paid", "Issued_On__c": "Issued", "Due_On__c": "Due on", "Paid_On__c": "Paid on", "URL__c": "Page",
    "Next_Invoice_Date__c": "Next Invoice", "SyncedQuoteId": "Synced Quote", "IsActive": "Active", "ExpirationDate": "Expiration Date",
}  # fmt: skip
"""Shorter than the label of the describe. What a rep fills keeps that one: billing's messages call the field by it."""

HINTS = {
    "Contract_Start_Date__c": "First day. Blank: the close date.",
    "Contract_Term_Months__c": "Blank: open-ended, runs until it is canceled. On a change: unchanged.",
    "Auto_Renew__c": "At the end of its term the contract goes on for another one.",
    "Renewal_Uplift_Percent__c": "Raises the prices of the next term.",
    "Discount_Months__c": "Blank: for good.",
    "Coupons__c": "Codes, with commas between them.",
    "Billing_Frequency__c": "Blank: monthly. Upfront bills the whole term at once.",
    "Payment_Terms__c": "Blank on a deal: those of the account. Blank there: the seller's.",
    "Billing_Contact__c": "Gets the invoices. Blank: the billing e-mail of the account.",
    "Billing_Day__c": "Day of the month, 1 to 31. Blank: that of the start.",
    "Prebill_Periods__c": "Bills so many periods ahead.",
    "Prebill_Until__c": "Bills ahead up to this day.",
    "Free_Trial_Days__c": "Nothing is billed for so many days.",
    "PO_Number__c": "Stands on the invoices.",
    "Invoice_Memo__c": "Stands on the invoices.",
    "Billing_Language__c": "Of invoices and mails.",
    "Billing_Action__c": "New makes a contract, the others change one. Blank: New.",
    "Amends_Opportunity__c": "For a change: the deal that made the contract.",
    "Amends_Contract_Id__c": "For a change of a contract without a deal: its id.",
    "Billing_Effective_Date__c": "First day of the change. Blank: the close date.",
    "Proration__c": "The time between the change and the next period. Immediately: charged or credited now. Next invoice: later. None: not at all.",
    "Cancel_When__c": "Blank: on the date above; without a date at the end of the period.",
    "Quantity": "Usage lines: 1, the usage counts.",
    "UnitPrice": "For one billing period of the line.",
    "Discount": "In percent.",
    "Discount_Percent__c": "On every line.",
    "ServiceDate": "First day of service. Blank: the start of the contract.",
    "End_Date__c": "The last day of service. Blank: the end.",
    "Charge_Type__c": "Blank: that of the product.",
    "Line_Change__c": "In an Amend deal: what becomes of the running item.",
    "Amends_Line__c": "Where several items could be meant: its number in billing's message.",
    "Skip_Billing__c": "This line is sold but billed elsewhere.",
    "Billing_Price__c": "Name of a price of the billing catalogue (tiers, packages, usage). Blank: the line's unit price.",
    "Billing_Email__c": "Without it, or a billing contact on the deal, nothing can be billed.",
    "Tax_Id__c": "VAT number; checked for its form.",
    "Consolidate_Invoices__c": "Contracts that fall due on one day share an invoice.",
    "Trial_Price__c": "Unit price during the trial periods.",
    "Amount": "Counted by itself once there are lines.",
}  # fmt: skip
"""What a field does, under its control."""
