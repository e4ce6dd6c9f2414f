"""One file per way a model comes in."""
