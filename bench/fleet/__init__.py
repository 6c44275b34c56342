"""The whole service under load, without GPUs: see `__main__`."""
