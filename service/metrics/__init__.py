"""`GET /metrics` (routes), and what it shows of all jobs (collector)."""
