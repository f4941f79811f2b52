"""The block `stripe:` of the configuration, and the settings that mean nothing where Stripe issues the invoices.

What Stripe decides itself (numbers of invoices, tries of failed charges …) is set in its Dashboard. Such a key of ours is a problem
when it says anything but its default, so that nobody believes in it; one that says its default is listed in `Config.stripe.unused`,
for `connector check` to mention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from connector.config.portal import CHANGES
from connector.errors import Problem
from connector.kit.yamlpos import Path as At

API_BASE = "https://api.stripe.com"
ACCOUNT_IDS = ("salesforce_account_id", "sfdc_account_id", "crm_account", "account_id")
PARALLEL = 4
MOST_PARALLEL = 16
Mode = Literal["test", "live"]
_MODES: dict[str, Mode] = {"sk_test_": "test", "rk_test_": "test", "sk_live_": "live", "rk_live_": "live"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_KEY_SAMPLE = "Write `api_key: ${STRIPE_API_KEY}` below `stripe:`, and set it to a restricted key (rk_test_…, rk_live_…) made as docs/stripe.md says."
_WRONG_KEYS = {
    "pk_": ("a publishable key, which can only be used in browsers", _KEY_SAMPLE),
    "sk_org_": ("a key of an organization, which leads to several accounts", "Make a restricted key in the one account that shall bill."),
    "whsec_": ("the secret of a webhook endpoint", "That one is `stripe.webhook_secret`; " + _KEY_SAMPLE[0].lower() + _KEY_SAMPLE[1:]),
}
_MOST_NAMES, _NAME_SIGNS = 10, 40  # Stripe's metadata keys have 40 signs at most
_INVOICES = "Set it in Stripe's Dashboard (Settings, Billing, Invoices), and take the key out here."
_REVENUE = "Set it in Stripe's Dashboard (Billing, Revenue recovery, Retries), and take the key out here."

# Settings of our engine that Stripe has in its own hands: path -> (our default as written, why it does nothing, what to do)
_THEIRS: dict[tuple[str, str], tuple[str, str, str]] = {
    ("billing", "invoice_numbering"): ("{prefix}-{seq:04d}", "Stripe numbers its invoices itself", _INVOICES),
    ("billing", "invoice_prefix"): ("INV", "Stripe numbers its invoices itself, with a prefix a customer", _INVOICES),
    ("dunning", "retry"): ("[3d, 5d, 7d]", "Stripe decides when a failed charge is tried again", _REVENUE),
    ("dunning", "after"): ("leave", "Stripe decides what becomes of unpaid subscriptions and invoices", _REVENUE),
    ("dunning", "remind"): (
        "[-3d, 1d, 7d, 14d]", "Stripe sends the reminders", "Set them in Stripe's Dashboard (Settings, Billing, Invoices), and take the key out here.",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeConfig:
    """Which Stripe account bills. account - acct_…, None: remembered at first contact. mails - who tells customers of invoices.

    parallel - for how many customers Stripe is called at once. account_ids - names of metadata in which customers of the account may bear their CRM account's id already. unused - keys
    of the file that say their default and mean nothing here.
    """

    api_key: str = field(default="", repr=False)
    api_base: str = API_BASE
    webhook_secret: str = field(default="", repr=False)
    account: str | None = None
    mails: Literal["stripe", "connector"] = "stripe"
    account_ids: tuple[str, ...] = ACCOUNT_IDS
    unused: tuple[str, ...] = ()
    parallel: int = PARALLEL

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The signing secrets that are accepted: several, by commas, while one endpoint takes another's place."""
        return _several(self.webhook_secret)

    @property
    def mode(self) -> Mode:
        """Return whether the key moves real money; a key of unknown form counts as one that does."""
        return mode_of(self.api_key) or "live"


