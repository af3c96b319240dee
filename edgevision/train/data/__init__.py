"""Images and labels in memory, augmented, in an order that the seed decides."""
