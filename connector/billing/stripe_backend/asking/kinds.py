"""Every kind of request and what it does on Stripe, as data: the doors go by it, and docs/stripe.md prints it.

| way | what happens |
|---|---|
| books | the books change and Stripe hears nothing of it |
| compiled | the books change what is agreed, and Stripe is brought there as after a deal |
| sent | checked against the books, carried out at Stripe, and read back before whoever asked gets an answer |
| refused | Stripe has no way to do it; the answer says where to do it instead |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Way = Literal["books", "compiled", "sent", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of request.

    kind - its name among the requests; asked - how people ask for it; does - what it does on Stripe in plain words, or why that
    cannot be; calls - what is called there (sent only); instead - what to do where it is refused.
    """

    kind: str
    asked: str
    way: Way
    does: str
    calls: tuple[str, ...] = ()
    instead: str = ""


_EVERY = (
    Kind(
        kind="contract.change", asked="`connector contracts amend`, `cancel`, `pause`, `resume`, `renew`, and `connector invoices add-item`", way="compiled",
        does="The contract is changed as on the internal engine; its schedules are updated, and parts of periods become our own invoice items.",
    ),
    Kind(
        kind="contract.import", asked="`connector import contracts`", way="compiled",
        does="From a file: subscriptions are made that began in the past, with the next bill date as anchor and nothing prorated. From Stripe: the"
        " subscriptions that are there are linked.",
    ),
    Kind(
        kind="contract.adopt", asked="`connector import contracts --from stripe`", way="sent",
        does="A subscription that the account has already becomes a contract; only our metadata is written to it.",
        calls=("customers.update", "subscriptions.update", "subscription_schedules.update"),
    ),
    Kind(
        kind="price.migrate", asked="`connector prices migrate`", way="compiled",
        does="Each contract is repriced in the books; its schedule gets the new price from the day on which it counts.",
    ),
    Kind(
        kind="customer.discount", asked="`connector customers discount`", way="compiled",
        does="Contracts without discounts of their own inherit it; their schedules get the coupon for periods that are not billed yet.",
    ),
    Kind(
        kind="customer.details", asked="the API's change of a customer's details", way="compiled",
        does="The books take it, and Stripe's customer is updated.",
    ),
    Kind(kind="customer.link", asked="`connector customers portal-link`", way="books", does="The portal link is ours; behind the new one is the same Stripe portal."),
    Kind(kind="catalogue.import", asked="`connector import catalog`", way="books", does="Prices and coupons are made at Stripe when a contract first uses them."),
    Kind(kind="quote.create", asked="`connector quotes create`", way="books", does="Quotes are ours on both backends."),
    Kind(kind="quote.send", asked="`connector quotes send`", way="books", does="Quotes are ours on both backends."),
    Kind(
        kind="quote.accept", asked="`connector quotes accept`, and the customer's page", way="compiled",
        does="The quote's contract is made in the books and goes to Stripe as a won deal does.",
    ),
    Kind(kind="quote.decline", asked="`connector quotes decline`, and the customer's page", way="books", does="Quotes are ours on both backends."),
    Kind(kind="quote.cancel", asked="`connector quotes cancel`", way="books", does="Quotes are ours on both backends."),
    Kind(
        kind="invoice.create", asked="`connector invoices create`", way="sent",
        does="A one-off invoice is made with one invoice item a line, and finalized at once.",
        calls=("customers.create", "tax_rates.create", "invoices.create", "invoice_items.create", "invoices.finalize_invoice"),
    ),
    Kind(
        kind="invoice.credit", asked="`connector invoices credit`", way="sent",
        does="A credit note is made on Stripe's invoice, by amount or by lines; what was paid goes back as asked.", calls=("credit_notes.create",),
    ),
    Kind(
        kind="invoice.refund", asked="`connector invoices refund`", way="sent",
        does="A credit note whose paid part Stripe refunds to what it was paid with; what was paid outside Stripe cannot be refunded by it.",
        calls=("credit_notes.create",),
    ),
    Kind(kind="invoice.void", asked="`connector invoices void`", way="sent", does="Stripe's invoice is voided.", calls=("invoices.void_invoice",)),
    Kind(
        kind="invoice.uncollectible", asked="`connector invoices uncollectible`", way="sent", does="Stripe's invoice is marked as uncollectible.",
        calls=("invoices.mark_uncollectible",),
    ),
    Kind(
        kind="invoice.pay", asked="`connector invoices pay`, and the console", way="sent",
        does="All that is open: Stripe's invoice is marked as paid outside. A part: a payment record of Stripe's is attached to it. Day, way and reference"
        " stand in the metadata.",
        calls=("invoices.update", "invoices.pay", "payment_records.report_payment", "invoices.attach_payment"),
    ),
    Kind(
        kind="invoice.enter", asked="a payment typed on an invoice's row in the CRM", way="sent",
        does="As `connector invoices pay`; what came of it is answered on the row.",
        calls=("invoices.update", "invoices.pay", "payment_records.report_payment", "invoices.attach_payment"),
    ),
    Kind(
        kind="invoice.charge", asked="the customer's “pay now”", way="sent", does="Stripe charges the customer's default payment method.",
        calls=("invoices.pay",),
    ),
    Kind(
        kind="invoice.send", asked="`connector invoices send`", way="sent",
        does="Stripe mails the invoice; where the connector is the one that mails (`mail.url`), it does.", calls=("invoices.send_invoice",),
    ),
    Kind(
        kind="invoice.due", asked="`connector invoices due`", way="refused", does="Stripe keeps the due date of an invoice that is issued.",
        instead="Void it and issue it anew with `connector invoices create`, or agree on the later day outside.",
    ),
    Kind(
        kind="invoice.reissue", asked="`connector invoices reissue`", way="refused",
        does="Stripe does not revise an invoice of a subscription, and its lines cannot be issued twice.",
        instead="Credit or void it, correct the customer in the CRM, and bill anew with `connector invoices create`.",
    ),
    Kind(
        kind="customer.adjust", asked="`connector customers adjust-balance`", way="sent",
        does="The customer's balance at Stripe is moved; the next invoice takes it.", calls=("customers.create", "customers.balance_transactions.create"),
    ),
    Kind(
        kind="customer.settle", asked="`connector customers set --consolidate`", way="refused",
        does="Stripe makes one invoice for each subscription that falls due.", instead="Put what shall stand on one invoice into one contract.",
    ),
    Kind(
        kind="customer.payment_method", asked="`connector customers payment-method`", way="sent",
        does="A payment method that Stripe has (pm_…) becomes the customer's default, or the default is detached; customers store their own behind"
        " their portal link.",
        calls=("customers.create", "payment_methods.attach", "customers.update", "payment_methods.detach"),
    ),
    Kind(
        kind="usage.record", asked="`connector usage import`", way="sent",
        does="Each record is kept in the books once and sent as a meter event under its id.", calls=("billing.meter_events.create",),
    ),
    Kind(kind="deal.approve", asked="`connector deals approve`", way="compiled", does="The deal is carried out at the next round, as any deal."),
    Kind(kind="deal.relink", asked="`connector deals relink`", way="books", does="The ledger links the deal to a contract; Stripe hears nothing of it."),
    Kind(kind="mapping.adopt", asked="`connector mapping adopt`", way="compiled", does="Deals that are read differently from now on are decided anew."),
)  # fmt: skip

KINDS = {kind.kind: kind for kind in _EVERY}
"""What each kind of request does on Stripe, by its name."""


def table() -> str:
    """Return the table as Markdown: what people ask for, and what it does on Stripe."""
    words = {"books": "unchanged", "compiled": "as agreed", "sent": "at Stripe", "refused": "refused"}
    rows = ["| Asked for by | | On Stripe |", "|---|---|---|"]
    for kind in _EVERY:
        what = f"{kind.does} {kind.instead}".strip()
        calls = f" ({', '.join(f'`{c}`' for c in kind.calls)})" if kind.calls else ""
        rows.append(f"| {kind.asked} | {words[kind.way]} | {what}{calls} |")
    return "\n".join(rows) + "\n"
