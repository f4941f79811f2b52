"""The checks of `connector check` as data, and what each of them finds. docs/troubleshooting.md has this very table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from connector.errors import NOWHERE, Problem, Where

State = Literal["ok", "warn", "fail", "skip"]
STATES: tuple[State, ...] = ("fail", "warn", "skip", "ok")
"""Worst first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: its stable name, its *subject*, what it looks at, how a failure is mended, and the exit status a failure leads to."""

    name: str
    subject: str
    meaning: str
    fix: str
    exit_status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found. code - of a problem, as docs/mapping.md and the log name it; "" where it went well."""

    name: str
    state: State
    message: str
    hint: str = ""
    where: Where = NOWHERE
    code: str = ""


def _check(name: str, subject: str, exit_status: int, meaning: str, fix: str) -> Check:
    return Check(name=name, subject=subject, meaning=meaning, fix=fix, exit_status=exit_status)


_CONFIG, _CRM, _MAPPING, _STRIPE, _BOOKS = "Configuration", "CRM", "Mappings", "Stripe", "Books"
CHECKS: tuple[Check, ...] = (
    _check("config", _CONFIG, 2, "config.yaml can be read, every key is known and every value fits; the login flow fits the API version and the address",
           "Correct the line that is named; config.example.yaml shows every key."),
    _check("tax", _CONFIG, 2, "which kind of tax is charged", "See `tax:` in config.example.yaml."),
    _check("payments", _CONFIG, 3, "who takes payments; test cards only in the demo CRM and in sandbox orgs", "Remove `test` from `payments.methods`."),
    _check("mail", _CONFIG, 1, "the mail server answers and lets us in; mails of a sandbox org leave to `mail.test_to` only",
           "Check `mail.url`; from a sandbox org set `mail.test_to`."),
    _check("web", _CONFIG, 1, "the address of `web.listen` is free, or this connector already answers there",
           "Stop the other program, or choose another port in `web.listen`."),
    _check("public-url", _CONFIG, 1, "links on CRM records and in mails lead to an address that others can reach, encrypted",
           "Set `web.public_url` to the https address under which the pages are reached."),
    _check("secrets", _CONFIG, 1, "the console's password and secret are set where others can reach it, and are not easily guessed; the key file is private",
           "Set `web.admin_password` (12 signs or more) and `web.secret` (32 or more); `chmod 600` the key file."),
    _check("login-flow", _CRM, 1, "the kind of login has a future: the password login is switched off by Salesforce in Summer '27",
           "Use `auth: client_credentials` or `auth: jwt`."),
    _check("login", _CRM, 3, "the CRM is reached and lets us in", "Do what the line says: check address, key and secret, and the policies of the connected app."),
    _check("api-version", _CRM, 3, "the org offers `crm.api_version`, and not one of its oldest", "Set `crm.api_version` to a version that the line names."),
    _check("org", _CRM, 3, "it is the org that the configuration expects and the ledger is bound to; says whether it is a sandbox",
           "Correct `crm.url`, `crm.org_id` or `database:`; a refreshed sandbox is another org."),
    _check("clock", _CRM, 1, "this machine's clock agrees with the CRM's", "Switch on time synchronization (NTP)."),
    _check("time-zone", _CRM, 1, "`timezone` says about the same day as the org's own time zone",
           "Set `timezone` to where the business day is counted, before the first contract is made."),
    _check("api-calls", _CRM, 3, "the org's calls of 24 hours suffice for polling as often as configured, within `crm.daily_api_budget`",
           "Poll less often (`every`), raise `crm.daily_api_budget`, or find who else uses the org's calls."),
    _check("mappings", _MAPPING, 2, "each mapping file is well-formed, and no two sources read one object", "Correct the line that is named; see docs/mapping.md."),
    _check("objects", _MAPPING, 2, "every object is there and may be read, created and edited as the mapping needs; quotes are enabled where they are read",
           "Enable quotes, deploy our package, or grant the right."),
    _check("fields", _MAPPING, 2, "every mapped field is there, readable, of a fitting type, and writeable where we write",
           "Correct the name, or let an administrator grant field access."),
    _check("picklists", _MAPPING, 2, "values that the mapping reads or writes are active values of the org's picklists",
           "Correct the value in the mapping, or add it to the picklist."),
    _check("text-lengths", _MAPPING, 1, "text fields are long enough for what is written to them", "Make the field longer."),
    _check("digits", _MAPPING, 2, "amounts keep their decimal places, and large ones fit", "Change decimal places and length of the field in Setup."),
    _check("formulas", _MAPPING, 2, "no condition or value comes from a formula or roll-up: its changes move no timestamp",
           "Copy the formula into a field by a flow, or accept that the full sweep sees it."),
    _check("currency", _MAPPING, 2, "every record's currency is known: its own in an org with several, else the org's",
           "Write `currency: {if_exists: [CurrencyIsoCode, $org.currency]}` and grant access to the field."),
    _check("external-ids", _MAPPING, 2, "the keys of rows that we create are external ids and unique", "Mark the field as external id and unique."),
    _check("quotes", _MAPPING, 2, "a synced quote has a source that reads it; `quotes:` of the configuration works in this org",
           "Add the source of quotes, or correct `quotes:`."),
    _check("typed-payments", _MAPPING, 1, "whether payments can be typed on invoice rows of the CRM; not an error where nobody wants to",
           "Grant the integration user edit access to the fields that the line names."),
    _check("catalogue", _MAPPING, 1, "every catalogue price that an active product names is in the books", "Import it: `connector import catalog FILE`."),
    _check("stripe-settings", _STRIPE, 1, "nothing is said in config.yaml, or of customers, that Stripe decides; this and the other checks of Stripe are made with `backend: stripe` only",
           "Take the line out, and set it in Stripe's Dashboard; put what shall stand on one invoice into one contract."),
    _check("stripe-key", _STRIPE, 3, "the key is accepted, of the ledger's mode (test or live), and not a live one in a sandbox or demo org",
           "Use the key that the line asks for; going live means another `database:`."),
    _check("stripe-account", _STRIPE, 3, "Stripe is reached, and it is the account that the configuration expects and the ledger is bound to",
           "Check the network and `stripe.api_base`; correct `stripe.api_key`, `stripe.account` or `database:`."),
    _check("stripe-rights", _STRIPE, 3, "a restricted key may read everything that is needed; each right is tried by a list of one",
           "Edit the key in the Dashboard (Developers, API keys); docs/stripe.md lists all rights."),
    _check("stripe-version", _STRIPE, 3, "Stripe serves the version of its API that this release speaks, and the SDK knows it",
           "Install the SDK that the line names, or a newer release."),
    _check("stripe-clock", _STRIPE, 1, "this machine's clock agrees with Stripe's", "Switch on time synchronization (NTP)."),
    _check("stripe-webhook", _STRIPE, 1, "the webhook endpoint, if there is one, is reachable, switched on, and sends what we read",
           "Correct it in the Dashboard (Developers, Webhooks), or take `stripe.webhook_secret` out: polling is enough."),
    _check("stripe-mails", _STRIPE, 1, "customers are told of invoices by one sender", "Choose it with `stripe.mails`, and switch the other off."),
    _check("stripe-payments", _STRIPE, 1, "which payment methods customers can use", "Switch one on in the Dashboard (Settings, Payment methods)."),
    _check("database", _BOOKS, 3, "the database can be used, and its schema is one that this version knows", "Do what the line says."),
    _check("integrity", _BOOKS, 3, "the database file is undamaged", "Stop everything, copy the file, and restore the last good copy."),
    _check("disk", _BOOKS, 1, "there is room for the database to grow, and for a copy of it", "Free some room, or move the database."),
    _check("ledger", _BOOKS, 3, "the ledger belongs to this org, backend and time zone, and to this Stripe account and mode", "Point `database:` to another file, or set the configuration back."),
    _check("contracts", _BOOKS, 1, "how many running contracts were made with other settings than configured now; they keep them",
           "Nothing, if the change was meant for new contracts only."),
)  # fmt: skip
"""In the order in which they are shown; the name is what --json and scripts rely on."""

