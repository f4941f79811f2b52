"""What leaves for Stripe, seen and checked: a recording transport under the real SDK, and every request against the SDK's own types.

`validated(call, params)` builds a pydantic adapter over the TypedDict that the SDK types the call's parameters with: unknown keys are
refused at any depth, types are strict, and an enum takes its listed values alone (the SDK types them `Literal[...] | str`). Besides
come the rules that types cannot see (`_RULES`). `WATCH` does that for every `StripeCalls` of a test run (see conftest.py): a wrong
request fails its test, also where the code under test swallows the error. Worked example:

    >>> validated("subscriptions.update", {"billing_cycle_anchor": "now"})
    Traceback (most recent call last):
    stripe_wire.BadRequest: subscriptions.update: billing_cycle_anchor: Input should be a valid dictionary
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
import threading
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin
from urllib.parse import parse_qsl, urlsplit

import stripe
import typing_extensions
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import core_schema
from stripe._request_options import RequestOptions
from stripe._stripe_context import StripeContext
from stripe._stripe_object import UntypedStripeObject

MOST_PHASES = 10
MOST_ITEMS = 20
MOST_METADATA = 50
MONTHS = {"day": 1 / 31, "week": 7 / 31, "month": 1, "year": 12}
INSTANTS = frozenset(["start_date", "end_date", "trial_end", "backdate_start_date", "billing_cycle_anchor", "due_date", "cancel_at", "expires_at", "proration_date", "timestamp", "effective_at", "automatically_finalizes_at", "resumes_at", "redeem_by", "start", "end"])


class BadRequest(AssertionError):  # noqa: N818 - what it is, in words
    """A request that the pinned version of Stripe's API does not know, or that breaks one of its rules."""


# --- types -----------------------------------------------------------------------------------------------------------------------


def _teach_pydantic() -> None:
    """Give the two SDK classes that pydantic cannot read a schema: an instance of theirs (section 14 of the notes on Stripe)."""
    for cls in (StripeContext, UntypedStripeObject):
        cls.__get_pydantic_core_schema__ = classmethod(lambda c, source, handler, cls=cls: core_schema.is_instance_schema(cls))


@cache
def _strict_type(cls: type) -> Any:
    """Return the SDK's TypedDict with enums closed, keys of request options taken out, and unknown keys forbidden."""
    names = {"StripeContext": StripeContext, "Mapping": typing.Mapping}
    hints = typing_extensions.get_type_hints(cls, globalns={**vars(sys.modules[cls.__module__]), **names}, include_extras=True)
    options = set(RequestOptions.__annotations__)
    fields = {name: _strict(hint) for name, hint in hints.items() if name not in options}
    made = typing_extensions.TypedDict(cls.__name__, fields)  # type: ignore[misc,operator]
    made.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[attr-defined]
    return made


def _strict(hint: Any) -> Any:
    if typing_extensions.is_typeddict(hint):
        return _strict_type(hint)
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        is_enum = any(get_origin(a) is Literal and any(get_args(a)) for a in args)
        kept = [_strict(a) for a in args if not (is_enum and a is str)]
        return Union[tuple(kept)]  # noqa: UP007 - made at run time
    if origin in (typing_extensions.NotRequired, typing_extensions.Required):
        return origin[_strict(args[0])]
    if origin in (list, dict):
        return origin[tuple(_strict(a) for a in args)]
    return hint


def _method(call: str) -> Callable[..., Any]:
    client = stripe.StripeClient("sk_test_types_only", max_network_retries=0)
    found: Any = client.v1
    for part in call.split("."):
        found = getattr(found, part)
    return typing.cast("Callable[..., Any]", found)


@cache
def params_type(call: str) -> type | None:
    """Return the class that the SDK types the parameters of a call with; None for a call without parameters."""
    method = _method(call)
    annotation = str(inspect.signature(method).parameters["params"].annotation)
    named = re.search(r"(\w+Params)\b", annotation)
    if named is None:
        return None
    source = inspect.getsource(sys.modules[method.__module__])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and any(a.name == named[1] for a in node.names):
            return typing.cast("type", getattr(importlib.import_module(node.module), named[1]))
    raise LookupError(f"{call}: {named[1]} is imported nowhere")


@cache
def _adapter(call: str) -> TypeAdapter[Any] | None:
    _teach_pydantic()
    found = params_type(call)
    return TypeAdapter(_strict_type(found)) if found is not None else None


