"""Wide, coherent panoramas as a service. The folders here are links: see docs/decisions/0006."""
