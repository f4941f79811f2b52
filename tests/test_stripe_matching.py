"""Who a customer of Stripe is in the CRM: linked by what is sure, found by what is unique, never guessed."""

from __future__ import annotations

from typing import Any

from connector.billing.stripe_backend.importing.matching import Known, Match, matched

ORG = "00D000000000001AAA"
NAMES = ("salesforce_account_id", "sfdc_account_id")


def account(number: int, name: str, *emails: str, customer_id: str = "") -> Known:
    """Return an account of the CRM."""
    return Known(account=f"0010000000000{number:02}AAA", name=name, emails=emails, customer_id=customer_id)


def customer(number: int, name: str = "", email: str = "", **metadata: str) -> dict[str, Any]:
    """Return a customer as Stripe lists it."""
    return {"id": f"cus_{number}", "name": name, "email": email or None, "metadata": metadata}


def found(customers: list[dict[str, Any]], known: list[Known]) -> dict[str, Match]:
    """Return who the customers are."""
    return matched(customers, known, org=ORG, names=NAMES)


def test_our_metadata_counts_before_everything_else() -> None:
    """A customer that bears our id is that one, though another account has its e-mail."""
    acme, other = account(1, "Acme", customer_id="cus_ours"), account(2, "Other", "ap@acme.example")
    ours = customer(1, "Acme", "ap@acme.example", connector_customer="cus_ours", connector_org=ORG)
    assert found([ours], [acme, other])["cus_1"] == Match(known=acme, by="ours")


def test_a_customer_of_another_org_is_left_alone() -> None:
    """Two orgs bill in one account: what the other made is linked by an account's id alone, never because it looks alike."""
    acme = account(1, "Acme", "ap@acme.example", customer_id="cus_ours")
    theirs = {"connector_customer": "cus_ours", "connector_org": "00D9"}
    left = found([customer(1, "Acme", "ap@acme.example", **theirs)], [acme])["cus_1"]
    assert left.known is None
    assert left.problem == "It is a customer of another CRM org, 00D9, whose connector bills in this account, too."
    named = customer(1, "Acme", "ap@acme.example", **theirs, salesforce_account_id=acme.account)
    assert found([named], [acme])["cus_1"] == Match(known=acme, by="account")


def test_a_customer_of_a_ledger_that_is_gone_is_found_by_its_account() -> None:
    """What an earlier ledger of this org wrote names the account, which is surer than an e-mail that two have."""
    acme, twin = account(1, "Acme", "ap@acme.example"), account(2, "Twin", "ap@acme.example")
    gone = customer(1, "A", "ap@acme.example", connector_customer="cus_gone", connector_org=ORG, sfdc_account_id=acme.account)
    assert found([gone], [acme, twin])["cus_1"] == Match(known=acme, by="account")


def test_an_account_in_the_metadata_is_taken_in_its_short_form_too() -> None:
    """The CRM's id of 15 or 18 characters under a configured name links a customer; one that the CRM does not have is a problem."""
    acme = account(1, "Acme")
    for text in (acme.account, acme.account[:15]):
        assert found([customer(1, "X", sfdc_account_id=text)], [acme])["cus_1"] == Match(known=acme, by="account")
    gone = found([customer(1, "Acme", salesforce_account_id="001000000000099AAA")], [acme])["cus_1"]
    assert gone.known is None
    assert gone.problem == "Its metadata names the account 001000000000099AAA, which the CRM does not have."
    assert found([customer(1, "Acme", salesforce_account_id="n/a")], [acme])["cus_1"].by == "name"


def test_an_email_links_only_where_both_sides_have_it_alone() -> None:
    """One account and one customer with an e-mail are the same; with two of either nobody can say, and all are named."""
    acme, globex = account(1, "Acme", "AP@acme.example "), account(2, "Globex", "ap@globex.example", "billing@globex.example")
    both = found([customer(1, "A", "ap@acme.example"), customer(2, "G", "billing@globex.example")], [acme, globex])
    assert both == {"cus_1": Match(known=acme, by="email"), "cus_2": Match(known=globex, by="email")}
    two = found([customer(1, "A", "ap@acme.example"), customer(2, "B", "ap@acme.example")], [acme])
    assert {m.known for m in two.values()} == {None}
    assert two["cus_1"].problem == f"2 customers of Stripe have the e-mail ap@acme.example, and one account: Acme ({acme.account})."
    twin = account(3, "Acme West", "ap@acme.example")
    west = found([customer(1, "A", "ap@acme.example")], [acme, twin])["cus_1"]
    assert west.problem == f"2 accounts have the e-mail ap@acme.example: Acme ({acme.account}), Acme West ({twin.account})."


def test_a_name_is_compared_without_case_and_legal_form() -> None:
    """Acme, Inc. is Acme; two accounts of the name are ambiguous, and a name alone that nobody has is said so."""
    acme = account(1, "ACME")
    assert found([customer(1, "Acme, Inc.")], [acme])["cus_1"] == Match(known=acme, by="name")
    twin = account(2, "Acme GmbH")
    assert "2 accounts have the name" in found([customer(1, "Acme")], [acme, twin])["cus_1"].problem
    nobody = found([customer(1, "Initech", "a@initech.example")], [acme])["cus_1"]
    assert nobody.problem == "No account of the CRM has the e-mail or the name of Initech a@initech.example."


def test_an_account_is_given_to_one_customer_only() -> None:
    """An account that is linked for sure is not found again by an e-mail or a name."""
    acme = account(1, "Acme", "ap@acme.example")
    sure, alike = customer(1, "Acme", salesforce_account_id=acme.account), customer(2, "Acme", "ap@acme.example")
    both = found([sure, alike], [acme])
    assert both["cus_1"].by == "account"
    assert both["cus_2"].known is None
    assert "another customer of Stripe is linked to it" in both["cus_2"].problem


def test_an_email_that_is_ambiguous_is_not_settled_by_a_name() -> None:
    """What two accounts share in e-mail stays with a person, though only one of them has the name."""
    acme, west = account(1, "Acme", "ap@acme.example"), account(2, "Acme West", "ap@acme.example")
    assert found([customer(1, "Acme West", "ap@acme.example")], [acme, west])["cus_1"].known is None
