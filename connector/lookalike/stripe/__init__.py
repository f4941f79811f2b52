"""A small Stripe for demo and tests: the endpoints that the backend uses, with state, a clock and arithmetic of its own.

It shares no code with the backend or the engine it tests. `account` holds the objects; `server` listens; resources register
their endpoints in `account.ENDPOINTS`.
"""
