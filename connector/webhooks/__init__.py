"""Webhooks out: what happened to the books, told to addresses of the configuration, signed, in order, at least once.

`queue` keeps what is on its way in the database, `sending` makes and signs one request, `courier` brings both together and runs
beside the daemon. A receiver knows a repeated event by its id. docs/webhooks.md is for those who write one.
"""
