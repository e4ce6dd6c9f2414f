"""A sample that needs no download: synthetic streets, and a small network trained on them."""
