"""What a describe reply says of an object and its fields, as values of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector.ports import FieldInfo, ObjectInfo


def object_from_describe(said: Mapping[str, Any]) -> ObjectInfo:
    """Return the object; a field that is hidden from us is not there."""
    fields = {one["name"]: _field_from_describe(one) for one in said["fields"]}
    return ObjectInfo(
        name=said["name"],
        label=said.get("label") or said["name"],
        fields=fields,
        is_queryable=said.get("queryable", True),
        is_createable=said.get("createable", True),
        is_updateable=said.get("updateable", True),
    )


def _field_from_describe(said: Mapping[str, Any]) -> FieldInfo:
    return FieldInfo(
        name=said["name"],
        type=said["type"],
        label=said.get("label") or "",
        length=said.get("length") or 0,
        precision=said.get("precision") or 0,
        scale=said.get("scale") or 0,
        is_nillable=said.get("nillable", True),
        is_updateable=said.get("updateable", True),
        is_createable=said.get("createable", True),
        is_calculated=said.get("calculated", False),
        is_external_id=said.get("externalId", False),
        is_unique=said.get("unique", False),
        is_restricted=said.get("restrictedPicklist", False),
        picklist=tuple(one["value"] for one in said.get("picklistValues") or () if one.get("active", True)),
        relationship=said.get("relationshipName"),
        reference_to=tuple(said.get("referenceTo") or ()),
    )
