"""How a sweep chooses its settings; a method is one class in one file, of a plugin as well."""

from optrun.sweeps.methods.halving import Halving as Halving
from optrun.sweeps.methods.method import Candidate as Candidate
from optrun.sweeps.methods.method import Method as Method
from optrun.sweeps.methods.method import Proposal as Proposal
from optrun.sweeps.methods.method import Sampler as Sampler
from optrun.sweeps.methods.optuna import Optuna as Optuna
from optrun.sweeps.methods.sampling import Grid as Grid
from optrun.sweeps.methods.sampling import Random as Random
from optrun.sweeps.methods.sampling import Sobol as Sobol
from optrun.sweeps.plan.spaces import Setting as Setting
from optrun.sweeps.plan.spaces import Space as Space
