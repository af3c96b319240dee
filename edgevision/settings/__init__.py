"""Definitions of settings: name, kind, range, default and help of each.

May import: nothing.
"""
