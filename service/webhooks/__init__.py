"""Webhooks as a client sees them: validating a target, reading and repeating deliveries."""
