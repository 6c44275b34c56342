"""Metrics, traces and log lines of worker and janitor."""
