"""How the tax of a customer reaches an invoice: asked of the tax source, given to the engine, and required before anything is billed.

Worked example: a German consumer has 19 % from 1 January 2021 on, so that a line for February 2026 bears 19 %. A line for 2015,
before all rates that are known, is a problem: it is never billed without tax by mistake.
"""

from __future__ import annotations

from dataclasses import replace

from connector.billing.given import given_of
from connector.billing.store import BookedContract, Customer
from connector.core.settlement import CustomerState, Invoice
from connector.errors import Problem, RejectedError, Where
from connector.ports import AccountTax, CustomerDetails, exempt_note

MARK = "tax-"
"""What the codes of all tax problems begin with."""


class Untaxed:
    """The source of a seller who charges no tax: no rates, only what the CRM says about exemption."""

    def tax_of(self, customer: CustomerDetails) -> AccountTax:
        """Return that no tax is charged; an invoice still says that a customer is exempt, where the account does."""
        return AccountTax(exempt=customer.tax_exempt, note=exempt_note(customer))


def state_of(customer: Customer, tax: AccountTax) -> CustomerState:
    """Return a customer as the engine takes it."""
    return CustomerState(
        id=customer.id, balances=customer.balances, tax_exempt=tax.exempt, rates=tax.rates, given=given_of(customer.given)
    )


def require_tax(contract: BookedContract, invoice: Invoice | None, tax: AccountTax) -> None:
    """Refuse what cannot be taxed; credits mirror the tax that was billed, so that they need none of today's.

    Raises: RejectedError with what to change on the account.
    """
    if invoice is None or not (tax.problem or tax.rates):
        return
    charged = [line.start.date() for line in invoice.lines if line.kind != "credit"]
    if not charged:
        return
    problem = tax.problem
    if problem is None and min(charged) < tax.rates[0][0]:
        problem = Problem(
            code="tax-rate-missing",
            message=f"Not billed: no tax rate of {tax.place} is known for {min(charged)}; the first is from {tax.rates[0][0]}.",
            hint="Correct the start of the contract, or list older rates in the configuration (`tax: {kind: rates}`).",
        )
    if problem is not None:
        raise refusal(contract, problem)


def refusal(contract: BookedContract, problem: Problem) -> RejectedError:
    """Return the problem as one of a contract's deal."""
    return RejectedError(replace(problem, where=Where(record=contract.deal)))
