"""The names of what is noted in a store beside its results."""

TRACEBACK = "traceback"
"""The event that keeps, as ``text``, the traceback of the exception by which a run failed."""

PLUGINS = "plugins"
"""The event that tells which plugins were loaded for a run."""

RESET = "reset"
"""The event that tells that a run begins anew."""

PLAN = "plan"
"""The event that tells which settings a sweep has, or has got in addition, and by what they are ranked."""

RUNG = "rung"
"""The event that tells which settings of a sweep went on from a rung."""

OF_SWEEPS = (PLAN, RUNG)
"""Events of a sweep, and not of its runs."""

DATA = "data"
"""The event that tells the fingerprints of the data on which runs are, or are in addition."""

CODE = "code"
"""The event that tells the sources of the classes of which runs are made, or are in addition."""

MACHINE = "machine"
"""The event that tells on which other machine a run went on."""

IDENTITIES = (DATA, CODE)
"""Events in which an identity is kept."""

ACCEPTED = "accepted"
"""The event that tells with which other data or code a run or a sweep goes on."""

MADE = "made"
"""The event of a run that tells of what the steps were made that it had when something else was accepted."""

LONGER = "longer"
"""The event that tells how long a run was to be before it was given more steps."""

INFERRED = "inferred"
"""The event that keeps what was inferred from data."""

BASELINES = "baselines"
"""The event that keeps the figures of what predicts without training, by the data."""

LIMITED = "limited"
"""The event that tells that a sweep was to execute no more runs this time."""

LEFT = "left"
"""The event that tells after how many seconds an attempt left a run, ended or not."""

PREPARED = "prepared"
"""The event that keeps how samples are prepared, and for which runs, so that these can predict."""

PACK = "pack"
"""The event that tells that runs have ended together, by their numbers."""
