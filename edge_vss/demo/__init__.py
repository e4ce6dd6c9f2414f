"""The sample that needs no download: a street drawn here, small networks trained on it, and a picture."""
