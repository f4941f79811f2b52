"""The demo company: Northwind Instruments sells seats, licences and services to nine customers.

Every price is per unit and billing period of its line, in the org's currency. With *start* 2026-01-01, `acme_seats` is 10 x
29.00 a month from 1 January for a year, and `acme_upgrade` adds 5 seats from 15 March. One account, Fjord, has no billing
e-mail: its deal cannot be billed and says so.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

Fields = dict[str, Any]


def month_after(day: date, months: int) -> date:
    """Return the same day *months* later, or the last day of that month."""
    index = day.year * 12 + day.month - 1 + months
    year, month = index // 12, index % 12 + 1
    last = (date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)).day
    return date(year, month, min(day.day, last))


def company(start: date) -> dict[str, list[Fields]]:
    """Return the records of the demo company in the form of `seed_from`, dates around *start*."""
    return {
        "Account": _accounts(),
        "Contact": _contacts(),
        "Product2": _products(),
        "PricebookEntry": [_entry(name, price) for name, price in _PRICES.items()],
        "Opportunity": _opportunities(start),
        "OpportunityLineItem": _lines(start),
        "Quote": _quotes(start),
        "QuoteLineItem": _quote_lines(),
    }


_PRICES = {
    "seat": "29.00", "seat_pro": "49.00", "platform": "1200.00", "licence": "12000.00", "support": "450.00", "setup": "2500.00",
    "training": "900.00", "storage": "85.00",
}  # fmt: skip


def _ref(name: str) -> Fields:
    return {"ref": name}


def _amount(text: str) -> Decimal:
    return Decimal(text)


def _account(name: str, title: str, address: tuple[str, str, str, str], tax_id: str, **more: Any) -> Fields:
    street, code, city, country = address
    return {
        "ref": name, "Name": title, "Type": "Customer - Direct", "BillingStreet": street, "BillingPostalCode": code, "BillingCity": city,
        "BillingCountry": country, "Tax_Id__c": tax_id, "Billing_Email__c": f"invoices@{name}.example", **more,
    }  # fmt: skip


def _accounts() -> list[Fields]:
    return [
        _account(
            "acme",
            "Acme Analytics",
            ("12 rue de la Paix", "75002", "Paris", "France"),
            "FR40303265045",
            Industry="Technology",
        ),
        _account(
            "borealis",
            "Borealis Energy",
            ("Kanalgatan 4", "211 41", "Malmö", "Sweden"),
            "SE556012579001",
            Industry="Energy",
        ),
        _account(
            "cobalt",
            "Cobalt Mining",
            ("Hafenstraße 21", "20457", "Hamburg", "Germany"),
            "DE136695976",
            Industry="Mining",
        ),
        _account(
            "delta",
            "Delta Logistics",
            ("Via Roma 8", "20121", "Milano", "Italy"),
            "IT00743110157",
            Industry="Transportation",
        ),
        _account(
            "everest",
            "Everest Outdoor",
            ("Gran Vía 30", "28013", "Madrid", "Spain"),
            "ESA13585625",
            Payment_Terms__c="Net 30",
        ),
        _account(
            "fjord",
            "Fjord Seafood",
            ("Strandgaten 9", "5013", "Bergen", "Norway"),
            "NO995525828MVA",
            Billing_Email__c=None,
        ),
        _account(
            "gaia",
            "Gaia Gardens",
            ("Rue Neuve 55", "1000", "Bruxelles", "Belgium"),
            "BE0428759497",
            Billing_Language__c="fr",
        ),
        _account(
            "helios", "Helios Solar", ("Keizersgracht 100", "1015 AA", "Amsterdam", "Netherlands"), "NL004495445B01"
        ),
        _account(
            "iris", "Iris Optics", ("Mariahilfer Straße 1", "1060", "Wien", "Austria"), "ATU13585627", Type="Prospect"
        ),
    ]


def _contacts() -> list[Fields]:
    people = (
        ("acme", "Claire", "Moreau", "Finance Director"), ("borealis", "Elin", "Lindqvist", "Controller"),
        ("cobalt", "Jonas", "Becker", "Head of Accounting"), ("delta", "Giulia", "Ferrari", "CFO"), ("everest", "Pablo", "Ortega", "Office Manager"),
        ("fjord", "Ingrid", "Dahl", "Managing Director"), ("gaia", "Luc", "Peeters", "Accounts Payable"),
        ("helios", "Sanne", "de Vries", "Finance Lead"), ("iris", "Anna", "Gruber", "CEO"),
    )  # fmt: skip
    return [
        {"ref": f"{account}_contact", "AccountId": _ref(account), "FirstName": first, "LastName": last, "Title": title}
        | ({"Email": f"{first}.{last}@{account}.example".lower().replace(" ", "")} if account != "fjord" else {})
        for account, first, last, title in people
    ]


def _products() -> list[Fields]:
    rows = (
        ("seat", "Team Seat", "SEAT-TEAM", "Recurring", "Software"), ("seat_pro", "Pro Seat", "SEAT-PRO", "Recurring", "Software"),
        ("platform", "Platform", "PLATFORM", "Recurring", "Software"), ("licence", "Site Licence", "LICENCE", "Recurring", "Software"),
        ("support", "Premium Support", "SUPPORT", "Recurring", "Services"), ("setup", "Setup Fee", "SETUP", "One-time", "Services"),
        ("training", "Training Day", "TRAINING", "One-time", "Services"), ("storage", "Extra Storage", "STORAGE", "Recurring", "Software"),
    )  # fmt: skip
    return [
        {"ref": name, "Name": title, "ProductCode": code, "IsActive": True, "Charge_Type__c": charge, "Family": family}
        for name, title, code, charge, family in rows
    ]


def _entry(product: str, price: str) -> Fields:
    return {
        "ref": f"{product}_entry", "Pricebook2Id": _ref("standard"), "Product2Id": _ref(product), "UnitPrice": _amount(price), "IsActive": True,
    }  # fmt: skip


def _deal(name: str, account: str, title: str, close: date, **more: Any) -> Fields:
    return {
        "ref": name, "Name": title, "AccountId": _ref(account), "CloseDate": close, "StageName": "Negotiation/Review", "Type": "New Business",
        "Pricebook2Id": _ref("standard"), **more,
    }  # fmt: skip


def _opportunities(start: date) -> list[Fields]:
    upgrade = month_after(start, 2) + timedelta(days=14)
    terms: Fields = {"Contract_Start_Date__c": start, "Billing_Action__c": "New", "Payment_Terms__c": "Net 30"}
    year: Fields = {**terms, "Contract_Term_Months__c": 12}
    change: Fields = {"Type": "Existing Business"}
    return [
        _deal("acme_seats", "acme", "Acme team seats", start, Billing_Frequency__c="Monthly", **year),
        _deal("borealis_ramp", "borealis", "Borealis 3-year ramp", start, Billing_Frequency__c="Annual", Contract_Term_Months__c=36, **terms),
        _deal("cobalt_licence", "cobalt", "Cobalt site licence", start, Billing_Frequency__c="Annual", Billing_Contact__c=_ref("cobalt_contact"),
              PO_Number__c="PO-77120", Auto_Renew__c=True, **year),
        _deal("delta_platform", "delta", "Delta platform", month_after(start, 1), Billing_Frequency__c="Quarterly", Contract_Term_Months__c=12,
              Billing_Action__c="New", Payment_Terms__c="Net 30", StageName="Proposal/Price Quote"),
        _deal("everest_support", "everest", "Everest premium support", start, Billing_Frequency__c="Monthly",
              Contract_Start_Date__c=start, Billing_Action__c="New"),
        _deal("fjord_seats", "fjord", "Fjord team seats", start, Billing_Frequency__c="Monthly", **year),
        _deal("gaia_trial", "gaia", "Gaia pro seats with trial", start, Billing_Frequency__c="Monthly", Free_Trial_Days__c=14,
              StageName="Value Proposition", **year),
        _deal("helios_discount", "helios", "Helios platform, 10 % off", start, Billing_Frequency__c="Quarterly", Discount_Percent__c=10,
              StageName="Value Proposition", **year),
        _deal("iris_pilot", "iris", "Iris pilot", month_after(start, 3), StageName="Qualification"),
        _deal("acme_upgrade", "acme", "Acme 5 more seats", upgrade, Billing_Action__c="Amend", Amends_Opportunity__c=_ref("acme_seats"),
              Billing_Effective_Date__c=upgrade, Proration__c="Immediately", **change),
        _deal("everest_cancel", "everest", "Everest ends support", month_after(start, 3), Billing_Action__c="Cancel",
              Amends_Opportunity__c=_ref("everest_support"), Billing_Effective_Date__c=month_after(start, 4), Cancel_When__c="On date",
              Proration__c="Immediately", **change),
        _deal("cobalt_renewal", "cobalt", "Cobalt licence renewal", month_after(start, 11), Billing_Action__c="Renew",
              Amends_Opportunity__c=_ref("cobalt_licence"), Contract_Term_Months__c=12, Renewal_Uplift_Percent__c=5, StageName="Qualification"),
    ]  # fmt: skip


def _line(parent: str, product: str, quantity: int, price: str | None = None, **more: Any) -> Fields:
    return {
        "OpportunityId": _ref(parent), "PricebookEntryId": _ref(f"{product}_entry"), "Quantity": quantity,
        "UnitPrice": _amount(price or _PRICES[product]), **more,
    }  # fmt: skip


def _lines(start: date) -> list[Fields]:
    last_day = [month_after(start, 12 * year) - timedelta(days=1) for year in (1, 2, 3)]
    return [
        _line("acme_seats", "seat", 10),
        _line(
            "borealis_ramp", "seat_pro", 50, "480.00", ServiceDate=start, End_Date__c=last_day[0], Description="Year 1"
        ),
        _line(
            "borealis_ramp",
            "seat_pro",
            100,
            "480.00",
            ServiceDate=month_after(start, 12),
            End_Date__c=last_day[1],
            Description="Year 2",
        ),
        _line(
            "borealis_ramp",
            "seat_pro",
            150,
            "456.00",
            ServiceDate=month_after(start, 24),
            End_Date__c=last_day[2],
            Description="Year 3",
        ),
        _line("cobalt_licence", "licence", 1),
        _line("cobalt_licence", "setup", 1),
        _line("delta_platform", "platform", 1, "3600.00"),
        _line("delta_platform", "training", 2),
        _line("everest_support", "support", 1),
        _line("fjord_seats", "seat", 4),
        _line("gaia_trial", "seat_pro", 6),
        _line("helios_discount", "platform", 1, "3600.00"),
        _line("helios_discount", "storage", 3, "255.00"),
        _line("iris_pilot", "training", 1),
        _line("acme_upgrade", "seat", 5),
    ]


def _quotes(start: date) -> list[Fields]:
    terms: Fields = {"Contract_Term_Months__c": 12, "Billing_Action__c": "New", "Payment_Terms__c": "Net 30"}
    later = month_after(start, 1)
    return [
        {"ref": "delta_quote", "Name": "Delta platform, yearly commitment", "OpportunityId": _ref("delta_platform"), "Status": "Presented",
         "ContactId": _ref("delta_contact"), "ExpirationDate": later + timedelta(days=30), "Contract_Start_Date__c": later,
         "Billing_Frequency__c": "Quarterly", **terms},
        {"ref": "gaia_quote", "Name": "Gaia pro seats", "OpportunityId": _ref("gaia_trial"), "Status": "Draft", "ContactId": _ref("gaia_contact"),
         "ExpirationDate": start + timedelta(days=30), "Contract_Start_Date__c": start, "Billing_Frequency__c": "Monthly", **terms},
        {"ref": "iris_quote", "Name": "Iris pilot offer", "OpportunityId": _ref("iris_pilot"), "Status": "Draft",
         "ContactId": _ref("iris_contact"), "ExpirationDate": month_after(start, 4), "Billing_Frequency__c": "Monthly", **terms},
    ]  # fmt: skip


def _quote_lines() -> list[Fields]:
    def line(quote: str, product: str, quantity: int, price: str | None = None, **more: Any) -> Fields:
        fields = _line("", product, quantity, price, **more)
        del fields["OpportunityId"]
        return {"QuoteId": _ref(quote), **fields}

    return [
        line("delta_quote", "platform", 1, "3600.00", Discount=5),
        line("delta_quote", "training", 2),
        line("gaia_quote", "seat_pro", 6),
        line("gaia_quote", "setup", 1, "500.00"),
        line("iris_quote", "seat", 3),
        line("iris_quote", "training", 1),
    ]
