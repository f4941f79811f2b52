"""The pages on which a person plays the sales rep: lists, records with their billing card, forms.

Owns: which objects have pages and what stands on them (kinds), how values read (words), what is typed (typed), lists, records,
new records (making), and what a button does (acts). Templates and assets stand beside them.
Does not own: any rule of the CRM. Each save goes through the org's own verbs as the rep, with the checks, stamps and refusals
that the API has; a refusal is told where it happened, and what was typed stays in the form.
Invariants: everything shown is escaped; a form without this server's token saves nothing; a page loads nothing from elsewhere
and works without JavaScript; a list shows a bounded number of rows and goes on from the last one (keyset).
"""
