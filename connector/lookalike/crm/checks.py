"""What a save must pass before anything is derived: names, rights, types, lookups, unique keys."""

from __future__ import annotations

from typing import Any

from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.schema import Field, ObjectType
from connector.lookalike.crm.table import Row
from connector.lookalike.crm.values import stored
from connector.lookalike.crm.view import OrgView


def read_changes(org: OrgView, one: ObjectType, fields: dict[str, Any], *, is_new: bool) -> Row:
    """Return the fields of a request in stored form, under their canonical names. Raises: Refusal for the first bad one."""
    changes: Row = {}
    for name, value in fields.items():
        if name == "attributes":
            continue
        if isinstance(value, dict):
            field = one.by_relationship.get(name.lower())
            value = _by_reference(org, field, name, value)
        else:
            field = org.field(one, name)
        if field is None:
            raise Refusal("INVALID_FIELD", f"No such column '{name}' on sobject of type {one.name}")
        _check_writable(org, one, field, is_new=is_new)
        kept = stored(field, value)
        if field.target and kept is not None:
            _check_reference(org, field, kept)
        changes[field.name] = False if kept is None and field.type == "boolean" else kept
    return changes


def _by_reference(org: OrgView, field: Field | None, name: str, value: dict[str, Any]) -> str | None:
    keys = [key for key in value if key != "attributes"]
    target = org.schema.by_lower[field.target.lower()] if field else None
    key = org.field(target, keys[0]) if target and len(keys) == 1 else None
    if target is None or key is None or not (key.external_id or key.type == "id"):
        raise Refusal("INVALID_FIELD", f"Cannot reference a foreign key field {name}.")
    if value[keys[0]] is None:
        return None
    if key.type == "id":
        return str(value[keys[0]])
    found = org.by_external(target.name, key.name, str(value[keys[0]]))
    if found is None:
        text = f"Foreign key external ID: {value[keys[0]]} not found for field {key.name} in entity {target.name}"
        raise Refusal("INVALID_FIELD", text)
    return str(found["Id"])


def _check_writable(org: OrgView, one: ObjectType, field: Field, *, is_new: bool) -> None:
    allowed = field.createable if is_new else field.updateable
    barred = (one.name, field.name) in org.faults.read_only or (one.name, field.name) in org.faults.calculated
    if not allowed or barred:
        raise Refusal(
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            f"Unable to create/update fields: {field.name}. Please check the security settings of this field and verify "
            "that it is read/write for your profile or permission set.",
            fields=(field.name,),
        )


def _check_reference(org: OrgView, field: Field, record: str) -> None:
    target = org.schema.by_lower[field.target.lower()]
    if record[:3] != target.prefix:
        raise Refusal(
            "FIELD_INTEGRITY_EXCEPTION", f"{field.name}: id value of incorrect type: {record}", fields=(field.name,)
        )
    found = org.table(target.name).rows.get(record)
    if found is None:
        raise Refusal("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", fields=(field.name,))
    if found["IsDeleted"]:
        raise Refusal("ENTITY_IS_DELETED", "entity is deleted", fields=(field.name,))


def check_unique(org: OrgView, one: ObjectType, field: Field, draft: Row) -> None:
    """Raise the Refusal that a second record with the value of a unique field gets."""
    if not field.unique or (one.name, field.name) in org.faults.not_unique:
        return
    twins = (
        org.table(one.name).rows[found] for found in org.table(one.name).matching(field.name, str(draft[field.name]))
    )
    twin = next((row for row in twins if not row["IsDeleted"] and row["Id"] != draft["Id"]), None)
    if twin is not None:
        text = f"duplicate value found: {field.name} duplicates value on record with id: {twin['Id'][:15]}"
        raise Refusal("DUPLICATE_VALUE", text, fields=(field.name,))
