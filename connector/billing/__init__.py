"""Billing: the internal engine over the books.

Owns: contracts, changes, invoices, lines, balances and number series, and every statement that touches them (`store`). Does
not own: arithmetic (`core`), what a CRM record asks for (`mapping`, `sync`), when a run happens (`jobs` is called by others).

Invariants: what a command or a run does is in one transaction; a line's key is unique, so nothing is billed twice; numbers of a
series have no gap; a draft is no fact; an issued invoice never changes, not even the address on it.
Time: `_at` are instants (UTC), `_on` civil days of the contract's time zone, service instants are local to the contract.
An invoice belongs to one contract, or to none (one-off), or it has parts (`parts`) where a customer gets one for all contracts.
Known limits: a customer has one payment method.
"""
