"""The billing machine of the look-alike: what Stripe does with schedules, subscriptions, invoices and payments as time goes by.

Owns: every object from the schedule to the dispute, the queue of what falls due, and an arithmetic of its own. Does not own: the
catalogue, customers and payment methods it reads. Invariants: everything due is done in order of time, at its own moment, so that
stamps and events carry that moment; no work depends on how long the history is. Times are whole seconds since 1970; amounts are
minor units. Known limits: classic billing mode only as far as credits differ; Stripe Tax answers with no tax.
"""
