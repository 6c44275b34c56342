"""How the embedded checkpoint is made: scenes, captions, and the training of its networks."""
