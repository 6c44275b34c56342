"""Webhook deliveries of a panorama, as a client sees them."""
