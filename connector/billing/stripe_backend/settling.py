"""What a push left at Stripe, from the answers of its steps: also of one that was refused half-way. Pure.

Names of steps say what belongs together: `{group}/schedule`, `{group}/phases` … are the steps of a group, `own/…` those of an invoice
of our own, `pending/…` lines of ours that wait on a subscription.

Worked example: of two groups the monthly one was scheduled and the yearly one refused. Stripe holds the monthly one then, with the
id of its schedule; the next plan makes the yearly one only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connector.billing.stripe_backend.refusals import Refusal
from connector.billing.stripe_backend.steps import Held, HeldGroup, NoteLine, NoteLines, Push, Ref, Step
from connector.core.lines import Line
from connector.core.money import allocate, quotient

_SCHEDULES, _SUBSCRIPTIONS = "subscription_schedules.", "subscriptions."
_READS = ("retrieve", "list", "preview")
_OWN = "own/"
PRORATED = "proration"
_MARKED = frozenset((
    "credit_notes.create", "customers.balance_transactions.create", "invoice_items.create", "invoices.create", "payment_records.report_payment",
    "refunds.create",
    "subscription_schedules.create", "subscription_schedules.update", "subscriptions.create", "subscriptions.update",
))  # fmt: skip


def at_path(value: Any, path: str) -> Any:
    """Return what stands at a dotted path (list places as numbers) of an answer, None where nothing does."""
    for name in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list | tuple) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def kept(step: Step, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an answer is kept: its id and the paths that later steps need, as a tree of those alone."""
    found: dict[str, Any] = {}
    for path in dict.fromkeys(("id", *step.keeps)):
        value = at_path(answer, path)
        if value is not None:
            found[path] = value
    return found


def value_of(ref: Ref, results: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return what a reference points at, None where its step gave nothing there or was left out."""
    given = results[ref.step]
    if ref.path in given:
        return given[ref.path]
    head = next((p for p in given if ref.path.startswith(f"{p}.")), None)
    return at_path(given[head], ref.path[len(head) + 1 :]) if head is not None else None


def resolved(value: Any, results: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return parameters with every reference replaced by what it points at."""
    if isinstance(value, Ref):
        return value_of(value, results)
    if isinstance(value, NoteLines):
        return [one for line in value.lines for one in _note_lines(line, results[value.step], is_taxed=value.is_taxed)]
    if isinstance(value, Mapping):
        found = {k: resolved(v, results) for k, v in value.items()}
        return {k: v for k, v in found.items() if v or not (isinstance(value[k], Ref) and value[k].or_none)}
    if isinstance(value, list | tuple):
        return [resolved(v, results) for v in value]
    return value


NOTED = ("id", "amount", "discount_amounts", "taxes")
"""What of each listed line the lines of a credit note need."""


def _note_lines(line: NoteLine, listed: Mapping[str, Any], *, is_taxed: bool) -> list[dict[str, Any]]:
    """Return what is taken of a line as Stripe wants it: before its discounts, where *is_taxed* without the tax that it holds, of each tier its share."""
    rows: list[dict[str, Any]] = [{what: listed.get(f"data.{place}.{what}") for what in NOTED} for place in range(line.place, line.place + line.count)]
    rows = [row for row in rows if row["id"] and row["amount"]]
    gross = sum(int(row["amount"]) for row in rows)
    net = gross - sum(int(off["amount"]) for row in rows for off in row["discount_amounts"] or ())
    inside = sum(int(tax["amount"]) for row in rows for tax in row["taxes"] or () if tax.get("tax_behavior") == "inclusive") if is_taxed else 0
    asked = quotient(line.amount * gross * (net - inside), net * net) if net > 0 else line.amount
    shares = allocate(asked, [max(0, int(row["amount"])) for row in rows]) if rows else ()
    return [
        {"type": "invoice_line_item", "invoice_line_item": row["id"], "amount": share} | ({"metadata": {"connector_line": line.key[:500]}} if line.key else {})
        for row, share in zip(rows, shares, strict=True) if share
    ]  # fmt: skip


def marked(step: Step, full_key: str) -> Step:
    """Return a step with our mark in its metadata, by which `lookup` finds what became of it."""
    if step.call not in _MARKED or "from_subscription" in step.params:
        return step
    return replace(step, params={**step.params, "metadata": {**(step.params.get("metadata") or {}), "connector_step": full_key}})


# ---------------------------------------------------------------- groups


def held_after(push: Push, before: Held | None) -> Held:
    """Return what Stripe holds of the contract after the steps that were carried out."""
    after = push.plan.held
    old = {g.name: g for g in before.groups} if before else {}
    new = {g.name: g for g in after.groups}
    groups = [_group_after(push, name, old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new])]
    customer = push.results.get("customer", {}).get("id") or after.customer or (before.customer if before else "")
    made = replace(after, customer=str(customer), groups=tuple(g for g in groups if g is not None))
    is_told = any(s.name == "customer" for s in push.plan.steps) or is_whole(push)
    return made if is_told or before is None else replace(made, told=before.told)


