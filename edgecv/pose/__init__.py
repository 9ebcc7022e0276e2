"""The pose of a figure: its joints, targets to train with, and losses that leave out what is not to be seen."""
