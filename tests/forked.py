"""Programs in processes that need not import what all of them import: one process does so, and forks for each."""

import atexit
import importlib
import json
import os
import pkgutil
import runpy
import subprocess
import sys
import threading
import traceback
import warnings
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
LATE = {"optrun.__main__", "optrun.foreign"}
"""What is imported in the new process: the first is the command line, and torch is for few commands."""


def python(*words: object, merged: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    """Do what `python *words` does in the working directory, words being `-m optrun …` or a script.

    Where merged, what is printed as an error is in stdout, where it was printed.
    """
    with TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out", "out" if merged else "err")]
        request = [*map(str, words)], os.getcwd(), {**os.environ, **environment}, [*map(str, files)]
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        print(json.dumps(request), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        out, err = (file.read_text(encoding="utf-8") for file in files)
    return subprocess.CompletedProcess(words, code, out, "" if merged else err)


@cache
def _server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "tests.forked"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.communicate)  # it ends where there are no more requests
    return server


def serve() -> list[str]:
    """Answer each request, a line of JSON, with an exit code; in the process of one, return its words."""
    import optrun

    for module in pkgutil.walk_packages(optrun.__path__, "optrun."):
        if module.name not in LATE:
            importlib.import_module(module.name)
    while request := sys.stdin.readline():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of BLAS are at rest
            child = os.fork()
        if not child:
            words, folder, environment, files = json.loads(request)
            for number, file in enumerate([os.devnull, *files]):
                os.dup2(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(folder)
            sys.path[0] = folder
            return words
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return []


def run(words: list[str]) -> None:
    match words:
        case ["-m", module, *arguments]:
            sys.argv = ["-m", *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [script, *arguments]:
            sys.argv = [script, *arguments]
            runpy.run_path(script, run_name="__main__")


def main() -> None:
    if words := serve():
        code: object = 1
        try:
            run(words)
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            # As Python ends, but that no object is taken down: of each a page of memory would be copied.
            threading._shutdown()
            atexit._run_exitfuncs()
            os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
