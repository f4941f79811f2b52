"""Contracts of another system as people write them: a scenario's `contract:` with an id, a customer, and how far it was billed.

One entry is read by itself; every problem of it is collected with its path. Amounts are in minor units as in scenarios;
`billed_through` is the last day that was billed, on the entry for all items, on an item for that one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from connector.core.elsewhere import BilledThrough, through_problems, through_to_data, with_months_left
from connector.core.money import digits
from connector.core.schedule import problems
from connector.core.terms import Contract, ContractTerms, Coupon, Item, Price, Settings, TaxRate, terms_to_data
from connector.simulate.scenario import Reader
from connector.simulate.values import Complaint, Path, shown

_KEYS = (
    "id", "deal", "label", "customer", "currency", "timezone", "prices", "coupons", "tax_rates", "billed_through", "po_number", "memo", "contract",
)  # fmt: skip
_CUSTOMER = ("account", "name", "email", "address", "tax_id", "tax_exempt", "language")
_ADDRESS = ("line1", "city", "postal_code", "state", "country")
_MAX_MONTHS = 1_200


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What holds for every entry of a file: its defaults, and what the configuration says.

    how - collection_method and days_until_due where an entry says neither. catalogue - the price of the books under an id for a
    currency, why it cannot be used, or None. name_of - the CRM's full form of an id.
    """

    timezone: str
    settings: Settings
    how: tuple[str, int]
    currency: str | None = None
    prices: Mapping[str, Any] = field(default_factory=dict)
    coupons: Mapping[str, Any] = field(default_factory=dict)
    tax_rates: Mapping[str, Any] = field(default_factory=dict)
    catalogue: Callable[[str, str], Price | str | None] = lambda _id, _currency: None
    name_of: Callable[[str], str] = str


