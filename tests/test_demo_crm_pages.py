"""The pages on which a person plays the rep: what they show, what they save, and what they refuse without losing a word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
import requests
from rep_browser import Rep

from connector.lookalike.crm.org import Org, Traits
from connector.lookalike.crm.rep.lists import PAGE_ROWS
from connector.lookalike.crm.seed import bulk_deals, seed
from connector.lookalike.crm.server import CrmServer

START = date(2026, 1, 1)
D = Decimal


@pytest.fixture
def server() -> Iterator[CrmServer]:
    """The demo company on a port, on the morning of New Year's Day."""
    with CrmServer(Org(clock=lambda: datetime(2026, 1, 1, 9, tzinfo=UTC))) as running:
        running.ids = seed(running.org, START)  # type: ignore[attr-defined]
        yield running


@pytest.fixture
def rep(server: CrmServer) -> Rep:
    """A person at the pages."""
    return Rep(server.url)


def ids(server: CrmServer) -> dict[str, str]:
    """The seed's records by name."""
    return server.ids  # type: ignore[attr-defined]


def deal_page(server: CrmServer, name: str = "acme_seats", asked: str = "") -> str:
    return f"/opportunities/{ids(server)[name]}{asked}"


def test_every_page_is_there_and_safe(server: CrmServer, rep: Rep) -> None:
    """Lists, records, forms and the bin: each answers, is escaped, loads nothing from elsewhere and keeps out frames and scripts."""
    evil = '"><script>x</script>'
    server.org.update("Opportunity", ids(server)["acme_seats"], {"Billing_Message__c": evil, "Name": f"Acme & {evil}", "Description": evil})
    server.org.update("Account", ids(server)["acme"], {"Name": evil})
    paths = ["/", "/quotes", "/accounts", "/contacts", "/products", "/invoices", "/bin", "/opportunities/new", "/contacts/new", "/opportunities?q=" + evil]
    paths += [deal_page(server, asked=asked) for asked in ("", "?edit=deal", "?edit=billing", "?add=1", "?live=1", "?edit=nonsense", "?line=nonsense")]
    paths += [f"/quotes/{ids(server)['delta_quote']}", f"/accounts/{ids(server)['acme']}", f"/contacts/{ids(server)['acme_contact']}"]
    paths += [f"/products/{ids(server)['seat']}", f"/opportunities/new?base={ids(server)['acme_seats']}&action=Amend"]
    for path in paths:
        answer = requests.get(server.url + path, timeout=10)
        assert answer.status_code == 200, path
        assert evil not in answer.text, path
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert (answer.headers["X-Frame-Options"], answer.headers["X-Content-Type-Options"]) == ("DENY", "nosniff")
        assert "http://" not in answer.text.replace(server.url, "")
        assert "style=" not in answer.text
    assert requests.get(f"{server.url}/rep/page.js", timeout=5).headers["content-type"].startswith("text/javascript")
    assert "Acme &amp; &#34;" in requests.get(server.url, timeout=5).text


@pytest.mark.parametrize("path", ["/opportunities/nope", "/nothing", "/rep/kinds.py", "/quotes/0065g000000002BAAQ"])
def test_what_is_not_there_is_said(server: CrmServer, rep: Rep, path: str) -> None:
    """An address of nothing is a page that says so, not an error."""
    assert rep.open(path).status == 404
    assert "There is no such" in rep.text


def test_an_id_leads_to_its_page(server: CrmServer, rep: Rep) -> None:
    """`/ID` of 15 or 18 characters leads to the record, whatever its object."""
    for name, path in (("acme_seats", "opportunities"), ("delta_quote", "quotes"), ("acme", "accounts"), ("seat", "products")):
        record = ids(server)[name]
        for given in (record, record[:15]):
            assert rep.open(f"/{given}").url.endswith(f"/{path}/{record}")


