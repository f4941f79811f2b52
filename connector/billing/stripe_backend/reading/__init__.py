"""What happened at Stripe, mirrored into the books: invoices become facts for the engine, payments and credit notes follow them."""
