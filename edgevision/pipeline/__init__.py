"""Runs frames through an engine into sinks: batching, order, scheduling of cameras.

May import: settings, contract, sources, analytics, drawing, sinks.
"""