def test_forms_of_other_sites_save_nothing(server: CrmServer, rep: Rep) -> None:
    """Without this server's token, or from another site, nothing is saved; a page from before a restart keeps what was typed."""
    page, data = server.url + deal_page(server), {"act": "state", "value": "Closed Lost"}
    token = rep.open(page).parts("input[name=token]")[0].get("value")
    foreign = [
        ({"Origin": "https://elsewhere.example"}, {"token": token}), ({"Origin": "null"}, {"token": token}), ({}, {}), ({}, {"token": "x"}),
        ({"Sec-Fetch-Site": "cross-site"}, {"token": token}),
    ]  # fmt: skip
    for headers, more in foreign:
        answer = requests.post(page, data=data | more, headers=headers, timeout=5)
        assert (answer.status_code, "from another site" in answer.text) == (403, True)
    assert server.org.get("Opportunity", ids(server)["acme_seats"])["StageName"] == "Negotiation/Review"
    rep.open(deal_page(server, asked="?edit=billing"))
    for field in rep.parts("input[name=token]"):
        field.set("value", "of another start")
    rep.press("Save", {"PO Number": "PO-1"})
    assert (rep.status, rep.fields()["PO Number"].value) == (400, "PO-1")
    assert "started anew" in rep.said("[role=alert]")
    assert "saved" in rep.press("Save").said(".flash").lower()
    assert server.org.get("Opportunity", ids(server)["acme_seats"])["PO_Number__c"] == "PO-1"


def test_a_stage_is_changed_on_the_path(server: CrmServer, rep: Rep) -> None:
    """The rep wins the deal with one press, as the rep and not as the integration user; a stage that is none is refused."""
    rep.open(deal_page(server)).press("Closed Won")
    row = server.org.get("Opportunity", ids(server)["acme_seats"])
    assert (row["IsWon"], row["LastModifiedById"]) == (True, server.org.rep_user)
    assert rep.said("[aria-current=step]") == "Closed Won"
    next(b for b in rep.parts("button") if b.get("value") == "Closed Lost").set("value", "Nonsense")
    assert rep.press("Closed Lost").status == 400
    assert "choose a value of the list" in rep.said("[role=alert]")


def test_time_is_moved_only_where_it_may_be(server: CrmServer, rep: Rep) -> None:
    """Next month moves to the same day a month later and stays on the page; elsewhere there is no button and no such address."""
    moved: list[date] = []
    token = rep.open(deal_page(server)).parts("input[name=token]")[0].get("value")
    assert "Next month" not in rep.text
    assert requests.post(f"{server.url}/day", data={"token": token, "value": "day"}, timeout=5).status_code == 404
    server.front.move_clock = moved.append
    rep.open(deal_page(server)).press("Next month")
    assert (moved, rep.record) == ([date(2026, 2, 1)], ids(server)["acme_seats"])
    for back in ("//elsewhere.example", "/\\elsewhere.example", "https://elsewhere.example/", ""):
        data = {"token": token, "value": "day", "back": back}
        answer = requests.post(f"{server.url}/day", data=data, timeout=5, allow_redirects=False)
        assert answer.headers["location"] == "/?done=moved"
    assert requests.post(f"{server.url}/day", data={"value": "day"}, timeout=5).status_code == 403


def test_lists_are_searched_filtered_and_tabbed(server: CrmServer, rep: Rep) -> None:
    """By name or account, by stage, and the tab of what needs attention with what billing says."""
    server.org.update("Opportunity", ids(server)["fjord_seats"], {"Billing_Status__c": "Needs attention", "Billing_Message__c": "Not billed: no billing e-mail."})
    rep.open("/").press("Search", {"Search by name or account": "FJORD sea"})
    assert (rep.said("tbody th"), "1 opportunity" in rep.text) == ("Fjord team seats", True)
    rep.open("/?view=attention")
    assert "Not billed: no billing e-mail." in rep.said("tbody")
    rep.press("Search", {"Stage": "Negotiation/Review"})
    assert rep.said("tbody th a") == "Fjord team seats"
    rep.open("/opportunities?q=nothing+like+it")
    assert "Nothing matches." in rep.text


