"""`connector import contracts --from stripe`: the subscriptions of the Stripe account become contracts, linked and not doubled.

The account is read, its customers are matched with the CRM's accounts, and what is clear goes to the books in requests of a bounded
size. Everything else stands in the report with its reason, and is left alone. Run again it links what has become clear since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connector import app
from connector.asking.imports import bound, common_of
from connector.asking.shared import bad
from connector.billing.stripe_backend.importing.adopting import AT_ONCE
from connector.billing.stripe_backend.importing.knowing import codes_by_name, contracts_known, customers_known
from connector.billing.stripe_backend.importing.matching import Known, Match, matched
from connector.billing.stripe_backend.importing.understood import RUNNING, Seen, Understood, at_time, day, understood
from connector.billing.stripe_backend.steps import Calls
from connector.crm.login import id18
from connector.mapping.conditions import ConditionError, condition_paths, matcher, parsed_condition
from connector.ports import Crm
from connector.simulate.contracts import Common
from connector.verbs import Result, looking_house, open_config, progress_lines

MOST = 50_000  # objects of one kind that are read of an account
PAGE_ROWS = 2_000
_NAMES_A_QUERY = 200
_FIELDS = ("id", "customer", "customer_name", "customer_email", "status", "currency", "collection_method", "description")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What was read of the Stripe account."""

    subscriptions: Sequence[Mapping[str, Any]]
    schedules: Mapping[str, Mapping[str, Any]]
    coming: Sequence[Mapping[str, Any]]
    customers: Mapping[str, Mapping[str, Any]]
    seen: Seen
    events: Mapping[str, str]


def contract_rows(config_path: Path, *, where: str, is_dry: bool) -> Iterator[list[Result]]:
    """Link the account's subscriptions that fulfil *where* and yield the rows of the report, a part at a time.

    Raises: ConfigError for a condition that is none, or where another backend bills; errors of the CRM and of Stripe.
    """
    config = open_config(config_path)
    if config.billing.backend != "stripe":
        raise bad("Contracts come from Stripe only where Stripe bills.", "Set `billing: {backend: stripe}`, or import a file.")
    is_wanted = wanted_by(where)
    show = progress_lines()
    crm = app.build_crm(config)
    org = crm.connect()
    if not is_dry:
        bound(config)
    with looking_house(config) as books, books.database.read() as unit:
        known, codes = customers_known(unit, org.id), codes_by_name(unit)
        calls = app.stripe_calls(config, unit)
    account = read_account(calls, codes, show)
    people = people_of(crm, known, [str(c.get("email") or "") for c in account.customers.values()])
    matches = matched(list(account.customers.values()), people, org=org.id, names=config.stripe.account_ids)
    common = common_of(config)
    with looking_house(config) as books, books.database.read() as unit:
        named = {i: _contract_in(s, org.id) for s in [*account.subscriptions, *account.coming] if (i := str(s["id"]))}
        have = contracts_known(unit, {c for c in named.values() if c})
    ours = {i: c for i, c in named.items() if c in have}
    chosen = [s for s in [*account.subscriptions, *account.coming] if is_wanted(_flat(s, account))]
    size = AT_ONCE * 2
    for start in range(0, len(chosen), size):
        part = chosen[start : start + size]
        rows = [_ours(s, account, ours[str(s["id"])]) for s in part if str(s["id"]) in ours]
        rows += [_theirs(s, account, owner) for s in part if str(s["id"]) not in ours and (owner := _other_org(s, org.id))]
        others = [s for s in part if str(s["id"]) not in ours and not _other_org(s, org.id)]
        yield rows + (_linked(config, account, matches, common, others, is_dry=is_dry) if others else [])
        show("read" if is_dry else "linked", len(part))


def _contract_in(subscription: Mapping[str, Any], org: str) -> str:
    """Return the contract of this ledger that a subscription says it is of, "" for none."""
    metadata = subscription.get("metadata") or {}
    return str(metadata.get("connector_contract") or "") if metadata.get("connector_org") == org else ""


def _other_org(subscription: Mapping[str, Any], org: str) -> str:
    """Return the other org whose connector bills a subscription, "" for none."""
    owner = str((subscription.get("metadata") or {}).get("connector_org") or "")
    return owner if owner != org else ""


def _theirs(subscription: Mapping[str, Any], account: Account, owner: str) -> Result:
    """Return the row of a subscription that the connector of another org bills: two of them would both change it."""
    hint = "Leave it alone. If that org is gone, take `connector_org` and `connector_contract` out of its metadata in Stripe, and run it again."
    return _row(subscription, account, Match(), [("other-org", f"The connector of another CRM org, {owner}, bills it.", hint)])


