"""Subcommands of ``edgecv`` that need the workstation; found by entry point."""