def test_long_lists_go_on_from_the_last_row(rep: Rep, server: CrmServer) -> None:
    """Pages of a bounded size show each record once, also while others are made and deleted between two pages."""
    made = bulk_deals(server.org, 120, close_date=date(2025, 6, 1))
    rep.open("/opportunities?q=Customer")
    seen = [a.get("href") for a in rep.parts("tbody th a")]
    assert len(seen) == PAGE_ROWS
    server.org.delete("Opportunity", seen[-1].rpartition("/")[2])
    bulk_deals(server.org, 10, close_date=date(2025, 7, 1), first=500)
    while rep.parts("a[rel=next]"):
        rep.follow("Next page")
        seen += [a.get("href") for a in rep.parts("tbody th a")]
    assert sorted(seen) == sorted(f"/opportunities/{one}" for one in made)


def test_a_section_is_edited_and_only_what_changed_is_saved(server: CrmServer, rep: Rep) -> None:
    """Every kind of field: pick, day, tick, number, text, record by name; what somebody else changed meanwhile stays."""
    record = ids(server)["acme_seats"]
    rep.open(deal_page(server)).follow("Edit Contract terms")
    server.org.update("Opportunity", record, {"Coupons__c": "TEN"})
    typed = {"Contract Start Date": "2026-02-01", "Contract Term Months": "24", "Auto Renew": "1", "Renewal Uplift Percent": "2.5"}
    rep.press("Save", typed)
    assert "Saved." in rep.said(".flash")
    row = server.org.get("Opportunity", record)
    assert [row[n] for n in ("Contract_Start_Date__c", "Contract_Term_Months__c", "Auto_Renew__c", "Renewal_Uplift_Percent__c", "Coupons__c")] == [
        "2026-02-01", D(24), True, D("2.50"), "TEN",
    ]  # fmt: skip
    rep.open(deal_page(server, asked="?edit=terms")).press("Save", {"Auto Renew": "", "Renewal Uplift Percent": ""})
    row = server.org.get("Opportunity", record)
    assert (row["Auto_Renew__c"], row.get("Renewal_Uplift_Percent__c")) == (False, None)
    stamp = row["LastModifiedById"]
    rep.open(deal_page(server, asked="?edit=terms")).press("Save")
    assert ("Nothing was changed" in rep.said(".flash"), server.org.get("Opportunity", record)["LastModifiedById"]) == (True, stamp)
    rep.open(deal_page(server, asked="?edit=billing")).press("Save", {"Billing Contact": "claire moreau", "Billing Frequency": "Annual"})
    row = server.org.get("Opportunity", record)
    assert (row["Billing_Contact__c"], row["Billing_Frequency__c"]) == (ids(server)["acme_contact"], "Annual")


def test_all_problems_of_a_form_are_said_at_once_and_nothing_is_lost(server: CrmServer, rep: Rep) -> None:
    """Each wrong field says what is wrong with it, the rest of the form stays as it was typed, and nothing is saved."""
    rep.open(deal_page(server, asked="?edit=terms"))
    typed = {"Contract Start Date": "1 February", "Contract Term Months": "twelve", "Discount Percent": "5000", "Coupons": "T" * 300, "Free Trial Days": "14"}
    rep.press("Save", typed)
    assert rep.status == 400
    assert {label: field.value for label, field in rep.fields().items() if label in typed} == typed
    assert [one.text_content() for one in rep.parts(".error")] == [
        "“1 February” is no day. Write it as 2026-01-31.",
        "“twelve” is no number. Write digits, with a point before decimals: 1200.50",
        "Discount Percent takes at most 3 digits before the point.",
        "Coupons takes at most 255 characters; these are 300.",
    ]
    assert "4 fields need another look" in rep.said("[role=alert]")
    assert "Free_Trial_Days__c" not in server.org.get("Opportunity", ids(server)["acme_seats"])
    rep.press("Save", {"Contract Start Date": "2026-02-01", "Contract Term Months": "1,200", "Discount Percent": "5", "Coupons": ""})
    row = server.org.get("Opportunity", ids(server)["acme_seats"])
    assert (row["Contract_Term_Months__c"], row["Free_Trial_Days__c"], row["Discount_Percent__c"]) == (D(1200), D(14), D(5))


