"""The configuration of the Stripe backend: what is read, and every mistake with its code, its place and its fix."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_config import MINIMAL, loaded

from connector.config.stripe import ACCOUNT_IDS, API_BASE, mode_of
from connector.errors import ConfigError, Problem

KEY = "rk_test_51Abc"
STRIPE = MINIMAL + "billing: {backend: stripe}\n"
BLOCK = STRIPE + "stripe: {api_key: '${STRIPE_API_KEY}'}\n"


def found(folder: Path, text: str, **env: str) -> list[Problem]:
    """Return the problems of *text*, none where it loads."""
    try:
        loaded(folder, text, **({"STRIPE_API_KEY": KEY} | env))
    except ConfigError as error:
        return list(error.problems)
    return []


def codes(folder: Path, text: str, **env: str) -> list[tuple[str, int | None]]:
    """Return (code, line) of every problem."""
    return [(p.code, p.where.line) for p in found(folder, text, **env)]


def test_the_smallest_block(tmp_path: Path) -> None:
    """A key is enough: Stripe's own address, any account, Stripe's mails, and payments that Stripe takes."""
    config = loaded(tmp_path, BLOCK, STRIPE_API_KEY=KEY)
    assert (config.billing.backend, config.stripe.api_key, config.stripe.mode) == ("stripe", KEY, "test")
    assert (config.stripe.api_base, config.stripe.account, config.stripe.mails) == (API_BASE, None, "stripe")
    assert (config.stripe.account_ids, config.stripe.webhook_secret, config.payments.methods) == (ACCOUNT_IDS, "", ("stripe",))
    assert config.stripe.parallel == 4
    assert KEY not in repr(config)


def test_everything_said(tmp_path: Path) -> None:
    """Account, address of a look-alike, mails of ours, names of metadata and Stripe's tax are taken as written."""
    text = (
        MINIMAL.replace("tax: {kind: none}", "tax: {kind: stripe}")
        + "billing: {backend: stripe, proration: second}\n"
        + "payments: {methods: [stripe]}\n"
        + "mail: {url: 'smtp://127.0.0.1:2525', from: a@example.com}\n"
        + "stripe: {api_key: '${STRIPE_API_KEY}', api_base: 'http://127.0.0.1:8097/', webhook_secret: '${HOOK}', account: acct_1,\n"
        + "  mails: connector, parallel: 8, account_ids: [sf_id, sf_id, other]}\n"
    )
    config = loaded(tmp_path, text, STRIPE_API_KEY=KEY, HOOK="whsec_abc")
    stripe = config.stripe
    assert (stripe.api_base, stripe.account, stripe.mails, stripe.account_ids) == (
        "http://127.0.0.1:8097", "acct_1", "connector", ("sf_id", "other"),
    )  # fmt: skip
    assert stripe.parallel == 8
    assert (config.tax.kind, stripe.webhook_secret, config.billing.proration) == ("stripe", "whsec_abc", "second")


@pytest.mark.parametrize(
    ("key", "mode"),
    [
        ("sk_test_1", "test"), ("rk_test_1", "test"), ("sk_live_1", "live"), ("rk_live_1", "live"),
        ("pk_test_1", None), ("sk_org_1", None), ("whsec_1", None), ("rk_test_", None), ("", None),
    ],
)  # fmt: skip
def test_the_form_of_a_key_says_its_mode(key: str, mode: str | None) -> None:
    """Secret and restricted keys name their mode; what else Stripe calls a key is none for us."""
    assert mode_of(key) == mode


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("pk_live_1", "a publishable key"),
        ("sk_org_live_1", "a key of an organization"),
        ("whsec_1", "the secret of a webhook endpoint"),
        ("banana", "no key of Stripe's API"),
    ],
)
def test_a_key_of_another_kind_is_named_without_being_shown(tmp_path: Path, key: str, words: str) -> None:
    """The problem says what the key is, and never the key itself."""
    (problem,) = found(tmp_path, BLOCK, STRIPE_API_KEY=key)
    assert (problem.code, problem.where.line) == ("stripe-key", 5)
    assert words in problem.message
    assert key not in problem.text()


def test_a_missing_key_is_told_at_the_backend(tmp_path: Path) -> None:
    """Without a key, or with a variable that is not set, the line and what to write are named."""
    (problem,) = found(tmp_path, STRIPE)
    assert (problem.code, problem.where.line, problem.where.column) == ("missing-key", 4, 20)
    assert "docs/stripe.md" in problem.hint
    assert codes(tmp_path, STRIPE + "stripe: {api_key: '${NOT_SET}'}\n") == [("unset-variable", 5)]


def test_an_empty_key_is_said_to_be_empty(tmp_path: Path) -> None:
    """A variable that is set to nothing is no live key: the message says that the key is empty, once."""
    (problem,) = found(tmp_path, BLOCK, STRIPE_API_KEY="")
    assert (problem.code, problem.where.line) == ("missing-key", 5)
    assert problem.message == "`api_key` is empty: so is the variable or file that it names."


def test_a_key_in_the_file_is_refused(tmp_path: Path) -> None:
    """A key is a secret, and so is the signing secret of webhooks: neither stands in the file."""
    text = STRIPE + "stripe:\n  api_key: rk_test_1\n  webhook_secret: whsec_1\n"
    assert codes(tmp_path, text) == [("secret-in-file", 6), ("secret-in-file", 7)]


