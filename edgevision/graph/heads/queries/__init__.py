"""Heads of the DETR family: a fixed number of queries, each with a box in fractions of the image."""
