"""A person plays the rep on the whole product: a deal won on the page is billed, changed, canceled; a quote is accepted; by itself."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import requests
from rep_browser import Rep

from connector.lookalike.crm.org import Org
from connector.lookalike.crm.seed import seed
from connector.lookalike.crm.server import CrmServer

PATIENCE_S = 90
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def product() -> Iterator[Rep]:
    """`connector demo` on free ports, its story played to 1 July; a person at its CRM."""
    with socket.create_server(("127.0.0.1", 0)) as free:  # the links in the CRM name the port of the pages
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "connector", "demo", "--port", str(port), "--crm-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        url, said = "", []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Demo CRM:"):
                url = line.split()[2]
            if line.startswith("Ctrl-C"):
                break
        assert url, "".join(said)
        try:
            yield Rep(url)
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            assert process.wait(PATIENCE_S) == 0


def until(rep: Rep, is_so: Callable[[str], bool]) -> str:
    """Look at the page's live part until it says what it should; return what the card says."""
    path, deadline = "/" + rep.url.split("/", 3)[3].partition("?")[0], time.monotonic() + PATIENCE_S
    while True:
        card = rep.open(path).said("#card")
        if is_so(card):
            return card
        assert time.monotonic() < deadline, card
        time.sleep(0.3)


def account(rep: Rep, name: str) -> Rep:
    """Open an account's page."""
    return rep.open(f"/accounts?q={name}").follow(name)


def test_a_deal_of_every_kind_is_billed_amended_and_canceled(product: Rep) -> None:
    """Seats of the price book, tiers, a yearly price, set-up and usage in one deal: billed at once, next month with its usage,
    raised by an amendment, ended by a cancellation; each said on the record's card."""
    rep = product
    account(rep, "Iris Optics").follow("New opportunity…").press("Save", {"Name": "Iris everything", "Contract Term Months": "12", "Coupons": "LAUNCH50"})
    path = "/" + rep.url.split("/", 3)[3].partition("?")[0]
    for name, quantity in (("Team Seat", "4"), ("Analytics Seat", "20"), ("Device Insurance", "1"), ("Onboarding", "1"), ("API Calls", "1")):
        rep.open(path + "?add=1").press("Add", {"Product": name + " ·", "Quantity": quantity})
        assert rep.status == 200, rep.text
    rep.press("Closed Won")
    # 4 x 29.00 + 10 x 12.00 + 10 x 10.00 + 240.00 + 750.00 - 50.00, without tax
    card = until(rep, lambda said: "Active" in said and "Billed, EUR" in said)
    assert "Billed, EUR 1,276.00" in card, card
    number = rep.said("#invoices tbody th").split()[0]
    invoice = next(a.get("href") for a in rep.parts("#card a") if number in a.text_content())
    assert "1,276.00" in requests.get(invoice, timeout=20).text
    assert requests.get(next(a.get("href") for a in rep.parts("#card a") if "portal" in a.text_content()), timeout=20).status_code == 200

    rep.press("Next month")
    assert "1 Aug 2026" in rep.said(".who")
    card = until(rep, lambda said: "Billed, EUR 1,276.00" not in said)
    # 336.00 again and 31 days of usage, of which 1,000 calls are free: July's days are 250 and 0 to 29 more
    july = sum(250 + date(2026, 7, day).toordinal() * 7 % 30 for day in range(1, 32))
    total = 1276 * 100 + 336 * 100 + (july - 1000) * 2
    assert f"Billed, EUR {total // 100:,}.{total % 100:02d}" in card, card

    rep.follow("Amend…").press("Save", {"What becomes of Team Seat": "Add", "Quantity of Team Seat": "2", "Proration": "Next invoice"})
    rep.press("Closed Won")
    card = until(rep, lambda said: "Changed the contract from 1 Aug 2026" in said)
    assert ("Active" in card, "Team Seat +2" in card) == (True, True), card
    rep.open(path)
    rep.follow("Cancel…").press("Save", {"Cancel When": "On date", "Billing Effective Date": "2026-08-02"})
    rep.press("Closed Won")
    assert "Proration" in until(rep, lambda said: "Needs attention" in said)
    rep.follow("Edit What the deal does").press("Save", {"Proration": "None"})
    until(rep, lambda said: "Needs attention" not in said and "Waiting" not in said and "Won. Billing reads" not in said)
    rep.press("Next day").open(path)
    assert "Canceled" in until(rep, lambda said: "Canceled" in said)


def test_a_deal_that_cannot_be_billed_says_so_and_heals(product: Rep) -> None:
    """Fjord has no billing e-mail: the list of what needs attention says which field to fill; once it is filled the deal is billed."""
    rep = product
    rep.open("/opportunities?view=attention&q=fjord")
    assert "Billing Email on the account" in rep.said("tbody")
    account(rep, "Fjord Seafood").follow("Edit Billing").press("Save", {"Billing Email": "invoices@fjord.example"})
    rep.open("/opportunities?q=fjord").follow("Fjord team seats")
    assert "Billed, EUR" in until(rep, lambda said: "Needs attention" not in said and "Billed, EUR" in said)


def test_a_quote_is_presented_accepted_and_billed(product: Rep) -> None:
    """A quote made of an opportunity is priced as a draft, gets its page and number once presented, and is billed when accepted."""
    rep = product
    rep.open("/opportunities?q=helios").follow("Helios platform, 10 % off").press("Make a quote")
    until(rep, lambda said: "Draft" in said or "What it would bill" in said)
    rep.press("Present")
    card = until(rep, lambda said: "Quoted" in said and "as the customer sees it" in said)
    assert re.search(r"Quote Q-\d+ as the customer sees it", card), card
    link = next(a.get("href") for a in rep.parts("#card a") if "customer sees" in a.text_content())
    assert "Helios" in requests.get(link, timeout=20).text
    rep.press("Accept")
    until(rep, lambda said: "Active" in said or "Accepted" in said)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs the system's Chromium")
def test_the_card_refreshes_by_itself_in_a_browser(tmp_path: Path) -> None:
    """A real browser takes stylesheet and script under the page's policy; what billing writes after the page was loaded appears in it."""
    assert CHROMIUM is not None
    rendered: list[int] = []

    def clock() -> datetime:
        rendered.append(1)
        return datetime(2026, 1, 1, 9, tzinfo=UTC)

    org = Org(clock=clock)
    deal = seed(org, date(2026, 1, 1))["acme_seats"]
    with CrmServer(org) as running:
        before = len(rendered)

        def bill_once_it_is_read() -> None:
            while len(rendered) == before:
                time.sleep(0.001)
            org.update("Opportunity", deal, {"Billing_Status__c": "Active", "Billing_Message__c": "Billing since <1 Jan> 2026."})

        threading.Thread(target=bill_once_it_is_read, daemon=True).start()
        flags = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
            f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=120000", "--enable-logging=stderr", "--dump-dom",
        ]  # fmt: skip
        done = subprocess.run([*flags, f"{running.url}/opportunities/{deal}"], timeout=120, capture_output=True, text=True, check=False)
    assert "Content Security Policy" not in done.stderr
    assert "Billing since &lt;1 Jan&gt; 2026." in done.stdout
    assert 'class="pill good">Active' in done.stdout
