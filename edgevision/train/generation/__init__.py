"""Training of generators: their losses, data and validation."""