# --- rules that types cannot see ----------------------------------------------------------------------------------------------------

Path = tuple[str, ...]
Complaints = Iterator[str]


def _walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    yield path, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk(inner, (*path, str(name)))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _walk(inner, (*path, str(i)))


def _nothing_vanishes(call: str, params: dict[str, Any]) -> Complaints:
    """None, [] and {} leave no trace in a form body: who means "none" says ''."""
    del call
    for path, value in _walk(params):
        if path and (value is None or value in ([], {})):
            yield f"{'.'.join(path)} is {value!r}, which never arrives"


def _excluding(call: str, params: dict[str, Any]) -> Complaints:
    """Pairs of parameters of which one object has one at most."""
    pairs = [
        ("price", "price_data"), ("price", "plan"), ("plan", "price_data"), ("duration", "end_date"), ("trial", "trial_end"),
        ("unit_amount", "unit_amount_decimal"), ("flat_amount", "flat_amount_decimal"), ("percent_off", "amount_off"),
        ("days_until_due", "due_date"), ("billing_cycle_anchor", "billing_cycle_anchor_config"), ("trial_end", "trial_period_days"),
        ("cancel_at", "cancel_at_period_end"), ("coupon", "promotion_code"), ("coupon", "discount"), ("discount", "promotion_code"),
        ("pricing", "price_data"), ("pricing", "amount"), ("price_data", "amount"), ("quantity", "quantity_decimal"),
        ("backdate_start_date", "billing_cycle_anchor_config"), ("customer", "customer_account"), ("unit_amount_decimal", "amount"),
    ]  # fmt: skip
    for path, value in _walk(params):
        if isinstance(value, dict) and "metadata" not in path:
            for one, other in pairs:
                if one in value and other in value:
                    yield f"{'.'.join((*path, one))} together with {other}"
    if call.startswith("credit_notes.") and "lines" in params and "amount" in params:
        yield "lines together with amount"
    if "from_subscription" in params and set(params) - {"from_subscription", "expand", "metadata"}:
        yield f"from_subscription together with {', '.join(sorted(set(params) - {'from_subscription'}))}"


def _items(call: str, params: dict[str, Any]) -> Complaints:
    """An item has one price, no price stands twice, and there are twenty at most."""
    for path, value in _walk(params):
        name = path[-1] if path else ""
        if name not in ("items", "add_invoice_items") or not isinstance(value, list):
            continue
        place = ".".join(path)
        if len(value) > MOST_ITEMS:
            yield f"{place} has {len(value)} entries, {MOST_ITEMS} at most"
        for i, item in enumerate(value):
            if isinstance(item, dict) and not item.keys() & {"price", "price_data", "plan", "id"}:
                yield f"{place}.{i} has no price"
        prices = [item["price"] for item in value if isinstance(item, dict) and "price" in item]
        if name == "items" and call.startswith("subscription"):
            yield from (f"{place} has the price {p} twice" for p, n in Counter(prices).items() if n > 1)


def _phases(call: str, params: dict[str, Any]) -> Complaints:
    """Ten phases at most; only the last may run without end; a trial frees its phase and has no anchor of its own."""
    del call
    phases = params.get("phases")
    if not isinstance(phases, list):
        return
    if len(phases) > MOST_PHASES:
        yield f"phases has {len(phases)} entries, {MOST_PHASES} at most"
    for i, phase in enumerate(phases):
        if not isinstance(phase, dict):
            continue
        if i < len(phases) - 1 and not phase.keys() & {"duration", "end_date"}:
            yield f"phases.{i} has neither duration nor end_date, and another one follows"
        if phase.get("trial") and phase.get("billing_cycle_anchor") == "phase_start":
            yield f"phases.{i} is a trial with an anchor of its own"
        starts, ends = phase.get("start_date"), phase.get("end_date")
        if isinstance(starts, int) and isinstance(ends, int) and ends <= starts:
            yield f"phases.{i} ends before it begins"


def _currencies(call: str, params: dict[str, Any]) -> Complaints:
    """One call speaks of one currency, written in lower case."""
    said = {path: v for path, v in _walk(params) if path and path[-1] == "currency" and isinstance(v, str) and "metadata" not in path}
    for path, value in said.items():
        if not re.fullmatch(r"[a-z]{3}", value):
            yield f"{'.'.join(path)} is {value!r}, no currency"
    if len(set(said.values())) > 1 and not call.startswith("prices."):
        yield f"mixed currencies: {', '.join(sorted(set(said.values())))}"


