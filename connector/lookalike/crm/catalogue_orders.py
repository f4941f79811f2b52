"""Orders of the demo org, and what the Salesforce CPQ package adds: `SBQQ__` fields and objects.

`Order`, `OrderItem` and `Contract` are standard objects; their fields follow Salesforce's object reference. The package's fields are
those that CPQ puts on an order and that the connector's mapping reads; docs/cpq.md says of each where it is documented. An org without
the package has none of them, so that a query answers with "No such column" and a describe with 404.
"""

from __future__ import annotations

from collections.abc import Callable

from connector.lookalike.crm.schema import (
    Field,
    ObjectType,
    area,
    money,
    number,
    percent,
    pick,
    plain,
    read_only,
    ref,
    text,
)

ORDER_STATUSES = ("Draft", "Activated")
"""The statuses of an order; each is its own status code here, while a real org may have several statuses of one code."""

_QUOTE_TYPES = ("Quote", "Amendment", "Renewal", "Re-Quote")
_FREQUENCIES = ("Monthly", "Quarterly", "Semiannual", "Annual", "Invoice Plan")
_TERMS = ("Due on Receipt", "Net 15", "Net 30", "Net 45", "Net 60")

Made = Callable[..., ObjectType]


def order_types(
    made: Made, *, address: Callable[[str], tuple[Field, ...]], inputs: tuple[Field, ...], outputs: tuple[Field, ...], price_scale: int, has_cpq: bool
) -> list[ObjectType]:
    """Return the objects around orders. *made* makes an object with its system fields; *inputs*, *outputs* are the connector's own fields."""
    types = [
        _order(made, address, inputs, outputs, has_cpq=has_cpq), _item(made, price_scale, has_cpq=has_cpq), _contract(made, has_cpq=has_cpq)
    ]  # fmt: skip
    return [*types, _quote(made), _quote_line(made, price_scale)] if has_cpq else types


def opportunity_fields() -> tuple[Field, ...]:
    """Return what the package adds to opportunities."""
    return (
        ref("SBQQ__RenewedContract__c", "Contract", "SBQQ__RenewalOpportunities__r"),
        ref("SBQQ__AmendedContract__c", "Contract", "SBQQ__AmendmentOpportunities__r"),
        plain("SBQQ__Ordered__c", "boolean", nillable=False), plain("SBQQ__Contracted__c", "boolean", nillable=False),
    )  # fmt: skip


def product_fields() -> tuple[Field, ...]:
    """Return what the package adds to products, of what order products take from them."""
    return (pick("SBQQ__ChargeType__c", "One-Time", "Recurring", "Usage"), pick("SBQQ__BillingFrequency__c", *_FREQUENCIES))


def _order(
    made: Made, address: Callable[[str], tuple[Field, ...]], inputs: tuple[Field, ...], outputs: tuple[Field, ...], *, has_cpq: bool
) -> ObjectType:
    derived = read_only((
        text("OrderNumber", 30, nillable=False, auto_number="{:08d}"), pick("StatusCode", *ORDER_STATUSES, nillable=False),
        plain("ActivatedDate", "datetime"), money("TotalAmount", calculated=True),
    ))  # fmt: skip
    package = (
        ref("SBQQ__Quote__c", "SBQQ__Quote__c", "SBQQ__Orders__r"), pick("SBQQ__PaymentTerm__c", *_TERMS),
        plain("SBQQ__Contracted__c", "boolean", nillable=False), number("SBQQ__RenewalTerm__c", 5), percent("SBQQ__RenewalUpliftRate__c"),
    )  # fmt: skip
    own = (
        plain("Contract_Starts_On__c", "date"), plain("Contract_Ends_On__c", "date"), money("Annual_Value__c"),
    )  # fmt: skip
    return made(
        "Order", "801", text("Name", 80), ref("AccountId", "Account", "Orders", nillable=False), ref("ContractId", "Contract", "Orders"),
        ref("OpportunityId", "Opportunity", "Orders"), ref("Pricebook2Id", "Pricebook2"), ref("OriginalOrderId", "Order", "Orders"),
        pick("Status", *ORDER_STATUSES, nillable=False, restricted=True, default="Draft"), pick("Type"), plain("EffectiveDate", "date", nillable=False),
        plain("EndDate", "date"), plain("IsReductionOrder", "boolean", nillable=False), ref("BillToContactId", "Contact"), text("PoNumber", 80),
        plain("PoDate", "date"), area("Description", 32000), *address("Billing"), *address("Shipping"), *derived, ref("OwnerId", "User"),
        *(package if has_cpq else ()), *inputs, *outputs, *own,
    )  # fmt: skip


