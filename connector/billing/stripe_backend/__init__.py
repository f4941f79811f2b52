"""Billing on Stripe: the books keep what was agreed, Stripe holds what runs, and what happened there is read back.

How a decision walks:

    commands -> books (contract, changes) + a *push* (its steps)     one transaction, decided and checked before anything is sent
    push     -> Stripe, step by step, each under its own idempotency key; results kept as they come
    events   -> mirrored invoices, payments, credit notes: facts for the books, and the CRM is told

Rooms, from the door inwards:

    backend      the Billing port: the internal engine's books with another way to issue
    asking       what people ask of invoices, customers and links there
    importing    what the account has already is linked, not doubled
    pushing      carries out pushes, between transactions; lookup: what became of a step nobody answered; drafts: what a refused one leaves
    known_people what Stripe was told of customers; stood: where what was billed stands there
    reading      events, webhooks, sweep: what happened at Stripe, mirrored into the books
    compiling    pure: a contract becomes phases and steps, or a plain refusal
    client       the door to the SDK: one function a call, errors in our classes
    steps        the values between these rooms
(what is kept of Stripe beside the books: `connector.billing.stripe_tables`)
"""
