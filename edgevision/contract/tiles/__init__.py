"""Frames of any size, covered by overlapping tiles of the graph's size."""
