"""What people ask for, on Stripe: which requests change the books alone, which go to Stripe, and which it cannot do.

Owns: the table of request kinds, the steps of those that go to Stripe, and what whoever asked is told when they are done.
Does not own: how steps are sent (pushing), what becomes of invoices by them (reading), the checks of the books (billing's rooms).
"""
