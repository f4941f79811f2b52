"""Pure: what a contract says becomes what Stripe shall hold, and the calls that bring it there; or a plain refusal before any call."""
