"""The actions of a scenario: what happens to the contract, its invoices, the balance and the quote, in order of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from connector.core.invoicing import Usage
from connector.core.period import boundary, to_utc
from connector.core.terms import Change, Contract, ContractTerms, Item, ItemChange, Phase, Price
from connector.simulate.scenario import Reader, Scenario, Settle
from connector.simulate.values import Complaint, Path, name_of

_AMEND_KEYS = (
    "items", "effective", "until", "proration_behavior", "discounts", "billing_cycle_anchor", "trial_end", "prebill", "end", "end_behavior",
    "add_invoice_items", "metadata",
)  # fmt: skip
_KEYS: dict[str, tuple[str, ...]] = {
    "amend": _AMEND_KEYS,
    "cancel": ("when", "prorate", "invoice_now", "prices"),
    "renew": (
        "effective",
        "duration",
        "items",
        "add_invoice_items",
        "uplift_percent",
        "discounts",
        "end_behavior",
        "prebill",
    ),
    "pause": ("effective", "behavior", "until", "proration_behavior"),
    "resume": ("effective", "proration_behavior"),
    "migrate_price": ("from", "to", "when", "proration_behavior"),
    "usage": ("price", "quantity", "on", "id"),
    "invoice_item": ("price", "quantity", "discounts", "tax_rates", "id"),
    "pay": ("invoice", "amount"),
    "fail": ("invoice",),
    "void": ("invoice",),
    "mark_uncollectible": ("invoice",),
    "credit_note": ("invoice", "amount", "lines", "refund", "credit", "out_of_band"),
    "adjust_balance": ("amount",),
    "finalize": (),
    "accept": (),
    "revise": ("contract", "change"),
}
_ON_QUOTE = ("finalize", "accept", "revise")

Action = tuple[datetime, Path, Change | Usage | Settle]


class _Actions:
    """Reads the list of actions with the scenario's reader."""

    def __init__(
        self, reader: Reader, terms: ContractTerms, *, is_quote: bool, offered: tuple[Mapping[str, Any], Path] | None = None
    ) -> None:
        """Args: offered - what a quote on the contract does, as an action without `at`, and where it stands."""
        self.reader, self.terms, self.is_quote, self.offered = reader, terms, is_quote, offered
        self.used: dict[str, Usage] = {}

    def read(self) -> list[Action]:
        """Return the actions in the order written; one that is out of time order is a problem."""
        found: list[Action] = []
        last: datetime | None = None
        for number, entry in enumerate(self.reader.listed(self.reader.tree.get("actions"), ("actions",))):
            path: Path = ("actions", number)
            action = self._action(entry, path, f"action-{number + 1}")
            if action is None:
                continue
            at = action[0]
            if last is not None and at < last:
                self.reader.complain(
                    "action-order",
                    (*path, "at"),
                    f"{at.isoformat()} is before the action above it.",
                    "List actions in time order.",
                )
            last = at
            found.append(action)
        return found

    def read_one(self, entry: Any) -> Change | None:
        """Return the change that an entry says by itself."""
        found = self._action(entry, (), "request")
        return found[2] if found is not None and isinstance(found[2], Change) else None

    def _action(self, entry: Any, path: Path, change_id: str) -> Action | None:
        reader = self.reader
        do = entry.get("do") if isinstance(entry, dict) else None
        is_cancel_quote = do == "cancel" and self.is_quote and not any(k in entry for k in ("when", "prorate"))
        keys = () if is_cancel_quote else _KEYS.get(str(do), ())
        if isinstance(entry, dict) and do is None:
            reader.complain("missing-key", path, f"{name_of(path)} needs the key 'do'.", f"It is one of: {', '.join(_KEYS)}.")
            return None
        if isinstance(entry, dict) and do not in _KEYS:
            reader.word(do, (*path, "do"), _KEYS, "")
            return None
        data = reader.mapping(entry, path, ("at", "do", *keys), ("at", "do"))
        at = reader.instant(data.get("at"), (*path, "at"))
        if at is None:
            return None
        if do in _ON_QUOTE or is_cancel_quote:
            return at, path, self._on_quote(str(do), data, at, path)
        if do == "usage":
            return self._usage(data, at, path)
        if do in ("pay", "fail", "void", "mark_uncollectible", "credit_note", "adjust_balance"):
            return at, path, self._settle(str(do), data, at, path)
        change = getattr(self, f"_{do}")(data, path, Change(id=change_id, kind="amend", effective=at, made_at=at))
        return None if change is None else (at, path, change)

    # ------------------------------------------------------------------ changes

    def _amend(self, data: dict[str, Any], path: Path, change: Change) -> Change:
        reader = self.reader
        at = change.made_at
        effective = reader.instant(data.get("effective"), (*path, "effective")) or at
        steps = [
            self._step(s, (*path, "items", i)) for i, s in enumerate(reader.listed(data.get("items"), (*path, "items")))
        ]
        discounts = data.get("discounts") or {}
        if isinstance(discounts, list):
            discounts = {"set": discounts}
        coupons = reader.mapping(discounts, (*path, "discounts"), ("add", "remove", "set"))
        where = (*path, "discounts")
        return replace(
            change, effective=effective, items=tuple(s for s in steps if s is not None),
            one_time=reader.items(data.get("add_invoice_items"), (*path, "add_invoice_items"), is_one_time=True),
            until=reader.instant(data.get("until"), (*path, "until")),
            proration_behavior=reader.behavior(data.get("proration_behavior"), (*path, "proration_behavior")),
            discounts_add=reader.all_named(coupons.get("add"), (*where, "add"), reader.coupons, "coupon"),
            discounts_remove=tuple(c.id for c in reader.all_named(coupons.get("remove"), (*where, "remove"), reader.coupons, "coupon")),
            discounts_set=None if coupons.get("set") is None else reader.all_named(coupons["set"], (*where, "set"), reader.coupons, "coupon"),
            billing_cycle_anchor=self._anchor(data.get("billing_cycle_anchor"), (*path, "billing_cycle_anchor"), effective),
            new_end=reader.instant(data.get("end"), (*path, "end")),
            trial_end=reader.instant(data.get("trial_end"), (*path, "trial_end")),
            prebill=reader.prebill(data.get("prebill"), (*path, "prebill")), end_behavior=self._end_behavior(data, path),
            metadata=reader.metadata(data.get("metadata"), (*path, "metadata")),
        )  # fmt: skip

    def _end_behavior(self, data: dict[str, Any], path: Path) -> Any:
        return (
            self.reader.word(data.get("end_behavior"), (*path, "end_behavior"), ("release", "cancel", "renew"), "")
            or None
        )

    def _anchor(self, value: Any, path: Path, effective: datetime) -> Any:
        if value is None or value in ("unchanged", "now"):
            return value or "unchanged"
        return self.reader.anchor(value, path, effective) or "unchanged"

    def _step(self, entry: Any, path: Path) -> ItemChange | None:
        reader = self.reader
        data = reader.mapping(entry, path, ("add", "set", "remove", "delta", "replaces", "item"))
        verbs = [v for v in ("add", "set", "remove", "delta") if v in data]
        if len(verbs) != 1:
            reader.complain("item-change", path, "An entry has one of add, set, remove and delta.")
            return None
        verb = verbs[0]
        if verb == "remove":
            return ItemChange(op="remove", item_id=str(data["remove"]))
        item = reader.item(data[verb], (*path, verb), is_shrinking=verb == "delta")
        if item is None:
            return None
        target = data.get("replaces") if verb == "set" else data.get("item")
        return ItemChange(op=verb, item=item, item_id=None if target is None else str(target))

    def _cancel(self, data: dict[str, Any], path: Path, change: Change) -> Change:
        reader = self.reader
        when = data.get("when")
        if when is None:
            reader.complain(
                "missing-key", path, "A cancellation needs the key 'when'.", "now, period_end, term_end or an instant."
            )
        is_named = when in ("now", "period_end", "term_end")
        for key in ("prorate", "invoice_now"):
            if data.get(key) is None and when not in ("period_end", "term_end"):
                reader.complain(
                    "missing-key",
                    path,
                    f"A cancellation needs the key {key!r}.",
                    "It is always said, except at the end of a period.",
                )
        effective = change.made_at if is_named else reader.instant(when, (*path, "when")) or change.made_at
        return replace(
            change, kind="cancel", effective=effective, when=when if when in ("period_end", "term_end") else "at",
            prorate=reader.truth(data.get("prorate"), (*path, "prorate"), default=False),
            invoice_now=reader.truth(data.get("invoice_now"), (*path, "invoice_now"), default=False),
            item_ids=tuple(str(p) for p in reader.listed(data.get("prices"), (*path, "prices"))),
        )  # fmt: skip

    def _migrate_price(self, data: dict[str, Any], path: Path, change: Change) -> Change | None:
        reader = self.reader
        for key in ("from", "to", "when"):
            if data.get(key) is None:
                reader.complain("missing-key", path, f"A price migration needs the key {key!r}.")
        if any(data.get(key) is None for key in ("from", "to")):
            return None
        price = reader.named(data["to"], (*path, "to"), reader.prices, "price")
        when = reader.word(data.get("when"), (*path, "when"), ("now", "renewal"), "now")
        if price is None:
            return None
        if price.interval is None:
            reader.complain("one-time-price", (*path, "to"), f"{price.id} is charged once.", "Name a recurring price.")
            return None
        step = ItemChange(op="reprice", item=Item(id=price.id, price=price), item_id=str(data["from"]))
        return replace(
            change, items=(step,), when="at" if when == "now" else "term_end",
            proration_behavior=reader.behavior(data.get("proration_behavior"), (*path, "proration_behavior")),
        )  # fmt: skip

    def _renew(self, data: dict[str, Any], path: Path, change: Change) -> Change:
        reader = self.reader
        start = reader.instant(data.get("effective"), (*path, "effective")) or change.made_at
        length = reader.interval(data.get("duration"), (*path, "duration"))
        items = reader.items(data.get("items"), (*path, "items"))
        phases: tuple[Phase, ...] = ()
        if items:
            extra = reader.items(data.get("add_invoice_items"), (*path, "add_invoice_items"), is_one_time=True)
            discounts = data.get("discounts")
            coupons = (
                None
                if discounts is None
                else reader.all_named(discounts, (*path, "discounts"), reader.coupons, "coupon")
            )
            end = None if length is None else boundary(start, length, 1)
            phases = (Phase(start=start, end=end, items=items, add_invoice_items=extra, discounts=coupons),)
        return replace(
            change, kind="renew", effective=start, when="at" if data.get("effective") is not None else "term_end", duration=length, phases=phases,
            uplift_percent=reader.number(data.get("uplift_percent"), (*path, "uplift_percent")) or Decimal(0),
            end_behavior=self._end_behavior(data, path), prebill=reader.prebill(data.get("prebill"), (*path, "prebill")),
        )  # fmt: skip

    def _pause(self, data: dict[str, Any], path: Path, change: Change) -> Change:
        reader = self.reader
        behavior = reader.word(
            data.get("behavior"),
            (*path, "behavior"),
            ("keep_as_draft", "mark_uncollectible", "void", "credit"),
            "credit",
        )
        return replace(
            self._resume(data, path, change),
            kind="pause",
            pause_behavior=behavior,
            until=reader.instant(data.get("until"), (*path, "until")),
        )

    def _resume(self, data: dict[str, Any], path: Path, change: Change) -> Change:
        effective = self.reader.instant(data.get("effective"), (*path, "effective")) or change.made_at
        behavior = self.reader.behavior(data.get("proration_behavior"), (*path, "proration_behavior"))
        return replace(change, kind="resume", effective=effective, proration_behavior=behavior)

    def _invoice_item(self, data: dict[str, Any], path: Path, change: Change) -> Change | None:
        item = self.reader.item({k: v for k, v in data.items() if k not in ("at", "do")}, path)
        if item is not None and item.price.interval is not None:
            self.reader.complain(
                "recurring-price", (*path, "price"), f"{item.price.id} recurs.", "Add it with an amendment."
            )
        return None if item is None else replace(change, one_time=(item,))

    # ------------------------------------------------------------------ the rest

    def _usage(self, data: dict[str, Any], at: datetime, path: Path) -> Action | None:
        reader = self.reader
        price = reader.named(data.get("price"), (*path, "price"), reader.prices, "price")
        quantity = reader.number(data.get("quantity"), (*path, "quantity"))
        if price is None or quantity is None:
            if quantity is None:
                reader.complain("missing-key", path, "Usage needs a quantity.")
            return None
        if price.usage_type != "metered":
            reader.complain(
                "not-metered", (*path, "price"), f"{price.id} is not metered.", "Set usage_type: metered on the price."
            )
        if quantity < 0:
            reader.complain("negative-quantity", (*path, "quantity"), f"The usage is {quantity}.", "Usage is at least 0.")
        usage = Usage(price=price.id, at=reader.instant(data.get("on"), (*path, "on")) or at, quantity=quantity)
        if data.get("id") is None:
            return at, path, usage
        known = self.used.setdefault(str(data["id"]), usage)
        if known is usage:
            return at, path, usage
        if (known.price, known.quantity) != (usage.price, quantity) or (data.get("on") is not None and known.at != usage.at):
            reader.complain(
                "usage-differs", (*path, "id"), f"The usage {data['id']!r} is recorded already, as {known.quantity} of {known.price}.",
                "The same usage sent again is counted once; give other usage another id.",
            )  # fmt: skip
        return None

    def _settle(self, do: str, data: dict[str, Any], at: datetime, path: Path) -> Settle:
        reader = self.reader
        amount = None if data.get("amount") is None else reader.whole(data["amount"], (*path, "amount"), 0)
        if do == "adjust_balance":
            if amount is None:
                reader.complain("missing-key", path, "adjust_balance needs the key 'amount'.")
            return Settle(do=do, at=at, path=path, amount=amount or 0)
        lines = []
        for number, entry in enumerate(reader.listed(data.get("lines"), (*path, "lines"))):
            here = (*path, "lines", number)
            row = reader.mapping(entry, here, ("line", "amount", "quantity"), ("line",))
            part = None if row.get("amount") is None else reader.whole(row["amount"], (*here, "amount"), 0)
            lines.append(
                (
                    reader.whole(row.get("line"), (*here, "line"), 1, low=1),
                    part,
                    reader.number(row.get("quantity"), (*here, "quantity")),
                )
            )
        if do == "credit_note" and (amount is None) == (not lines):
            reader.complain("credit-note", path, "A credit note has either an amount or lines.")
        back = {
            k: reader.whole(data[k], (*path, k), 0, low=0)
            for k in ("refund", "credit", "out_of_band")
            if data.get(k) is not None
        }
        invoice = reader.whole(data.get("invoice"), (*path, "invoice"), 0, low=1)
        if invoice == 0:
            reader.complain("missing-key", path, f"{do} needs the ordinal of an invoice, from 1.")
        return Settle(do=do, at=at, path=path, invoice=invoice, amount=amount, lines=tuple(lines), paid_back=back)

    def _on_quote(self, do: str, data: dict[str, Any], at: datetime, path: Path) -> Settle:
        if not self.is_quote:
            self.reader.complain("no-quote", (*path, "do"), f"{do} needs a quote; this scenario has a contract.")
        terms = None
        if data.get("contract") is not None:
            terms = self.reader.contract(
                data["contract"], (*path, "contract"), self.terms.settings, self.terms.currency
            )
        if self.offered is None or self.reader.complaints:
            return Settle(do=f"quote_{do}", at=at, path=path, terms=terms)
        if isinstance(data.get("change"), dict):
            self.offered = data["change"], (*path, "change")
        return Settle(do=f"quote_{do}", at=at, path=path, change=self.offered_change(data["at"]))

    def offered_change(self, at: Any) -> Change | None:
        """Return what the quote does to the contract, made at an instant as written."""
        assert self.offered is not None
        said, path = self.offered
        reader = _Actions(self.reader, self.terms, is_quote=False)
        found = reader._action({k: v for k, v in said.items() if k != "expires_at"} | {"at": at}, path, "quote")
        return found[2] if found is not None and isinstance(found[2], Change) else None


