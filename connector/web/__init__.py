"""What people see in a browser: the invoice behind its link, the console of the daemon, and what monitors ask.

Owns: pages and their texts, headers, the console's sign-in. Does not own: any figure. Every page is a frozen view that the
composition root builds (`views.WebServices`), with amounts and dates already written out; an endpoint checks who asks, calls
one function and renders. The web never bills and never writes to the ledger.

Invariants: what people wrote is escaped; a link's token is the only key to its page, and a wrong one learns nothing; no page
loads anything from another host or runs a script; nothing but the stylesheet may be cached.
Time: views carry text; only the throttle of the sign-in reads `WebServices.now`.
Known limits: one admin password, one session cookie of 8 hours. Endpoints run on a pool of threads, so that the services
given to `create_app` must bear calls from several threads at once.
"""
