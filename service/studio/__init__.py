"""The studio: a page at `/` that makes, watches and keeps panoramas through the HTTP API."""
