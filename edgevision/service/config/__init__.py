"""Cameras, sinks and page as one file says them, and how a service follows that file."""
