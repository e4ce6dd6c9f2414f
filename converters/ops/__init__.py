"""Building blocks that every target can express."""
