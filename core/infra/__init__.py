"""Settings, Redis, S3, addresses and API keys. Imports nothing of jobs or webhooks."""
