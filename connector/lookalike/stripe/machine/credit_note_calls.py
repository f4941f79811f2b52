"""The endpoints of credit notes."""

from __future__ import annotations

from collections.abc import Mapping

from connector.lookalike.stripe.account import Account, Data, endpoint
from connector.lookalike.stripe.listing import page, within
from connector.lookalike.stripe.machine import credit_notes
from connector.lookalike.stripe.machine.keeping import indexed
from connector.lookalike.stripe.metadata import merged

PATH = "/v1/credit_notes"


@endpoint("POST", PATH, "CreditNoteCreateParams")
def create(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Issue a credit note."""
    return credit_notes.issued(account, credit_notes.checked(account, credit_notes.drawn(account, params), params), params)


@endpoint("GET", f"{PATH}/preview", "CreditNotePreviewParams")
def preview(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Return a credit note as it would be, without issuing it."""
    return credit_notes.drawn(account, params)


@endpoint("GET", f"{PATH}/{{id}}", "CreditNoteRetrieveParams")
def retrieve(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Return a credit note."""
    return account.get("credit_note", ids["id"])


@endpoint("GET", f"{PATH}/{{id}}/lines", "CreditNoteLineItemListParams")
def lines(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List the lines of a credit note."""
    held = account.get("credit_note", ids["id"])["lines"]
    return page(held["data"], params, held["url"])


@endpoint("GET", PATH, "CreditNoteListParams")
def listed(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List credit notes by invoice or customer."""
    for name in ("invoice", "customer"):
        if params.get(name):
            found = indexed(account, "credit_note", name, params[name])
            break
    else:
        found = list(account.kind("credit_note").values())
    return page([one for one in reversed(found) if within(one["created"], params.get("created"))], params, PATH)


@endpoint("POST", f"{PATH}/{{id}}", "CreditNoteUpdateParams")
def update(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Change the memo or metadata of a credit note."""
    note = account.get("credit_note", ids["id"])
    note["memo"] = params.get("memo", note["memo"])
    note["metadata"] = merged(note["metadata"], params.get("metadata"))
    account.emit("credit_note.updated", note)
    return note


@endpoint("POST", f"{PATH}/{{id}}/void", "CreditNoteVoidCreditNoteParams")
def void(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Take a credit note back."""
    return credit_notes.voided(account, account.get("credit_note", ids["id"]))
