"""The panorama resource: routes, and what they call."""
