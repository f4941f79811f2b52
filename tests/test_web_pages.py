"""What the pages show and never show: invoices behind their links, the console, the monitors' answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from log_lines import logged
from web_samples import TOKEN, TestClient, a_console, an_invoice, some_services

from connector.documents import formats
from connector.documents.texts import known_language, language_of_request, texts_in
from connector.documents.views import (
    InvoicePage,
    InvoicePageLine,
    Party,
)
from connector.errors import HaltError, RetryableError
from connector.web.factory import create_app
from connector.web.views import (
    Access,
    Check,
    Count,
    CountGroup,
    HeldDeal,
    Hosted,
    Notice,
    PollRow,
    RunRow,
)

EVIL = "<script>alert(1)</script>\"'&"


def client(**changes: object) -> TestClient:
    """A browser on this machine; redirects are not followed, errors become pages."""
    return TestClient(
        create_app(some_services(**changes)),
        base_url="http://127.0.0.1",
        client=("127.0.0.1", 50000),
        follow_redirects=False,
        raise_server_exceptions=False,
    )


def page_of(invoice: InvoicePage) -> str:
    return str(client(invoice_by_token={TOKEN: invoice}.get).get(f"/i/{TOKEN}").text)


# ---------------------------------------------------------------- the invoice


def test_invoice_shows_every_figure() -> None:
    """The page of an invoice holds its number, parties, lines, totals, due date and how to pay."""
    answer = client().get(f"/i/{TOKEN}")
    assert answer.status_code == 200
    for text in (
        "INV-0007", "Northwind Software SAS", "Acme Manufacturing GmbH", "DE136695976", "PO-88213", "1 – 30 Apr 2026",
        "35,000", "€0.00125", "-€120.00", "VAT 20%", "€324.75", "€1,948.50", "1 May 2026", "FR76 3000", "Open",
    ):  # fmt: skip
        assert text in answer.text, text


def test_invoice_speaks_french_to_a_french_customer() -> None:
    """The customer's language decides words and formats, whatever the browser prefers."""
    answer = client(invoice_by_token={TOKEN: an_invoice("fr")}.get).get(
        f"/i/{TOKEN}", headers={"Accept-Language": "en"}
    )
    assert answer.headers["content-language"] == "fr"
    for text in ('<html lang="fr">', "Facture", "À payer", "Facturé à", "Échéance", "1 – 30 avr. 2026", "Par virement"):
        assert text in answer.text, text


def test_a_link_of_what_stands_elsewhere_leads_there() -> None:
    """An invoice that Stripe has issued is shown by Stripe: page and PDF answer with the way, nothing of ours is rendered."""
    there = {TOKEN: Hosted(url="https://invoice.stripe.com/i/1")}
    pages = client(invoice_by_token=there.get, invoice_pdf_by_token={TOKEN: Hosted(url="https://pay.stripe.com/1/pdf")}.get)
    for path, where in ((f"/i/{TOKEN}", "https://invoice.stripe.com/i/1"), (f"/i/{TOKEN}.pdf", "https://pay.stripe.com/1/pdf")):
        answer = pages.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, where)


def test_unknown_language_reads_english() -> None:
    """A customer whose language we do not have gets English words."""
    assert "Bill to" in page_of(replace(an_invoice(), language="sv"))


def test_what_customers_wrote_is_escaped() -> None:
    """A name, address, line or memo that holds markup is shown as it was written and runs nothing."""
    evil = an_invoice(
        number=EVIL,
        memo=EVIL,
        po_number=EVIL,
        customer=Party(name=EVIL, address=(EVIL,), email=EVIL, tax_id=EVIL),
        seller=Party(name=EVIL),
        lines=(InvoicePageLine(description=EVIL, amount=EVIL, period=EVIL, details=(EVIL,)),),
    )
    html = page_of(evil)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_empty_columns_are_left_out() -> None:
    """An invoice without discounts, taxes and quantities has no columns for them."""
    html = page_of(an_invoice(lines=(InvoicePageLine(description="Licence", amount="€1.00"),), discount="", bank=None))
    table = html[html.index("<table") : html.index("</table>")]
    assert table.count('scope="col"') == 2
    assert "Qty" not in table
    assert "How to pay" not in html