_CHANGES = ("amend", "cancel", "renew", "pause", "resume")
_SOLD = ("prices", "coupons", "tax_rates")


def read_change(said: Mapping[str, Any], contract: Contract, at: datetime) -> tuple[Change | None, list[Complaint]]:
    """Return the change of a running contract that one action says, with every complaint.

    said - the action without `at`, beside it `prices`, `coupons`, `tax_rates` that the contract does not know. at - when it is
    made, naive local in the contract's timezone. A price of the contract goes by its id, its item's or its product, where that
    means one price only.
    """
    reader = Reader({k: said[k] for k in _SOLD if k in said} | {"currency": contract.terms.currency})
    reader.timezone = contract.terms.timezone
    reader.prices = _prices_of(contract) | reader.catalogue("prices", reader.read_price)
    reader.coupons = {c.id: c for c in contract.terms.discounts} | reader.catalogue("coupons", reader.read_coupon)
    reader.rates = {r.id: r for r in contract.terms.tax_rates} | reader.catalogue("tax_rates", reader.read_rate)
    if reader.word(said.get("do"), ("do",), _CHANGES, "") == "":
        return None, reader.complaints
    entry = {k: v for k, v in said.items() if k not in _SOLD} | {"at": to_utc(at, reader.timezone).isoformat()}
    found = _Actions(reader, contract.terms, is_quote=False).read_one(entry)
    if found is not None and found.kind == "pause" and found.pause_behavior == "keep_as_draft":
        reader.complain(
            "not-built", ("behavior",), "The books keep no drafts during a pause.", "Use void, mark_uncollectible or credit."
        )
    return found, reader.complaints