_BY_NAME = {check.name: check for check in CHECKS}
BY_CODE = {
    "unknown-object": "objects", "package-missing": "objects", "no-object-right": "objects", "quotes-disabled": "objects", "unknown-field": "fields", "not-writeable": "fields",
    "wrong-field-type": "fields", "no-field-exists": "fields", "unknown-picklist-value": "picklists", "missing-picklist-value": "picklists",
    "warn-unmapped-value": "picklists", "warn-text-too-short": "text-lengths", "warn-short-text": "text-lengths", "warn-few-decimals": "digits",
    "warn-few-digits": "digits", "warn-calculated-field": "formulas", "currency-literal": "currency", "currency-hidden": "currency",
    "currency-mode": "currency", "not-an-external-id": "external-ids", "warn-not-unique": "external-ids", "no-opportunities": "quotes",
    "crm-call-limit": "api-calls", "crm-api-version": "api-version", "other-org": "org", "live-key": "stripe-key", "other-stripe-mode": "stripe-key", "other-stripe-account": "stripe-account",
    "stripe-right": "stripe-rights", "stripe-key": "stripe-key", "stripe-version": "stripe-version",
}  # fmt: skip
"""Which check a problem of a mapping, or a refusal of the CRM, belongs to."""
STRIPE_CHECKS = tuple(check.name for check in CHECKS if check.subject == _STRIPE)
"""The checks that are made where Stripe bills, and left out elsewhere."""
_SEVERE = ("warn-text-too-short",)
ORG_CHECKS = ("objects", "fields", "picklists", "text-lengths", "digits", "formulas", "currency", "external-ids", "quotes", "typed-payments", "catalogue")
"""The checks of mappings that nobody can make without the org."""


