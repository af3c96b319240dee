"""Where results go: files, windows, and what lies across a network. Imports `drawing`, `sources` and below."""