def _prices_of(contract: Contract) -> dict[str, Price]:
    phases = (*contract.terms.phases, *(p for c in contract.changes for p in c.phases))
    items = [i for p in phases for i in (*p.items, *p.add_invoice_items)]
    items += [s.item for c in contract.changes for s in c.items if s.item is not None]
    found: dict[str, set[Price]] = {}
    for item in items:
        for name in (item.price.id, item.id, item.price.product):
            found.setdefault(name, set()).add(item.price)
    return {name: prices.pop() for name, prices in found.items() if name and len(prices) == 1}


_TOP = (
    "currency", "timezone", "settings", "customer", "prices", "coupons", "tax_rates", "contract", "quote", "actions", "until", "expect", "name",
)  # fmt: skip


def read_scenario(tree: Any) -> tuple[Scenario | None, Reader]:
    """Return the scenario of a parsed file, None where it cannot be read, and the reader with every complaint."""
    reader = Reader(tree if isinstance(tree, dict) else {})
    reader.mapping(tree, (), _TOP, ("currency", "timezone", "settings", "prices", "until"))
    if not isinstance(tree, dict):
        return None, reader
    reader.zone()
    currency = str(tree.get("currency") or "").lower()
    if len(currency) != 3 or not currency.isalpha():
        reader.complain(
            "unknown-currency", ("currency",), f"{currency!r} is no currency.", "Write an ISO 4217 code such as eur."
        )
    reader.prices = reader.catalogue("prices", reader.read_price)
    reader.coupons = reader.catalogue("coupons", reader.read_coupon)
    reader.rates = reader.catalogue("tax_rates", reader.read_rate)
    settings = reader.settings()
    is_quote = tree.get("quote") is not None
    is_change = isinstance(tree.get("quote"), dict) and "do" in tree["quote"]
    expires, offered = None, None
    if (is_quote and not is_change) == (tree.get("contract") is not None):
        hint = "A quote on the contract says what it does: quote: {do: amend, items: [...]}."
        reader.complain("missing-key", (), "The scenario needs either a contract or a quote.", hint)
    if is_change:
        offered = tree["quote"], ("quote",)
        if reader.word(tree["quote"]["do"], ("quote", "do"), _CHANGES, "") == "":
            offered = None
        expires = reader.instant(tree["quote"].get("expires_at"), ("quote", "expires_at"))
        terms = reader.contract(tree.get("contract") or {}, ("contract",), settings, currency)
    elif is_quote:
        quote = reader.mapping(tree["quote"], ("quote",), ("expires_at", "contract"), ("contract",))
        expires = reader.instant(quote.get("expires_at"), ("quote", "expires_at"))
        terms = reader.contract(quote.get("contract"), ("quote", "contract"), settings, currency)
    else:
        terms = reader.contract(tree.get("contract") or {}, ("contract",), settings, currency)
    customer, until = reader.customer(currency), reader.instant(tree.get("until"), ("until",))
    if terms is None:
        return None, reader
    read = _Actions(reader, terms, is_quote=is_quote, offered=offered)
    if offered is not None and not reader.complaints:
        read.offered_change(terms.start.isoformat()[:10])  # every problem of it, also where no action needs it
    actions = read.read()
    if until is None:
        return None, reader
    return Scenario(
        currency=currency, timezone=reader.timezone, customer=customer, terms=terms, is_quote=is_quote, is_change=is_change, expires_at=expires,
        actions=tuple(actions), until=until,
    ), reader  # fmt: skip
