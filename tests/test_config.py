"""The configuration: what a good file becomes, and that every problem of a bad one is shown at once with its place."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from connector.config import BillingConfig, Config, demo_config, load_config
from connector.errors import ConfigError
from connector.kit import observe
from connector.kit.shipped import shipped_files

ENV = {"SF_CLIENT_ID": "the-client", "SF_CLIENT_SECRET": "the-client-secret"}
MINIMAL = """\
crm: {url: "https://acme.my.salesforce.com", client_id: "${SF_CLIENT_ID}", client_secret: "${SF_CLIENT_SECRET}"}
sources: [{name: opportunities, mapping: mappings/o.yaml}]
tax: {kind: none}
"""


def loaded(folder: Path, text: str, **env: str) -> Config:
    """Load *text* as config.yaml."""
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, ENV | env)


def problems(folder: Path, text: str) -> list[tuple[str, int | None, int | None]]:
    """Return (code, line, column) of every problem of *text*."""
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text)
    return [(p.code, p.where.line, p.where.column) for p in caught.value.problems]


def test_the_example_is_valid_as_it_is(tmp_path: Path) -> None:
    """The shipped example loads with only the CRM's client id and secret in the environment, and says the defaults."""
    config = loaded(tmp_path, shipped_files()["config.example.yaml"])
    assert (config.crm.client_id, config.crm.client_secret) == ("the-client", "the-client-secret")
    assert config.billing == BillingConfig()
    assert (config.database, config.timezone, config.log.format) == (f"sqlite:///{tmp_path}/connector.db", "UTC", "json")
    assert [(s.name, s.mapping, s.every_s) for s in config.sources] == [
        ("opportunities", str(tmp_path / "mappings/salesforce-opportunity.yaml"), 30),
        ("quotes", str(tmp_path / "mappings/salesforce-quote.yaml"), 30),
    ]


def test_what_is_not_said_has_its_documented_default(tmp_path: Path) -> None:
    """A file with the required keys alone equals the example, but for who sells and what is polled."""
    config, example = loaded(tmp_path, MINIMAL), loaded(tmp_path, shipped_files()["config.example.yaml"])
    for name in ("database", "timezone", "billing", "web", "billing_run", "log"):
        assert getattr(config, name) == getattr(example, name)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ('schedule: {billing_run: "banana"}', "bad-schedule", "does not have the five fields"),
        ('schedule: {reconcile: "99 3 * * *"}', "bad-schedule", "`schedule.reconcile` cannot be read"),
        ("web: {listen: 127.0.0.1:99999}", "bad-value", "no address to listen on"),
    ],
)
def test_what_would_stop_the_daemon_is_said_when_the_file_is_read(tmp_path: Path, line: str, code: str, words: str) -> None:
    """Times that are none and a port that no machine has: `check` and `sync` say them as `run` does, with their place."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, MINIMAL + line + "\n")
    (problem,) = caught.value.problems
    assert (problem.code, problem.where.line) == (code, 4)
    assert words in problem.message


def test_the_documented_schedule_is_accepted(tmp_path: Path) -> None:
    """The documented default times of all three jobs may be written down."""
    schedule = 'schedule: {billing_run: "*/10 * * * *", reconcile: "0 3 * * *", backup: "30 3 * * *"}\n'
    assert loaded(tmp_path, MINIMAL + schedule).billing_run == "*/10 * * * *"


def test_when_records_are_compared_and_how_far_a_poll_looks_back_are_settings(tmp_path: Path) -> None:
    """`schedule.reconcile` takes any cron expression, `crm.overlap` a duration; ten minutes is the default."""
    assert (loaded(tmp_path, MINIMAL).reconcile, loaded(tmp_path, MINIMAL).crm.overlap_s) == ("0 3 * * *", 600)
    text = MINIMAL.replace("{url:", "{overlap: 20m, url:", 1) + 'schedule: {reconcile: "0 */6 * * *"}\n'
    config = loaded(tmp_path, text)
    assert (config.reconcile, config.crm.overlap_s) == ("0 */6 * * *", 1200)


def test_variables(tmp_path: Path) -> None:
    """A value takes an environment variable, its default where it is not set, or a file's content."""
    (tmp_path / "password").write_text("from-a-file\n", encoding="utf-8")
    web = f"web: {{secret: '${{file:{tmp_path}/password}}', admin_password: '${{PASSWORD:-fallback}}'}}\n"
    assert loaded(tmp_path, MINIMAL + web).web.secret == "from-a-file"
    assert loaded(tmp_path, MINIMAL + web).web.admin_password == "fallback"
    assert loaded(tmp_path, MINIMAL + web, PASSWORD="set").web.admin_password == "set"


