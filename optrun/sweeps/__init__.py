"""A sweep: expanded into runs before anything runs, packed into lanes, executed in this process or in others."""
