"""Networks that make images, and their recipes."""
