"""Tracking, filters, lines, zones and counts.

May import: settings, contract, sources.
"""
