"""What tests of sweeps share."""

from pathlib import Path

from optrun.api.sweeps import Sweep
from optrun.config.sweep.resolve import sweep_from_mapping
from optrun.store import Store
from optrun.sweeps.plan.expand import expand
from optrun.sweeps.plan.packs import grouped


def prepared(data):
    """Return the plan of a sweep and its groups."""
    plan = expand(sweep_from_mapping(data))
    return plan, grouped(plan)


def digest_of(sweep):
    """Return the digest of the stored results of a sweep, or of what is in a directory."""
    with Store.open(sweep.path if isinstance(sweep, Sweep) else Path(sweep)) as store:
        return store.results_digest()
