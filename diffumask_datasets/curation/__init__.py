"""Which samples to keep: each filter gives the reason why it rejects one, or None."""
