"""Training detectors: boxes and their coding, anchors, matching, targets and losses of the single-stage families."""
