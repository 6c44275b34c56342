"""What every route needs of HTTP: authentication, errors, idempotency, conditional requests."""
