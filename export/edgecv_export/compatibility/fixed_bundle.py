"""A bundle whose artefact was changed so that more of it runs on an accelerator."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from edgecv_export.compatibility.fixes import Fixed, apply_fixes
from edgecv_export.metadata import embed
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.bundle import REPORT_MEMBER, Bundle, check_output_path, write_bundle
from edgecv_runtime.compiled import COMPILED_MEMBER
from edgecv_runtime.errors import CheckFailedError, UnsupportedError
from edgecv_runtime.parity import verify
from edgecv_targets import Accelerator


def write_fixed_bundle(source: str | Path, output: str | Path, accelerator: Accelerator | None) -> Fixed:
    """Change a bundle's TFLite artefact, replay its parity contract, and write it.

    Inputs and outputs stay as the manifest says. The report gets ``"fixes"``: what was changed and how it was proven.

    Parameters
    ----------
    source, output : str or Path
    accelerator : Accelerator or None
        As `apply_fixes` takes it.

    Raises
    ------
    CheckFailedError
        The changed artefact does not answer as the float source did, within the contract's tolerance: nothing is
        written.
    UnsupportedError
        The bundle is compiled already.
    InputError, MissingFileError, BundleError, OutputError
        As from reading and writing a bundle.
    """
    output = Path(output)
    check_output_path(output)
    bundle = Bundle(source)
    manifest = replace(bundle.manifest, members={})
    if manifest.compiled_for is not None:
        raise UnsupportedError(f"this bundle is compiled already, for {manifest.compiled_for}: take the portable one")
    fixed = apply_fixes(bundle.artefact().model, accelerator, borders=False)
    artefact = embed(Artefact("tflite", fixed.content), manifest)
    members = {name: content for name in _kept(bundle) if (content := bundle.member(name)) is not None}
    members |= artefact.members()
    members[REPORT_MEMBER] = json.dumps({**bundle.report(), "fixes": list(fixed.done)}, indent=2).encode()
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / output.name
        write_bundle(trial, manifest, members)
        found = verify(trial)
    broken = [check.detail for check in found.checks if not check.passed]
    if broken:
        raise CheckFailedError(f"the fixed model does not keep the parity contract; nothing was written: {broken[0]}")
    write_bundle(output, manifest, members)
    return fixed


def _kept(bundle: Bundle) -> list[str]:
    """Members that do not hold the artefact as it was, compiled or as a C array."""
    return [name for name in bundle.manifest.members if name != COMPILED_MEMBER and not name.startswith("micro/")]