def _group_after(push: Push, name: str, old: HeldGroup | None, new: HeldGroup | None) -> HeldGroup | None:
    steps = [s for s in push.plan.steps if s.name.startswith(f"{name}/") and s.call.startswith((_SCHEDULES, _SUBSCRIPTIONS))]
    done = [s for s in steps if push.results.get(s.name)]
    if all(s.name in push.results for s in steps if not is_read(s)):
        return _with_ids(new, old, done, push) if new is not None else None
    if old is None and any(s.call.endswith(".create") for s in done):
        return _with_ids(new, None, done, push) if new is not None else None  # made as planned; what else it needed was not done
    return _with_ids(old, None, done, push) if old is not None else None


def _with_ids(group: HeldGroup, old: HeldGroup | None, done: Sequence[Step], push: Push) -> HeldGroup:
    schedule, subscription = group.schedule, group.subscription
    if old is not None:
        schedule, subscription = schedule or old.schedule, subscription or old.subscription
    for step in done:
        given = push.results[step.name]
        if step.call.startswith(_SCHEDULES):
            schedule, subscription = str(given.get("id") or schedule), str(given.get("subscription") or subscription)
        else:
            subscription, schedule = str(given.get("id") or subscription), str(given.get("schedule") or schedule)
    return replace(group, schedule=schedule, subscription=subscription)


def is_read(step: Step) -> bool:
    """Whether a step only reads."""
    return step.call.rpartition(".")[2] in _READS


# ---------------------------------------------------------------- lines of our own


def lines_after(push: Push) -> tuple[list[Line], dict[str, str]]:
    """Return our own lines that stand at Stripe now, and the invoice item of each by its key.

    It is "" for those that ride on a phase, `PRORATED` for those that Stripe makes by its own proration.
    """
    bearers = {key: step for step in push.plan.steps for key in _lines_in(step.params)}
    left = _left_by(push)
    bearers |= left
    is_own_done = all(s.name in push.results for s in push.plan.steps if s.name.startswith(_OWN))
    sent: list[Line] = []
    items: dict[str, str] = {}
    for line in push.plan.lines:
        step = bearers.get(line.key)
        if is_whole(push) if step is None else step.name in push.results and (is_own_done or not step.name.startswith(_OWN)):
            sent.append(line)
            is_item = step is not None and step.call == "invoice_items.create"
            items[line.key] = PRORATED if line.key in left else str(push.results[step.name].get("id") or "") if step is not None and is_item else ""
    return sent, items


def _left_by(push: Push) -> dict[str, Step]:
    """Return the steps that let Stripe prorate by itself, by the keys of the lines that it makes."""
    groups = {f"{g.name}/{verb}": g for g in push.plan.held.groups for verb in ("phases", "cancel")}
    return {left.key: step for step in push.plan.steps if step.name in groups for left in groups[step.name].left}


def is_whole(push: Push) -> bool:
    """Whether every step of a push was carried out."""
    return all(s.name in push.results for s in push.plan.steps)


def _lines_in(value: Any) -> Iterator[str]:
    """Yield the keys of our own lines that parameters bear in their metadata, at any depth."""
    if isinstance(value, NoteLines):
        yield from (line.key for line in value.lines if line.key)
    elif isinstance(value, Mapping):
        metadata = value.get("metadata")
        key = metadata.get("connector_line") if isinstance(metadata, Mapping) else None
        if isinstance(key, str) and key:
            yield key
        for inner in value.values():
            yield from _lines_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _lines_in(inner)


def taken_items(push: Push) -> list[str]:
    """Return the invoice items that a push deleted, because their lines are billed at once instead."""
    return [str(s.target) for s in push.plan.steps if s.call == "invoice_items.delete" and s.name in push.results]


