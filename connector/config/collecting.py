"""The blocks `payments:`, `dunning:` and `mail:` of the configuration: who charges, which steps follow, how mails leave."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.utils import parseaddr
from itertools import pairwise
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from connector.errors import HaltError
from connector.kit.yamlpos import Path as At

# By backend: the default, what is known, what to write.
_METHODS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "internal": (("manual",), ("manual", "test"), "Write [manual], or [manual, test] to try charging with test cards."),
    "stripe": (("stripe",), ("stripe",), "Write [stripe], or leave it out."),
}
_AT_STRIPE = "Write [stripe], or leave it out."
_ELSEWHERE: dict[str, dict[str, tuple[str, str]]] = {
    "internal": {"stripe": ("Stripe takes payments of the invoices that it issues itself.", "Set `billing: {backend: stripe}`, or write [manual].")},
    "stripe": {
        "manual": ("Payments are taken by Stripe; what came by another way is recorded with `connector invoices pay` all the same.", _AT_STRIPE),
        "test": ("Payments are taken by Stripe; its own test cards work with a key of test mode.", _AT_STRIPE),
    },
}
_STEP = re.compile(r"^(-?\d{1,3})d$")
_MOST_STEPS = 20
REMIND, RETRY = (-3, 1, 7, 14), (3, 5, 7)
_MAIL_SAMPLE = "Write smtp://USER:PASSWORD@HOST:587 or smtps://USER:PASSWORD@HOST:465, as ${SMTP_URL}."


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentsConfig:
    """Which payment methods there are."""

    methods: tuple[str, ...] = ("manual",)

    def refuse_in_production(self, org: str, *, is_trial: bool) -> None:
        """Raise HaltError where test cards would pay the invoices of a real company without any money."""
        if "test" in self.methods and not is_trial:
            raise HaltError(
                f"`payments.methods` has test, but {org} is a production org.",
                hint="Remove test; test cards are for the demo CRM and for sandbox orgs.",
                code="test-payments",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DunningConfig:
    """What follows when an invoice is not paid. remind - days from the due date. retry - days from a failed charge to the next."""

    remind: tuple[int, ...] = REMIND
    retry: tuple[int, ...] = RETRY
    after: Literal["leave", "unpaid", "cancel"] = "leave"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailConfig:
    """How mails leave; without *url* none does. test_to - gets every mail instead of the customer."""

    url: str = field(default="", repr=False)
    sender: str = ""
    has_pay_link: bool = True
    test_to: str = ""


class Reader(Protocol):
    """What is used of the configuration's reader: values by path, and a place for problems."""

    def raw(self, path: At) -> Any:
        """Return a value as written, None where there is none."""

    def text(self, path: At, default: str, *, is_secret: bool = False) -> str:
        """Return a text with its variables filled in."""

    def choice(self, path: At, known: tuple[str, ...], default: Any) -> Any:
        """Return one of the known words."""

    def add(self, code: str, path: At, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note a problem."""


def read_payments(reader: Reader, backend: str) -> PaymentsConfig:
    """Return the block `payments:`; what is wrong with it is noted with the reader. At Stripe nobody but Stripe takes payments."""
    at: At = ("payments", "methods")
    usual, known, sample = _METHODS[backend]
    value = reader.raw(at)
    if value is None:
        return PaymentsConfig(methods=usual)
    if not isinstance(value, list) or not value:
        reader.add("bad-type", at, "`methods` is a list.", sample)
        return PaymentsConfig(methods=usual)
    for number, method in enumerate(value):
        if method in known:
            continue
        text, hint = f"There is no payment method {method!r}.", f"Known: {', '.join(known)}."
        if str(method) in _ELSEWHERE[backend]:
            text, hint = _ELSEWHERE[backend][str(method)]
        reader.add("bad-value", (*at, number), text, hint)
    return PaymentsConfig(methods=tuple(dict.fromkeys(m for m in value if m in known)))


def read_dunning(reader: Reader) -> DunningConfig:
    """Return the block `dunning:`; what is wrong with it is noted with the reader."""
    remind = _steps(reader, ("dunning", "remind"), REMIND, "Write [-3d, 1d, 7d, 14d]: days from the due date.")
    if any(a >= b for a, b in pairwise(remind)):
        reader.add("bad-value", ("dunning", "remind"), "`remind` goes from the earliest day to the latest, each once.", "Put them in order.")
        remind = ()
    retry = _steps(reader, ("dunning", "retry"), RETRY, "Write [3d, 5d, 7d]: days from one failed charge to the next try.")
    if any(days < 1 for days in retry):
        reader.add("bad-value", ("dunning", "retry"), "A charge is tried again after at least a day.", "Write 1d or more.")
    after = reader.choice(("dunning", "after"), ("leave", "unpaid", "cancel"), "leave")
    if after != "leave" and not remind:
        text = f"`after: {after}` comes the day after the last reminder, and `remind` has none."
        reader.add("bad-value", ("dunning", "after"), text, "Write at least one day into `remind`, such as 30d, or `after: leave`.")
    return DunningConfig(remind=remind, retry=retry, after=after)


def _steps(reader: Reader, at: At, default: tuple[int, ...], sample: str) -> tuple[int, ...]:
    value = reader.raw(at)
    if value is None:
        return default
    if not isinstance(value, list) or len(value) > _MOST_STEPS:
        reader.add("bad-type", at, f"`{at[-1]}` is a list of up to {_MOST_STEPS} days.", sample)
        return ()
    steps = []
    for number, entry in enumerate(value):
        match = _STEP.match(str(entry))
        if match is None:
            reader.add("bad-duration", (*at, number), f"{entry!s} is no number of days.", sample)
        else:
            steps.append(int(match[1]))
    return tuple(steps)


def read_mail(reader: Reader) -> MailConfig:
    """Return the block `mail:`; what is wrong with it is noted with the reader."""
    at: At = ("mail", "url")
    raw = str(reader.raw(at) or "")
    url = reader.text(at, "", is_secret="@" in raw or "${" in raw)
    link = reader.raw(("mail", "pay_link"))
    if link is not None and not isinstance(link, bool):
        reader.add("bad-type", ("mail", "pay_link"), "`pay_link` is true or false.", "Write true or false, without quotes.")
    sender = _address(reader, ("mail", "from"))
    test_to = _address(reader, ("mail", "test_to"))
    if url:
        _check_url(reader, at, url)
        if not reader.raw(("mail", "from")):
            reader.add("missing-key", ("mail",), "`mail.from` must be said where mails are sent.", "Write billing@example.com.")
    return MailConfig(url=url, sender=sender, has_pay_link=link is not False, test_to=test_to)


def _check_url(reader: Reader, at: At, url: str) -> None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.port != 0 and parts.path in ("", "/")
    except ValueError:
        is_good = False
    if not is_good:
        reader.add("bad-url", at, "`mail.url` is no address of a mail server.", _MAIL_SAMPLE)


def _address(reader: Reader, at: At) -> str:
    written = reader.text(at, "")
    if written and ("@" not in parseaddr(written)[1] or "\n" in written or "\r" in written):
        reader.add("bad-value", at, f"{written!r} is no mail address.", "Write billing@example.com, or Name <billing@example.com>.")
        return ""
    return written
