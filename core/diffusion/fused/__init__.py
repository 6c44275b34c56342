"""Faster forms of diffusers' layers, with the same weights and the same results."""
