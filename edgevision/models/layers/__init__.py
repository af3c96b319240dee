"""Layers that several families share, and their rebuild from a pickled model's stand-ins."""
