"""What the connector adds to a Salesforce org, and how it is written as metadata.

Owns: the one list of our fields (fields.yaml, read by catalogue), their XML (markup), the permission sets (rights), the SFDX
project as files (project, and below files/ what is copied as it stands), the zip that the Metadata API takes (archive).
Does not own: which paths a mapping reads and writes (mapping.uses), talking to an org (crm.deploy).
Invariants: pure functions from the list to texts, the same input gives the same bytes; every component is valid against
Salesforce's own description of its metadata (tests/metadata_wsdl.py), children in the order it names.
Known limits: what only a real org can tell (whether a standard field takes field permissions there) was not verified; `crm
deploy` therefore asks the org's describe first.
"""
