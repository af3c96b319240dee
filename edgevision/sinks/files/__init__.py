"""Sinks that write files: videos, images, tables, JSON lines."""
