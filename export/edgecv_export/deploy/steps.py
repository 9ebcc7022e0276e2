"""The steps of a deployment: copy, make an environment, doctor, verify, bench, and only then switch.

On the device::

    PATH/releases/20260102T030405-0a1b2c3d/   the bundle, and the environment env/
    PATH/current -> releases/…                the release that passed last

``PATH/current/env/bin/edgecv run PATH/current/model.edgecv`` is the same words after every deployment.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgecv_export.deploy.ssh import Conversation, Host, last_line
from edgecv_export.deploy.wheel import runtime_wheel
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.errors import BackendError, CheckFailedError, InputError, MissingFileError

MODEL = "model.edgecv"
OLDEST_PYTHON = (3, 10)
_EXTRAS = {"tflite": "litert", "onnx": "onnx", "openvino": "openvino"}
_ROOM = 500_000_000  # bytes for an environment with numpy and a back end
_EDGECV = "env/bin/edgecv"


@dataclass(frozen=True)
class Deployed:
    """What came of a deployment.

    Attributes
    ----------
    host : str
    release : str
        Folder on the device.
    before : str or None
        Where ``current`` led until now.
    current : str
        Where it leads.
    device : dict
        Machine, system and Python.
    copied_by : str
    seconds : dict
        By step.
    doctor, verify, bench : dict
        As the commands give them with ``--json``.
    removed : list of str
        Old releases.
    """

    host: str
    release: str
    before: str | None
    current: str
    device: dict[str, Any]
    copied_by: str
    seconds: dict[str, float]
    doctor: dict[str, Any]
    verify: dict[str, Any]
    bench: dict[str, Any]
    removed: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def deploy(
    bundle: str | Path,
    host: Host,
    *,
    path: str = "edgecv",
    wheels: str | Path | None = None,
    python: str = "python3",
    extras: Sequence[str] | None = None,
    system_packages: bool = False,
    runs: int = 50,
    on: Sequence[str] = (),
    notify: Callable[[str], None] | None = None,
) -> Deployed:
    """Bring a bundle and the runtime to a device, and switch to them once they were seen to work there.

    Parameters
    ----------
    bundle : str or Path
    host : Host
    path : str
        Folder on the device; a relative one is in the user's home.
    wheels : folder, optional
        Wheels for the device (numpy and a back end): it then needs no internet. Without, its pip fetches them.
    python : str
        Of the device, 3.10 or later.
    extras : sequence of str, optional
        Of edgecv-runtime; default: the back end of the bundle's format, and cv, which reads pictures and cameras.
    system_packages : bool
        Whether the environment sees the device's own packages, as a vendor's back end needs it.
    runs : int
        Counted calls of the benchmark.
    on : sequence of str
        Options of `edgecv verify` and `edgecv bench` that say where the bundle runs: ``("--device", "NPU")``.
    notify : callable, optional
        Is given the name of each step as it begins.

    Returns
    -------
    Deployed

    Raises
    ------
    InputError, MissingFileError, BundleError
        The bundle or the wheels are not what is required.
    BackendError
        The connection is lost, or a step fails. The device is as it was.
    CheckFailedError
        The bundle does not pass on the device, whose report the error carries. The device is as it was.
    """
    source = Bundle(bundle)
    extras = [_EXTRAS[source.manifest.format], "cv"] if extras is None else list(extras)
    brought = _wheels(wheels)
    step = _Steps(notify or (lambda name: None))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = source.path.read_bytes()
        (folder / MODEL).write_bytes(content)
        (folder / "wheels").mkdir()
        wheel = runtime_wheel(folder / "wheels")
        for found in brought:
            (folder / "wheels" / found.name).symlink_to(found.resolve())
        need = _ROOM * (not system_packages) + len(content) + sum(found.stat().st_size for found in brought)
        step("connect")
        with Conversation(host, python) as device:
            facts = device.ask("begin", path=path, name=_release_name(content), need=need)
            _check_python(facts["python"], python)
            step("copy")
            copied_by = host.copy(_resolved(folder), facts["release"], rsync=facts["rsync"])
            step("environment")
            own = ["--system-site-packages"] if system_packages else []
            _run(device, "an environment cannot be made", ["{python}", "-m", "venv", *own, "env"])
            step("install")
            offline = ["--no-index"] if wheels is not None else []
            wanted = f"wheels/{wheel.name}" + (f"[{','.join(extras)}]" if extras else "")
            pip = ["env/bin/python", "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
            _run(device, _missing(offline, facts, wanted), [*pip, *offline, "--find-links", "wheels", wanted])
            _run(device, "the wheels cannot be removed", ["rm", "-rf", "wheels"])  # cards are small
            reports: dict[str, Any] = {}
            for what in (["doctor"], ["verify", MODEL, *on], ["bench", MODEL, "--runs", str(runs), *on]):
                step(what[0])
                reports[what[0]] = _report(device, host, what, reports)
            step("switch")
            switched = device.ask("switch")
    step("")
    return Deployed(
        host.name,
        facts["release"],
        facts["before"],
        switched["current"],
        {key: facts[key] for key in ("machine", "system", "python")},
        copied_by,
        step.seconds,
        **reports,
        removed=switched["removed"],
    )


class _Steps:
    """The time that each step takes."""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._notify, self._name, self._started = notify, "", 0.0

    def __call__(self, name: str) -> None:
        now = time.monotonic()
        if self._name:
            self.seconds[self._name] = round(now - self._started, 2)
        self._name, self._started = name, now
        if name:
            self._notify(name)


def _wheels(folder: str | Path | None) -> list[Path]:
    if folder is None:
        return []
    if not Path(folder).is_dir():
        raise MissingFileError(f"there is no folder of wheels at {folder}")
    found = [path for path in sorted(Path(folder).glob("*.whl")) if not path.name.startswith("edgecv_runtime-")]
    if not found:
        raise InputError(f"{folder} holds no wheels: fill it with pip download --only-binary :all: -d {folder} …")
    return found


def _resolved(folder: Path) -> list[Path]:
    """What is copied, with the files that links lead to in their places."""
    for path in sorted((folder / "wheels").iterdir()):
        if path.is_symlink():
            target = path.resolve()
            path.unlink()
            try:
                path.hardlink_to(target)
            except OSError:  # on another disk
                path.write_bytes(target.read_bytes())
    return [folder / MODEL, folder / "wheels"]


def _release_name(content: bytes) -> str:
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{hashlib.sha256(content).hexdigest()[:8]}"


def _check_python(version: str, python: str) -> None:
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_PYTHON:
        oldest = ".".join(str(part) for part in OLDEST_PYTHON)
        raise InputError(
            f"edgecv-runtime needs Python {oldest} or later; {python} on the device is {version} (--python)"
        )


def _missing(offline: list[str], facts: dict[str, Any], wanted: str) -> str:
    if not offline:
        return "the runtime cannot be installed (a device without internet needs --wheels DIR)"
    version = "".join(facts["python"].split(".")[:2])
    return (
        "the runtime cannot be installed from the wheels that were given; for this device: pip download "
        f"--only-binary :all: --platform manylinux_2_28_{facts['machine']} --python-version {version} -d DIR "
        f"'edgecv-runtime{wanted.partition('.whl')[2]}'"
    )


def _run(device: Conversation, failure: str, words: list[str]) -> None:
    done = device.ask("run", words=words)
    if done["status"] != 0:
        raise BackendError(f"{failure}: {last_line(done['err'] or done['out'])}")


def _report(device: Conversation, host: Host, words: list[str], before: dict[str, Any]) -> dict[str, Any]:
    """What a command says on the device."""
    done = device.ask("run", words=[_EDGECV, *words, "--json"])
    try:
        found = json.loads(done["out"])
    except ValueError:
        found = None
    if done["status"] == 0 and isinstance(found, dict):
        return found
    said = last_line(done["err"]) if found is None else f"edgecv {words[0]} says no"
    failure = CheckFailedError(f"{words[0]} does not pass on {host.name}, which is left as it was: {said}")
    failure.report = {**before, words[0]: found}
    raise failure