def _item(made: Made, price_scale: int, *, has_cpq: bool) -> ObjectType:
    derived = read_only((
        text("OrderItemNumber", 30, nillable=False, auto_number="{:010d}"), money("ListPrice", price_scale),
        money("TotalPrice", calculated=True), number("AvailableQuantity", 18, 2),
    ))  # fmt: skip
    package = (
        pick("SBQQ__ChargeType__c", "One-Time", "Recurring", "Usage"), pick("SBQQ__BillingFrequency__c", *_FREQUENCIES),
        pick("SBQQ__BillingType__c", "Advance", "Arrears"), pick("SBQQ__SubscriptionType__c", "Renewable", "Evergreen", "One-time"),
        number("SBQQ__SubscriptionTerm__c", 5), number("SBQQ__DefaultSubscriptionTerm__c", 5), number("SBQQ__OrderedQuantity__c", 12, 2),
        number("SBQQ__QuotedQuantity__c", 12, 2), money("SBQQ__QuotedListPrice__c", price_scale),
        ref("SBQQ__QuoteLine__c", "SBQQ__QuoteLine__c", "SBQQ__OrderProducts__r"),
        ref("SBQQ__RevisedOrderProduct__c", "OrderItem", "SBQQ__RevisingOrderProducts__r"), ref("SBQQ__Contract__c", "Contract", "SBQQ__OrderProducts__r"),
        pick("SBQQ__ContractAction__c", "New", "Amend", "Cancel", "Renew", restricted=False), number("SBQQ__SegmentIndex__c", 5),
        text("SBQQ__SegmentKey__c", 255), text("SBQQ__SegmentLabel__c", 255), plain("SBQQ__TerminatedDate__c", "date"),
        plain("SBQQ__Activated__c", "boolean", nillable=False), plain("SBQQ__Contracted__c", "boolean", nillable=False),
    )  # fmt: skip
    own = (
        text("Coupons__c", 255), money("Trial_Price__c", price_scale), number("Trial_Periods__c", 4),
        plain("Skip_Billing__c", "boolean", nillable=False),
    )  # fmt: skip
    return made(
        "OrderItem", "802", ref("OrderId", "Order", "OrderItems", nillable=False, updateable=False, cascades=True),
        ref("PricebookEntryId", "PricebookEntry", "OrderItems", updateable=False), ref("Product2Id", "Product2", "OrderItems", updateable=False),
        number("Quantity", 18, 2, nillable=False), money("UnitPrice", price_scale, nillable=False), plain("ServiceDate", "date"),
        plain("EndDate", "date"), text("Description", 255), ref("OriginalOrderItemId", "OrderItem", "ChildOrderItems"), *derived,
        *(package if has_cpq else ()), *own, plural="Order Products",
    )  # fmt: skip


def _contract(made: Made, *, has_cpq: bool) -> ObjectType:
    derived = read_only((text("ContractNumber", 30, nillable=False, auto_number="{:08d}"), plain("EndDate", "date")))
    package = (
        ref("SBQQ__Order__c", "Order", "SBQQ__Contracts__r"), ref("SBQQ__Quote__c", "SBQQ__Quote__c", "SBQQ__Contracts__r"),
        ref("SBQQ__Opportunity__c", "Opportunity", "SBQQ__Contracts__r"), plain("SBQQ__RenewalQuoted__c", "boolean", nillable=False),
        plain("SBQQ__Evergreen__c", "boolean", nillable=False),
    )  # fmt: skip
    return made(
        "Contract", "800", ref("AccountId", "Account", "Contracts", nillable=False), pick("Status", "Draft", "In Approval Process", "Activated", default="Draft"),
        plain("StartDate", "date"), plain("ContractTerm", "int"), area("Description", 32000), *derived, ref("OwnerId", "User"),
        *(package if has_cpq else ()),
    )  # fmt: skip


def _quote(made: Made) -> ObjectType:
    return made(
        "SBQQ__Quote__c", "a0Q", text("Name", 80, nillable=False, createable=False, updateable=False, auto_number="Q-{:05d}"),
        ref("SBQQ__Opportunity2__c", "Opportunity", "SBQQ__Quotes2__r"), ref("SBQQ__Account__c", "Account", "SBQQ__Quotes__r"),
        pick("SBQQ__Type__c", *_QUOTE_TYPES, default="Quote"), pick("SBQQ__Status__c", "Draft", "In Review", "Approved", "Presented", "Accepted", "Rejected",
        default="Draft"), ref("SBQQ__MasterContract__c", "Contract", "SBQQ__AmendmentQuotes__r"), plain("SBQQ__StartDate__c", "date"),
        plain("SBQQ__EndDate__c", "date"), number("SBQQ__SubscriptionTerm__c", 5), plain("SBQQ__Primary__c", "boolean", nillable=False),
        plain("SBQQ__Ordered__c", "boolean", nillable=False), ref("OwnerId", "User"), plural="Quotes",
    )  # fmt: skip


def _quote_line(made: Made, price_scale: int) -> ObjectType:
    return made(
        "SBQQ__QuoteLine__c", "a0R", text("Name", 80, nillable=False, createable=False, updateable=False, auto_number="QL-{:07d}"),
        ref("SBQQ__Quote__c", "SBQQ__Quote__c", "SBQQ__LineItems__r", nillable=False, updateable=False, cascades=True),
        ref("SBQQ__Product__c", "Product2", "SBQQ__QuoteLines__r"), number("SBQQ__Quantity__c", 12, 2), number("SBQQ__PriorQuantity__c", 12, 2),
        money("SBQQ__NetPrice__c", price_scale), money("SBQQ__ListPrice__c", price_scale), plain("SBQQ__StartDate__c", "date"),
        plain("SBQQ__EndDate__c", "date"), plural="Quote Lines",
    )  # fmt: skip
