"""Accuracy on labelled images, measured through a session: exactly the graph that runs.

Imports `datasets`, `engines` and below.
"""
