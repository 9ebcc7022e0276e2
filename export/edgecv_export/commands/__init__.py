"""Subcommands of ``edgecv`` that need the converters; found by entry point, TensorFlow imported only when run."""
