"""What the Stripe account has already is linked, not doubled: its customers are found in the CRM, its subscriptions become contracts.

Owns: who a customer of Stripe is (`matching`), what a subscription says in our terms (`reading`), and the linking itself (`adopting`).
Does not own: how it is asked for (asking rooms of the house), what is sent (pushing). Nothing here bills anything.
"""