class _Entry(Reader):
    """Reads one entry; what is said of items and coupons beyond a scenario's words is noted on the way."""

    def __init__(self, tree: Mapping[str, Any], common: Common, currency: str) -> None:
        super().__init__({"currency": currency})
        self.entry, self.common, self.currency = tree, common, currency
        self.through: dict[str, datetime] = {}
        self.amounts: dict[str, int] = {}
        self.left: dict[str, int] = {}
        self.places: dict[str, Path] = {}
        self.start_time = timedelta()

    # ------------------------------------------------------------------ words that scenarios do not have

    def last_day(self, value: Any, path: Path) -> datetime | None:
        """Return the instant after a last day, at the time of day at which the contract's periods begin; an instant is itself."""
        at = self.instant(value, path)
        if at is None or len(str(value)) > 10:
            return at
        return at + timedelta(days=1) + self.start_time

    def item(self, value: Any, path: Path, *, is_shrinking: bool = False) -> Item | None:
        """Return one item, and note how far and at what amount it was billed."""
        own = ("billed_through", "billed_amount")
        said = {k: value[k] for k in own if value.get(k) is not None} if isinstance(value, dict) else {}
        plain = {k: v for k, v in value.items() if k not in own} if isinstance(value, dict) else value
        found = super().item(plain, path, is_shrinking=is_shrinking)
        if found is None:
            return None
        self.places.setdefault(found.id, path)
        if "billed_through" in said and (at := self.last_day(said["billed_through"], (*path, "billed_through"))) is not None:
            self.through[found.id] = at
        if "billed_amount" in said:
            self.amounts[found.id] = self.whole(said["billed_amount"], (*path, "billed_amount"), 0, low=0)
        return found

    def read_coupon(self, name: str, value: Any, path: Path) -> Coupon:
        """Return one coupon; `months_left` counts from what was billed on, in place of `duration_in_months`."""
        if not isinstance(value, dict) or value.get("months_left") is None:
            return super().read_coupon(name, value, path)
        if value.get("duration_in_months") is not None:
            self.complain("coupon-duration", (*path, "months_left"), "A coupon says months_left or duration_in_months, not both.")
        left = self.whole(value["months_left"], (*path, "months_left"), 1, low=1)
        if left > _MAX_MONTHS:
            self.complain("too-large", (*path, "months_left"), f"months_left is {left}; {_MAX_MONTHS} are possible.")
            left = 1
        self.left[name] = left
        plain = {k: v for k, v in value.items() if k not in ("months_left", "duration_in_months")}
        return super().read_coupon(name, {**plain, "duration": "repeating", "duration_in_months": left}, path)

    def named(self, value: Any, path: Path, known: Mapping[str, Any], what: str) -> Any:
        """Return what a name stands for; a price that the file does not know is looked up in the catalogue."""
        if what == "price" and isinstance(value, str) and value not in known:
            found = self.common.catalogue(value, self.currency)
            if isinstance(found, str):
                self.complain("price-currency", path, found, "One contract has one currency.")
                return None
            if found is not None:
                self.prices[value] = found
                return found
        return super().named(value, path, known, what)

    # ------------------------------------------------------------------ the entry

    def text(self, value: Any, path: Path) -> str:
        """Return a text; a number counts as one."""
        if isinstance(value, (dict, list, bool)):
            self.complain("wrong-type", path, f"{path[-1]} must be a text, not {shown(value)}.")
            return ""
        return "" if value is None else str(value).strip()

    def who(self, value: Any) -> tuple[str, dict[str, Any] | None]:
        """Return the account and the details of the customer, None where only the account is named."""
        path: Path = ("customer",)
        if not isinstance(value, dict):
            return self.common.name_of(self.text(value, path)), None
        data = self.mapping(value, path, _CUSTOMER, ("account",))
        place = self.mapping(data.get("address") or {}, (*path, "address"), _ADDRESS)
        account = self.common.name_of(self.text(data.get("account"), (*path, "account")))
        details: dict[str, Any] = {k: self.text(data.get(k), (*path, k)) for k in ("name", "email", "tax_id", "language")}
        details["tax_exempt"] = self.word(data.get("tax_exempt"), (*path, "tax_exempt"), ("none", "exempt", "reverse"), "none")
        details["address"] = {k: self.text(place.get(k), (*path, "address", k)) for k in _ADDRESS}
        if not any(v for k, v in details.items() if k not in ("address", "tax_exempt")) and not any(details["address"].values()):
            return account, None
        for key in ("name", "email"):
            if not details[key]:
                self.complain("missing-key", path, f"The customer needs the key {key!r}.", "Or name only the account of a customer that the books know.")
        return account, details

    def read(self) -> dict[str, Any] | None:
        """Return the entry as a request takes it, None where it cannot be read."""
        data = self.mapping(self.entry, (), _KEYS, ("id", "customer", "contract"))
        if not data:
            return None
        common = self.common
        external_id, (account, details) = self.text(data.get("id"), ("id",)), self.who(data.get("customer"))
        if not account and data.get("customer") is not None:
            self.complain("missing-key", ("customer",), "The customer needs an account.", "Write the CRM account's id, or an id of your own.")
        before = len(self.complaints)
        self._sold()
        agreed = data.get("contract")
        terms = self._terms(agreed) if isinstance(agreed, dict) else None
        if agreed is not None and not isinstance(agreed, dict):
            self.complain("wrong-type", ("contract",), f"contract must be a mapping, not {shown(agreed)}.")
        through = self._through(data)
        if terms is not None and len(self.complaints) == before:  # what is agreed can be judged, whatever is wrong beside it
            terms = self._checked(terms, through)
        if terms is None or self.complaints:
            return None
        said = agreed if isinstance(agreed, dict) else {}
        is_said = said.get("collection_method") is not None or said.get("days_until_due") is not None
        method, days = (terms.collection_method, terms.days_until_due) if is_said else common.how
        if is_said and said.get("collection_method") is None:
            method = "send_invoice"  # days until due are only of invoices that are sent
        terms = replace(terms, collection_method=method, days_until_due=days)  # type: ignore[arg-type]
        return {
            "id": external_id, "deal": common.name_of(self.text(data.get("deal"), ("deal",))), "label": self.text(data.get("label"), ("label",)),
            "account": account, "customer": details, "terms": terms_to_data(terms),
            "billed_through": through_to_data(through) if through.last is not None else None,
            "how": {
                "collection_method": method, "days_until_due": days, "po_number": self.text(data.get("po_number"), ("po_number",)),
                "memo": self.text(data.get("memo"), ("memo",)),
            },
        }  # fmt: skip

    def _sold(self) -> None:
        own = {k: self.entry.get(k) for k in ("prices", "coupons", "tax_rates") if self.entry.get(k) is not None}
        self.tree = {"currency": self.currency, **own}
        common = self.common
        self.timezone = str(self.entry.get("timezone") or common.timezone)
        self.tree["timezone"] = self.timezone
        self.zone()
        try:
            digits(self.currency)
        except ValueError:
            self.complain("unknown-currency", ("currency",), f"{self.currency or 'Nothing'} is no currency.", "Write an ISO 4217 code such as eur.")
        shared = Reader({"currency": self.currency})
        self.prices = {k: shared.read_price(k, v, ()) for k, v in common.prices.items()} | self.catalogue("prices", self.read_price)
        self.coupons = {k: self.read_coupon(k, v, ("coupons", k)) for k, v in common.coupons.items()} | self.catalogue("coupons", self.read_coupon)
        rates: dict[str, TaxRate] = {k: shared.read_rate(k, v, ()) for k, v in common.tax_rates.items()}
        self.rates = rates | self.catalogue("tax_rates", self.read_rate)

    def _terms(self, agreed: Mapping[str, Any]) -> ContractTerms | None:
        if "entered_at" in agreed:
            hint = "Leave it out; say with billed_through what was billed before."
            self.complain("unknown-key", ("contract", "entered_at"), "An imported contract counts from its start.", hint, at_key=True)
        plain = {k: v for k, v in agreed.items() if k != "entered_at"}
        for key in ("billing_cycle_anchor", "start"):
            at = _instant(plain.get(key), self.timezone)
            if at is not None:
                self.start_time = at - at.replace(hour=0, minute=0, second=0, microsecond=0)
                break
        return self.contract(plain, ("contract",), self.common.settings, self.currency)

    def _through(self, data: Mapping[str, Any]) -> BilledThrough:
        value = data.get("billed_through")
        at = None if value is None else self.last_day(value, ("billed_through",))
        return BilledThrough(
            at=at, items=tuple(self.through.items()), amounts=tuple(self.amounts.items()), months_left=tuple(self.left.items())
        )

    def _checked(self, terms: ContractTerms, through: BilledThrough) -> ContractTerms | None:
        """Return the terms as the engine takes them, None where they or what was billed are impossible."""
        before = len(self.complaints)
        contract = Contract(id="imported", terms=terms)
        for problem in problems(contract):
            parts = (problem.where.field or "").replace("]", "").replace("[", ".").split(".")
            steps = tuple(int(part) if part.isdigit() else part for part in parts if part)
            self.complain(problem.code, ("contract", *steps), problem.message, problem.hint)
        if len(self.complaints) > before:
            return None
        lasting = with_months_left(terms, through)
        for problem in through_problems(Contract(id="imported", terms=lasting), through):
            named = problem.where.field or ""
            path: Path = (*self.places[named], "billed_through") if named in self.places else ("billed_through",)
            self.complain(problem.code, path, problem.message, problem.hint)
        return None if self.complaints else lasting


