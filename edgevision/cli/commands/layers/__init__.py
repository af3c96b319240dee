"""Commands on the cost of layers."""
