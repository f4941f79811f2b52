"""Subscriptions of the account become contracts of the books, without anything made or billed anew (decision D-199).

A contract is worked out as an imported one; what would be sent for it says what Stripe has to hold, and is held against what it does
hold. Where both are the same, the steps are thrown away and the subscription is noted as the contract's; only our metadata is written
to it. Where they differ, the subscription is left alone and the report says why.

Worked example: sub_1 bills 3 x 20.00 EUR on the 15th. Its contract would be one monthly group with one item of quantity 3: noted as
held by sub_1 with price_1 under that item. An amendment in May makes a schedule from it and goes on as with any contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from connector.billing import imports, store
from connector.billing.intents import Engine, Request
from connector.billing.stripe_backend import pushes
from connector.billing.stripe_backend.begun import Done
from connector.billing.stripe_backend.compiling.people import rate_key
from connector.billing.stripe_backend.compiling.prices import event_name, product_id
from connector.billing.stripe_backend.shared import figures_differ
from connector.billing.stripe_backend.steps import Held, HeldGroup, HeldItem, Plan, Step
from connector.core.matching import product_of
from connector.core.terms import ContractTerms, TaxRate
from connector.errors import Problem
from connector.ports import Command, IntentResult, Unit

AT_ONCE = 50  # subscriptions of one request


@dataclass(frozen=True, slots=True, kw_only=True)
class There:
    """What Stripe has of a contract: its subscription with schedule and customer, when its periods begin, and its items.

    phase_start - the first day of the schedule's running phase, None without a schedule. By our item's id: prices - Stripe's price and
    subscription item; events - the event name of its meter; meters, products - their ids; billed - the price as Stripe has it, and the quantity. is_taxed - Stripe finds its tax.
    """

    subscription: str
    schedule: str
    customer: str
    anchor: date
    at_time: str
    phase_start: date | None
    prices: Mapping[str, tuple[str, str]]
    events: Mapping[str, str]
    meters: Mapping[str, str] = field(default_factory=dict)
    products: Mapping[str, str] = field(default_factory=dict)
    billed: Mapping[str, tuple[Mapping[str, Any], int | None]] = field(default_factory=dict)
    is_taxed: bool = False


def there_from(data: Mapping[str, Any]) -> There:
    """Return what a request says of Stripe's side."""
    return There(
        subscription=data["subscription"], schedule=data["schedule"], customer=data["customer"], anchor=date.fromisoformat(data["anchor"]),
        at_time=data["at_time"], prices={i: (price, item) for i, price, item in data["prices"]},
        phase_start=date.fromisoformat(data["phase_start"]) if data["phase_start"] else None, events=dict(data["events"]),
        meters=dict(data.get("meters", {})), products=dict(data.get("products", {})),
        billed={i: (price, quantity) for i, (price, quantity) in data.get("billed", {}).items()}, is_taxed=bool(data.get("is_taxed")),
    )  # fmt: skip


