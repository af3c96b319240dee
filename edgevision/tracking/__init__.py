"""Identities from frame to frame; the one room that imports the tracking library."""
