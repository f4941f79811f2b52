"""Requests about deals: approve the amendment that an edit after billing proposes, link a deal to a contract."""

from __future__ import annotations

from pathlib import Path

from connector import app
from connector.asking.shared import TOLD, bad
from connector.core.money import major
from connector.errors import RejectedError
from connector.sync.edits import offer
from connector.sync.requests import require_linkable
from connector.verbs import Result, held_as, open_config, preview_invoices


def approve(config_path: Path, name: str, *, reason: str, is_dry: bool = False) -> Result:
    """Apply the amendment that an edit of the billed deal *name* proposes; *is_dry* shows it and the invoices that follow.

    Raises: RejectedError where nothing waits for approval or no amendment closes the difference; ConfigError without a reason.
    """
    config = open_config(config_path)
    if not is_dry and not reason.strip():
        raise bad("It is not said why the amendment is approved.", 'Add --reason "..."; it stands in the history of the deal.')
    with app.reading_house(config) as books, books.database.read() as unit:
        found = offer(books.billing, unit, name, books.now(), app.deal_requests(books).reasons(books.now()))
        preview = books.billing.preview(found.command, unit, books.now())
    if preview.problem is not None:
        raise RejectedError(preview.problem)
    shown = {"deal": name, "contract": found.deal.contract_id, "invoices": preview_invoices(preview, preview.currency)}
    if is_dry:
        return {"text": f"Nothing was written. {found.deal.label}: {found.text}", "issued": [], **shown, "held": held_as(preview)}
    done = app.request(config, "deals approve", "deal.approve", {"deal": name, "reason": reason.strip()})
    issued = [{**i, "total": f"{major(i['total'], i['currency'])} {i['currency'].upper()}"} for i in done["invoices"]]
    return {"text": f"Done: {found.deal.label}: {done['text']} {TOLD}", "issued": issued, **shown}


def relink(config_path: Path, name: str, contract: str, *, reason: str) -> Result:
    """Link the change deal *name* to a contract. Raises: RejectedError with what is wrong about it."""
    config = open_config(config_path)
    with app.reading_house(config) as books, books.database.read() as unit:
        require_linkable(books.billing, unit, name, contract)
    done = app.request(config, "deals relink", "deal.relink", {"deal": name, "contract": contract, "reason": reason.strip()})
    return {"text": f"{done['label']} ({name}) is linked to {contract}; the next round tries it.", **done}