def left_drafts(push: Push) -> list[tuple[str, list[str]]]:
    """Return drafts of our own that a refused push left behind, made but not finalized, each with its items."""
    own = [s for s in push.plan.steps if s.name.startswith(_OWN)]
    if all(s.name in push.results for s in own):
        return []
    items = [str(push.results[s.name]["id"]) for s in own if s.call == "invoice_items.create" and push.results.get(s.name)]
    return [(str(push.results[s.name]["id"]), items) for s in own if s.call == "invoices.create" and push.results.get(s.name)]


# ---------------------------------------------------------------- what is gone at Stripe

Lost = tuple[tuple[str, str], str]
"""A shared object (kind, our key) and the id that Stripe has no more, or uses no more."""

_GONE: Mapping[str, tuple[str, ...]] = {
    # why it was refused -> the kinds of what is gone, where neither parameter nor words say which
    "stripe-missing-price": ("price",), "stripe-price-inactive": ("price",), "stripe-product-inactive": ("price", "product"),
    "stripe-missing-coupon": ("coupon",), "stripe-tax-rate-inactive": ("tax_rate",), "stripe-meter-archived": ("meter",),
    "stripe-missing-customer": ("customer",), "stripe-resource-missing": (),
}  # fmt: skip


def lost(push: Push, refusal: Refusal) -> list[Lost]:
    """Return the shared objects of a push of which a refusal says that they are gone or withdrawn: by its parameter, else by its words."""
    kinds = _GONE.get(refusal.problem.code)
    if kinds is None:
        return []
    step = next((s for s in push.plan.steps if s.name == push.begun), None)
    used = [
        (s.shared, str(push.results[s.name]["id"])) for s in push.plan.steps
        if s.shared is not None and "id" in push.results.get(s.name, {}) and not (step is not None and s.name == step.name)
    ]  # fmt: skip
    named = set(_ids_at(step, refusal.param, push.results)) if step is not None and refusal.param else set()
    named |= set(re.findall(r"[A-Za-z0-9_]+", refusal.message))
    found = [one for one in used if one[1] in named]
    if not found or refusal.problem.code == "stripe-product-inactive":  # which product, only its price may be told
        found += [one for one in used if one[0][0] in kinds and one not in found]
    return found


def named_by(push: Push, lost: Sequence[Lost]) -> list[str]:
    """Return the names of the steps that stand for shared objects."""
    return [s.name for s in push.plan.steps if s.shared is not None and any(s.shared == shared for shared, _ in lost)]


def _ids_at(step: Step, param: str, results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the ids that stand at a parameter as Stripe names it, `phases[0][items][0][price]`, or directly below it."""
    path = ".".join(re.findall(r"[^\[\]]+", param))
    value = resolved(at_path(step.params, path), results)
    yield from (v for v in (value.values() if isinstance(value, Mapping) else [value]) if isinstance(v, str))


# ---------------------------------------------------------------- what is to be read back at once


def to_read(push: Push) -> tuple[list[str], list[str], list[str]]:
    """Return (invoices, subscriptions, credit notes) that the steps touched, by Stripe's ids: what happened there is to be mirrored.

    Of subscriptions it is the latest invoice: those are named whose invoice no step looked for.
    """
    invoices: dict[str, None] = {}
    subscriptions: dict[str, None] = {}
    notes: dict[str, None] = {}
    for step in push.plan.steps:
        given = push.results.get(step.name)
        if not given:
            continue
        resource, _, call = step.call.rpartition(".")
        if step.call == "subscriptions.retrieve":
            latest = given.get("latest_invoice")
            invoices |= {latest: None} if isinstance(latest, str) else {}
        elif resource == "invoices" and call != "delete":
            invoices[str(given["id"])] = None
        elif step.call == "credit_notes.create":
            notes[str(given["id"])] = None
            invoices |= {str(i): None for i in [given.get("invoice") or step.params.get("invoice")] if isinstance(i, str)}
        elif call == "update" and step.call.startswith((_SCHEDULES, _SUBSCRIPTIONS)):
            found = given.get("subscription") if step.call.startswith(_SCHEDULES) else given["id"]
            subscriptions |= {str(found): None} if isinstance(found, str) else {}
    return list(invoices), list(subscriptions), list(notes)


def prorated_later(push: Push) -> set[str]:
    """Return the subscriptions on which a push let Stripe's own prorations wait for the next invoice."""
    steps = [s for s in push.plan.steps if s.call == "subscription_schedules.update" and s.params.get("proration_behavior") == "create_prorations"]
    return {str(push.results[s.name].get("subscription")) for s in steps if push.results.get(s.name)}
