"""Export of networks that make images from noise."""
