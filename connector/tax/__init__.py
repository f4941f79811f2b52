"""Who is taxed how: rates listed in the configuration, or EU VAT from data shipped with the program.

Owns: reading a country from what a CRM says, the areas that have VAT rules of their own, the form of VAT ids, the rates by
date. Does not own: arithmetic on amounts (`core.tax`), when a customer is asked about (`billing`), the configuration file.

Invariants: nothing here reads a clock or the network; whoever cannot be placed or has no rate is a problem, never a zero.
Known limits: the standard rate is used for every product; a VAT id is checked for its form, not for being registered; the EU
rules are those of services, under which Northern Ireland is outside.
"""
