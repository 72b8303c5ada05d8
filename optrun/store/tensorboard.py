"""Results as event files, which TensorBoard shows; needs tensorboardX."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from optrun.arrays import Array
from optrun.errors import ConfigError, MissingExtraError, install
from optrun.store.run_table import STEP

EVALUATIONS = "eval/"
"""What the tags of evaluations begin with."""

Read = Callable[[int], Mapping[str, Array]]


def write_events(folder: Path, names: Mapping[int, str], curves: Read, evaluations: Read) -> None:
    """Write curves and evaluations of runs as scalars, in a new folder with one folder for each run, by its name.

    ``curves`` and ``evaluations`` return those of the run of a number. TensorBoard's scalars are float32. Raises
    MissingExtraError without tensorboardX, and ConfigError if the folder holds something or cannot be written.
    """
    try:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar
    except ImportError as error:
        raise MissingExtraError(
            f"TensorBoard's files need tensorboardX: {install('tensorboardX')}"
        ) from error
    now = time.time()
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder}: not empty: give a new folder, for TensorBoard would mix the files")
        for run, name in names.items():
            (folder / name).mkdir(parents=True)
            writer = EventsWriter(str(folder / name / "events"))
            for before, columns in (("", curves(run)), (EVALUATIONS, evaluations(run))):
                steps = columns[STEP].tolist() if STEP in columns else []
                for tag, values in columns.items():
                    for step, value in zip(steps, values.tolist(), strict=True) if tag != STEP else ():
                        summary = scalar(f"{before}{tag}", value)
                        writer.write_event(Event(wall_time=now, step=step, summary=summary))
            writer.close()
    except OSError as error:
        raise ConfigError(f"{folder}: {(error.strerror or str(error)).lower()}") from error
