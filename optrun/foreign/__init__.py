"""Optimizers of torch and optax inside optrun: a plugin, since a config must not choose what code is imported.

    optimizer: {torch: timm.optim.Adan, lr: 1e-3, betas: [0.98, 0.92, 0.99]}
    optimizer: {optax: contrib.prodigy, learning_rate: 1.0}

Any subclass of `torch.optim.Optimizer` that is installed, one object per lane, and any function that returns an optax
transformation, vmapped over lanes, are run with `--plugin optrun.foreign`. Their options are those of their signature;
`learning_rate` is `lr` here, which schedules and sweeps vary. They are slow, and are equal to nothing but themselves:
for comparisons, and to measure an optimizer of one's own.
"""

from optrun.foreign.optax_rules import optax_rule
from optrun.foreign.torch_rules import torch_rule
from optrun.registry import optimizers

optimizers.add_family("torch", torch_rule)
optimizers.add_family("optax", optax_rule)