def _instant(value: Any, timezone: str) -> datetime | None:
    """Return an instant as written, local; None for what is none, which the contract's own reading complains about."""
    reader = Reader({})
    reader.timezone = timezone
    return reader.instant(value, ()) if isinstance(value, str) else None


def read_contract(entry: Any, common: Common) -> tuple[dict[str, Any] | None, list[Complaint]]:
    """Return one entry as the books take it (see `billing.imports`), None where it has problems; and the problems with their paths."""
    if not isinstance(entry, dict):
        return None, [Complaint(code="wrong-type", path=(), message=f"A contract must be a mapping, not {shown(entry)}.")]
    currency = str(entry.get("currency") or common.currency or "").lower()
    reader = _Entry(entry, common, currency)
    found = reader.read()
    return (None if reader.complaints else found), reader.complaints


def read_common(tree: Mapping[str, Any], common: Common) -> tuple[Common, list[Complaint]]:
    """Return what a whole file says of every contract, checked, with every complaint."""
    currency = None if tree.get("currency") is None else str(tree["currency"]).lower()
    reader = _Entry({}, common, currency or "")
    reader.tree = dict(tree)
    reader.mapping(tree, (), ("currency", "timezone", "prices", "coupons", "tax_rates", "contracts"), ("contracts",))
    reader.catalogue("prices", reader.read_price)
    reader.catalogue("coupons", reader.read_coupon)
    reader.catalogue("tax_rates", reader.read_rate)
    if tree.get("timezone") is not None:
        reader.zone()
    if reader.complaints:
        return common, reader.complaints
    timezone, sold = str(tree.get("timezone") or common.timezone), [tree.get(k) or {} for k in ("prices", "coupons", "tax_rates")]
    return replace(common, currency=currency, timezone=timezone, prices=sold[0], coupons=sold[1], tax_rates=sold[2]), []
