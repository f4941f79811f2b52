"""Names in a query -> fields of the org, and the functions that read them from rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.schema import Field, ObjectType
from connector.lookalike.crm.soql import complaint
from connector.lookalike.crm.soql_tree import Path, Query
from connector.lookalike.crm.table import Row
from connector.lookalike.crm.view import OrgView

_REFERENCE = "Please reference your WSDL or the describe call for the appropriate names."
_MAX_PARENTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A readable value: *get* takes it from an item (a row, or the rows of a group).

    field - its type. steps - the lookups that lead to it. name - the field's canonical name; "" for an aggregate.
    """

    get: Callable[[Any], Any]
    field: Field
    kind: ObjectType
    name: str
    steps: tuple[Field, ...] = ()

    @property
    def is_direct(self) -> bool:
        """Say whether it is a field of the queried record itself."""
        return bool(self.name) and not self.steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The object that a query reads, and the text that its errors quote."""

    org: OrgView
    kind: ObjectType
    soql: str
    alias: str = ""

    def column(self, path: Path) -> Column:
        """Return the field that *path* names. Raises: Refusal INVALID_FIELD."""
        names = list(path.names)
        if (
            len(names) > 1
            and names[0].lower() in (self.alias.lower(), self.kind.name.lower())
            and names[0].lower() not in self.kind.by_relationship
        ):
            names = names[1:]
        if len(names) - 1 > _MAX_PARENTS:
            raise complaint(
                self.soql,
                path.at,
                f"Only {_MAX_PARENTS} levels of parents can be traversed: {path.text}",
                "INVALID_FIELD",
            )
        kind, steps = self.kind, []
        for name in names[:-1]:
            step = kind.by_relationship.get(name.lower())
            if step is None or self.org.field(kind, step.name) is None:
                raise self._no_relationship(path, name)
            steps.append(step)
            kind = self.org.schema.by_lower[step.target.lower()]
        field = self.org.field(kind, names[-1])
        if field is None:
            raise complaint(
                self.soql,
                path.at,
                f"No such column '{names[-1]}' on entity '{kind.name}'. If you are attempting to use a custom field, be sure to append "
                f"the '__c' after the custom field name. {_REFERENCE}",
                "INVALID_FIELD",
            )
        return Column(
            get=_getter(self.org, steps, kind, field), field=field, kind=kind, name=field.name, steps=tuple(steps)
        )

    def _no_relationship(self, path: Path, name: str) -> Refusal:
        return complaint(
            self.soql,
            path.at,
            f"Didn't understand relationship '{name}' in field path. If you are attempting to use a custom relationship, be sure to "
            f"append the '__r' after the custom relationship name. {_REFERENCE}",
            "INVALID_FIELD",
        )


def scope_of(org: OrgView, query: Query, soql: str) -> Scope:
    """Return the scope of a statement. Raises: Refusal INVALID_TYPE for an object the org does not have."""
    kind = org.schema.by_lower.get(query.source.lower())
    if kind is None:
        raise complaint(
            soql,
            soql.lower().find(query.source.lower(), query.at),
            f"sObject type '{query.source}' is not supported. If you are attempting to use a custom object, be sure to append the '__c' "
            f"after the entity name. {_REFERENCE}",
            "INVALID_TYPE",
        )
    return Scope(org=org, kind=kind, soql=soql, alias=query.alias)


def child_scope(scope: Scope, query: Query) -> tuple[Scope, Field]:
    """Return the scope of a subquery over a child relationship, and the lookup that leads back."""
    found = scope.org.schema.children[scope.kind.name].get(query.source.lower())
    if found is None:
        raise complaint(
            scope.soql,
            query.at,
            f"Didn't understand relationship '{query.source}' in FROM part of query call. If you are attempting to use a custom "
            f"relationship, be sure to append the '__r' after the custom relationship name. {_REFERENCE}",
            "INVALID_TYPE",
        )
    kind, field = found
    return Scope(org=scope.org, kind=kind, soql=scope.soql, alias=query.alias), field


def relationship_name(scope: Scope, query: Query) -> str:
    """Return the canonical name of the child relationship that a subquery reads."""
    return child_scope(scope, query)[1].children


def parent_of(org: OrgView, step: Field) -> Callable[[Row], Row | None]:
    """Return the function from a row to the record its lookup *step* points at."""
    rows, name = org.table(step.target).rows, step.name
    return lambda row: rows.get(row.get(name, ""))


def _getter(org: OrgView, steps: list[Field], kind: ObjectType, field: Field) -> Callable[[Any], Any]:
    last = _last(org, kind, field)
    if not steps:
        return last
    parents = [parent_of(org, step) for step in steps]

    def get(row: Row) -> Any:
        here = row
        for parent in parents:
            found = parent(here)
            if found is None:
                return None
            here = found
        return last(here)

    return get


def _last(org: OrgView, kind: ObjectType, field: Field) -> Callable[[Row], Any]:
    if field.type == "address":
        return _address(kind, field)
    if field.formula is not None:
        return lambda row: org.value(kind, field, row)
    return _plain(field.name)


def _plain(name: str) -> Callable[[Row], Any]:
    return lambda row: row.get(name)


def _address(kind: ObjectType, field: Field) -> Callable[[Row], Any]:
    prefix = field.name.removesuffix("Address")
    parts = {"street": "Street", "city": "City", "state": "State", "postalCode": "PostalCode", "country": "Country"}
    if f"{prefix}CountryCode".lower() in kind.by_lower:
        parts |= {"stateCode": "StateCode", "countryCode": "CountryCode"}

    def get(row: Row) -> Any:
        found = {key: row.get(prefix + part) for key, part in parts.items()}
        return found if any(found.values()) else None

    return get
