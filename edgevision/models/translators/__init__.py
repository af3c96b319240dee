"""Networks that make an image from an image, besides the one that `train sr` trains."""
