"""The doctor: everything that a run needs is looked at, and whatever is wrong with it is said at once, each with its fix.

Owns: the list of checks (findings), the judgement of each subject over plain values (login, org, fields, money), the looks at what
is on this machine (house), and the visit that asks and looks once and hands the values on (visit).
Does not own: what a mapping may say (mapping.check), what a refusal of the CRM means (crm.translate), how findings are printed.
Invariants: nothing is written, neither here nor in the CRM, not even a lock or the side files of a database; every outside call has
a timeout; a check that fails keeps no other from being made, unless that one cannot know anything without it ("not checked").
Time: `now` is this machine's clock; the CRM's clock is what its replies carry.
Back of the envelope: 1 login, 1 free call, and 4 to 7 calls of the org's allocation.
"""
