"""One event of a panorama."""

from __future__ import annotations

from panoweave_client.answers import EventView


class Event(EventView):
    """What happened (`event`, such as `progress`), and its data."""

    id: str
    """For `watch(..., last_event_id=...)`."""
    event: str
