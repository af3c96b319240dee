"""Commands on benchmark records."""