class Reader(Protocol):
    """What is used of the configuration's reader: values by path, and a place for problems."""

    problems: list[Problem]

    def raw(self, path: At) -> Any:
        """Return a value as written, None where there is none."""

    def text(self, path: At, default: str, *, is_secret: bool = False) -> str:
        """Return a text with its variables filled in."""

    def choice(self, path: At, known: Sequence[str], default: Any) -> Any:
        """Return one of the known words."""

    def add(self, code: str, path: At, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note a problem."""


def mode_of(key: str) -> Mode | None:
    """Return the mode of a secret or restricted key, None where it is neither."""
    return next((mode for start, mode in _MODES.items() if key.startswith(start) and len(key) > len(start)), None)


def read_stripe(reader: Reader, backend: str, *, is_demo: bool) -> StripeConfig:
    """Return the block; what is wrong with it, or means nothing beside it, is noted with the reader. is_demo - the CRM is one for trying."""
    if backend != "stripe":
        if reader.raw(("stripe",)) is not None:
            text = "`stripe:` is used with `billing: {backend: stripe}` only."
            reader.add("bad-value", ("stripe",), text, "Set the backend, or take the block out.", at_key=True)
        return StripeConfig()
    mails = reader.choice(("stripe", "mails"), ("stripe", "connector"), "stripe")
    if mails == "connector" and not reader.raw(("mail", "url")):
        reader.add("missing-key", ("stripe", "mails"), "`mails: connector` needs a mail server.", "Set `mail.url` and `mail.from`.")
    return StripeConfig(
        api_key=_key(reader, is_demo=is_demo), api_base=_base(reader), webhook_secret=_webhook_secret(reader), account=_account(reader),
        mails=mails, account_ids=_account_ids(reader), unused=_unused(reader, mails), parallel=_parallel(reader),
    )  # fmt: skip


def _key(reader: Reader, *, is_demo: bool) -> str:
    at: At = ("stripe", "api_key")
    if reader.raw(at) in (None, ""):
        reader.add("missing-key", ("billing", "backend"), "`stripe.api_key` must be said with `backend: stripe`.", _KEY_SAMPLE)
        return ""
    known = len(reader.problems)
    key = reader.text(at, "", is_secret=True).strip()
    mode = mode_of(key)
    if not key and len(reader.problems) == known:
        reader.add("missing-key", at, "`api_key` is empty: so is the variable or file that it names.", _KEY_SAMPLE)
    if key and mode is None:
        start, (what, hint) = next(((s, w) for s, w in _WRONG_KEYS.items() if key.startswith(s)), ("", ("no key of Stripe's API", _KEY_SAMPLE)))
        begins = f" (it begins with {start})" if start else ""
        reader.add("stripe-key", at, f"`api_key` is {what}{begins}.", hint)
    if mode == "live" and is_demo:
        text = "`api_key` is a live key, and the CRM is a demo CRM: its made-up deals would charge real customers."
        reader.add("live-key", at, text, "Use a key of test mode (rk_test_…).")
    return key


def _base(reader: Reader) -> str:
    at: At = ("stripe", "api_base")
    url = reader.text(at, API_BASE).rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if not host or parts.scheme not in ("https", "http") or parts.path or parts.query or parts.fragment:
        reader.add("bad-url", at, f"{url!r} is no address of Stripe's API.", f"Leave it out: it is {API_BASE}.")
    elif parts.scheme == "http" and host not in _LOOPBACK:
        reader.add("bad-url", at, f"{url} is not https.", "http:// is accepted for loopback hosts only.")
    elif parts.username or parts.password:
        reader.add("bad-url", at, f"The address at {host} holds a user name.", "Leave it out; the key goes in a header.")
    elif host not in _LOOPBACK and not host.endswith(".stripe.com"):
        hint = f"Leave it out: it is {API_BASE}. Another address is for a look-alike on this machine only (http://127.0.0.1:PORT)."
        reader.add("bad-url", at, f"{host} is not Stripe; the key goes nowhere else.", hint)
    return url


def _webhook_secret(reader: Reader) -> str:
    at: At = ("stripe", "webhook_secret")
    secret = reader.text(at, "", is_secret=True).strip()
    if any(not one.startswith("whsec_") for one in _several(secret)):
        hint = "Copy it from the endpoint in Stripe's Dashboard (Developers, Webhooks); without it events are polled, which is enough."
        reader.add("bad-value", at, "`webhook_secret` is no signing secret of a webhook endpoint: those begin with whsec_.", hint)
    return secret


def _several(secret: str) -> tuple[str, ...]:
    return tuple(one for part in secret.split(",") if (one := part.strip()))


def _account(reader: Reader) -> str | None:
    at: At = ("stripe", "account")
    account = reader.text(at, "")
    if account and not account.startswith("acct_"):
        hint = "Copy it from Stripe's Dashboard (Settings, Account details), or leave it out: it is remembered at first contact."
        reader.add("bad-value", at, f"{account!r} is no id of a Stripe account.", hint)
    return account or None


def _account_ids(reader: Reader) -> tuple[str, ...]:
    at: At = ("stripe", "account_ids")
    value = reader.raw(at)
    if value is None:
        return ACCOUNT_IDS
    if not isinstance(value, list) or not value or len(value) > _MOST_NAMES:
        reader.add("bad-type", at, f"`account_ids` is a list of up to {_MOST_NAMES} names of metadata.", f"Write [{ACCOUNT_IDS[0]}].")
        return ACCOUNT_IDS
    for number, name in enumerate(value):
        if not isinstance(name, str) or not name or len(name) > _NAME_SIGNS or "[" in name or "]" in name:
            hint = f"A name has at most {_NAME_SIGNS} signs and no brackets."
            reader.add("bad-value", (*at, number), f"{name!r} is no name of metadata at Stripe.", hint)
    return tuple(dict.fromkeys(str(name) for name in value))


def _parallel(reader: Reader) -> int:
    at: At = ("stripe", "parallel")
    value = reader.raw(at)
    if value is None:
        return PARALLEL
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_PARALLEL:
        hint = f"It is for how many customers Stripe is called at once: {PARALLEL} where nothing is said, 1 for one after the other."
        reader.add("bad-value", at, f"`parallel` is a whole number from 1 to {MOST_PARALLEL}.", hint)
        return PARALLEL
    return value


def _unused(reader: Reader, mails: str) -> tuple[str, ...]:
    """Note the settings that Stripe has in its own hands; return the names of those that say their default."""
    unused = []
    for path, (default, why, hint) in _THEIRS.items():
        value = reader.raw(path)
        if value is None or (path == ("dunning", "remind") and mails == "connector"):
            continue
        name = ".".join(path)
        written = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
        if written == default:
            unused.append(name)
        else:
            reader.add("not-at-stripe", path, f"`{name}` means nothing with `backend: stripe`: {why}.", hint)
    allow = reader.raw(("portal", "allow"))
    for number, word in enumerate(allow if isinstance(allow, list) else ()):
        if word in CHANGES:
            text = f"`{word}` means nothing with `backend: stripe`: a change at Stripe's portal would pass by the contract, its price and its deal."
            reader.add("not-at-stripe", ("portal", "allow", number), text, "Take it out; who wants another quantity, or an end, asks for it.")
    return tuple(unused)
