"""The one way in which the demo CRM says no: status, Salesforce's error code, a message, the fields."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):  # noqa: N818 - the CRM's answer, not an error of ours
    """A request that the CRM refuses; becomes one error body of a reply.

    status - HTTP status when it is the reply itself. code - Salesforce's errorCode. fields - the names it concerns.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, fields: tuple[str, ...] = ()) -> None:
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields
        super().__init__(f"{code}: {message}")

    def body(self) -> list[dict[str, Any]]:
        """Return the error body of a REST reply (`errorCode`)."""
        one: dict[str, Any] = {"message": self.message, "errorCode": self.code}
        if self.fields:
            one["fields"] = list(self.fields)
        return [one]

    def entry(self) -> dict[str, Any]:
        """Return the error entry of an sObject Collections result (`statusCode`)."""
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields)}


class AmbiguousError(Refusal):
    """An external id that several records have: status 300, and the body is the list of their paths.

    kind, ids - the records.
    """

    def __init__(self, kind: str, field: str, ids: list[str]) -> None:
        self.kind = kind
        self.ids = ids
        text = f"{field}: more than one record found for external id field: [{', '.join(ids)}]"
        super().__init__("DUPLICATE_EXTERNAL_ID", text, status=300, fields=(field,))


def not_found(message: str = "The requested resource does not exist") -> Refusal:
    """Return the 404 that Salesforce gives for paths and records it does not have."""
    return Refusal("NOT_FOUND", message, status=404)
