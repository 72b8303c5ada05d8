"""The command `optrun`, also as `python -m optrun`."""


def main() -> None:
    """Run the command line; end with the exit code that the README lists."""
    # Every worker process of a sweep imports what its parent was started with: the command line is not for them.
    from optrun.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
