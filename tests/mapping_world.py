"""What the tests of the mapping room share: the demo org's describe, YAML with positions, believable records."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from connector.kit import yamlpos
from connector.lookalike.crm.catalogue import schema as demo_schema
from connector.mapping.check import check
from connector.mapping.compile import Compiled, Options, compile_mapping
from connector.mapping.language import MappingFile, SourceText
from connector.ports import FieldInfo, ObjectInfo, Org

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = {name: ROOT / "mappings" / f"salesforce-{name}.yaml" for name in ("opportunity", "quote", "cpq-order")}
OPTIONS = Options(timezone="Europe/Paris", proration="day", tax_rounding="line", cancellation_day="free", payment_terms="Net 30")


def org(*, currency: str = "EUR", is_multi_currency: bool = False) -> Org:
    return Org(
        id="00D000000000001AAA", name="Acme", currency=currency, is_multi_currency=is_multi_currency, is_sandbox=False, instance_url=""
    )


def describe(*, multi_currency: bool = False, has_cpq: bool = False) -> dict[str, ObjectInfo]:
    """Return the demo org's describe as the CRM adapter would give it."""
    found = {}
    for one in demo_schema(multi_currency=multi_currency, has_cpq=has_cpq).types:
        entry = one.entry()
        fields = [field.described(is_updateable=True) for field in one.fields]
        found[one.name] = ObjectInfo(
            name=one.name, label=entry["label"], fields={f["name"]: field_info(f) for f in fields}, is_queryable=entry["queryable"],
            is_createable=entry["createable"], is_updateable=entry["updateable"],
        )  # fmt: skip
    return found


def field_info(raw: dict[str, Any]) -> FieldInfo:
    return FieldInfo(
        name=raw["name"], type=raw["type"], label=raw["label"], length=raw["length"], precision=raw["precision"],
        scale=raw["scale"], is_nillable=raw["nillable"], is_unique=raw["unique"], is_restricted=raw["restrictedPicklist"],
        is_updateable=raw["updateable"], is_createable=raw["createable"], is_calculated=raw["calculated"],
        is_external_id=raw["externalId"], picklist=tuple(v["value"] for v in raw["picklistValues"]),
        relationship=raw["relationshipName"], reference_to=tuple(raw["referenceTo"]),
    )  # fmt: skip


def source_text(text: str, file: str = "mapping.yaml") -> SourceText:
    return SourceText(file=file, located=yamlpos.loads(text, file))


def shipped(name: str = "opportunity") -> str:
    return SHIPPED[name].read_text(encoding="utf-8")


def mapping(text: str, *, multi_currency: bool = False) -> MappingFile:
    found, problems = check(source_text(text), describe=describe(multi_currency=multi_currency), org=org(is_multi_currency=multi_currency))
    assert found is not None, "\n".join(p.text() for p in problems)
    return found


def compiled(name: str = "opportunity", *, options: Options = OPTIONS, currency: str = "EUR") -> Compiled:
    return compile_mapping(mapping(shipped(name)), describe(), org(currency=currency), options)


ACCOUNT = {
    "Id": "001000000000001AAA", "Name": "Acme GmbH", "Billing_Email__c": "ap@acme.example", "BillingStreet": "Hauptstr. 1",
    "BillingCity": "Berlin", "BillingPostalCode": "10115", "BillingState": None, "BillingCountry": "Germany", "Tax_Id__c": "DE123456789",
    "Tax_Exempt__c": None, "Payment_Terms__c": None, "Billing_Language__c": None, "Consolidate_Invoices__c": False,
}  # fmt: skip


def opportunity(**fields: Any) -> dict[str, Any]:
    """Return a won opportunity of 12 months from 1 January 2026."""
    base: dict[str, Any] = {
        "Id": "006000000000001AAA", "Name": "Acme 2026", "IsWon": True, "AccountId": ACCOUNT["Id"], "Account": dict(ACCOUNT),
        "CloseDate": "2025-12-20", "CreatedDate": "2025-11-02T09:30:00.000+0000", "LastModifiedBy": {"Name": "Rita Rep"},
        "Contract_Start_Date__c": "2026-01-01", "Contract_Term_Months__c": Decimal(12), "Auto_Renew__c": False,
        "Billing_Contact__c": None, "Billing_Contact__r": None,
    }  # fmt: skip
    return base | fields


def line(**fields: Any) -> dict[str, Any]:
    """Return a line of 10 GOLD at 30.00 a month."""
    base: dict[str, Any] = {
        "Id": "00k000000000001AAA", "OpportunityId": "006000000000001AAA", "Quantity": Decimal("10.00"), "UnitPrice": Decimal("30.00"),
        "Charge_Type__c": "Recurring", "Skip_Billing__c": False,
        "Product2": {"Name": "Gold seats", "ProductCode": "GOLD", "Charge_Type__c": None, "Billing_Price__c": None},
    }  # fmt: skip
    return base | fields


def product(code: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"Name": name, "ProductCode": code, "Charge_Type__c": None, "Billing_Price__c": None} | fields


def day(text: str) -> Any:
    return date.fromisoformat(text)


def bad_case(text: str) -> tuple[dict[str, ObjectInfo], Org]:
    """Return the org that the first line of a bad file asks for.

    `# org: multi-currency; off A; hide A.B; formula A.B; set A.B length=5; set A is_createable=no`.
    """
    first = text.split("\n", 1)[0]
    wishes = [w.strip() for w in first.removeprefix("# org:").split(";")] if first.startswith("# org:") else []
    is_multi = "multi-currency" in wishes
    found = describe(multi_currency=is_multi)
    for wish in wishes:
        kind, _, path = wish.partition(" ")
        if not path:
            continue
        path, *said = path.split(" ")
        name, _, field = path.partition(".")
        if kind == "off":
            del found[name]
            continue
        fields = dict(found[name].fields)
        if kind == "hide":
            del fields[field]
        elif kind == "formula":
            fields[field] = FieldInfo(name=field, type="percent", label=field, is_calculated=True, is_updateable=False)
        elif field:
            fields[field] = replace(fields[field], **dict(_trait(one) for one in said))
        traits = dict(_trait(one) for one in said) if kind == "set" and not field else {}
        found[name] = replace(found[name], fields=fields, **traits)
    return found, org(is_multi_currency=is_multi)


def _trait(text: str) -> tuple[str, Any]:
    """Return what `length=5`, `is_unique=no` or `picklist=Open,Paid` says."""
    key, _, value = text.partition("=")
    if key == "picklist":
        return key, tuple(value.split(","))
    return key, value == "yes" if value in ("yes", "no") else int(value) if value.isdigit() else value


def said_of(file: Path) -> str:
    """Return what the checker says of a bad file, as people read it."""
    text = file.read_text(encoding="utf-8")
    shown, the_org = bad_case(text)
    _, problems = check(source_text(text, file.name), describe=shown, org=the_org)
    return "\n\n".join(p.text() for p in problems) + "\n"
