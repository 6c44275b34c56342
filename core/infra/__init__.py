"""What panoweave stands on: settings, Redis, S3 and API keys. Knows no job and no panorama."""