def _ours(subscription: Mapping[str, Any], account: Account, contract: str) -> Result:
    """Return the row of a subscription that the connector made or linked before."""
    return _row(subscription, account, Match(), []) | {"result": "unchanged", "contract": contract}


# ---------------------------------------------------------------- which


def wanted_by(where: str) -> Callable[[Mapping[str, Any]], bool]:
    """Return whether a subscription fulfils a condition. Raises: ConfigError for what is none, or names what a subscription does not have."""
    if not where.strip():
        return lambda _flat: True
    hint = f"Known are {', '.join(_FIELDS)}, and metadata.NAME, such as currency = 'eur' AND metadata.region = 'EMEA'."
    try:
        condition = parsed_condition(where)
    except ConditionError as error:
        raise bad(f"--where is not understood: {str(error).rstrip('.')}.", hint) from error
    unknown = [p for p in condition_paths(condition) if p not in _FIELDS and not p.startswith("metadata.")]
    if unknown:
        raise bad(f"--where names {', '.join(unknown)}, which a subscription does not have.", hint)
    return matcher(condition, lambda _path: "")


def _flat(subscription: Mapping[str, Any], account: Account) -> dict[str, Any]:
    who = account.customers.get(str(subscription["customer"]), {})
    own = {name: subscription.get(name) for name in _FIELDS if not name.startswith("customer_")}
    return own | {"customer_name": who.get("name"), "customer_email": who.get("email"), "metadata": subscription.get("metadata") or {}}


# ---------------------------------------------------------------- reading


def read_account(calls: Calls, codes: Mapping[str, str], show: Callable[[str, int], None]) -> Account:
    """Return everything of an account that tells who is billed for what; ended subscriptions are left out."""

    def every(call: str, **params: Any) -> list[dict[str, Any]]:
        found = calls.listed(call, params, limit=MOST + 1)
        if len(found) > MOST:
            raise bad(f"The account has more than {MOST:,} objects of `{call}`.", "Ask for a way to link a part of it.")
        show("read", len(found))
        return found

    found = every("subscriptions.list", status="all", expand=["data.discounts", "data.items.data.discounts", "data.latest_invoice"])
    running = [_whole(calls, s) for s in found if s["status"] in (*RUNNING, "paused", "incomplete")]
    schedules = every("subscription_schedules.list", expand=["data.phases.items.price"])
    products, coupons = every("products.list"), every("coupons.list")
    prices = {str(i["price"]["id"]): i["price"] for s in running for i in s["items"]["data"]}
    prices |= {
        str(i["price"]["id"]): i["price"]
        for s in schedules for p in s["phases"] for i in p["items"] if isinstance(i["price"], Mapping)
    }  # fmt: skip
    tiered = {
        price_id: calls.do("prices.retrieve", {"expand": ["tiers"]}, target=price_id)
        for price_id, price in prices.items() if price.get("billing_scheme") == "tiered"
    }  # fmt: skip
    has_meters = any((p.get("recurring") or {}).get("meter") for p in prices.values())
    meters = {str(m["id"]): str(m["event_name"]) for m in every("billing.meters.list")} if has_meters else {}
    return Account(
        subscriptions=running, schedules={str(s["id"]): s for s in schedules},
        coming=[_as_subscription(s) for s in schedules if s["status"] == "not_started"],
        customers={str(c["id"]): c for c in every("customers.list")},
        seen=Seen(
            products={str(p["id"]): p for p in products}, coupons={str(c["id"]): c for c in coupons}, tiered=tiered | _plain(prices, tiered),
            codes=codes,
        ),
        events={i: meters[m] for i, p in prices.items() if (m := str((p.get("recurring") or {}).get("meter") or "")) in meters},
    )  # fmt: skip


def _plain(prices: Mapping[str, Any], tiered: Mapping[str, Any]) -> dict[str, Any]:
    return {price_id: price for price_id, price in prices.items() if price_id not in tiered}