def adopt(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Link subscriptions (data: contracts, each an entry of `billing.imports` with `stripe`: what is there; dry: nothing is written).

    Each row of the result says what became of one subscription; one that cannot be linked holds back only itself.
    """
    given: Sequence[Mapping[str, Any]] = request.data["contracts"]
    is_dry = bool(request.data.get("dry"))
    there = {str(e["id"]): there_from(e["stripe"]) for e in given}
    rows = _known(unit, there)
    wanted, others = imports.sorted_entries(unit, engine.org, [e for e in given if e["id"] not in rows])
    rows |= others
    linked: list[tuple[str, str, str, str]] = []
    for entry in wanted:  # one after the other: what is refused is taken back alone
        rows[entry.id], link = _adopt_one(request, engine, unit, entry, there[entry.id], is_dry=is_dry)
        linked += link
    ordered = [rows[str(e["id"])] for e in given]
    return IntentResult(result={"rows": ordered}, deals=tuple(deal for deal, *_ in linked), linked=tuple(linked))


def _known(unit: Unit, there: Mapping[str, There]) -> dict[str, dict[str, Any]]:
    """Return the rows of subscriptions that belong to a contract already."""
    found: dict[str, dict[str, Any]] = {}
    for external_id, at in there.items():
        rows = unit.query("SELECT contract_id FROM stripe_subscription WHERE subscription = ?", (at.subscription,))
        if rows:
            found[external_id] = imports.row_of(external_id, "unchanged", contract=rows[0][0])
    return found


def _adopt_one(
    request: Request, engine: Engine, unit: Unit, entry: imports.Entry, there: There, *, is_dry: bool
) -> tuple[dict[str, Any], list[tuple[str, str, str, str]]]:
    command = entry.command
    work = engine.worked_out([command], unit, request.now, hold=False)
    (outcome,) = work.outcomes
    if outcome.problem is not None or outcome.contract_id is None:
        return imports.refused_row(entry.id, outcome.problem or Problem(code="internal-error", message="Nothing came of it.")), []
    contract_id = outcome.contract_id
    made_of = getattr(work.issue, "plans", {}).get(contract_id)  # of Stripe's way to issue alone
    plan: Plan | None = made_of.plan if made_of is not None else None
    problem = _taxed_otherwise(engine, there) or _differs(plan or Plan(held=Held(contract_id=contract_id)), there)
    if problem is not None or plan is None:
        return imports.refused_row(entry.id, problem or Problem(code="internal-error", message="Nothing would be held.")), []
    if not is_dry:
        work.write(unit)
        pushes.drop(unit, command.key)
        imports.note(unit, engine.org, [entry], work, store.at_text(request.now))
        _hold(request, unit, plan.held, there, contract_id, str(outcome.customer_id))
        _keep_products(request, unit, command.terms, there, contract_id)
        _keep_rates(request, unit, command.terms)
        _tell(request, engine, unit, entry, there, contract_id, str(outcome.customer_id))
    made = {m.contract.id: m for m in work.issue.done}
    row = imports.made_row(entry, work, made[contract_id], request.now, {}, is_dry=is_dry) | {"notes": _notes(engine, command)}
    is_of_deal = not command.deal.startswith(imports.OWN_DEAL)
    return row, [(command.deal, command.label, contract_id, command.customer.account)] if is_of_deal and not is_dry else []


def _taxed_otherwise(engine: Engine, there: There) -> Problem | None:
    """Return why a subscription would be taxed in another way from its next change on, None where it would not."""
    is_automatic = bool(getattr(engine, "automatic_tax", False))  # of the Stripe backend alone
    if is_automatic == there.is_taxed:
        return None
    if there.is_taxed:
        text = "Stripe works out its tax, the configuration does not: its next change would switch that off."
        return Problem(code="not-alike", message=text, hint="Set `tax: {kind: stripe}`, or switch automatic tax off there, and run it again.")
    text = "Stripe does not work out its tax, the configuration wants that: its next change would switch it on."
    return Problem(code="not-alike", message=text, hint="Switch automatic tax on there, or leave it at Stripe, and run it again.")


def _differs(plan: Plan, there: There) -> Problem | None:
    """Return why what Stripe holds is not what the contract would be there, None where it is."""
    groups = plan.held.groups
    if len(groups) != 1:
        text = f"Here it would be {len(groups)} subscriptions." if groups else "Here nothing of it would be a subscription."
        return Problem(code="not-alike", message=text, hint="Leave it at Stripe, or end it there and begin it anew from a deal.")
    if plan.lines:
        return Problem(
            code="not-alike", message=f"The connector would bill {plan.lines[0].description or plan.lines[0].item_id} by itself.",
            hint="Link it after its next invoice.",
        )  # fmt: skip
    running = {item.item_id: item.quantity for phase in groups[0].phases for item in phase.items}
    if not set(there.prices) <= set(running):
        missing = ", ".join(sorted(set(there.prices) - set(running)))
        return Problem(code="not-alike", message=f"The connector would not bill {missing} in it.", hint="Leave it at Stripe.")
    facts = _billed_otherwise(plan, there)
    if facts:
        hint = "Leave it at Stripe, or change its price or quantity there first."
        return Problem(code="not-alike", message=f"The connector would bill it otherwise: {'; '.join(facts)}.", hint=hint)
    return None


def _billed_otherwise(plan: Plan, there: There) -> list[str]:
    """Return what of quantities and prices the contract would have otherwise than the subscription."""
    held: dict[str, HeldItem] = {}
    for phase in plan.held.groups[0].phases:
        held = {item.item_id: item for item in phase.items} | held  # as it runs now: the first phase that has it
    made = {step.shared[1]: step.params for step in plan.steps if step.shared is not None and step.shared[0] == "price"}
    found = []
    for item_id, (price, quantity) in there.billed.items():
        item = held[item_id]
        if item.quantity is not None and quantity is not None and item.quantity != quantity:
            found.append(f"quantity of {item_id} is {quantity} there, {item.quantity.normalize():f} here")
        found += [f"{item_id}: {text}" for text in figures_differ(price, made.get(item.price, {}))]
    return found


def _hold(
    request: Request, unit: Unit, held: Held, there: There, contract_id: str, customer_id: str
) -> None:
    """Note what Stripe holds of the contract: the subscription as it is, its prices under our keys, its customer."""
    (group,) = held.groups
    adopted = _adopted(group, there, request.now.date())
    pushes.save_held(unit, replace(held, customer=there.customer, groups=(adopted,)), request.now)
    for phase in group.phases:
        for item in phase.items:
            found = there.prices.get(item.item_id)
            if found is not None:
                pushes.adopt_shared(unit, ("price", item.price), found[0], contract_id, request.now)
    pushes.adopt_shared(unit, ("customer", customer_id), there.customer, contract_id, request.now)
    for item_id, event in there.events.items():
        pushes.save_shared(unit, ("event", f"{contract_id}/{item_id}"), event, request.now)


def _keep_products(request: Request, unit: Unit, terms: ContractTerms | None, there: There, contract_id: str) -> None:
    """Note Stripe's products and meters under our keys, so that what changes later is made for them."""
    for item in (i for phase in (terms.phases if terms else ()) for i in phase.items):
        if item.id in there.products:
            pushes.adopt_shared(unit, ("product", product_id(product_of(item.price))), there.products[item.id], contract_id, request.now)
    for item_id, meter in there.meters.items():
        pushes.adopt_shared(unit, ("meter", event_name(contract_id, item_id)), meter, contract_id, request.now)


def _keep_rates(request: Request, unit: Unit, terms: ContractTerms | None) -> None:
    """Note Stripe's tax rates under our keys, so that they are used and not made anew."""
    for rate in _rates(terms):
        pushes.save_shared(unit, ("tax_rate", rate_key(rate)), rate.id, request.now)


def _rates(terms: ContractTerms | None) -> list[TaxRate]:
    if terms is None:
        return []
    own = [rate for phase in terms.phases for item in phase.items for rate in item.tax_rates]
    return list(dict.fromkeys([*terms.tax_rates, *own]))


def _notes(engine: Engine, command: Command) -> list[str]:
    """Return what is worth knowing of a contract that is linked."""
    taxed = engine.tax.tax_of(command.customer)
    if _rates(command.terms) or not taxed.rates or taxed.exempt != "none":
        return []
    return ["Stripe bills it without tax; from its next change on it bears the rates of the configuration."]


def _adopted(group: HeldGroup, there: There, today: date) -> HeldGroup:
    phases = group.phases
    if there.phase_start is not None:  # Stripe wants its running phase back from where it began
        phases = (replace(phases[0], start=min(there.phase_start, phases[0].start)), *phases[1:])
    return replace(
        group, at_time=there.at_time, anchor=there.anchor, since=today, subscription=there.subscription, schedule=there.schedule, phases=phases
    )


def _tell(  # noqa: PLR0913, PLR0917 - both sides of what is linked
    request: Request, engine: Engine, unit: Unit, entry: imports.Entry, there: There, contract_id: str, customer_id: str
) -> None:
    """Have our metadata written to what was linked, so that a look at Stripe, and a ledger that is lost, know it."""
    deal = "" if entry.command.deal.startswith(imports.OWN_DEAL) else entry.command.deal
    ours = {"connector_org": engine.org, "connector_contract": contract_id} | ({"connector_deal": deal} if deal else {})
    who = {"connector_org": engine.org, "connector_customer": customer_id, "crm_account": entry.command.customer.account}
    steps = [
        Step(name="customer", call="customers.update", target=there.customer, params={"metadata": who}),
        Step(name="subscription", call="subscriptions.update", target=there.subscription, params={"metadata": ours}),
    ]
    if there.schedule:
        steps.append(Step(name="schedule", call="subscription_schedules.update", target=there.schedule, params={"metadata": ours}))
    steps += [
        Step(name=f"item-{n}", call="subscription_items.update", target=item, params={"metadata": {"connector_item": item_id}})
        for n, (item_id, (_, item)) in enumerate(there.prices.items(), 1)
    ]
    plan = Plan(steps=tuple(steps), held=Held(contract_id=""))
    pushes.begin(unit, key=f"{engine.org}/adopt/{there.subscription}", contract_id="", deal="", plan=plan, now=request.now)


def linked(done: Done, engine: Engine, unit: Unit) -> IntentResult:
    """Say what became of each subscription."""
    del engine, unit
    return IntentResult(result=done.so_far)