def ok(name: str, message: str) -> Finding:
    """Return that a check went well, with what it saw."""
    return Finding(name=name, state="ok", message=message)


def warned(name: str, message: str, hint: str) -> Finding:
    """Return something that does not keep the connector from running."""
    return Finding(name=name, state="warn", message=message, hint=hint)


def failed(name: str, message: str, hint: str, *, code: str = "") -> Finding:
    """Return something that must be mended."""
    return Finding(name=name, state="fail", message=message, hint=hint, code=code)


def skipped(names: Iterable[str], why: str) -> list[Finding]:
    """Return that checks could not be made, and why."""
    return [Finding(name=name, state="skip", message=f"Not checked: {why}.") for name in names]


def of_problem(problem: Problem, name: str) -> Finding:
    """Return a problem as a finding, of the check its code belongs to, else of *name*; the codes of warnings begin with warn.

    What is always cut or left out is a failure here, though no run stops for it.
    """
    state: State = "warn" if problem.code.startswith("warn-") and problem.code not in _SEVERE else "fail"
    at = BY_CODE.get(problem.code, name)
    hint = problem.hint or _BY_NAME[at].fix
    return Finding(name=at, state=state, message=problem.message, hint=hint, where=problem.where, code=problem.code)


def in_order(found: Sequence[Finding]) -> list[Finding]:
    """Return findings in the order of the checks, each with all its lines together; a check that found something is not also fine."""
    bad = {f.name for f in found if f.state != "ok"}
    place = {name: number for number, name in enumerate(_BY_NAME)}
    kept = [f for f in found if f.state != "ok" or f.name not in bad]
    return sorted(kept, key=lambda f: place[f.name])


def exit_status(found: Iterable[Finding]) -> int:
    """Return 0 without failures; else 2 where something that people wrote is wrong, 3 where nothing can run now, 1 for a difference."""
    statuses = {_BY_NAME[f.name].exit_status for f in found if f.state == "fail"}
    return next((status for status in (2, 3, 1) if status in statuses), 0)
