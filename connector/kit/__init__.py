"""Plumbing that knows no word of the field.

Owns: the clock, log and metrics, YAML with positions, the database engine, the lock of the one writer, the
files that travel inside the package. Does not own: what is logged, stored or read; which settings exist.
Invariants: only `clock` knows the real time and sleeps; only `db` opens a database; only `yamlpos` reads YAML; only
`observe` configures the log. Times here are aware UTC instants.
"""
