"""Panoramas: creating, reading, following, cancelling, retrying and deleting them."""
