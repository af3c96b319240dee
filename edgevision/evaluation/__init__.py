"""Accuracy on labelled images, measured through a session.

May import: contract, sources, datasets.
"""
