"""What was added to an org by metadata: fields and objects that stand beside those of the catalogue, and how they are kept.

A bare org has the catalogue's standard fields only; whatever ends in `__c` comes by deployment. What was deployed is part of the
org's settings, so that a file holds it, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from connector.lookalike.crm.schema import Field, ObjectType, Schema, plain, read_only, ref, text

_TUPLES = ("picklist",)
_OTHERS = ("SBQQ__",)
_PREFIXES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def bare(schema: Schema) -> Schema:
    """Return the schema without anything of the connector's; what other packages added stays."""
    types = (one for one in schema.types if not _is_ours(one.name))
    return Schema(types=tuple(replace(one, fields=tuple(f for f in one.fields if not _is_ours(f.name))) for one in types))


def _is_ours(name: str) -> bool:
    return name.endswith("__c") and not name.startswith(_OTHERS)


def with_deployed(schema: Schema, deployed: Mapping[str, Any]) -> Schema:
    """Return the schema with the objects and fields of *deployed* (as `told` gives them)."""
    types = {one.name: one for one in schema.types}
    for name, kept in deployed.items():
        fields = tuple(Field(**{**one, **{key: tuple(one[key]) for key in _TUPLES}}) for one in kept["fields"])
        known = types.get(name) or custom_object(name, kept["prefix"], kept["auto_number"], kept["plural"])
        types[name] = merged(known, fields)
    return Schema(types=tuple(types.values()))


def told(types: Iterable[ObjectType], deployed: Mapping[str, tuple[Field, ...]]) -> dict[str, Any]:
    """Return what to keep of the objects that carry *deployed* fields, as plain values."""
    known = {one.name: one for one in types}
    return {
        name: {
            "prefix": known[name].prefix, "plural": known[name].plural, "fields": [asdict(one) for one in fields],
            "auto_number": next((f.auto_number for f in known[name].fields if f.name == "Name"), ""),
        }
        for name, fields in deployed.items()
    }  # fmt: skip


def together(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to keep after another deployment: a field that came again as it came last."""
    out = {name: dict(kept) for name, kept in old.items()}
    for name, kept in new.items():
        fields = {one["name"]: one for one in (*out.get(name, {}).get("fields", ()), *kept["fields"])}
        out[name] = {**kept, "fields": list(fields.values())}
    return out


def merged(kind: ObjectType, fields: Iterable[Field]) -> ObjectType:
    """Return the object with *fields* added, or in place of those of the same name."""
    new = {one.name: one for one in fields}
    kept = [new.pop(one.name, one) for one in kind.fields]
    return replace(kind, fields=(*kept, *new.values()))


def custom_object(name: str, prefix: str, auto_number: str = "", plural: str = "") -> ObjectType:
    """Return an object with the fields that every custom object has; *auto_number* - the form of its names, "" for text."""
    is_numbered = bool(auto_number)
    own = text("Name", 80, nillable=not is_numbered, createable=not is_numbered, updateable=not is_numbered, auto_number=auto_number)
    head = read_only((plain("Id", "id", length=18, nillable=False), plain("IsDeleted", "boolean", nillable=False)))
    tail = read_only((
        plain("CreatedDate", "datetime", nillable=False), ref("CreatedById", "User", nillable=False), plain("LastModifiedDate", "datetime", nillable=False),
        ref("LastModifiedById", "User", nillable=False), plain("SystemModstamp", "datetime", nillable=False),
    ))  # fmt: skip
    return ObjectType(name=name, prefix=prefix, fields=(*head, own, ref("OwnerId", "User"), *tail), plural=plural)


def next_prefix(types: Iterable[ObjectType]) -> str:
    """Return the first free three characters for ids of a new object: a0A, a0B ..."""
    taken = {one.prefix for one in types}
    return next(f"a{digit}{letter}" for digit in "0123456789" for letter in _PREFIXES if f"a{digit}{letter}" not in taken)