def test_two_people_do_not_overwrite_each_other_unseen(server: CrmServer, rep: Rep) -> None:
    """A field that somebody else changed since the form was opened says so first; a second Save puts one's own in its place."""
    record = ids(server)["acme_seats"]
    rep.open(deal_page(server, asked="?edit=billing"))
    server.org.update("Opportunity", record, {"PO_Number__c": "PO-OTHER"})
    rep.press("Save", {"PO Number": "PO-MINE"})
    assert "changed it to “PO-OTHER”" in rep.said(".error")
    rep.press("Save")
    assert server.org.get("Opportunity", record)["PO_Number__c"] == "PO-MINE"


def test_names_that_are_unclear_are_asked_for(server: CrmServer, rep: Rep) -> None:
    """A name of nobody offers what is like it, one of several asks which; the choice is saved."""
    record = ids(server)["acme_upgrade"]
    rep.open(deal_page(server, "acme_upgrade", "?edit=change")).press("Save", {"Amends Opportunity": "team seats"})
    assert "No opportunity is called “team seats”. Choose one of these" in rep.said(".error")
    rep.press("Save", {"Which one?": "Fjord team seats"})
    assert server.org.get("Opportunity", record)["Amends_Opportunity__c"] == ids(server)["fjord_seats"]
    server.org.update("Opportunity", ids(server)["iris_pilot"], {"Name": "Acme team seats"})
    server.org.update("Opportunity", ids(server)["borealis_ramp"], {"Name": "Acme team seats"})
    rep.open(deal_page(server, "fjord_seats", "?edit=change")).press("Save", {"Amends Opportunity": "Acme team seats"})
    assert "Several are called" in rep.said(".error")
    rep.press("Save", {"Which one?": "Acme team seats · Iris Optics"})
    assert server.org.get("Opportunity", ids(server)["fjord_seats"])["Amends_Opportunity__c"] == ids(server)["iris_pilot"]
    found = requests.get(f"{server.url}/lookup", params={"kind": "Account", "q": "ener"}, timeout=5).json()
    assert [one["value"] for one in found] == ["Borealis Energy"]
    assert requests.get(f"{server.url}/lookup", params={"kind": "User", "q": ""}, timeout=5).json() == []


def test_what_salesforce_refuses_is_said_where_it_happened(server: CrmServer, rep: Rep) -> None:
    """A validation rule, a lock, a right that is missing: plain words, Salesforce's own beside them, and the form as it was typed."""
    record = ids(server)["acme_seats"]
    faults = server.org.faults
    page = deal_page(server, asked="?edit=billing")
    faults.apply({"refuse": {record: "A PO number needs the approval of finance."}})
    rep.open(page).press("Save", {"PO Number": "PO-7"})
    assert (rep.status, rep.fields()["PO Number"].value) == (400, "PO-7")
    assert rep.said("#billing [role=alert]").startswith("A PO number needs the approval of finance. Salesforce says: FIELD_CUSTOM_VALIDATION")
    faults.apply({"reset": True, "lock": {record: 2}})
    rep.press("Save")
    assert "Somebody else is saving this record" in rep.said("[role=alert]")
    rep.open(deal_page(server)).press("Closed Won")
    assert "Somebody else is saving this record" in rep.said("[role=alert]")
    faults.apply({"reset": True, "record_locks": [record]})
    rep.press("Closed Won")
    assert "The record is locked, for an approval as a rule" in rep.said("[role=alert]")
    faults.apply({"reset": True, "require": {"Opportunity.Coupons__c": "Say a coupon."}})
    rep.open(page).press("Save", {"PO Number": "PO-8"})
    assert rep.said("#billing [role=alert]").startswith("Say a coupon.")
    faults.apply({"reset": True, "read_only": ["Opportunity.PO_Number__c"]})
    rep.open(page).press("Save", {"PO Number": "PO-8"})
    assert "You may not change PO Number" in rep.said(".control .error")
    faults.apply({"reset": True})
    rep.open(page)
    faults.apply({"hide": ["Opportunity.PO_Number__c"]})
    rep.press("Save", {"PO Number": "PO-9"})
    assert "PO Number" not in rep.open(page).fields()


