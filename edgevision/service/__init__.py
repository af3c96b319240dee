"""Cameras for months: station, watchdog, page, deployment file. Imports all of the runtime and `builder`."""
