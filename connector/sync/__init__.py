"""From CRM records to decisions and back: ledger, decide (pure), the four passes, rounds.

Owns: what was read, decided and written back. Does not own: the arithmetic (core) and the books (billing). Every pass is bounded,
reads what is due from the ledger, and may be killed at any moment: the next round goes on where the last commit was.
"""
