"""Results and what was made of them, drawn into frames. Imports `analytics` and `contract`."""
