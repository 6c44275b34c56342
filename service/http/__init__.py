"""HTTP concerns that routes share: authentication, errors, idempotency, conditional requests."""
