"""The billing engine: pure values in, values out; no clock, file, network or library but the currency table.

Reads from the bottom: money and period, terms, then pricing, discounts, tax and proration; segments and schedule draw the
timeline; charges, amounts and credits make lines; invoicing subtracts what was billed; settlement and quoting stand on top.
One invoice of three lines takes about 50 microseconds.
"""
