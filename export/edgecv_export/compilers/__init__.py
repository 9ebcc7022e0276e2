"""Vendors' compilers, run where they can be had: each turns an artefact into what an accelerator executes."""