@pytest.mark.parametrize(
    ("status", "words", "is_claim", "has_bank"),
    [
        ("draft", "Draft", False, False),
        ("open", "Open", True, True),
        ("past_due", "Past due", True, True),
        ("paid", "Paid", True, False),
        ("void", "Void", False, False),
        ("uncollectible", "Written off", True, False),
    ],
)
def test_status_decides_what_is_asked_for(status: str, words: str, is_claim: bool, has_bank: bool) -> None:
    """Only an open invoice asks to be paid; a draft and a void one claim nothing."""
    html = page_of(an_invoice(status=status))
    assert f'<p class="badge {status}">{words}</p>' in html
    assert ("Amount due EUR" in html) is is_claim
    assert ("How to pay" in html) is has_bank


def test_draft_has_no_number() -> None:
    """A draft is called so and shows no number."""
    html = page_of(an_invoice(status="draft", number=""))
    assert "<h1>Draft invoice</h1>" in html
    assert "amounts may still change" in html


# ---------------------------------------------------------------- what is not there


def test_an_invoice_is_downloaded_under_its_number() -> None:
    """The page links to its PDF, which comes with its number as file name; a wrong token gets the friendly page there too."""
    asked = client()
    assert f'href="/i/{TOKEN}.pdf"' in asked.get(f"/i/{TOKEN}").text
    answer = asked.get(f"/i/{TOKEN}.pdf")
    assert (answer.status_code, answer.headers["content-type"], answer.content[:5]) == (200, "application/pdf", b"%PDF-")
    assert answer.headers["content-disposition"] == 'inline; filename="INV-0007.pdf"'
    assert asked.get(f"/i/{'A' * 22}.pdf").status_code == 404


@pytest.mark.parametrize("token", ["A" * 22, "short", "a" * 400, "..%2f..%2fetc", "%00" * 20, "ü" * 22, f"{TOKEN}.txt"])
def test_wrong_tokens_get_one_friendly_page(token: str) -> None:
    """Whatever is no known token gets the same page, and what cannot be a token is not even looked up."""
    asked: list[str] = []
    answer = client(invoice_by_token=asked.append).get(f"/i/{token}")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text
    assert asked == (["A" * 22] if token == "A" * 22 else [])


def test_missing_page_speaks_the_browsers_language() -> None:
    """Without a customer the browser's own language is used."""
    assert "Il n’y a rien ici" in client().get("/i/x", headers={"Accept-Language": "de, fr-CH;q=0.9, en;q=0.8"}).text
    assert "There is nothing here" in client().get("/nowhere").text


def test_a_locked_database_asks_for_patience() -> None:
    """RetryableError becomes a 503 that says when to come back, without the error's words."""

    def busy(_token: str) -> InvoicePage:
        raise RetryableError("database /srv/secret.db is locked", retry_after_s=7)

    answer = client(invoice_by_token=busy).get(f"/i/{TOKEN}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert "secret.db" not in answer.text


def test_a_failing_page_is_logged_without_its_token() -> None:
    """A bug becomes a friendly 500 with all headers; the log has the trace and the route, never the token of the link."""

    def broken(_token: str) -> InvoicePage:
        raise HaltError("books of another org")

    with logged() as events:
        answer = client(invoice_by_token=broken).get(f"/i/{TOKEN}")
    assert answer.status_code == 500
    assert "another org" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    (event,) = events
    assert (event["event"], event["page"]) == ("page.failed", "/i/{token}")
    assert TOKEN not in str(events)


def test_wrong_method_is_refused() -> None:
    """Nothing can be posted to an invoice."""
    answer = client().post(f"/i/{TOKEN}")
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})


def test_head_has_no_body() -> None:
    """Link previews may ask for the head alone."""
    answer = client().head(f"/i/{TOKEN}")
    assert (answer.status_code, answer.text) == (200, "")


