"""What pinned models share: their fingerprint, checked loading, one lock, reproducible arithmetic."""
