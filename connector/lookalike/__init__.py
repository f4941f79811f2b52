"""Look-alikes of outside systems, for the demo and for tests; they share no code with the clients they are talked to by."""
