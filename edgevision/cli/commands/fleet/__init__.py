"""Commands on a fleet of devices."""
