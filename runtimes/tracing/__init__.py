"""Tracing positions back to the key frame: `root_map` follows them, in sub-pixels or `whole_pixels`."""
