"""`python -m optrun`."""

from optrun.cli.app import main

if __name__ == "__main__":
    main()
