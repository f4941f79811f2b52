"""The CRM: a Salesforce-style REST API, spoken through simple-salesforce.

Owns: the session (session), logging in (login), queries, describes and writes (salesforce, batches), what the CRM's refusals
mean (translate), and the metadata that we ship to an org (package, deploy).
Does not own: when to ask for what (sync), which fields mean what (mapping), the demo CRM (lookalike; no code is shared).
Invariants: every request has both timeouts; nothing is sent twice that could create two records; money is Decimal on both
ways; a record without a result is not written; a token goes to one host, encrypted, or to the loopback CRM.
Time: `server_now` is the CRM's clock as of its last reply, in whole UTC seconds; our own clock is used for waiting only.
Back of the envelope: an idle poll of 5 objects a minute is 1,440 calls a day; 1,000 deals are 2 or 3 calls to read and, 5 x 200
a call, 1 to write for each object. Decoding costs 3 microseconds a record of 30 fields, removing `attributes` 0.2 of them.
Known limits: government clouds (hosts outside .salesforce.com) are not reachable by the library; no Bulk API, no events.
"""
