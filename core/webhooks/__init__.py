"""Webhook deliveries, the secrets that sign them, and the targets that are allowed."""
