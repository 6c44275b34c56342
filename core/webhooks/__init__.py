"""Webhook deliveries: what is due, how it is signed, and where it may go."""
