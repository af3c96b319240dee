"""Commands that make images."""
