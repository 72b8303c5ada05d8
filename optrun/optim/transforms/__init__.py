"""Transforms of gradients and updates, wrappers, and rules composed of them."""

from optrun.optim.transforms.composing import composed
from optrun.optim.transforms.gradient import (
    AdaptiveClip,
    AddNoise,
    Centralize,
    ClipNorm,
    ClipValue,
    Normalize,
    Sign,
    SkipNonFinite,
    StopNonFinite,
)
from optrun.optim.transforms.transform import GradientTransform, UpdateTransform, Wrapper
from optrun.optim.transforms.update import Cautious, ClipRMS, TrustRatio
from optrun.optim.transforms.wrappers import (
    ASAM,
    SAM,
    Accumulate,
    EMANesterov,
    Hyperball,
    Lookahead,
    Mechanic,
    ScheduleFree,
)

__all__ = [
    "ASAM",
    "SAM",
    "Accumulate",
    "AdaptiveClip",
    "AddNoise",
    "Cautious",
    "Centralize",
    "ClipNorm",
    "ClipRMS",
    "ClipValue",
    "EMANesterov",
    "GradientTransform",
    "Hyperball",
    "Lookahead",
    "Mechanic",
    "Normalize",
    "ScheduleFree",
    "Sign",
    "SkipNonFinite",
    "StopNonFinite",
    "TrustRatio",
    "UpdateTransform",
    "Wrapper",
    "composed",
]
