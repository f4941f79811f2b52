"""The values between the rooms of this backend: steps and what they refer to, a push, and what Stripe holds of a contract.

A `Step` is one call as it will be sent; its parameters may refer to what an earlier step of the push gave (`Ref`). Everything
here is immutable and goes to JSON and back (`coding`), because a push outlives the process that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

from connector.core.lines import Line
from connector.core.terms import Interval
from connector.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """The value at *path* (dotted, list places as numbers) of what the step *step* of the same push gave.

    or_none - as a parameter it is left out where that value is 0.
    """

    step: str
    path: str = "id"
    or_none: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteLine:
    """What a credit note takes of one line of ours, which stands on Stripe's invoice from *place* (0 on) on as up to *count* lines (tiers of a price).

    amount - in Stripe's units, after discounts, without tax on top. key - of our own line that it is, for its metadata, "" for none.
    """

    place: int
    count: int
    amount: int
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteLines:
    """The lines of a credit note as a parameter: of the invoice whose lines the step *step* of the same push listed.

    is_taxed - Stripe finds the tax of the invoice, and wants amounts without any.
    """

    step: str
    lines: tuple[NoteLine, ...]
    is_taxed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of a push.

    name - unique in the push; `{push key}/{name}` is its idempotency key and, where it creates something, the value of
    `metadata.connector_step`. call - dotted path below `StripeClient.v1`, e.g. `subscription_schedules.create`. target - the id
    in its path. params - the body as the SDK types it (instants as int seconds, sub-cent prices as Decimal), values may be `Ref`.
    keeps - paths of the answer that later steps or readers need; `id` always. shared - (kind, key) of an object that several
    pushes use (product, price, coupon, tax_rate, customer, meter): found in our table or at Stripe before it is made.
    needs - left out where this ref is empty (a schedule whose subscription has not begun has no invoice yet).
    """

    name: str
    call: str
    params: Mapping[str, Any] = field(default_factory=dict)
    target: str | Ref | None = None
    keeps: tuple[str, ...] = ()
    shared: tuple[str, str] | None = None
    needs: Ref | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldItem:
    """One item in a phase as it was sent; *price* is the key of its shared price, unique in its group at any time.

    quantity - as sent. end - its period ends there instead of where *interval* says, so that it is billed once.
    coupons - their ids; rates - the keys of its tax rates.
    """

    item_id: str
    price: str
    quantity: Decimal | None = None
    interval: Interval | None = None
    end: date | None = None
    is_metered: bool = False
    coupons: tuple[str, ...] = ()
    rates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPhase:
    """A phase as it was sent, in civil days `[start, end)`; *end* None: as long as the subscription runs. kind - trial: free;
    part: a stretch with items that carry the price of a part of a period (first or last), billed once at its start.

    anchor - where its periods are counted from, None: the group's. began - where the phase begins at Stripe, if other items were
    sent for its first days. coupons - ids of those that stand on the phase. once - keys of our lines that are billed with its start.
    """

    start: date
    end: date | None
    items: tuple[HeldItem, ...]
    kind: Literal["full", "trial", "part"] = "full"
    anchor: date | None = None
    began: date | None = None
    coupons: tuple[str, ...] = ()
    once: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A line that Stripe was told to make by its own proration; *key* is the engine's.

    price - the key of the price that it is billed at. amount - net, of the whole stretch `[start, end)` in seconds since 1970, of which the
    line is the part from the moment on at which the request arrives. at - when it was decided; began - where Stripe's line begins, 0: not seen yet.
    """

    key: str
    item_id: str
    kind: Literal["credit", "charge"]
    price: str
    amount: int
    start: int
    end: int
    at: int
    began: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldGroup:
    """One subscription (with its schedule) of a contract: everything billed in one rhythm.

    name - unique in the contract and stable ("month", "year", "month-2"). at_time - UTC time of day that its days go to Stripe
    with. anchor - civil day its periods are counted from. since - the day from which its phases hold as sent last: what
    begins earlier was billed by the phases before it, which stay here for a year. ends_with - release: runs on after its last phase, cancel: ends there.
    is_over - it was canceled. bills_from - the first day whose boundary it bills: later than its start where it began in the past without a charge.
    gone - the day on which somebody ended it at Stripe, not we; let_go - somebody released its schedule there.
    ahead_to - a plain subscription: Stripe bills the periods up to then with its first invoice (its billing schedules).
    schedule, subscription - Stripe's ids, "" while unknown or none. told - digest of how its invoices are collected. left - lines of the
    running periods that were left to Stripe's own proration.
    """

    name: str
    interval: Interval
    at_time: str
    anchor: date
    since: date
    phases: tuple[HeldPhase, ...]
    ends_with: Literal["release", "cancel"] = "release"
    schedule: str = ""
    subscription: str = ""
    is_paused: bool = False
    told: str = ""
    bills_from: date | None = None
    is_over: bool = False
    gone: date | None = None
    let_go: bool = False
    left: tuple[Left, ...] = ()
    ahead_to: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What Stripe holds of a contract, as it was sent last. told - digest of the customer's details as they were sent."""

    contract_id: str
    customer: str = ""
    groups: tuple[HeldGroup, ...] = ()
    told: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What has to be sent so that Stripe holds what a contract says, and what it holds then.

    lines - lines that we bill ourselves in these steps (parts of periods, credits, one-time charges …), in full as the engine
    made them; their keys stand in the metadata `connector_line` of their invoice items. Among them are those that are left to Stripe's own
    proration (`HeldGroup.left`), with the amounts that they would have now. dropped - keys of lines sent earlier that
    will never be billed, because the schedule that bore them never began. until - its steps that steer subscriptions mean what they say
    only before that instant, None: until one of its subscriptions bills next (see `late`). Empty steps: nothing to send.
    """

    steps: tuple[Step, ...] = ()
    held: Held
    lines: tuple[Line, ...] = ()
    dropped: tuple[str, ...] = ()
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A plan on its way; *key* names it for good (a decision's key, or `{contract}/run/{n}`).

    state - pending, done, refused. results - by step name, the kept paths of its answer. begun - the step that was being sent
    when this was saved. tries - by step name, how often it was sent anew under another key (`/a{n}`, decision D-19).
    """

    id: str
    contract_id: str
    deal: str
    key: str
    plan: Plan
    state: Literal["pending", "done", "refused"] = "pending"
    attempts: int = 0
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tries: Mapping[str, int] = field(default_factory=dict)
    begun: str = ""
    begun_at: datetime | None = None
    made_at: datetime
    next_try_at: datetime | None = None


class Calls(Protocol):
    """The door to Stripe. Raises RetryableError (not carried out: 429, connection refused), Unanswered (nobody knows: a timeout,
    a 5xx, a lost connection), RejectedError (a definite no, Problem code `stripe-<code>`), HaltError (key, mode, account)."""

    def do(self, call: str, params: Mapping[str, Any], *, target: str | None = None, key: str = "") -> dict[str, Any]:
        """Carry out one call and return its answer as plain data (decimal strings as Decimal). key - idempotency key of a POST."""

    def listed(
        self, call: str, params: Mapping[str, Any], *, target: str | None = None, limit: int = 1000
    ) -> list[dict[str, Any]]:
        """Return up to *limit* objects of a list call, newest first as Stripe lists them, all pages."""
