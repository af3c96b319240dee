"""Accuracy on labelled images, measured through a session: exactly the graph that runs.

May import: contract, sources, datasets.
"""
