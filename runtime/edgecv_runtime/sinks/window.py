"""The live picture in a window, where there is a screen."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from edgecv_runtime.errors import UnsupportedError
from edgecv_runtime.images import cv2
from edgecv_runtime.pipeline.outcome import Outcome
from edgecv_runtime.sinks.common import picture_of

_QUIT = (ord("q"), 27)  # q, Esc


class WindowSink:
    """Show each picture with its result drawn in, one window for each camera.

    OpenCV wants all calls for its windows from one thread: `write` and `close` must come from the same one, as they do
    from a loop over a pipeline.

    Attributes
    ----------
    quit : bool
        Whether somebody pressed q or Esc: whoever runs the loop should end it.

    Raises
    ------
    UnsupportedError
        There is no display, or the OpenCV that is installed was built without windows.
    """

    def __init__(self) -> None:
        self._cv2 = cv2("a window")
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise UnsupportedError(
                "a window needs a display, and neither DISPLAY nor WAYLAND_DISPLAY names one; "
                "use --serve 127.0.0.1:8080 and a browser instead"
            )
        if not _draws_windows(self._cv2):
            raise UnsupportedError(
                f"a window needs an OpenCV with a graphical interface; this one ({self._cv2.__version__}) is the "
                "headless build: pip uninstall opencv-python-headless, then pip install opencv-python"
            )
        self.quit = False
        self._titles: set[str] = set()

    def write(self, outcome: Outcome) -> None:
        title = f"edgecv: {outcome.camera}"
        if title not in self._titles:
            self._cv2.namedWindow(title, self._cv2.WINDOW_NORMAL | self._cv2.WINDOW_KEEPRATIO)
            self._titles.add(title)
        self._cv2.imshow(title, self._cv2.cvtColor(picture_of(outcome), self._cv2.COLOR_RGB2BGR))
        self.quit = self.quit or self._cv2.waitKey(1) & 0xFF in _QUIT

    def close(self) -> None:
        """Take the windows away. Calling it again does nothing."""
        while self._titles:
            self._cv2.destroyWindow(self._titles.pop())

    def __repr__(self) -> str:
        return f"<WindowSink {len(self._titles)} windows>"


def _draws_windows(opencv: Any) -> bool:
    """Whether the build's own report names a toolkit: ``GUI: NONE`` in the headless wheels."""
    match = re.search(r"^\s*GUI:\s*(\S*)", opencv.getBuildInformation(), re.MULTILINE)
    return match is not None and match[1].upper() not in ("", "NONE")
