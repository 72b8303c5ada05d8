"""The words of `optrun.ops`, where rules of optimizers look for them."""

from optrun.ops import *  # noqa: F403
from optrun.ops import __all__ as __all__