def _money(call: str, params: dict[str, Any]) -> Complaints:
    """Amounts have a currency; an interval is three years at most."""
    for path, value in _walk(params):
        if not isinstance(value, dict) or "metadata" in path:
            continue
        place = ".".join(path) or "it"
        if "amount_off" in value and "currency" not in value:
            yield f"{place} has an amount_off without currency"
        if "interval" in value and isinstance(value.get("interval_count", 1), int):
            months = MONTHS.get(str(value["interval"]), 0) * value.get("interval_count", 1)
            if path and path[-1] == "recurring" and not 0 < months <= 36:
                yield f"{place} is longer than three years"
    if call == "invoice_items.create" and params.keys() & {"amount", "unit_amount_decimal"} and "currency" not in params:
        yield "an amount without currency"


def _coupon(call: str, params: dict[str, Any]) -> Complaints:
    """A coupon has a percentage or an amount, months if it repeats, and a short name."""
    if call == "coupons.create":
        if not params.keys() & {"percent_off", "amount_off"}:
            yield "a coupon takes off nothing"
        if not 0 < float(params.get("percent_off", 1)) <= 100:
            yield "percent_off is more than 0 and at most 100"
        if (params.get("duration") == "repeating") != ("duration_in_months" in params):
            yield "duration_in_months goes with a repeating coupon, and only with it"
        if len(str(params.get("name", ""))) > 40:
            yield "name is longer than 40 characters"


def _new_price(call: str, params: dict[str, Any]) -> Complaints:
    """A price has a product, and an amount or tiers."""
    if call == "prices.create":
        amounts = params.keys() & {"unit_amount", "unit_amount_decimal", "custom_unit_amount"}
        if (params.get("billing_scheme") == "tiered") != ("tiers" in params) or ("tiers" in params) != ("tiers_mode" in params):
            yield "tiers, tiers_mode and billing_scheme=tiered go together"
        if bool(amounts) == ("tiers" in params):
            yield "a price has an amount, or tiers"
        if not params.keys() & {"product", "product_data"}:
            yield "a price has a product"
        if len(str(params.get("lookup_key", ""))) > 200:
            yield "lookup_key is longer than 200 characters"
        tiers = params.get("tiers")
        if isinstance(tiers, list) and (not tiers or tiers[-1].get("up_to") != "inf" or any(t.get("up_to") == "inf" for t in tiers[:-1])):
            yield "the last tier, and no other, goes up to 'inf'"


def _decimals(call: str, params: dict[str, Any]) -> Complaints:
    """A decimal is finite and has twelve places at most."""
    del call
    for path, value in _walk(params):
        if isinstance(value, Decimal):
            exponent = value.normalize().as_tuple().exponent
            if not isinstance(exponent, int) or exponent < -12:
                yield f"{'.'.join(path)} has more than twelve decimals: {value}"


def _terms(call: str, params: dict[str, Any]) -> Complaints:
    """Days to pay go with sending the invoice."""
    if "days_until_due" in params and params.get("collection_method") == "charge_automatically":
        yield "days_until_due with collection_method=charge_automatically"
    if call in ("invoices.create", "subscriptions.create") and params.get("collection_method") == "send_invoice" and not params.keys() & {"days_until_due", "due_date"}:
        yield "send_invoice without days_until_due"
    if "billing_schedules" in params and call == "subscriptions.create" and (params.get("billing_mode") or {}).get("type") != "flexible":
        yield "billing_schedules without billing_mode flexible"
    if call == "subscription_schedules.create" and not params.keys() & {"customer", "customer_account", "from_subscription"}:
        yield "a schedule has a customer or a subscription"


def _metadata(call: str, params: dict[str, Any]) -> Complaints:
    """Metadata: fifty keys of forty characters without brackets, values of five hundred."""
    del call
    for path, value in _walk(params):
        if not path or path[-1] != "metadata" or not isinstance(value, dict):
            continue
        place = ".".join(path)
        if len(value) > MOST_METADATA:
            yield f"{place} has {len(value)} keys, {MOST_METADATA} at most"
        for key, text in value.items():
            if not 0 < len(key) <= 40 or "[" in key or "]" in key:
                yield f"{place} has a key that is too long or has brackets: {key!r}"
            if len(str(text)) > 500:
                yield f"{place}.{key} is longer than 500 characters"


