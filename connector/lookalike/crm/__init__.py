"""The demo CRM: a Salesforce REST look-alike that holds one org in memory, or in its own SQLite file.

Owns: the described objects (schema, catalogue), their records (org, table, file), what the CRM derives by itself (rules),
what metadata adds to it (metadata, metadata_parts, custom), SOQL (soql, soql_compile, soql_run), the REST surface (rest,
composite, server), the pages on which a person plays the rep (pages, rep), and a believable company (seed).
Does not own: anything of the client. What it cannot evaluate it answers with an error in Salesforce's shape, never a guess.
Invariants: a request is one transaction, on disk before its reply; stamps are whole seconds of the org's clock; money is
Decimal from the wire to the file; numbers of 20,000 deals with their lines are looked up, not scanned.
Known limits: the texts of errors marked [G] in our notes were never compared with a real org; no formula fields, no
triggers, no sharing rules, no Bulk API; weeks start on Sunday; fiscal years are calendar years.
"""
