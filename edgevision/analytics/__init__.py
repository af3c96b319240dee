"""What people do with detections: identities, filters, lines, zones, counts. Imports `sources` and below."""
