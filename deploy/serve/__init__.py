"""`panoweave api`, `worker` and `janitor`: their processes, logs, traces and threads."""
