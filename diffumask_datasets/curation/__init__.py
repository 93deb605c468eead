"""Which samples to believe: each filter gives the reason why it rejects one, or None."""
