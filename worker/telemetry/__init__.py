"""What can be seen of a worker from outside: metrics, traces and log lines."""
