"""POST /composite/tree/T: up to 200 new records with their children, all of them or none."""

from __future__ import annotations

from typing import Any

from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.rest import Rest, body_of
from connector.lookalike.crm.wire import Reply, Request

_MAX_RECORDS, _MAX_DEPTH = 200, 5


class _RefusedError(Exception):
    """Leaves the transaction so that nothing of the tree stays."""


class Trees:
    """The resource for record trees."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._org: Org = rest.org
        rest.routes[:0] = [(("composite", "tree", "*"), {"POST": self._plant})]

    def _plant(self, request: Request, name: str) -> Reply:
        records = body_of(request).get("records")
        made: list[dict[str, str]] = []
        errors: list[dict[str, Any]] = []
        try:
            with self._org.transaction():
                self._records(self._org.type(name).name, records, {}, made, errors)
                if errors:
                    raise _RefusedError
        except _RefusedError:
            return Reply(status=400, body={"hasErrors": True, "results": errors})
        self._rest.written += len(made)
        return Reply(status=201, body={"hasErrors": False, "results": made})

    def _records(
        self, kind: str, records: Any, parent: dict[str, str], made: list[dict[str, str]], errors: list[dict[str, Any]], depth: int = 1
    ) -> None:
        if not isinstance(records, list) or not records or not all(isinstance(one, dict) for one in records):
            raise Refusal("JSON_PARSER_ERROR", "records must be an array of objects")
        if depth > _MAX_DEPTH or len(made) + len(records) > _MAX_RECORDS:
            raise Refusal("INVALID_INPUT", f"A tree holds at most {_MAX_RECORDS} records on {_MAX_DEPTH} levels")
        below = self._org.schema.children[kind]
        for record in records:
            reference = self._reference(kind, record, made, errors)
            children = {key: value for key, value in record.items() if key.lower() in below and isinstance(value, dict)}
            own = {key: value for key, value in record.items() if key not in children}
            try:
                with self._org.transaction():
                    found = self._org.create(kind, {**own, **parent})
            except Refusal as refusal:
                errors.append({"referenceId": reference, "errors": [refusal.entry()]})
                continue
            made.append({"referenceId": reference, "id": found})
            for key, value in children.items():
                child, lookup = below[key.lower()]
                self._records(child.name, value.get("records"), {lookup.name: found}, made, errors, depth + 1)

    def _reference(self, kind: str, record: dict[str, Any], made: list[dict[str, str]], errors: list[dict[str, Any]]) -> str:
        attributes = record.get("attributes")
        reference = attributes.get("referenceId") if isinstance(attributes, dict) else None
        if not isinstance(attributes, dict) or not isinstance(reference, str) or attributes.get("type") != kind:
            raise Refusal("INVALID_INPUT", f"every record needs attributes: its type {kind} and a referenceId")
        if any(one["referenceId"] == reference for one in (*made, *errors)):
            raise Refusal("INVALID_INPUT", f"Duplicate ReferenceId provided in the request: {reference}")
        return reference