def test_lines_are_added_edited_and_deleted(server: CrmServer, rep: Rep) -> None:
    """A product of the price book at its list price or another, with discount, days and charge type; wrong ones keep what was typed."""
    record = ids(server)["iris_pilot"]
    rep.open(deal_page(server, "iris_pilot")).follow("Add a product").press("Add", {"Quantity": "2"})
    assert ("Choose a product." in rep.said("[role=alert]"), rep.fields()["Quantity"].value) == (True, "2")
    rep.press("Add", {"Product": "Team Seat", "Discount": "10", "Service Date": "2026-04-01", "End Date": "2026-12-31", "Charge Type": "Recurring"})
    lines = {line["ProductCode"]: line for line in server.org.live_children("OpportunityLineItem", "OpportunityId", record)}
    seat = lines["SEAT-TEAM"]
    assert [seat[n] for n in ("Quantity", "UnitPrice", "Discount", "ServiceDate", "End_Date__c", "Charge_Type__c", "TotalPrice")] == [
        D(2), D(29), D(10), "2026-04-01", "2026-12-31", "Recurring", D("52.20"),
    ]  # fmt: skip
    assert server.org.get("Opportunity", record)["Amount"] == D("952.20")
    rep.follow("Edit the line Team Seat").press("Save", {"Quantity": "three"})
    assert (rep.status, rep.fields()["Quantity"].value) == (400, "three")
    rep.press("Save", {"Quantity": "3", "Unit Price": "25", "Trial Periods": "1", "Trial Price": "0"})
    seat = server.org.get("OpportunityLineItem", seat["Id"])
    assert (seat["Quantity"], seat["UnitPrice"], seat["Trial_Periods__c"], seat["TotalPrice"]) == (D(3), D(25), D(1), D("67.50"))
    rep.press("Delete the line Team Seat")
    assert server.org.get("Opportunity", record)["Amount"] == D(900)
    rep.open("/bin").press("Restore Iris pilot Team Seat")
    assert server.org.get("Opportunity", record)["Amount"] == D("967.50")
    with pytest.raises(AssertionError, match="no button"):
        rep.open(deal_page(server)).press("Delete the line Training Day")


def test_records_are_deleted_and_come_back(server: CrmServer, rep: Rep) -> None:
    """Delete goes to the recycle bin, and Undo, the record's own address and the bin bring it back with its lines."""
    record = ids(server)["acme_seats"]
    rep.open(deal_page(server)).press("Delete")
    assert "Moved to the recycle bin." in rep.said(".flash")
    rep.press("Undo")
    assert (rep.record, rep.said("#lines tbody th a")) == (record, "Team Seat")
    rep.press("Delete")
    assert "in the recycle bin" in rep.open(deal_page(server)).text
    rep.press("Restore it")
    assert rep.record == record
    rep.press("Delete").open("/bin").press("Restore Acme team seats")
    assert not server.org.get("Opportunity", record)["IsDeleted"]
    assert "not in the recycle bin any more" in requests.post(
        f"{server.url}/bin", data={"record": record, "token": rep.parts("input[name=token]")[0].get("value")}, timeout=5
    ).text  # fmt: skip


