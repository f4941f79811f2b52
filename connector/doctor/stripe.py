"""Judges the Stripe account: its key, who it is, what it may do, its clock, its webhook endpoint and who mails customers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from connector.doctor.findings import Finding, failed, ok, warned

NEEDED_EVENTS = ("invoice.finalized", "invoice.paid", "invoice.payment_failed", "credit_note.created", "customer.subscription.updated")
"""The least that an endpoint must send to be of use; what it does not send is polled."""
_SKEW_WARN_S, _SKEW_FAIL_S = 30, 300  # the replay window of signed webhooks is 300 s
_DASHBOARD = "https://dashboard.stripe.com"
Data = Mapping[str, Any]


def key(form: str, mode: str, crm: str) -> Finding:
    """Return what the key is. form - its first part, such as rk_test; crm - the org's name where it is one for trying."""
    if form.startswith("sk_"):
        text = f"a secret key of {mode} mode: it may do everything in the account"
        if mode == "live":
            return warned("stripe-key", f"`stripe.api_key` is {text}.", "Make a restricted key with the rights of docs/stripe.md.")
        return ok("stripe-key", text)
    return ok("stripe-key", f"a restricted key of {mode} mode" + (f", as {crm} is for trying" if crm and mode == "test" else ""))


def account(found: Data, mode: str) -> Finding:
    """Return who the account is, and whether it can take payments."""
    name = (found.get("business_profile") or {}).get("name") or (found.get("settings") or {}).get("dashboard", {}).get("display_name") or ""
    currency = str(found.get("default_currency") or "").upper()
    who = f"{name} ({found['id']})" if name else str(found["id"])
    if mode == "live" and found.get("charges_enabled") is False:
        text = f"{who} cannot take payments yet: Stripe has not activated it."
        return failed("stripe-account", text, f"Finish what the Dashboard asks for ({_DASHBOARD}/account/onboarding).")
    return ok("stripe-account", ", ".join(x for x in (who, str(found.get("country") or ""), currency, f"{mode} mode") if x))


def version(spoken: str, sdk: str, sdk_speaks: str) -> Finding:
    """Return whether the installed SDK is made for the version of the API that we speak; that Stripe serves it shows with the account."""
    if spoken != sdk_speaks:
        text = f"This release speaks {spoken}, and the installed SDK stripe {sdk} is made for {sdk_speaks}."
        return warned("stripe-version", text, "Install the SDK that the release was tested with: pip install 'stripe>=16.1,<17'.")
    return ok("stripe-version", f"{spoken}, which Stripe serves; SDK {sdk}")


def rights(missing: Sequence[tuple[str, str]], asked: int, form: str) -> list[Finding]:
    """Return the rights that are missing, given as (resource, right), each with where to grant it."""
    if form.startswith("sk_"):
        return [ok("stripe-rights", "a secret key has all of them")]
    found = [
        failed(
            "stripe-rights",
            f"The restricted key lacks the right '{resource}: {right}'.",
            f"Edit the key in the Dashboard (Developers, API keys) and set {resource} to {right.capitalize()}; docs/stripe.md lists all rights.",
            code="stripe-right",
        )
        for resource, right in missing
    ]
    return found or [ok("stripe-rights", f"all {asked} resources may be read; that they may be written shows when something is sent")]


def clock(ours: datetime, theirs: datetime | None) -> Finding:
    """Return how far this machine's clock is from Stripe's: phases begin, and signed webhooks are taken, by it."""
    if theirs is None:
        return ok("stripe-clock", "Stripe did not say its time")
    skew_s = int((ours - theirs).total_seconds())
    if abs(skew_s) <= _SKEW_WARN_S:
        return ok("stripe-clock", f"{abs(skew_s)} s apart from Stripe's")
    text = f"This machine's clock is {abs(skew_s)} s {'ahead of' if skew_s > 0 else 'behind'} Stripe's: what begins now is refused or begins late there."
    how = failed if abs(skew_s) > _SKEW_FAIL_S else warned
    return how("stripe-clock", text, "Switch on time synchronization (NTP) on this machine.")


