"""The command `optrun`, also as `python -m optrun`."""

import gc

from optrun.frames import roomy


@roomy
def main() -> None:
    """Run the command line; end with the exit code that the guide lists."""
    # Every worker process of a sweep imports what its parent was started with: the command line is not for them.
    from optrun.cli.app import main as run

    # Modules and the configs of thousands of runs are no garbage, and would be searched for it again and again;
    # what a command imports is 120,000 objects.
    gc.set_threshold(300_000)
    try:
        run()
    finally:
        gc.freeze()  # what is left goes with the process: it need not be searched once more


if __name__ == "__main__":
    main()