def test_secrets_are_hidden(tmp_path: Path) -> None:
    """A secret of the configuration shows neither in a log line nor where the configuration is printed."""
    config = loaded(tmp_path, MINIMAL)
    stream = io.StringIO()
    observe.configure("json", "info", stream)
    observe.log("run.finished", hint="the-client-secret was refused")
    observe.configure()
    assert "the-client-secret" not in stream.getvalue() + repr(config)


def test_every_problem_is_shown_at_once_in_file_order(tmp_path: Path) -> None:
    """One load names all that is wrong, each with its line and column."""
    text = (
        "databse: sqlite:///x.db\n"
        "timezone: Mars/Olympus\n"
        "crm:\n"
        "  url: http://acme.my.salesforce.com\n"
        "  client_id: ${NOT_SET}\n"
        "  client_secret: written-here\n"
        "billing: {proration: week, max_crm_age: 1 day}\n"
        "sources:\n"
        "  - {name: a, mapping: m.yaml, evry: 5s}\n"
        "  - {name: a, mapping: m.yaml, every: 0s}\n"
        "log: [json]\n"
    )
    assert problems(tmp_path, text) == [
        ("unknown-key", 1, 1),
        ("missing-key", 1, 1),
        ("bad-timezone", 2, 11),
        ("bad-url", 4, 8),
        ("unset-variable", 5, 14),
        ("secret-in-file", 6, 18),
        ("bad-value", 7, 22),
        ("bad-duration", 7, 41),
        ("unknown-key", 9, 32),
        ("duplicate-source", 10, 5),
        ("bad-duration", 10, 39),
        ("bad-type", 11, 6),
    ]