def test_a_live_key_and_a_demo_crm_do_not_go_together(tmp_path: Path) -> None:
    """A demo CRM's deals would charge real customers: refused when the file is read, and on this machine's addresses too."""
    for crm in ("kind: demo, url: http://127.0.0.1:8099", "url: http://localhost:8099"):
        text = f"crm: {{{crm}}}\nsources: [{{name: o, mapping: o.yaml}}]\ntax: {{kind: none}}\n" + BLOCK[len(MINIMAL) :]
        assert codes(tmp_path, text, STRIPE_API_KEY="rk_live_1") == [("live-key", 5)]
        assert codes(tmp_path, text) == []
    assert codes(tmp_path, BLOCK, STRIPE_API_KEY="sk_live_1") == []


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("api_base: 'http://api.stripe.com'", "bad-url"),
        ("api_base: 'https://api.stripe.com/v1'", "bad-url"),
        ("api_base: 'https://me:word@api.stripe.com'", "bad-url"),
        ("api_base: 'https://api.stripe.com.example.com'", "bad-url"),
        ("api_base: 'ftp://127.0.0.1'", "bad-url"),
        ("api_base: 'http://127.0.0.1:banana'", "bad-url"),
        ("account: '1234'", "bad-value"),
        ("webhook_secret: '${HOOK}'", "bad-value"),
        ("mails: nobody", "bad-value"),
        ("mails: connector", "missing-key"),
        ("account_ids: sf_id", "bad-type"),
        ("parallel: 0", "bad-value"),
        ("parallel: 17", "bad-value"),
        ("parallel: many", "bad-value"),
        ("account_ids: ['a[b]']", "bad-value"),
        ("api_kee: x", "unknown-key"),
    ],
)
def test_impossible_settings_are_problems_at_their_line(tmp_path: Path, more: str, code: str) -> None:
    """Each has its own code and a hint that says what to write."""
    (problem,) = found(tmp_path, STRIPE + f"stripe:\n  api_key: '${{STRIPE_API_KEY}}'\n  {more}\n", HOOK="sk_test_1")
    assert (problem.code, problem.where.line) == (code, 7)
    assert problem.hint


@pytest.mark.parametrize("method", ["manual", "test", "cash"])
def test_only_stripe_takes_payments_there(tmp_path: Path, method: str) -> None:
    """Another payment method is refused with the reason, where the word stands."""
    (problem,) = found(tmp_path, BLOCK + f"payments: {{methods: [stripe, {method}]}}\n")
    assert (problem.code, problem.where.line) == ("bad-value", 6)
    assert "Stripe" in problem.message or method == "cash"


def test_what_the_portal_at_stripe_is_not_opened_for_is_refused(tmp_path: Path) -> None:
    """`quantity` and `cancel` would pass by the contract there: each is named at its place, instead of being left out without a word."""
    text = MINIMAL + "billing: {backend: stripe}\nstripe: {api_key: '${STRIPE_API_KEY}'}\nportal:\n  allow:\n    - pay\n    - quantity\n    - cancel\n"
    problems = found(tmp_path, text)
    assert [(p.code, p.where.line, p.message.partition(" means")[0]) for p in problems] == [("not-at-stripe", 9, "`quantity`"), ("not-at-stripe", 10, "`cancel`")]


def test_what_stripe_decides_is_refused_unless_it_says_our_default(tmp_path: Path) -> None:
    """Numbers, tries and reminders are Stripe's: all named at once, with where to set them; the example's own lines do no harm."""
    text = MINIMAL + (
        "billing: {backend: stripe, invoice_numbering: '{year}-{seq}', invoice_prefix: A}\n"
        "stripe: {api_key: '${STRIPE_API_KEY}'}\n"
        "dunning: {remind: [1d], retry: [2d], after: cancel}\n"
    )
    problems = found(tmp_path, text)
    assert [(p.code, p.where.line) for p in problems] == [("not-at-stripe", 4)] * 2 + [("not-at-stripe", 6)] * 3
    assert all("Dashboard" in p.hint for p in problems)
    config = loaded(
        tmp_path,
        BLOCK.replace("backend: stripe", "backend: stripe, invoice_prefix: INV") + "dunning: {retry: [3d, 5d, 7d], after: leave}\n",
        STRIPE_API_KEY=KEY,
    )
    assert config.stripe.unused == ("billing.invoice_prefix", "dunning.retry", "dunning.after")


@pytest.mark.parametrize(
    ("line", "where"),
    [("stripe: {mails: stripe}", "stripe"), ("tax: {kind: stripe}", "tax"), ("payments: {methods: [stripe]}", "payments")],
)
def test_stripe_without_its_backend_is_refused(tmp_path: Path, line: str, where: str) -> None:
    """Settings of Stripe beside the internal engine would do nothing, and are problems."""
    text = MINIMAL.replace("tax: {kind: none}\n", "") if where == "tax" else MINIMAL
    (problem,) = found(tmp_path, text + line + "\n")
    assert problem.code == "bad-value"
    assert "backend: stripe" in problem.message + problem.hint
