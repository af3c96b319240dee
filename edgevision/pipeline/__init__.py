"""Frames through an engine into sinks: batches, order, and which camera comes next.

May import: contract, sources, analytics, drawing, sinks.
"""