def test_a_problem_says_what_to_write(tmp_path: Path) -> None:
    """A problem has file, line, column, the line with carets, what is wrong, and the fix."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, MINIMAL + "databse: sqlite:///x.db\n")
    assert str(caught.value) == (
        f"{tmp_path}/config.yaml:4:1: unknown-key\n"
        "4 | databse: sqlite:///x.db\n"
        "  | ^^^^^^^\n"
        "There is no key `databse` here. Did you mean `database`?"
    )


@pytest.mark.parametrize(
    ("crm", "code"),
    [
        ("url: http://127.0.0.1:8099", None),
        ("url: http://localhost:8099", None),
        ("url: 'http://[::1]:8099'", None),
        ("url: http://127.0.0.1.example.com", "bad-url"),
        ("url: http://acme.my.salesforce.com", "bad-url"),
        ("url: ftp://127.0.0.1", "bad-url"),
        ("url: https://login.salesforce.com", "bad-url"),
        ("url: https://login.salesforce.com, auth: jwt", None),
        ("url: https://test.salesforce.com, auth: password, api_version: '64.0'", None),
        ("url: https://acme.my.salesforce.com, auth: password, api_version: '65.0'", "bad-value"),
        ("url: https://acme.my.salesforce.com, api_version: '65.0'", None),
        ("url: https://acme.my.salesforce.com, api_version: '59.0'", "bad-value"),
        ("url: https://acme.my.salesforce.com, auth: oauth", "bad-value"),
        ("url: https://acme.my.salesforce.com, daily_api_budget: 2", "bad-value"),
        ("url: https://acme.my.salesforce.com, daily_api_budget: 0.25", None),
        ("auth: jwt", "missing-key"),
    ],
)
def test_the_login(tmp_path: Path, crm: str, code: str | None) -> None:
    """Plain http only on this machine; login hosts and the password login only where Salesforce has them (decision D-21)."""
    text = f"crm: {{{crm}}}\nsources: [{{name: o, mapping: o.yaml}}]\ntax: {{kind: none}}\n"
    if code is None:
        loaded(tmp_path, text)
    else:
        assert [found[0] for found in problems(tmp_path, text)] == [code]


@pytest.mark.parametrize(
    "line",
    [
        "billing: {proration: month_and_day}",
        "billing: {mode: shadow}",
        "alerts: {url: 'https://example.com'}",
        "guards: {invoice_amount: 5000}",
        "schedule: {backup: '0 4 * * *'}",
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(tmp_path: Path, line: str) -> None:
    """A key of a feature that this version lacks is a problem when it is set to more than its default."""
    assert [found[0] for found in problems(tmp_path, f"{MINIMAL}{line}\n")] == ["not-built-yet"]


def test_tax_is_never_silently_zero(tmp_path: Path) -> None:
    """The kind of tax must be said, rates need a list of them, and EU VAT a seller in the EU with a VAT id."""
    assert [found[0] for found in problems(tmp_path, MINIMAL.replace("none", "rates"))] == ["missing-key"]
    assert sorted(found[0] for found in problems(tmp_path, MINIMAL.replace("none", "eu_vat"))) == ["bad-value", "missing-key"]
    assert "missing-key" in [found[0] for found in problems(tmp_path, MINIMAL.replace("tax: {kind: none}", ""))]


@pytest.mark.parametrize("pattern", ["INV", "{prefix}-{year}", "{prefix}-{nmber}", "{seq", "{seq.real.numerator:q}"])
def test_numbers_must_differ(tmp_path: Path, pattern: str) -> None:
    """A numbering that would give two invoices one number, or none, is a problem."""
    assert [found[0] for found in problems(tmp_path, f"{MINIMAL}billing: {{invoice_numbering: '{pattern}'}}\n")] == ["bad-value"]


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    """Without a configuration the answer is `connector init`."""
    with pytest.raises(ConfigError, match="connector init"):
        load_config(tmp_path / "config.yaml", {})


@pytest.mark.parametrize("text", ["", "- a\n", "just words\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    """An empty file or a list is one clear problem."""
    assert [found[0] for found in problems(tmp_path, text)] == ["bad-config"]


def test_the_demo_needs_no_file(tmp_path: Path) -> None:
    """The demo's configuration is made of embedded defaults and keeps to this machine."""
    config = demo_config(database="sqlite:///x.db", crm_url="http://127.0.0.1:1", mappings=[tmp_path / "salesforce-quote.yaml"], port=0)
    assert config.crm.kind == "demo"
    assert [source.name for source in config.sources] == ["quote"]
    assert config.web.listen.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("payments: {methods: []}", "bad-type"),
        ("payments: {methods: [cash]}", "bad-value"),
        ("dunning: {remind: [7d, 1d]}", "bad-value"),
        ("dunning: {remind: [soon]}", "bad-duration"),
        ("dunning: {retry: [0d]}", "bad-value"),
        ("dunning: {remind: [], after: cancel}", "bad-value"),
        ("dunning: {after: forget}", "bad-value"),
        ("mail: {url: 'http://mail.example.com', from: a@example.com}", "bad-url"),
        ("mail: {url: 'smtp://mail.example.com'}", "missing-key"),
        ("mail: {url: 'smtp://me:pass@mail.example.com', from: a@example.com}", "secret-in-file"),
        ("mail: {from: nobody}", "bad-value"),
        ("mail: {pay_link: 'perhaps'}", "bad-type"),
    ],
)
def test_impossible_payments_steps_and_mails_are_problems(tmp_path: Path, line: str, code: str) -> None:
    """Each has its own code at its own line, and a hint that says what to write."""
    assert [found[0] for found in problems(tmp_path, f"{MINIMAL}{line}\n")] == [code]


def test_the_steps_are_read_in_days(tmp_path: Path) -> None:
    """Days before the due date are below zero; what is not said is the documented ladder."""
    found = loaded(tmp_path, f"{MINIMAL}dunning: {{remind: [-5d, 10d], after: unpaid}}\n").dunning
    assert (found.remind, found.retry, found.after) == ((-5, 10), (3, 5, 7), "unpaid")


def test_the_quotes_block(tmp_path: Path) -> None:
    """How long, what acceptance starts, what it writes; mails need a server; every mistake is named at its place."""
    given = "quotes: {expires_after: 14d, start: on_won, on_accept: {Quote.Status: Accepted, Opportunity.StageName: Closed Won}}\n"
    quotes = loaded(tmp_path, MINIMAL + given).quotes
    assert (quotes.expires_after_s, quotes.start, quotes.is_sent) == (14 * 86_400, "on_won", False)
    assert quotes.on_accept == (("Quote", "Status", "Accepted"), ("Opportunity", "StageName", "Closed Won"))
    bad = "quotes: {send: true, expires_after: soon, start: later, on_accept: {Account.Name: x, Quote.Status: [1]}}\n"
    found = [p[0] for p in problems(tmp_path, MINIMAL + bad)]
    assert found == ["missing-key", "bad-duration", "bad-value", "bad-value", "bad-type"]
