"""Ranges of activations from real frames."""
