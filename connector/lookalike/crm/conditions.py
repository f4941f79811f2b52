"""Conditions of validation rules, record locks and formulas: SOQL conditions over one record and its parents.

`StageName = 'Closed Won' AND NextStep = null` on a draft of an opportunity; `CloseDate < TODAY` turns true by the date alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from connector.lookalike.crm.faults import locked_record
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.schema import NUMBERS, Field, Formula, ObjectType
from connector.lookalike.crm.soql import complaint, parsed_condition
from connector.lookalike.crm.soql_scope import Column, Scope
from connector.lookalike.crm.soql_tree import Call, Path, Query
from connector.lookalike.crm.soql_where import Predicate, Where
from connector.lookalike.crm.table import Row
from connector.lookalike.crm.values import rounded
from connector.lookalike.crm.view import OrgView


class Conditions:
    """Compiles conditions of an org once a day: what dates mean in them changes at midnight.

    rules - {object, when, message, field}: no record is saved for which `when` holds. locks - {object, when}: records, as they
    are stored, that cannot be changed.
    """

    def __init__(self, org: OrgView, *, rules: Sequence[dict[str, Any]], locks: Sequence[dict[str, Any]]) -> None:
        self._org = org
        self._rules, self._locks = rules, locks
        self._day: Any = None
        self._known: dict[tuple[str, str], Predicate] = {}
        self._depth = 0

    def holds(self, kind: ObjectType, condition: str, row: Row) -> bool:
        """Say whether the condition holds for a record. Raises: Refusal if it cannot be evaluated."""
        today = (self._org.now().astimezone(self._org.zone).date(), self._org.faults.generation)
        if self._day != today:
            self._day = today
            self._known.clear()
        key = (kind.name, condition)
        if key not in self._known:
            self._known[key] = self._compiled(kind, condition)
        return self._known[key](row)

    def check_lock(self, kind: ObjectType, old: Row) -> None:
        """Raise the Refusal of the lock under which a stored record is."""
        for lock in self._locks:
            if lock["object"] == kind.name and self.holds(kind, lock["when"], old):
                raise locked_record()

    def check(self, kind: ObjectType, draft: Row) -> None:
        """Raise the Refusal of the rule that a save runs into."""
        for rule in self._rules:
            if rule["object"] == kind.name and self.holds(kind, rule["when"], draft):
                fields = (rule["field"],) if rule.get("field") else ()
                raise Refusal("FIELD_CUSTOM_VALIDATION_EXCEPTION", rule["message"], fields=fields)

    def problems(self) -> list[str]:
        """Return what is wrong with the conditions of rules, locks and formulas."""
        known = {one.name: one for one in self._org.schema.types}
        asked: list[tuple[str, str, str]] = []
        for what, specs in (("rules", self._rules), ("record_locks", self._locks)):
            asked += [
                (f"{what}, number {number}", spec["object"], spec["when"]) for number, spec in enumerate(specs, 1)
            ]
        for kind in known.values():
            for field in kind.fields:
                if field.formula is not None:
                    asked += [(f"formula {kind.name}.{field.name}", kind.name, when) for when, _ in field.formula.cases]
        found = [self._problem(name, known.get(kind_name), when) for name, kind_name, when in asked]
        found += [
            self._problem(f"formula {one.name}.{f.name}", one, f)
            for one in known.values()
            for f in one.fields
            if f.formula is not None
        ]
        return list(dict.fromkeys(one for one in found if one))

    def _problem(self, name: str, kind: ObjectType | None, asked: str | Field) -> str:
        if kind is None:
            return f"{name}: there is no such object."
        try:
            if isinstance(asked, str):
                self.holds(kind, asked, {})
            else:
                self._org.value(kind, asked, {})
        except Refusal as refusal:
            return f"{name}: {refusal.message.strip().splitlines()[-1]}"
        return ""

    def _compiled(self, kind: ObjectType, condition: str) -> Predicate:
        scope = Scope(org=self._org, kind=kind, soql=condition)

        def column(left: Path | Call) -> Column:
            if isinstance(left, Call):
                raise complaint(condition, left.at, f"unexpected token: '{left.name}'")
            return scope.column(left)

        def sub_select(query: Query) -> frozenset[str]:
            raise complaint(condition, query.at, "a condition over one record has no sub-select")

        return Where(scope=scope, column=column, sub_select=sub_select).predicate(parsed_condition(condition))

    def value(self, kind: ObjectType, field: Field, formula: Formula, row: Row) -> Any:
        """Return what a formula gives for a record. Raises: Refusal if it uses another formula."""
        if self._depth:
            raise Refusal("INVALID_FIELD", f"formula {kind.name}.{field.name} is used by another formula")
        self._depth += 1
        try:
            found = next((value for when, value in formula.cases if self.holds(kind, when, row)), formula.otherwise)
            if isinstance(found, dict):
                path = Path(names=tuple(str(found["field"]).split(".")), at=0)
                found = Scope(org=self._org, kind=kind, soql=str(found["field"])).column(path).get(row)
        finally:
            self._depth -= 1
        if field.type in NUMBERS and found is not None:
            return rounded(Decimal(str(found)), field.scale)
        return found
