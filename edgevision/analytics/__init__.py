"""What people do with detections: identities, filters, lines, zones, counts.

May import: contract, sources.
"""
