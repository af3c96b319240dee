"""Hardware decoders, the probe that compares them with software, and the switch between both."""
