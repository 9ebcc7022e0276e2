"""TensorFlow writes remarks to the process's own stderr, past Python: keep them from the user's terminal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_stderr_silenced() -> Iterator[None]:
    """Send file descriptor 2 to nowhere for a while; Python's own ``sys.stderr`` goes on where it has a terminal.

    Python exceptions are not lost: they do not travel by stderr.
    """
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def start_tensorflow() -> None:
    """Import Keras on TensorFlow for a command, without the remarks of its start.

    For the command line only: a library must not choose its user's back end.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Its advice on retracing is for those who write training loops.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with native_stderr_silenced():
        import keras

        keras.ops.zeros(())  # the first operation brings the last of the remarks
