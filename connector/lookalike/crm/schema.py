"""What an object is: its fields, relationships and rights, as `describe` tells them. The objects themselves: catalogue.py."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

NUMBERS = frozenset({"double", "currency", "percent"})
STRINGS = frozenset({"string", "textarea", "picklist", "multipicklist", "email", "url", "phone", "combobox"})
_SOAP = {
    "id": "tns:ID", "reference": "tns:ID", "boolean": "xsd:boolean", "int": "xsd:int", "double": "xsd:double",
    "currency": "xsd:double", "percent": "xsd:double", "date": "xsd:date", "datetime": "xsd:dateTime", "address": "urn:address",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """What a formula field shows: the value of the first of *cases* (condition, value) that holds, or *otherwise*.

    A value {"field": path} is that of another field, perhaps of a parent.
    """

    cases: tuple[tuple[str, Any], ...]
    otherwise: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of an object. scale - decimal places. target - the object a lookup points to. default - value on create."""

    name: str
    type: str
    label: str = ""
    length: int = 0
    precision: int = 0
    scale: int = 0
    nillable: bool = True
    createable: bool = True
    updateable: bool = True
    calculated: bool = False
    auto_number: str = ""
    picklist: tuple[str, ...] = ()
    restricted: bool = False
    target: str = ""
    relationship: str = ""
    children: str = ""
    cascades: bool = False
    external_id: bool = False
    unique: bool = False
    compound: str = ""
    default: Any = None
    formula: Formula | None = None

    @property
    def is_custom(self) -> bool:
        """Say whether the field was added to the standard object."""
        return self.name.endswith(("__c", "__pc"))

    @property
    def is_filterable(self) -> bool:
        """Say whether SOQL may compare and sort it: not long text, not compound addresses."""
        return self.type != "address" and not (self.type == "textarea" and self.length > 255)

    @property
    def is_sortable(self) -> bool:
        """Say whether SOQL may sort and group by it: what it may compare, except several picklist values."""
        return self.is_filterable and self.type != "multipicklist"

    def described(self, *, is_updateable: bool, is_calculated: bool = False) -> dict[str, Any]:
        """Return the field's entry in a describe reply, for a user who may not write it, or as the formula it has become."""
        required = not self.nillable
        if is_calculated:
            return replace(self, calculated=True, createable=False, updateable=False).described(is_updateable=False)
        return {
            "name": self.name, "label": self.label or labelled(self.name), "type": self.type, "length": self.length,
            "byteLength": self.length * 3, "precision": self.precision, "scale": self.scale, "digits": 0,
            "soapType": _SOAP.get(self.type, "xsd:string"), "nillable": not required,
            "createable": self.createable and (is_updateable or not self.updateable),
            "updateable": self.updateable and is_updateable, "calculated": self.calculated, "custom": self.is_custom,
            "autoNumber": bool(self.auto_number), "defaultedOnCreate": self.default is not None or self.type == "boolean",
            "defaultValue": self.default, "externalId": self.external_id, "unique": self.unique,
            "idLookup": self.external_id or self.type == "id", "caseSensitive": False, "filterable": self.is_filterable,
            "sortable": self.is_sortable, "groupable": self.is_sortable and self.type not in NUMBERS and self.type != "datetime",
            "aggregatable": self.is_filterable, "nameField": self.name == "Name", "namePointing": False,
            "compoundFieldName": self.compound or None, "relationshipName": self.relationship or None,
            "referenceTo": [self.target] if self.target else [], "restrictedPicklist": self.restricted,
            "picklistValues": [
                {"value": v, "label": v, "active": True, "defaultValue": v == self.default, "validFor": None} for v in self.picklist
            ],
            "cascadeDelete": self.cascades, "restrictedDelete": False, "deprecatedAndHidden": False, "calculatedFormula": _formula_text(self.formula),
            "extraTypeInfo": None, "htmlFormatted": False, "inlineHelpText": None, "permissionable": self.nillable,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ObjectType:
    """One object: its fields in describe order, and what may be done to its records."""

    name: str
    prefix: str
    fields: tuple[Field, ...]
    plural: str = ""
    is_writable: bool = True

    @cached_property
    def by_lower(self) -> dict[str, Field]:
        """Fields by lower-case API name: names are case-insensitive on the wire."""
        return {field.name.lower(): field for field in self.fields}

    @cached_property
    def by_relationship(self) -> dict[str, Field]:
        """Lookup fields by lower-case relationship name (`account`, `billing_contact__r`)."""
        return {field.relationship.lower(): field for field in self.fields if field.relationship}

    @cached_property
    def references(self) -> tuple[Field, ...]:
        """The lookups worth an index: those that do not point at users."""
        return tuple(f for f in self.fields if f.type == "reference" and f.target != "User")

    @cached_property
    def externals(self) -> tuple[Field, ...]:
        """The fields a record can be addressed by besides its id."""
        return tuple(f for f in self.fields if f.external_id or f.unique)

    @cached_property
    def required(self) -> tuple[Field, ...]:
        """The fields that a new record must bring."""
        return tuple(
            f for f in self.fields if f.createable and not f.nillable and f.default is None and f.type != "boolean"
        )

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The values of fields that a new record does not bring."""
        out: dict[str, Any] = {f.name: False for f in self.fields if f.type == "boolean"}
        out.update({f.name: f.default for f in self.fields if f.default is not None})
        return out

    @property
    def is_custom(self) -> bool:
        """Say whether the object was added to the standard ones."""
        return self.name.endswith("__c")

    def entry(self) -> dict[str, Any]:
        """Return the object's entry in the global describe."""
        return {
            "name": self.name, "label": labelled(self.name), "labelPlural": self.plural or labelled(self.name) + "s",
            "keyPrefix": self.prefix, "custom": self.is_custom, "customSetting": False, "queryable": True,
            "retrieveable": True, "createable": self.is_writable, "updateable": self.is_writable, "deletable": self.is_writable,
            "undeletable": self.is_writable, "replicateable": True, "searchable": True, "layoutable": True,
            "mergeable": self.name in ("Account", "Contact"), "triggerable": self.is_writable, "deprecatedAndHidden": False,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Schema:
    """All objects of an org."""

    types: tuple[ObjectType, ...]

    @cached_property
    def by_lower(self) -> dict[str, ObjectType]:
        """Objects by lower-case API name."""
        return {one.name.lower(): one for one in self.types}

    @cached_property
    def by_prefix(self) -> dict[str, ObjectType]:
        """Objects by the first three characters of their record ids."""
        return {one.prefix: one for one in self.types}

    @cached_property
    def children(self) -> dict[str, dict[str, tuple[ObjectType, Field]]]:
        """Per object: child relationship name in lower case -> (child object, its lookup field)."""
        out: dict[str, dict[str, tuple[ObjectType, Field]]] = {one.name: {} for one in self.types}
        for one in self.types:
            for field in one.fields:
                if field.children:
                    out[field.target][field.children.lower()] = (one, field)
        return out


def labelled(name: str) -> str:
    """Return the label people see for an API name: `Billing_Email__c` is `Billing Email`, `CloseDate` is `Close Date`."""
    bare = re.sub(r"(__c|Id)$", "", name) if name != "Id" else name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", bare.replace("_", " ")).replace("  ", " ")


def _formula_text(formula: Formula | None) -> str | None:
    if formula is None:
        return None
    parts = [f"{when}, {value}" for when, value in formula.cases]
    return f"CASES({', '.join([*parts, str(formula.otherwise)])})"


# The words in which the catalogue is written.


def text(name: str, length: int = 255, **more: Any) -> Field:
    """Return a text field."""
    return Field(name=name, type="string", length=length, **more)


def area(name: str, length: int = 255, **more: Any) -> Field:
    """Return a text area; above 255 characters it cannot be filtered or sorted."""
    return Field(name=name, type="textarea", length=length, **more)


def special(name: str, kind: str, length: int, **more: Any) -> Field:
    """Return a text field with a format: email, url, phone."""
    return Field(name=name, type=kind, length=length, **more)


def pick(name: str, *values: str, **more: Any) -> Field:
    """Return a picklist; a custom one takes its own values only."""
    more.setdefault("restricted", name.endswith("__c"))
    return Field(name=name, type="picklist", length=255 if name.endswith("__c") else 40, picklist=values, **more)


def money(name: str, scale: int = 2, **more: Any) -> Field:
    """Return a currency field of 18 digits."""
    return Field(name=name, type="currency", precision=18, scale=scale, **more)


def number(name: str, precision: int, scale: int = 0, **more: Any) -> Field:
    """Return a number field."""
    return Field(name=name, type="double", precision=precision, scale=scale, **more)


def percent(name: str, **more: Any) -> Field:
    """Return a percent field with two decimal places."""
    return Field(name=name, type="percent", precision=5, scale=2, **more)


def plain(name: str, kind: str, **more: Any) -> Field:
    """Return a field that needs no more than its type: date, datetime, boolean, int."""
    return Field(name=name, type=kind, **more)


def ref(name: str, target: str, children: str = "", **more: Any) -> Field:
    """Return a lookup; *children* names the way back from the parent."""
    relationship = name[:-3] + "__r" if name.endswith("__c") else name.removesuffix("Id")
    return Field(
        name=name, type="reference", length=18, target=target, relationship=relationship, children=children, **more
    )


def read_only(fields: Iterable[Field]) -> tuple[Field, ...]:
    """Return the fields as ones that only the CRM itself fills."""
    return tuple(replace(one, createable=False, updateable=False) for one in fields)
