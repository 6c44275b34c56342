"""Quality as the paper measures it: coherence, fidelity, and whether the prompt is shown."""
