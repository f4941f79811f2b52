"""The demo CRM: a Salesforce REST look-alike that holds one org in memory, or in its own SQLite file.

Owns: the described objects (schema, catalogue and its companions), their records (org, keeping, table, file), what the CRM checks
and derives by itself (checks, conditions, rules, orders, persons, places), SOQL (soql and soql_*), the REST surface (gate, front,
rest, composite, trees, replication, bulk, server), what goes wrong on demand (faults, failures, mischief, control), the pages on
which a person plays the rep (pages, rep), what metadata adds to it (metadata, metadata_parts, custom), and a believable company (seed).
What an org may be like: orgs.
Does not own: anything of the client. What it cannot evaluate it answers with an error in Salesforce's shape, never a guess.
Invariants: a request is one transaction, on disk before its reply; stamps are whole seconds of the org's clock; money is
Decimal from the wire to the file; numbers of 20,000 deals with their lines are looked up, not scanned.
Known limits: the texts of errors marked [G] in our notes were never compared with a real org; no triggers, no
sharing rules, no polymorphic lookups, no SOSL; bulk jobs live as long as the process; weeks start on Sunday; fiscal years are
calendar years.
"""
