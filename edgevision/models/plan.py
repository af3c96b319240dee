"""Training plans of recipes: frozen records of all settings, independent of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Optimization:
    """Settings that all tasks share: batch, learning rates, schedule and average."""

    batch: int = 32
    """Images for each step, over all devices."""
    lr_filters: float = 0.02
    """Peak learning rate of Muon, which updates the filters of hidden layers."""
    lr_others: float = 0.003
    """Peak learning rate of AdamW, which updates norms, biases and the last layer."""
    weight_decay: float = 0.0002
    """Share by which weights shrink in each step at the peak learning rate."""
    warmup: float = 0.03
    """Share of the training over which learning rates rise from near 0."""
    final_lr: float = 0.01
    """Factor of the peak at which the half cosine ends."""
    ema_decay: float = 0.998
    """Decay of the moving average of weights, which is validated and saved."""
    ema_ramp_steps: int = 200
    validate_every: int = 5
    """Epochs between validations."""


@dataclass(frozen=True, slots=True)
class TrainingPhase:
    """A part of a detector's training with its own sampling; sizes are shares of the detector's own."""

    until: float
    """The share of the training at which the phase ends."""
    size: float
    """Side of the square samples."""
    long_side: float
    """Longest side of an image before the random gain."""
    gain: tuple[float, float]
    """Range of the random gain."""
    mosaic: float
    """Share of samples that are mosaics."""


@dataclass(frozen=True, slots=True)
class DetectorPlan:
    """Defaults train a small detector from random weights on some thousand images in a few core-hours.

    Training starts with small samples, which are cheap, and ends at the detector's own size without mosaic, on images
    like those at run time ("closing" the mosaic is YOLOX's finding, arXiv 2107.08430, section 2.2).
    """

    model: Literal["n", "s", "m", "l", "x"] = "n"
    size: int = 384
    phases: tuple[TrainingPhase, ...] = (
        TrainingPhase(until=0.35, size=2 / 3, long_side=5 / 6, gain=(0.5, 1.6), mosaic=0.8),
        TrainingPhase(until=0.80, size=5 / 6, long_side=1.0, gain=(0.5, 1.6), mosaic=0.8),
        TrainingPhase(until=1.0, size=1.0, long_side=1.0, gain=(0.7, 1.3), mosaic=0.0),
    )
    augment: float = 1.0
    """Strength of all random changes of samples: 0 keeps the images unchanged."""
    optimization: Optimization = field(default_factory=Optimization)

    def phase(self, share: float) -> TrainingPhase:
        """The phase at `share` of the training."""
        return next((phase for phase in self.phases if share < phase.until), self.phases[-1])


@dataclass(frozen=True, slots=True)
class InstancePlan(DetectorPlan):
    """A detector with masks. Samples have the detector's own size, because outlines must be visible as a whole."""

    phases: tuple[TrainingPhase, ...] = (
        TrainingPhase(until=0.80, size=1.0, long_side=1.0, gain=(0.6, 1.6), mosaic=0.5),
        TrainingPhase(until=1.0, size=1.0, long_side=1.0, gain=(0.8, 1.25), mosaic=0.0),
    )
    optimization: Optimization = field(default_factory=lambda: Optimization(batch=16, validate_every=10))
    prototypes: int = 32
    """Masks that each mask is a combination of."""
    mask_weight: float = 0.05
    """Weight of the masks' loss in the total; that of the boxes is 0.05."""


@dataclass(frozen=True, slots=True)
class ClassifierPlan:
    """Defaults train a small classifier from random weights on some ten thousand small images."""

    model: Literal["cnn", "resnet18", "resnet34", "resnet50"]
    size: int
    smallest_crop: float = 0.5
    """Minimum share of an image's area in a sample."""
    flip: float = 0.5
    colour: float = 0.3
    """Brightness, contrast and saturation change by up to this factor."""
    erase: float = 0.5
    """Share of samples with a grey square over a random place (arXiv 1708.04552)."""
    turn: float = 0.0
    """Largest angle of a random rotation, and of a random shear, in degrees."""
    smoothing: float = 0.1
    """Share of the target that is spread over all classes (arXiv 1512.00567, section 7)."""
    optimization: Optimization = field(
        default_factory=lambda: Optimization(batch=64, validate_every=2, ema_decay=0.998)
    )


@dataclass(frozen=True, slots=True)
class SegmenterPlan:
    """Defaults train a small network from random weights on some hundred images."""

    model: Literal["unet", "segformer"] = "unet"
    size: int = 480
    """Longest side of the network's input; the other follows from the shape of the data's images."""
    crop: int = 256
    """Side of the square samples, a multiple of the network's stride; at most what `size` needs."""
    gain: tuple[float, float] = (0.6, 1.6)
    """Range of the random gain."""
    flip: float = 0.5
    colour: float = 0.35
    """Brightness, contrast and saturation change by up to this factor."""
    dice: float = 0.5
    """Weight of the Dice loss (arXiv 1606.04797), which weights all classes equally, relative to the cross entropy."""
    optimization: Optimization = field(default_factory=lambda: Optimization(batch=16, validate_every=5))

    @property
    def sample(self) -> int:
        """Side of the samples that are drawn."""
        return min(self.crop, -(-self.size // 32) * 32)


@dataclass(frozen=True, slots=True)
class UpscalerPlan:
    """Defaults train a small network from random weights on some hundred images or more."""

    model: Literal["x2", "x3", "x4"] = "x2"
    """The factor by which sides grow."""
    size: int = 96
    """Side of the square targets of training, in pixels; inputs are smaller by the factor."""
    width: int = 32
    """Channels of the hidden convolutions."""
    reduce: float = 0.6
    """Training images are first reduced to this share of their size, which removes the blocks of JPEG."""
    optimization: Optimization = field(
        default_factory=lambda: Optimization(batch=16, validate_every=5, weight_decay=0.0, ema_decay=0.999)
    )

    @property
    def factor(self) -> int:
        """The factor by which sides grow."""
        return int(self.model.removeprefix("x"))

    @property
    def depth(self) -> int:
        """Number of hidden convolutions: fewer where the last one, for all pixels of a block, is larger."""
        return 12 if self.factor == 2 else 10

    @property
    def side(self) -> int:
        """Side of the inputs of training, in pixels."""
        return self.size // self.factor


@dataclass(frozen=True, slots=True)
class CycleGanPlan:
    """Defaults train two small generators and their critics from random weights on some hundred images."""

    model: Literal["cyclegan"] = "cyclegan"
    size: int = 64
    """Side of the square samples."""
    width: int = 16
    """Channels at the full resolution; each halving doubles them."""
    depth: int = 4
    """Residual blocks of each generator."""
    critic: int = 32
    """Channels of a critic's first layer."""
    cycle: float = 10.0
    """Weight of the cycle's loss."""
    identity: float = 0.5
    """Weight of the loss for images that are already of the target's kind, relative to the cycle's."""
    buffer: int = 50
    """Made images of earlier steps that a critic may see."""
    lr: float = 0.0003
    """Peak learning rate of Adam, for all networks."""
    optimization: Optimization = field(
        default_factory=lambda: Optimization(batch=2, validate_every=1, ema_decay=0.998)
    )


@dataclass(frozen=True, slots=True)
class StylePlan:
    """Defaults train a small network of several styles from random weights on some hundred photographs or more."""

    model: Literal["style"] = "style"
    size: int = 160
    """Side of the square samples."""
    width: int = 16
    """Channels at half the size; those at a quarter are three times as many."""
    depth: int = 4
    """Residual blocks."""
    content: float = 2.0
    style: float = 1.0
    colours: float = 8.0
    variation: float = 10.0
    """Weights of the loss's parts: content, style of the features, statistics of the colours, total variation."""
    optimization: Optimization = field(
        default_factory=lambda: Optimization(batch=4, validate_every=1, weight_decay=0.0, ema_decay=0.998)
    )


@dataclass(frozen=True, slots=True)
class GeneratorPlan:
    """Settings that all generators of images share; the model makes squares of `size` pixels."""

    size: int = 28
    samples: int = 1000
    """Images that each validation makes, at most half as many as the validation data has."""
    augment: float = 0.0
    """Strength of a random crop, rotation and shear of samples; what it does to them, the model learns to make."""


@dataclass(frozen=True, slots=True)
class DiffusionPlan(GeneratorPlan):
    """Defaults train a small U-Net from random weights on some thousand small images."""

    model: Literal["flow", "ddpm"] = "flow"
    """The objective."""
    width: int = 48
    """Channels at half the resolution."""
    unlabelled: float = 0.1
    """Share of samples without class, from which guidance extrapolates (arXiv 2207.12598)."""
    steps: int = 10
    """Steps of the sampling that is validated; of the student, if a teacher is distilled."""
    guidance: float = 1.5
    """Guidance of the sampling that is validated; 1: none. A student needs none."""
    interval: tuple[float, float] = (0.5, 0.8)
    """Times of the sampling at which guidance acts, from 1 (noise) to 0 (image)."""
    teacher_steps: int = 5
    """Steps of the teacher that one step of a student replaces."""
    teacher_batches: int = 96
    """Batches of samplings of the teacher that a student learns from."""
    optimization: Optimization = field(
        default_factory=lambda: Optimization(
            batch=64, validate_every=10, weight_decay=0.0, ema_decay=0.999, lr_others=0.002
        )
    )


@dataclass(frozen=True, slots=True)
class InpaintPlan(DiffusionPlan):
    """A diffusion model that fills random holes: it is trained in the holes only."""

    holes: tuple[float, float] = (0.15, 0.75)
    """Least and largest side of a box, as a share of the image's."""
    captions: bool = False
    """Learn digits that are rendered with attributes, and take captions of them instead of a class."""
    guidance: float = 1.25
    interval: tuple[float, float] = (0.0, 1.0)
    samples: int = 300
    unlabelled: float = 0.3
    """More than for samples from noise, because the class may be left out in use."""


@dataclass(frozen=True, slots=True)
class GanPlan(GeneratorPlan):
    """Defaults train a small generator and its critic from random weights on some thousand small images."""

    model: Literal["dcgan", "wgan"] = "dcgan"
    noise: int = 64
    """Numbers that an image is made from."""
    width: int = 24
    """Channels at the full resolution; each halving doubles them."""
    critic_steps: int = 1
    """Updates of the critic for each of the generator."""
    penalty: float = 0.0
    """Weight of the gradient penalty."""
    lr: float = 0.0005
    """Peak learning rate of Adam, for both networks."""
    first_moment: float = 0.5
    """Adam's decay of the first moment."""
    optimization: Optimization = field(
        default_factory=lambda: Optimization(batch=64, validate_every=10, final_lr=0.05, ema_decay=0.995)
    )


@dataclass(frozen=True, slots=True)
class VaePlan(GeneratorPlan):
    """Defaults train a small variational autoencoder from random weights on some thousand small images."""

    model: Literal["vae"] = "vae"
    noise: int = 16
    """Numbers that an image is compressed to."""
    width: int = 32
    """Channels at the full resolution; each halving doubles them."""
    beta: float = 1.0
    """Weight of the Kullback-Leibler divergence; 1: the ELBO."""
    optimization: Optimization = field(
        default_factory=lambda: Optimization(batch=64, validate_every=10, weight_decay=0.0, ema_decay=0.999)
    )


@dataclass(frozen=True, slots=True)
class Text2ImagePlan(GeneratorPlan):
    """Defaults train four small networks one after another from random weights on some thousand digits.

    The stages are shares of the whole training; each has its own course of the learning rates.
    """

    model: Literal["text2image"] = "text2image"
    samples: int = 200
    vector: int = 64
    """Size of the vectors of captions and images."""
    width: int = 32
    """Channels of the decoder at half the resolution."""
    encoder: float = 0.16
    prior: float = 0.05
    upsampler: float = 0.07
    """Shares of the training; the decoder has the rest."""
    variants: int = 3
    """Shapes that are rendered of each digit; colours change with each sample."""
    unlabelled: float = 0.1
    """Share of the decoder's samples without condition, from which guidance extrapolates (arXiv 2207.12598)."""
    captionless: float = 0.3
    """Share of the decoder's samples without the caption's vector (arXiv 2204.06125, section 2.1: a half)."""
    steps: int = 10
    """Steps of the decoder's sampling."""
    guidance: float = 3.0
    """Guidance of the decoder's sampling; 1: none."""
    interval: tuple[float, float] = (0.0, 1.0)
    """Times of the decoder's sampling at which guidance acts."""
    optimization: Optimization = field(
        default_factory=lambda: Optimization(
            batch=64, validate_every=5, weight_decay=0.0, ema_decay=0.998, lr_others=0.002
        )
    )


Plan = (
    DetectorPlan
    | ClassifierPlan
    | SegmenterPlan
    | InstancePlan
    | UpscalerPlan
    | CycleGanPlan
    | StylePlan
    | DiffusionPlan
    | InpaintPlan
    | GanPlan
    | VaePlan
    | Text2ImagePlan
)
