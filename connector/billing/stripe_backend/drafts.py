"""The unfinished invoice that a push left behind is taken back, so that nothing of it is ever billed: the next plan makes it anew.

| it is | then |
|---|---|
| a draft | its items are deleted, then the draft: so none of them can be on the customer's next invoice, or hang on a draft that is gone |
| open, because somebody finalized it meanwhile | voided |
| paid, likewise | told in the log: nobody can take it back but by a credit |
| gone, void | nothing |

Worked example: of three months the second item is refused. The first item and the draft are deleted; corrected, the deal is billed by one
invoice of three lines.
"""

from __future__ import annotations

from collections.abc import Callable

from connector.billing.stripe_backend import lookup, settling
from connector.billing.stripe_backend.refusals import Refusal
from connector.billing.stripe_backend.steps import Calls, Push
from connector.errors import ConnectorError


def take_back(calls: Calls, push: Push, log: Callable[..., None]) -> None:
    """Take back the invoices of our own that *push* began and did not finish; what cannot be taken back is told in the log."""
    for invoice, items in settling.left_drafts(push):
        try:
            found = lookup.standing(calls, "invoices", invoice)
            status = found["status"] if found is not None else "gone"
            if status == "draft":
                for item in items:
                    _done(calls, "invoice_items.delete", item, push)
                _done(calls, "invoices.delete", invoice, push)
            elif status == "open":
                _done(calls, "invoices.void_invoice", invoice, push)
            elif status == "paid":
                hint = "It was finalized and paid before it was whole, and is billed anew: credit it (`connector invoices credit`)."
                log("push.left", key=push.key, invoice=invoice, error="The unfinished invoice is paid.", hint=hint)
        except ConnectorError as error:
            log("push.left", key=push.key, invoice=invoice, error=str(error), hint="Delete or void this invoice at Stripe.")


def _done(calls: Calls, call: str, target: str, push: Push) -> None:
    try:
        calls.do(call, {}, target=target, key=f"{push.key}/left-{target}")
    except Refusal as refusal:
        if refusal.code != "resource_missing":
            raise
