"""Transforms of gradients and updates, and rules composed of them."""

from optrun.optim.transforms.composed import composed
from optrun.optim.transforms.gradient import (
    AdaptiveClip,
    Centralize,
    ClipNorm,
    ClipValue,
    Normalize,
    Sign,
    SkipNonFinite,
)
from optrun.optim.transforms.transform import GradientTransform, UpdateTransform
from optrun.optim.transforms.update import Cautious, ClipRMS, TrustRatio

__all__ = [
    "AdaptiveClip",
    "Cautious",
    "Centralize",
    "ClipNorm",
    "ClipRMS",
    "ClipValue",
    "GradientTransform",
    "Normalize",
    "Sign",
    "SkipNonFinite",
    "TrustRatio",
    "UpdateTransform",
    "composed",
]