def _whole(calls: Calls, subscription: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a subscription with all its items, of which a list shows the first ten."""
    items = subscription["items"]
    if not items.get("has_more"):
        return subscription
    return {**subscription, "items": {"data": calls.listed("subscription_items.list", {"subscription": subscription["id"]}, limit=100)}}


def _as_subscription(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schedule that has not begun as the subscription that it will be, for the report."""
    return {
        "id": schedule["id"], "customer": schedule["customer"], "status": "not_started", "currency": "", "items": {"data": []},
        "metadata": schedule.get("metadata") or {}, "description": "", "collection_method": "",
    }  # fmt: skip


def people_of(crm: Crm, known: Mapping[str, Known], emails: Sequence[str]) -> list[Known]:
    """Return everybody who comes into question: the books' customers, and the CRM's accounts with the e-mails of their contacts."""
    described = crm.describe(["Account", "Contact"])
    has_email = "Account" in described and "Billing_Email__c" in described["Account"].fields
    people: dict[str, Known] = {}
    for row in _pages(crm, f"SELECT Id, Name{', Billing_Email__c' if has_email else ''} FROM Account"):
        account = id18(row["Id"])
        own = known.get(account)
        said = tuple(dict.fromkeys(e for e in (row.get("Billing_Email__c") or "", *(own.emails if own else ())) if e))
        people[account] = Known(account=account, name=row["Name"], emails=said, customer_id=own.customer_id if own else "")
    for account, own in known.items():
        people.setdefault(account, own)
    if "Contact" in described:
        asked = sorted({e.strip() for e in emails if e and "'" not in e and "\\" not in e})
        for start in range(0, len(asked), _NAMES_A_QUERY):
            listed = ",".join(f"'{e}'" for e in asked[start : start + _NAMES_A_QUERY])
            for row in _pages(crm, "SELECT Id, AccountId, Email FROM Contact", f"Email IN ({listed})"):
                account = id18(row.get("AccountId") or "")
                if account in people:
                    people[account] = replace(people[account], emails=tuple(dict.fromkeys([*people[account].emails, row["Email"]])))
    return list(people.values())


def _pages(crm: Crm, select: str, where: str = "") -> Iterator[dict[str, Any]]:
    """Yield all rows of an object, a page at a time, in order of id."""
    last = ""
    while True:
        conditions = " AND ".join(c for c in (where, f"Id > '{last}'" if last else "") if c)
        (page,) = crm.query([f"{select}{f' WHERE {conditions}' if conditions else ''} ORDER BY Id LIMIT {PAGE_ROWS}"])
        yield from page
        if len(page) < PAGE_ROWS:
            return
        last = page[-1]["Id"]


# ---------------------------------------------------------------- linking


def _linked(
    config: Any, account: Account, matches: Mapping[str, Match], common: Common, part: Sequence[Mapping[str, Any]], *, is_dry: bool
) -> list[Result]:
    """Link a part of the subscriptions; return their rows in order."""
    rows: dict[str, Result] = {}
    entries: list[dict[str, Any]] = []
    for subscription in part:
        match = matches.get(str(subscription["customer"])) or Match(problem="Its customer was deleted.", hint="Nothing is to be done.")
        found = _understood(account, subscription, match, common)
        if isinstance(found, dict):
            entries.append(found)
        rows[str(subscription["id"])] = _row(subscription, account, match, [] if isinstance(found, dict) else found)
    done = _carried_out(config, entries, is_dry=is_dry)
    for entry in entries:
        said = dict(done[entry["id"]])
        problem = said.pop("problem", None)
        row = rows[entry["id"]]
        row |= {"result": said.pop("outcome"), **{k: v for k, v in said.items() if k != "id"}}
        row["notes"] = [*entry["notes"], *row.get("notes", ())]
        row["problems"] = [{**problem, "where": _NOWHERE}] if problem else []
    return list(rows.values())


_NOWHERE = {"file": None, "line": None, "column": None, "field": None}


def _understood(
    account: Account, subscription: Mapping[str, Any], match: Match, common: Common
) -> dict[str, Any] | list[tuple[str, str, str]]:
    """Return a subscription as the books take it, or (code, message, hint) of everything that keeps it from being linked."""
    found: list[tuple[str, str, str]] = []
    if match.known is None:
        found.append(("no-account", match.problem, match.hint))
    if subscription["status"] == "not_started":
        return [*found, ("not-begun", "Its schedule has not begun.", "Link it when it has, or end it and close the deal in the CRM.")]
    if subscription["status"] not in RUNNING:
        found.append(("not-running", f"It is {subscription['status']}.", "Link it when it runs."))
    schedule_id = subscription.get("schedule")
    schedule = account.schedules.get(str(schedule_id)) if schedule_id else None
    who = match.known.account if match.known is not None else ""
    read = understood(subscription, schedule, account.seen, account=who, timezone=common.timezone, settings=common.settings)
    found += [("not-alike", text, "Leave it at Stripe, or change it there first.") for text in read.problems]
    if found or read.entry is None or match.known is None:
        return found
    entry = dict(read.entry)
    entry["customer"] = _details(account.customers[str(subscription["customer"])], match.known)
    if not subscription.get("description"):
        entry["label"] = f"{match.known.name}, {subscription['id']}"
    return entry | {"stripe": _there(account, subscription, schedule, read), "notes": list(read.notes)}


def _there(account: Account, subscription: Mapping[str, Any], schedule: Mapping[str, Any] | None, read: Understood) -> dict[str, Any]:
    anchor = int(subscription["billing_cycle_anchor"])
    is_active = schedule is not None and schedule["status"] == "active"
    return {
        "subscription": subscription["id"], "schedule": schedule["id"] if is_active and schedule else "", "customer": subscription["customer"], "anchor": day(anchor).isoformat(),
        "at_time": at_time(anchor), "is_taxed": bool((subscription.get("automatic_tax") or {}).get("enabled")), "prices": [list(p) for p in read.prices],
        "phase_start": day(int(schedule["current_phase"]["start_date"])).isoformat() if is_active and schedule else None,
        "events": {i: account.events[price] for i, price, _ in read.prices if price in account.events},
        **_known_prices(account, subscription, read),
    }  # fmt: skip


def _known_prices(account: Account, subscription: Mapping[str, Any], read: Understood) -> dict[str, Any]:
    """Return what Stripe has of each item by our id: product, meter, price and quantity."""
    quantities = {str(e["id"]): e.get("quantity") for e in subscription["items"]["data"]}
    prices = {i: account.seen.tiered[price] for i, price, _ in read.prices if price in account.seen.tiered}
    meters = {i: (p.get("recurring") or {}).get("meter") for i, p in prices.items()}
    return {
        "products": {i: str(p["product"]["id"] if isinstance(p["product"], Mapping) else p["product"]) for i, p in prices.items()},
        "meters": {i: str(m) for i, m in meters.items() if m},
        "billed": {i: [prices[i], quantities.get(entry)] for i, _, entry in read.prices if i in prices},
    }  # fmt: skip


def _details(customer: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """Return who is billed, as Stripe's invoices say it; the CRM counts again from the customer's next deal on."""
    place = customer.get("address") or {}
    exempt = str(customer.get("tax_exempt") or "none")
    return {
        "name": str(customer.get("name") or known.name), "email": str(customer.get("email") or next(iter(known.emails), "")), "tax_id": "",
        "language": str(next(iter(customer.get("preferred_locales") or ()), ""))[:2], "tax_exempt": exempt if exempt in ("exempt", "reverse") else "none",
        "address": {
            "line1": str(place.get("line1") or ""), "city": str(place.get("city") or ""), "postal_code": str(place.get("postal_code") or ""),
            "state": str(place.get("state") or ""), "country": str(place.get("country") or ""),
        },
    }  # fmt: skip


def _row(subscription: Mapping[str, Any], account: Account, match: Match, problems: Sequence[tuple[str, str, str]]) -> Result:
    who = account.customers.get(str(subscription["customer"]), {})
    return {
        "row": str(who.get("name") or who.get("email") or subscription["customer"]), "kind": "contract", "id": subscription["id"],
        "result": "refused", "contract": None, "billed_now": None, "next_on": None, "next_amount": None, "customer": subscription["customer"],
        "account": match.known.account if match.known is not None else None, "by": match.by,
        "problems": [{"code": code, "message": message, "hint": hint, "where": _NOWHERE} for code, message, hint in problems],
    }  # fmt: skip


def _carried_out(config: Any, entries: Sequence[Mapping[str, Any]], *, is_dry: bool) -> dict[str, Mapping[str, Any]]:
    """Return what became of subscriptions, by their ids."""
    parts = [{"contracts": entries[at : at + AT_ONCE]} for at in range(0, len(entries), AT_ONCE)]
    results: list[Mapping[str, Any]] = []
    if is_dry:
        with looking_house(config) as books, books.database.read() as unit:
            now = datetime.now(UTC) if not app.has_database(config) else books.now()
            asked = [{**part, "dry": True} for part in parts]
            results += [books.billing.carry_out("contract.adopt", data, unit, now, key="it_dry", actor="cli").result for data in asked]
    else:
        results += app.requests(config, "import contracts", "contract.adopt", parts)
    return {row["id"]: row for result in results for row in result["rows"]}