# ---------------------------------------------------------------- headers


@pytest.mark.parametrize(
    "path", [f"/i/{TOKEN}", "/i/nothing", "/console", "/healthz", "/readyz", "/metrics", "/", "/static/x"]
)
def test_every_reply_is_shielded(path: str) -> None:
    """Whatever the page, nothing is cached, indexed, framed, sniffed or loaded from elsewhere."""
    headers = client().get(path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")
    assert "noindex" in headers["x-robots-tag"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "strict-transport-security" not in headers


def test_https_is_remembered() -> None:
    """Behind an https address browsers are told to keep to it."""
    headers = client(access=Access(password="x", is_https=True)).get("/healthz").headers
    assert headers["strict-transport-security"] == "max-age=31536000"


def test_only_the_stylesheet_may_be_cached() -> None:
    """Assets are cached under an address that changes with their content; pages load nothing else."""
    browser = client()
    html = browser.get(f"/i/{TOKEN}").text
    assert "http://" not in html
    assert "https://" not in html
    assert "<script" not in html
    assert "style=" not in html
    address = html.split('rel="stylesheet" href="')[1].split('"')[0]
    answer = browser.get(address)
    assert answer.status_code == 200
    assert "text/css" in answer.headers["content-type"]
    assert answer.headers["cache-control"] == "public, max-age=86400"
    assert browser.get("/static/icon.svg").status_code == 200
    assert browser.get("/static/..%2fviews.py").status_code == 404


def test_big_and_endless_bodies_are_refused() -> None:
    """A body that no form of ours can have is refused before it is read."""
    browser = client()
    assert browser.post("/console/sign-in", content=b"x" * 70_000).status_code == 413
    assert browser.post("/console/sign-in", content=iter([b"x"])).status_code == 411
    assert browser.get("/healthz", headers={"Content-Length": "1e9"}).status_code == 413


# ---------------------------------------------------------------- monitors


def test_healthz_needs_nothing() -> None:
    """The process answers even when nothing else works."""

    def broken() -> list[Check]:
        raise HaltError("no")

    assert client(ready=broken).get("/healthz").json() == {"status": "ok"}


def test_readyz_tells_what_fails() -> None:
    """One failed check makes 503; each check is named with detail and the operator's next action."""
    assert client().get("/readyz").status_code == 200
    checks = [
        Check(name="database", is_ok=True),
        Check(name="crm", is_ok=False, detail="login refused", hint="Renew it."),
    ]
    answer = client(ready=lambda: checks).get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "not ready",
        "checks": [
            {"name": "database", "ok": True, "detail": ""},
            {"name": "crm", "ok": False, "detail": "login refused", "hint": "Renew it."},
        ],
    }


def test_metrics_are_prometheus_text() -> None:
    """Metrics pass through as they are, in the text format's type."""
    answer = client().get("/metrics")
    assert answer.text == "connector_deals_total 7\n"
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


# ---------------------------------------------------------------- the console


def test_console_shows_everything() -> None:
    """Counts, runs, polls, held deals with link, message and hint, the shifted clock and notices stand on the page."""
    html = client(access=Access()).get("/console").text
    for text in (
        "1,204", "€412,300.50", "3 applied, 3 written", "The database is locked", "opportunities", "19 s", "102 days ahead",
        'href="https://northwind.example/0065g00000XyAbCAAV"', "Not billed: no billing e-mail.", "Fill Billing Contact",
        "unknown-field", "Sign out",
    )[:-1]:  # fmt: skip
        assert text in html, text
    assert "Sign out" not in html


def test_empty_console_says_so() -> None:
    """A console without anything yet reads well."""
    view = a_console(groups=(CountGroup(title="Deals", counts=()),), runs=(), polls=(), held=(), notices=(), clock="")
    html = client(access=Access(), console=lambda: view).get("/console").text
    for text in ("none yet", "No job has run yet.", "Not yet.", "Nothing waits for anybody."):
        assert text in html, text


def test_console_escapes_records() -> None:
    """Names, messages and addresses from the CRM run nothing."""
    view = a_console(
        where=EVIL,
        groups=(CountGroup(title=EVIL, counts=(Count(label=EVIL, value=EVIL),)),),
        runs=(RunRow(job=EVIL, state=EVIL, summary=EVIL, hint=EVIL),),
        polls=(PollRow(source=EVIL, at=EVIL, age=EVIL),),
        held=(HeldDeal(label=EVIL, record=EVIL, state=EVIL, message=EVIL, hint=EVIL, url="https://x.example/" + EVIL),),
        notices=(Notice(title=EVIL, text=EVIL, hint=EVIL),),
    )
    html = client(access=Access(), console=lambda: view).get("/console").text
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_only_web_addresses_become_links() -> None:
    """An address of another scheme is not made a link."""
    view = a_console(held=(HeldDeal(label="Acme", record="1", state="parked", message="m", url="javascript:alert(1)"),))
    html = client(access=Access(), console=lambda: view).get("/console").text
    assert "javascript:" not in html
    assert "Acme" in html


# ---------------------------------------------------------------- formats and words


@pytest.mark.parametrize(
    ("minor", "currency", "language", "written"),
    [
        (108000, "eur", "en", "€1,080.00"),
        (-5, "usd", "en", "-$0.05"),
        (108000, "eur", "fr", "1\u202f080,00\xa0€"),
        (90000, "jpy", "en", "¥90,000"),
        (1500, "kwd", "en", "KWD\xa01.500"),
        (150, "isk", "en", "ISK\xa0150"),
    ],
)
def test_amounts_have_the_digits_of_iso_4217(minor: int, currency: str, language: str, written: str) -> None:
    """An amount is written in the language's form, with the currency's own number of decimals."""
    assert formats.amount_text(minor, currency, language) == written


def test_small_formats() -> None:
    """Unit prices keep their sub-cent places, quantities lose trailing zeros, periods end on their last day."""
    assert formats.unit_price_text(Decimal("0.125"), "eur", "en") == "€0.00125"
    assert formats.unit_price_text(Decimal(3000), "eur", "en") == "€30.00"
    assert formats.quantity_text(Decimal("1234.50"), "en") == "1,234.5"
    assert formats.quantity_text(None, "en") == ""
    assert formats.date_text(None, "en") == ""
    day = date(2026, 12, 31)
    assert formats.period_text(day, date(2027, 1, 1), "en") == "31 Dec 2026"
    assert formats.period_text(day, day, "en") == "31 Dec 2026"
    assert formats.period_text(date(2026, 12, 15), date(2027, 1, 15), "en") == "15 Dec 2026 – 14 Jan 2027"
    assert formats.period_text(date(2026, 4, 15), date(2026, 5, 15), "fr") == "15 avr. – 14 mai 2026"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (12.3, "12 s"),
        (185, "3 min 5 s"),
        (180, "3 min"),
        (7800, "2 h 10 min"),
        (187200, "2 d 4 h"),
    ],
)
def test_lengths_of_time(seconds: float, written: str) -> None:
    """A length of time is written in its two largest units."""
    assert formats.length_text(seconds) == written


def test_words_exist_in_every_language() -> None:
    """Each text has an English and a French form, and templates name only texts that exist."""
    assert texts_in("en").keys() == texts_in("fr").keys()
    assert all(text for language in ("en", "fr") for text in texts_in(language).values())
    assert (known_language("fr_CA"), known_language(" FR "), known_language("")) == ("fr", "fr", "en")
    assert language_of_request("") == "en"
    assert language_of_request("es, EN-gb, fr") == "en"


def test_no_template_turns_escaping_off() -> None:
    """No template marks text as safe, and none holds a script or an inline style."""
    folder = Path(formats.__file__).parent / "templates"
    for template in sorted(folder.glob("*.html")):
        text = template.read_text(encoding="utf-8")
        assert not any(word in text for word in ("|safe", "| safe", "autoescape", "<script", "style=", "Markup")), (
            template
        )