def test_deals_are_made_cloned_and_changed(server: CrmServer, rep: Rep) -> None:
    """A new deal from an account's page, a clone with its lines, and an amendment that names its base and what becomes of each line."""
    rep.open(f"/accounts/{ids(server)['iris']}").follow("New opportunity…")
    rep.press("Save", {"Name": "", "Close Date": "2026-03-01", "Account": "Iris Optics", "Billing Frequency": "Quarterly"})
    assert (rep.status, rep.said(".error"), rep.fields()["Close Date"].value) == (400, "Name must be filled.", "2026-03-01")
    rep.press("Save", {"Name": "Iris seats"})
    made = server.org.get("Opportunity", rep.record)
    assert [made.get(n) for n in ("Name", "AccountId", "CloseDate", "StageName", "Billing_Frequency__c", "OwnerId")] == [
        "Iris seats", ids(server)["iris"], "2026-03-01", "Negotiation/Review", "Quarterly", server.org.rep_user,
    ]  # fmt: skip
    server.org.update("Opportunity", ids(server)["cobalt_licence"], {"Billing_Contract_Id__c": "ct_1", "Billing_Status__c": "Active"})
    rep.open(deal_page(server, "cobalt_licence")).follow("Clone…").press("Save", {"Name": "Cobalt again"})
    lines = server.org.live_children("OpportunityLineItem", "OpportunityId", rep.record)
    again = server.org.get("Opportunity", rep.record)
    assert ([line["ProductCode"] for line in lines], again["PO_Number__c"], again.get("Billing_Contract_Id__c")) == (["LICENCE", "SETUP"], "PO-77120", None)
    rep.open(deal_page(server)).press("Closed Won").follow("Amend…")
    assert rep.fields()["Amends Opportunity"].value == "Acme team seats"
    rep.press("Save", {"What becomes of Team Seat": "Add"})
    assert (rep.status, rep.said("[role=alert]")) == (400, "Say how many of Team Seat: the quantity is empty.")
    rep.press("Save", {"Quantity of Team Seat": "5"})
    amendment = server.org.get("Opportunity", rep.record)
    (line,) = server.org.live_children("OpportunityLineItem", "OpportunityId", rep.record)
    assert [amendment[n] for n in ("Billing_Action__c", "Amends_Opportunity__c", "Billing_Effective_Date__c", "Proration__c", "IsWon")] == [
        "Amend", ids(server)["acme_seats"], "2026-01-01", "Immediately", False,
    ]  # fmt: skip
    assert (line["Line_Change__c"], line["Quantity"], line["UnitPrice"]) == ("Add", D(5), D(29))
    assert "Acme team seats: amendment" in rep.open(deal_page(server)).said("#changes")


def test_quotes_are_made_presented_and_synced(server: CrmServer, rep: Rep) -> None:
    """A quote takes terms and lines of its opportunity; Present, Accept and Decline are buttons; syncing replaces the lines."""
    rep.open(deal_page(server, "helios_discount")).press("Make a quote")
    quote = server.org.get("Quote", rep.record)
    assert [quote[n] for n in ("Status", "Discount_Percent__c", "Billing_Frequency__c", "ExpirationDate", "GrandTotal")] == [
        "Draft", D(10), "Quarterly", "2026-01-31", D(4365),
    ]  # fmt: skip
    rep.follow("Edit the line Platform").press("Save", {"Unit Price": "3,000.00"})
    rep.press("Sync with the opportunity")
    assert server.org.get("Opportunity", ids(server)["helios_discount"])["Amount"] == D(3765)
    rep.press("Present").press("Accept")
    assert (server.org.get("Quote", quote["Id"])["Status"], rep.said("[aria-current=step]")) == ("Accepted", "Accepted")
    rep.press("Stop syncing")
    assert "SyncedQuoteId" not in server.org.get("Opportunity", ids(server)["helios_discount"])
    rep.open(f"/quotes/{ids(server)['delta_quote']}").press("Decline")
    assert server.org.get("Quote", ids(server)["delta_quote"])["Status"] == "Denied"


