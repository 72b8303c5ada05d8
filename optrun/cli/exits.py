"""How a command ends: one clear line on stderr, and an exit code that says what kind of end it was."""

import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer

from optrun.errors import MissingExtraError, OptrunError, RunFailedError


@dataclass
class Reported:
    """How much of an error is shown."""

    debug: bool = False


reported = Reported()


def exit_code_of(command: Callable[[], Any]) -> int:
    """Run a command and return its exit code.

    0 ok, 1 a run failed or diverged, 2 usage or config, 3 a missing extra, 130 and 143 interrupted, 141 a closed pipe.
    """
    try:
        command()
        sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except typer.Exit as end:
        return end.exit_code
    except OptrunError as error:
        _print(f"{error}")
        return 3 if isinstance(error, MissingExtraError) else 1 if isinstance(error, RunFailedError) else 2
    except KeyboardInterrupt:
        _print("interrupted")
        return 130
    except MemoryError:
        _print("out of memory")
        return 1
    except BrokenPipeError:
        # Python flushes stdout once more at exit, which would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        _print(f"{error.filename or 'error'}: {error.strerror or error}")
        return 1
    return 0


def _print(message: str) -> None:
    if reported.debug:
        traceback.print_exc()
    print(message, file=sys.stderr)