def webhook(endpoints: Sequence[Data] | None, url: str, spoken: str, *, has_secret: bool, is_reachable: bool) -> Finding:
    """Return whether the endpoint that `stripe.webhook_secret` is of can work. endpoints - None: this key may not list them."""
    if not has_secret:
        return ok("stripe-webhook", "none: events are polled each round, which is enough")
    if not is_reachable:
        text = f"`stripe.webhook_secret` is set, but Stripe cannot reach {url}."
        return warned("stripe-webhook", text, "Set `web.public_url` to an https address of this machine, or take the secret out: polling is enough.")
    if endpoints is None:
        return ok("stripe-webhook", f"{url}; whether it is set up well is not shown to this key (right 'Webhook endpoints: read')")
    mine = [e for e in endpoints if str(e.get("url")).rstrip("/") == url]
    if not mine:
        text = f"No webhook endpoint of the account leads to {url}."
        return warned("stripe-webhook", text, f"Add it ({_DASHBOARD}/webhooks), or correct `web.public_url`; until then events are polled.")
    endpoint = mine[0]
    events = tuple(endpoint.get("enabled_events") or ())
    lacking = [e for e in NEEDED_EVENTS if "*" not in events and e not in events]
    problem, hint = "", ""
    if endpoint.get("status") != "enabled":
        problem, hint = "is disabled", "Enable it"
    elif endpoint.get("api_version") not in (None, spoken):
        problem, hint = f"sends version {endpoint['api_version']} of the API, we read {spoken}", f"Make it anew with version {spoken}"
    elif lacking:
        problem, hint = f"does not send {', '.join(lacking)}", "Let it send these"
    if problem:
        return warned("stripe-webhook", f"The webhook endpoint {url} {problem}.", f"{hint} ({_DASHBOARD}/webhooks); until then events are polled.")
    return ok("stripe-webhook", f"{url}, {'all events' if '*' in events else f'{len(events)} kinds of events'}")


def mails(sender: str, mode: str, *, has_server: bool, sends_quotes: bool) -> Finding:
    """Return who tells customers of invoices, and what must be set so that nobody is told twice, or not at all."""
    if sender == "connector":
        return ok("stripe-mails", "by this connector; switch off all mails to customers in Stripe (Settings, Billing, Customer emails): its API does not show them")
    quiet = "; none in test mode" if mode == "test" else ""
    if has_server and not sends_quotes:
        text = "Stripe mails customers (`stripe.mails: stripe`), and `mail.url` is set: our mail server is used for nothing."
        return warned("stripe-mails", text, "Write `stripe: {mails: connector}` if ours shall send, or take `mail.url` out.")
    mine = "; quotes by this connector" if sends_quotes else ""
    return ok("stripe-mails", f"by Stripe, as set in its Dashboard (Settings, Billing, Customer emails and Invoices){quiet}{mine}")


def methods(configurations: Sequence[Data] | None) -> Finding:
    """Return which payment methods customers can use. configurations - of the account, None: this key may not list them."""
    if configurations is None:
        return ok("stripe-payments", "which methods customers can use is not shown to this key (right 'Payment method configurations: read')")
    used = [c for c in configurations if c.get("active") and c.get("is_default")] or [c for c in configurations if c.get("active")]
    known = {name for c in used for name, value in c.items() if isinstance(value, Mapping) and value.get("available") is True}
    if not known:
        text = "No payment method is switched on: invoices can be paid by none of Stripe's ways."
        return warned("stripe-payments", text, f"Switch on cards or bank debits ({_DASHBOARD}/settings/payment_methods).")
    return ok("stripe-payments", f"{', '.join(sorted(known))}; a customer's default method is charged where a deal says so")


def settings(unused: Sequence[str], joined: int) -> list[Finding]:
    """Return what is said here and means nothing at Stripe: settings of config.yaml, and of customers (*joined*: want one invoice for all)."""
    found = [_unused(unused)] if unused else []
    if joined:
        who = "1 customer wants" if joined == 1 else f"{joined:,} customers want"
        text = f"{who} one invoice for all contracts (Consolidate Invoices); Stripe makes one for each subscription that falls due."
        found.append(warned("stripe-settings", text, "Put what shall stand on one invoice into one contract, by amending it."))
    return found or [ok("stripe-settings", "nothing is said here that Stripe decides")]


def _unused(unused: Sequence[str]) -> Finding:
    names = ", ".join(f"`{name}`" for name in unused)
    return warned("stripe-settings", f"Stripe decides what {names} would say; here {'it does' if len(unused) == 1 else 'they do'} nothing.", "Take the lines out.")
