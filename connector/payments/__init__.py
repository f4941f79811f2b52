"""Payments: whoever charges a customer automatically, behind the `Payments` port; today the test cards.

Owns: what a stored method is called, and the call that charges it. Does not own: when an invoice is charged, what becomes of it
afterwards (`billing.collecting`). No card number ever comes here: a method is a token of whoever keeps the number.

Invariant: a charge is asked for by a key, and the same key asked again is the same charge (decision D-143).
"""
