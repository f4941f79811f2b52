"""The mapping room: a file that says which CRM records are deals, and pure functions that read deals by it.

Owns: the grammar of mapping files (language), their source conditions (conditions) and expressions (functions), the
complaints about a file (check), the functions made of a clean one (compile), the meaning of one record as contract terms
or a change of them (deals), and what a person is shown of it (preview).
Does not own: reading YAML (kit.yamlpos), the CRM (crm), decisions about what was mapped (sync).
Invariants: no I/O, clock, log or third-party library except simpleeval; the same record and lines, in whatever order the
lines come, give the same terms and the same digest; a record gives a desired state or every problem it has, never both.
Which time means what: dates of the CRM are civil dates in the business time zone; in terms they are its midnights.
Known limits: lines are billed in the order of their item ids, not in the order of the CRM's line list, so that sorting lines
is not an edit of the deal.
"""
