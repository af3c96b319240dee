"""Results and what was made of them, drawn into frames.

May import: contract, analytics.
"""