def _instants(call: str, params: dict[str, Any]) -> Complaints:
    """Instants are seconds, not milliseconds; a period does not end before it begins."""
    del call
    for path, value in _walk(params):
        if path and path[-1] in INSTANTS and isinstance(value, int) and not isinstance(value, bool) and not 10**8 <= value < 10**10:
            yield f"{'.'.join(path)} is {value}, no instant in seconds"
        if path and path[-1] == "period" and isinstance(value, dict):
            start, end = value.get("start"), value.get("end")
            if isinstance(start, int) and isinstance(end, int) and end < start:
                yield f"{'.'.join(path)} ends before it begins"


_RULES = (_nothing_vanishes, _excluding, _items, _phases, _currencies, _money, _coupon, _new_price, _decimals, _terms, _metadata, _instants)


def validated(call: str, params: Mapping[str, Any]) -> None:
    """Check the parameters of a call; BadRequest names everything that is wrong with them, with its place."""
    plain = dict(params)
    wrong = []
    adapter = _adapter(call)
    if adapter is None and plain:
        wrong.append("takes no parameters")
    elif adapter is not None:
        try:
            adapter.validate_python(plain)
        except ValidationError as error:
            wrong += [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors(include_url=False)]
    wrong += [complaint for rule in _RULES for complaint in rule(call, plain)]
    if wrong:
        raise BadRequest(f"{call}: " + "; ".join(wrong))


# --- the watch ------------------------------------------------------------------------------------------------------------------


@dataclass
class Watch:
    """Checks every request of every `StripeCalls`; *wrong* keeps what was refused, until the test that sent it has failed."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    is_on: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, call: str, params: Mapping[str, Any], target: str | None, key: str) -> None:
        del target, key
        if not self.is_on:
            return
        try:
            with self._lock:
                self.counts[call] += 1
                validated(call, params)
        except BadRequest as error:
            self.wrong.append(str(error))
            raise

    @property
    def count(self) -> int:
        """Return how many requests were checked."""
        return self.counts.total()

    def settle(self) -> None:
        """Fail for what was wrong since the last time, wherever the error went."""
        wrong, self.wrong = self.wrong, []
        assert not wrong, "requests that Stripe would refuse:\n" + "\n".join(wrong)


WATCH = Watch()


@contextmanager
def unchecked() -> Iterator[None]:
    """Let wrong requests out: for tests of whoever has to refuse them."""
    WATCH.is_on = False
    try:
        yield
    finally:
        WATCH.is_on = True


# --- the transport ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A request as it left: *body* is the form of a POST, else the query; *fields* are its pairs in order."""

    method: str
    path: str
    body: str
    headers: Mapping[str, str]

    @property
    def fields(self) -> list[tuple[str, str]]:
        return parse_qsl(self.body, keep_blank_values=True)

    @property
    def key(self) -> str:
        return self.headers.get("Idempotency-Key", "")


Reply = tuple[int, Any] | tuple[int, Any, Mapping[str, str]] | Exception


class RecordingHttp(stripe.HTTPClient):
    """A transport under the real SDK that keeps what leaves, and passes it on to *inner* or answers with *replies* in order.

    A reply is (status, body[, headers]) or an error; a body that is no text becomes JSON.
    """

    name = "recording"

    def __init__(self, *replies: Reply, inner: stripe.HTTPClient | None = None) -> None:
        super().__init__()
        self.replies = list(replies)
        self.inner = inner
        self.sent: list[Sent] = []

    def request(self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any) -> tuple[Any, int, Mapping[str, str]]:
        """Keep and answer one request."""
        parts = urlsplit(url)
        self.sent.append(Sent(method=method, path=parts.path, body=post_data or parts.query, headers=dict(headers or {})))
        if self.inner is not None and not self.replies:
            return self.inner.request(method, url, headers, post_data)
        assert self.replies, f"nobody answers {method} {url}"
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        status, body = reply[0], reply[1]
        more = reply[2] if len(reply) == 3 else {}
        return body if isinstance(body, str) else json.dumps(body), status, {"Request-Id": "req_1", **more}

    def close(self) -> None:
        """Close what it passes on to."""
        if self.inner is not None:
            self.inner.close()