def test_the_card_says_what_billing_wrote(server: CrmServer, rep: Rep) -> None:
    """Status, the whole message, next and last invoice, amounts, contract, links; the fragment for the script says the same."""
    record, account = ids(server)["acme_seats"], ids(server)["acme"]
    server.org.update("Opportunity", record, {
        "Billing_Status__c": "Past due", "Billing_Message__c": "Past due: INV-0007.", "Next_Invoice_Date__c": "2026-05-01", "Next_Invoice_Amount__c": D(290),
        "Last_Invoice_Number__c": "INV-0007", "Last_Invoice_Status__c": "open", "Last_Invoice_URL__c": "http://127.0.0.1:9/i/x", "Amount_Billed__c": D(1160),
        "Amount_Paid__c": D(870), "Amount_Due__c": D(290), "Billing_Contract_Id__c": "ct_7", "Contract_Value__c": D(3480), "Billing_Preview__c": "1 Jan: 290.00",
    })  # fmt: skip
    server.org.update("Account", account, {"Portal_URL__c": "http://127.0.0.1:9/portal/y"})
    server.org.create("Billing_Invoice__c", {
        "Number__c": "INV-0007", "Opportunity__c": record, "Account__c": account, "Total__c": D(290), "Amount_Due__c": D(290), "Status__c": "Open",
        "URL__c": "javascript:alert(1)",
    })  # fmt: skip
    for path in (deal_page(server), deal_page(server, asked="?live=1")):
        card = rep.open(path).said("#card")
        for words in (
            "Past due", "Past due: INV-0007.", "1 May 2026 290.00 EUR", "INV-0007 open", "Billed, EUR 1,160.00", "Due, EUR 290.00", "ct_7", "3,480.00 EUR",
            "1 Jan: 290.00", "Customer portal",
        ):  # fmt: skip
            assert words in card, words
        assert {a.get("href") for a in rep.parts("#card a")} == {"http://127.0.0.1:9/i/x", "http://127.0.0.1:9/portal/y"}
        assert "INV-0007" in rep.said("#invoices")
        assert "javascript:" not in " ".join(a.get("href") for a in rep.parts("#invoices a"))
    assert "Due, EUR 290.00" in rep.open(f"/accounts/{account}").said("#card")


def test_an_org_without_quotes_or_with_many_currencies_has_pages(rep: Rep) -> None:
    """What an org does not have is left out; with several currencies each amount says its own."""
    clock = lambda: datetime(2026, 1, 1, 9, tzinfo=UTC)  # noqa: E731 - one line says it
    with CrmServer(Org(clock=clock, traits=Traits(has_quotes=False))) as plain:
        account = plain.org.create("Account", {"Name": "Only"})
        deal = plain.org.create("Opportunity", {"Name": "One", "StageName": "Prospecting", "CloseDate": "2026-01-01", "AccountId": account})
        page = Rep(plain.url).open(f"/opportunities/{deal}")
        assert (page.status, "Quotes" in page.text) == (200, False)
        assert page.open("/quotes").status == 404
    with CrmServer(Org(clock=clock, multi_currency=True)) as many:
        account = many.org.create("Account", {"Name": "Only", "CurrencyIsoCode": "USD"})
        fields = {"Name": "One", "StageName": "Prospecting", "CloseDate": "2026-01-01", "AccountId": account, "CurrencyIsoCode": "USD", "Amount": D(5)}
        page = Rep(many.url).open(f"/opportunities/{many.org.create('Opportunity', fields)}")
        assert "5.00 USD" in page.said(".head")
        page.follow("Edit More").press("Save", {"Currency Iso Code": "GBP"})
        assert "5.00 GBP" in page.said(".head")


def test_cells_of_tables_stay_cells_where_there_is_room(server: CrmServer) -> None:
    """No rule outside a media query gives the classes of cells another display: a date would leave its column."""
    page = requests.get(f"{server.url}/opportunities", timeout=20).text
    address = re.search(r'href="([^"]+style\.css[^"]*)"', page)
    assert address is not None
    style = requests.get(f"{server.url}{address[1]}", timeout=20).text
    outside = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", style)
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", outside)
    assert len(rules) > 50
    moved = [s.strip() for heads, body in rules if re.search(r"(^|;|\s)display:", body) for s in heads.split(",") if s.strip() in (".day", ".n", "td.day", "td.n")]
    assert moved == []
