"""What a checkpoint's own JSON files say of it, without its weights and without torch."""
