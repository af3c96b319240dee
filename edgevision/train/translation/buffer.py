"""Made images of earlier steps, which keep a critic from forgetting them (arXiv 1612.07828, section 2.3)."""

from __future__ import annotations

import torch


class ImageBuffer:
    """Up to `size` images; those that a critic sees are new ones or, in half of the cases, stored ones."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[torch.Tensor] = []

    def exchange(self, made: torch.Tensor) -> torch.Tensor:
        """A batch of the same shape: each image is `made`, or a stored one that it replaces."""
        chosen = []
        for image in made:
            if len(self.images) < self.size:
                self.images.append(image.clone())
                chosen.append(image)
            elif self.size and torch.rand(()) < 0.5:
                place = int(torch.randint(self.size, ()))
                chosen.append(self.images[place])
                self.images[place] = image.clone()
            else:
                chosen.append(image)
        return torch.stack(chosen)
