"""A comparison of sweeps as one page that needs no network."""
