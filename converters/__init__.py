"""Converters: a trained model in, a bundle out. The only place that imports torch."""
