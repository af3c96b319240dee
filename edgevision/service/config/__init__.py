"""Configuration file of a service: cameras, sinks and page, and reloading of the file."""
