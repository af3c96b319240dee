"""Drawing results and analytics into frames.

May import: contract, analytics.
"""
