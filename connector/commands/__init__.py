"""The command groups of the command line, one file a noun: each parses its arguments, calls one function, prints."""
