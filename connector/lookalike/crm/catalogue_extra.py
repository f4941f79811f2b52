"""What features add to the objects of an org: currencies, person accounts, countries and states by code, formulas.

Each takes the object types and returns them with more fields, so that features combine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connector.lookalike.crm.custom import custom_object
from connector.lookalike.crm.places import COUNTRIES, STATES
from connector.lookalike.crm.schema import (
    Field,
    Formula,
    ObjectType,
    pick,
    plain,
    read_only,
    ref,
    special,
    text,
)

_CUSTOM = re.compile(r"[A-Za-z]\w*__c")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FORMULA_TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": "string", "length": 1300}, "boolean": {"type": "boolean", "nillable": False},
    "currency": {"type": "currency", "precision": 18, "scale": 2}, "number": {"type": "double", "precision": 18, "scale": 2},
    "percent": {"type": "percent", "precision": 18, "scale": 2}, "date": {"type": "date"}, "datetime": {"type": "datetime"},
}  # fmt: skip


def extended(types: Sequence[ObjectType], settings: Mapping[str, Any]) -> list[ObjectType]:
    """Return the objects with the custom objects, fields and formulas of an org's settings. Raises: ValueError."""
    return with_formulas(with_fields(with_objects(types, settings["objects"]), settings["fields"]), settings["formulas"])


def with_persons(types: Sequence[ObjectType]) -> list[ObjectType]:
    """Return the objects of an org with person accounts."""
    is_person = read_only((plain("IsPersonAccount", "boolean", nillable=False),))
    on_account = (
        text("FirstName", 40, compound="Name"), text("LastName", 80, compound="Name"), pick("Salutation", compound="Name"),
        ref("PersonContactId", "Contact", createable=False, updateable=False), special("PersonEmail", "email", 80),
        special("PersonMobilePhone", "phone", 40), text("PersonTitle", 80), text("Loyalty_Number__pc", 40), *is_person,
    )  # fmt: skip
    more = {"Account": on_account, "Contact": (text("Loyalty_Number__c", 40), *is_person)}
    return [replace(one, fields=(*one.fields, *more.get(one.name, ()))) for one in types]


def address_prefixes(one: ObjectType) -> tuple[str, ...]:
    """Return the prefixes of an object's addresses: `Billing`, `Shipping`; "" where the fields have none."""
    return tuple(field.name.removesuffix("Address") for field in one.fields if field.type == "address")


def with_codes(types: Sequence[ObjectType]) -> list[ObjectType]:
    """Return the objects of an org whose countries and states are picklists."""
    states = sorted({code for known in STATES.values() for code in known})

    def codes(one: ObjectType) -> tuple[Field, ...]:
        return tuple(
            pick(f"{prefix}{part}Code", *values, compound=f"{prefix}Address")
            for prefix in address_prefixes(one)
            for part, values in (("State", states), ("Country", sorted(COUNTRIES)))
        )

    return [replace(one, fields=(*one.fields, *codes(one))) for one in types]


def with_objects(types: Sequence[ObjectType], names: Sequence[str]) -> list[ObjectType]:
    """Return the objects with custom ones of these names, which have a Name, an owner and what an object has by itself.

    Raises: ValueError for a name that cannot be.
    """
    out = list(types)
    for number, name in enumerate(names):
        if not _CUSTOM.fullmatch(str(name)) or name.lower() in {one.name.lower() for one in out}:
            raise ValueError(f"object {name}: a new custom object is named Something__c")
        out.append(custom_object(name, f"a1{_LETTERS[number % len(_LETTERS)]}"))
    return out


def with_fields(types: Sequence[ObjectType], specs: Sequence[dict[str, Any]]) -> list[ObjectType]:
    """Return the objects with the custom fields of *specs*. Raises: ValueError with the first that is wrong."""
    out = {one.name: one for one in types}
    for spec in specs:
        kind, _, name = str(spec.get("field", "")).partition(".")
        if kind not in out or not _CUSTOM.fullmatch(name) or name.lower() in out[kind].by_lower:
            raise ValueError(f"field {spec.get('field')!r}: a new custom field is named Object.Something__c, of an object that is there")
        out[kind] = replace(out[kind], fields=(*out[kind].fields, _custom(f"{kind}.{name}", name, spec, out)))
    return list(out.values())


def _custom(label: str, name: str, spec: dict[str, Any], known: dict[str, ObjectType]) -> Field:
    if unknown := sorted(set(spec) - {"field", "type", "to", "children", "values", "external_id", "unique", "default"}):
        raise ValueError(f"field {label}: there is no {', '.join(unknown)}")
    kind, values = str(spec.get("type", "text")), tuple(str(one) for one in spec.get("values", ()))
    more = {"external_id": spec.get("external_id") is True, "unique": spec.get("unique") is True}
    if kind == "lookup":
        target = next((one.name for one in known.values() if one.name == spec.get("to")), None)
        if target is None:
            raise ValueError(f"field {label}: `to` names the object that it leads to")
        return ref(name, target, str(spec.get("children", "")))
    if kind in ("picklist", "multipicklist"):
        return replace(pick(name, *values), type=kind, length=255 if kind == "picklist" else 4099)
    if kind == "text":
        return text(name, 255, **more)
    shape = _FORMULA_TYPES.get(kind)
    if shape is None:
        raise ValueError(f"field {label}: type is one of lookup, picklist, multipicklist, {', '.join(_FORMULA_TYPES)}")
    return Field(name=name, **shape)


def with_formulas(types: Sequence[ObjectType], formulas: Sequence[dict[str, Any]]) -> list[ObjectType]:
    """Return the objects with the formula fields of *formulas*. Raises: ValueError with the first that is wrong."""
    out = {one.name: one for one in types}
    for spec in formulas:
        kind, field = _formula(spec)
        if kind not in out:
            raise ValueError(f"formula {kind}.{field.name}: there is no object {kind}")
        if field.name.lower() in out[kind].by_lower:
            raise ValueError(f"formula {kind}.{field.name}: the object has a field of that name")
        out[kind] = replace(out[kind], fields=(*out[kind].fields, field))
    return list(out.values())


def _formula(spec: dict[str, Any]) -> tuple[str, Field]:
    kind, _, name = str(spec.get("field", "")).partition(".")
    if not kind or not name.endswith("__c"):
        raise ValueError(f"a formula needs `field: Object.Name__c`, not {spec.get('field')!r}")
    if unknown := sorted(set(spec) - {"field", "type", "is", "copy", "cases", "otherwise"}):
        raise ValueError(f"formula {kind}.{name}: there is no {', '.join(unknown)}")
    shape = _FORMULA_TYPES.get(str(spec.get("type", "boolean" if "is" in spec else "text")))
    if shape is None:
        raise ValueError(f"formula {kind}.{name}: type is one of {', '.join(_FORMULA_TYPES)}")
    if "is" in spec:
        formula = Formula(cases=((str(spec["is"]), True),), otherwise=False)
    elif "copy" in spec:
        formula = Formula(cases=(), otherwise={"field": str(spec["copy"])})
    else:
        cases = spec.get("cases", [])
        if not isinstance(cases, list) or not all(isinstance(one, dict) and set(one) == {"when", "value"} for one in cases):
            raise ValueError(f"formula {kind}.{name}: cases are a list of when and value")
        formula = Formula(cases=tuple((str(one["when"]), one["value"]) for one in cases), otherwise=spec.get("otherwise"))
    made = Field(name=name, calculated=True, createable=False, updateable=False, formula=formula, **shape)
    return kind, made
