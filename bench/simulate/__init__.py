"""A fleet on KEDA as a discrete-event model: what waits, and what it costs."""
