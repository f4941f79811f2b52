"""Who a customer of Stripe is in the CRM: found by what links it for sure before by what only looks alike, and never guessed.

| step | a customer is |
|---|---|
| ours | that of the books whose id stands in our metadata |
| account | the CRM account whose id stands in its metadata, under a name of the configuration |
| | (nobody else's, where the metadata names another org) |
| email | the only account with its e-mail, where no other customer of Stripe has that e-mail |
| name | the only account with its name, likewise |

Worked example: `metadata.salesforce_account_id = 001…AAA` is that account, whatever the e-mail says. Two accounts named "Acme" and a
customer "Acme" without more: ambiguous, both are named in the report and nothing is linked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

By = Literal["ours", "account", "email", "name"]
_ID = re.compile(r"001[0-9A-Za-z]{12}(?:[0-9A-Za-z]{3})?")
_LEGAL_FORMS = re.compile(
    r"[\s,]+(?:inc|incorporated|corp|corporation|co|company|llc|llp|lp|ltd|limited|plc|gmbh|ag|kg|ug|sa|sas|sarl|srl|spa|bv|nv|oy|ab|as|aps|pty)\.?$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Somebody whom the books or the CRM know: the account (18 characters), its name, its e-mails, and the books' customer id or ""."""

    account: str
    name: str
    emails: tuple[str, ...] = ()
    customer_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What was found for one customer of Stripe: who it is and by which step, or why nobody can say (*problem*, with *hint*)."""

    known: Known | None = None
    by: By | None = None
    problem: str = ""
    hint: str = ""


def plain_name(name: str) -> str:
    """Return a name as names are compared: case, spaces, punctuation at the end and the legal form do not count."""
    text = " ".join(name.casefold().split()).rstrip(" .,")
    return _LEGAL_FORMS.sub("", text) or text


def plain_email(email: str) -> str:
    """Return an e-mail as e-mails are compared."""
    return email.strip().casefold()


def account_in(customer: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the CRM account id that a customer's metadata holds under one of *names*, "" where there is none."""
    metadata = customer.get("metadata") or {}
    found = (str(metadata[n]).strip() for n in names if metadata.get(n))
    return next((text for text in found if _ID.fullmatch(text)), "")


def matched(customers: Sequence[Mapping[str, Any]], known: Sequence[Known], *, org: str, names: Sequence[str]) -> dict[str, Match]:
    """Return by the id of each customer of Stripe who it is.

    Args: customers - Stripe's, with those that are not imported, too, so that nobody counts as the only one who is not. known -
    everybody who comes into question, accounts in their long form. org - whose metadata is ours. names - metadata that may hold an
    account's id.
    """
    by_id = {k.customer_id: k for k in known if k.customer_id}
    by_account = {k.account: k for k in known} | {k.account[:15]: k for k in known}
    found: dict[str, Match] = {}
    for customer in customers:
        match = _linked(customer, by_id, by_account, org, names)
        if match is not None:
            found[str(customer["id"])] = match
    taken = {m.known.account for m in found.values() if m.known is not None}
    others = [c for c in customers if str(c["id"]) not in found]
    for step, keys_of, key_of in (
        ("email", lambda k: [plain_email(e) for e in k.emails if e], lambda c: plain_email(str(c.get("email") or ""))),
        ("name", lambda k: [plain_name(k.name)], lambda c: plain_name(str(c.get("name") or ""))),
    ):
        found |= _alike([c for c in others if str(c["id"]) not in found], known, taken, step, keys_of, key_of)
    return {str(c["id"]): found.get(str(c["id"])) or _nobody(c) for c in customers}


def _linked(
    customer: Mapping[str, Any], by_id: Mapping[str, Known], by_account: Mapping[str, Known], org: str, names: Sequence[str]
) -> Match | None:
    """Return who a customer is by its metadata, None where that says nothing."""
    metadata = customer.get("metadata") or {}
    ours, owner = str(metadata.get("connector_customer") or ""), str(metadata.get("connector_org") or org)
    if ours in by_id and owner == org:
        return Match(known=by_id[ours], by="ours")
    account = account_in(customer, names)
    if account in by_account or account[:15] in by_account:
        return Match(known=by_account.get(account) or by_account[account[:15]], by="account")
    if owner != org:  # who looks like one of ours is all the same billed from there
        return Match(
            problem=f"It is a customer of another CRM org, {owner}, whose connector bills in this account, too.",
            hint="Leave it alone. If that org is gone, write this org's account id into the customer's metadata in Stripe (salesforce_account_id).",
        )
    if not account:
        return None
    if ours:  # of a ledger that is gone, and an account that is gone: its e-mail and name are left
        return None
    return Match(
        problem=f"Its metadata names the account {account}, which the CRM does not have.", hint="Correct the metadata in Stripe, or restore the account."
    )


def _alike(
    customers: Sequence[Mapping[str, Any]], known: Sequence[Known], taken: set[str], step: Any, keys_of: Any, key_of: Any
) -> dict[str, Match]:
    """Return who customers are by something that several may have: found where it is one account's and one customer's alone."""
    owners: dict[str, list[Known]] = {}
    for who in known:
        for key in dict.fromkeys(keys_of(who)):
            owners.setdefault(key, []).append(who)
    askers: dict[str, list[Mapping[str, Any]]] = {}
    for customer in customers:
        if key_of(customer):
            askers.setdefault(key_of(customer), []).append(customer)
    found: dict[str, Match] = {}
    for key, asking in askers.items():
        having = {k.account: k for k in owners.get(key, ())}
        if not having:
            continue
        what = f"the e-mail {key}" if step == "email" else f'the name "{asking[0].get("name")}"'
        if len(having) == 1 and len(asking) == 1:
            (who,) = having.values()
            if who.account in taken:
                found[str(asking[0]["id"])] = Match(
                    problem=f"The account {who.name} ({who.account}) has {what}, and another customer of Stripe is linked to it.",
                    hint="One account is one customer: merge them in Stripe, or say in the metadata which account this one is.",
                )
            else:
                taken.add(who.account)
                found[str(asking[0]["id"])] = Match(known=who, by=step)
            continue
        found |= {str(c["id"]): _ambiguous(list(having.values()), asking, what) for c in asking}
    return found


def _ambiguous(having: Sequence[Known], asking: Sequence[Mapping[str, Any]], what: str) -> Match:
    accounts = ", ".join(f"{k.name} ({k.account})" for k in having[:5]) + (" and more" if len(having) > 5 else "")
    several = f"{len(having)} accounts have {what}: {accounts}" if len(having) > 1 else f"{len(asking)} customers of Stripe have {what}, and one account: {accounts}"
    return Match(problem=f"{several}.", hint="Write the account's id into the customer's metadata in Stripe (salesforce_account_id), then run it again.")


def _nobody(customer: Mapping[str, Any]) -> Match:
    who = " ".join(str(t) for t in (customer.get("name"), customer.get("email")) if t) or str(customer["id"])
    return Match(
        problem=f"No account of the CRM has the e-mail or the name of {who}.",
        hint="Write the account's id into the customer's metadata in Stripe (salesforce_account_id), then run it again.",
    )
