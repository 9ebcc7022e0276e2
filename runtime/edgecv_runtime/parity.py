"""The parity contract: does this bundle, on this machine, still answer as its float source did?

A bundle carries a few pictures and what the float source model answered to them. Replaying them through the whole
road (resize, artefact, back end, activation) catches what no digest can: a CPU whose kernels saturate, a back end
that changed, a preprocessing that no longer is the one of the training.

Where fast kernels break the contract and precise ones keep it, the precise ones are chosen, and `load` remembers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecv_runtime import cpu
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends.registry import check_options
from edgecv_runtime.bench import measure_latency
from edgecv_runtime.bundle import GOLDEN_MEMBER, Bundle
from edgecv_runtime.cpu import Provenance
from edgecv_runtime.errors import BackendError, BundleError, EdgecvError, UnsupportedError
from edgecv_runtime.golden import Golden as Golden
from edgecv_runtime.golden import Replayed, broken, measure
from edgecv_runtime.golden import differences as differences
from edgecv_runtime.golden import replay as replay
from edgecv_runtime.kernels import remember
from edgecv_runtime.manifest import INTEGER_PRECISIONS
from edgecv_runtime.model import Model, load_bundle
from edgecv_runtime.signing import check_signature, configured_key
from edgecv_runtime.sizes import Size, holds_several, size_text, sizes_of

# Timed calls of each set of kernels, in turn: enough for a median, and on a slow device not much more than seconds.
_LATENCY_RUNS = 15
_LEAST_RUNS = 3
_SECONDS = 5.0


@dataclass(frozen=True)
class Check:
    """One question and its answer."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Verification:
    """All checks of one bundle on this machine.

    Attributes
    ----------
    path : str
    checks : tuple of Check
    machine : str
        This CPU.
    kernels : str or None
        The kernels that the answer holds for, ``"fast"`` or ``"precise"``; None where no model could be loaded.
    latency_ratio : float or None
        Median latency with the precise kernels over that with the fast ones, timed in turn in one run; None where
        the two were not compared.
    provenance : Provenance or None
        Where the artefact was proven, and what of it differs here; None where the bundle cannot be read.
    """

    path: str
    checks: tuple[Check, ...]
    machine: str
    kernels: str | None = None
    latency_ratio: float | None = None
    provenance: Provenance | None = None

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        checks = [{"name": check.name, "passed": check.passed, "detail": check.detail} for check in self.checks]
        return {
            "bundle": self.path,
            "passed": self.passed,
            "machine": self.machine,
            "proven_on": None if self.provenance is None else self.provenance.proven_on,
            "cpu_differences": [] if self.provenance is None else list(self.provenance.differences),
            "kernels": self.kernels,
            "latency_ratio_precise_to_fast": self.latency_ratio,
            "checks": checks,
        }


def verify(
    path: str | Path,
    *,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    kernels: str = "auto",
    public_key: str | Path | None = None,
    **accelerator: Any,
) -> Verification:
    """Check a bundle's integrity and replay its parity contract here.

    Every finding is a check in the answer, not an exception, save for a file that is not there.

    Parameters
    ----------
    path : str or Path
    backend, device, threads
        As in `load`.
    kernels : {"auto", "fast", "precise"}
        ``"auto"`` begins with what suits the CPU. Where an integer artefact was proven on a CPU that computes
        otherwise, or the contract is broken, the back end's other kernels are tried too; the choice is one that keeps
        the contract, and is remembered for `load`. ``"fast"`` and ``"precise"`` are replayed alone.
    public_key : str, Path or None
        As in `load`: where a key is configured, the signature is a check of its own, and nothing of a bundle is run
        that it does not vouch for.
    accelerator
        ``delegate``, ``options`` and ``fallback``, as in `load`.

    Raises
    ------
    MissingFileError
        No such bundle, or no such key.
    AcceleratorError
        The accelerator is not there, or takes nothing of the model.
    MissingPackageError
        No back end for it is installed.
    InputError, UnsupportedError
        `backend`, `device`, `threads` or `kernels` is not one there is: that says nothing about the bundle.
    """
    check_options(backend, threads, kernels)
    checks: list[Check] = []

    def ask(name: str, question: Callable[[], Any]) -> Any:
        """Ask, record, and hand on the answer (None if it was no)."""
        try:
            answer, detail = question()
        except (FileNotFoundError, ImportError, UnsupportedError):
            raise
        except EdgecvError as error:
            checks.append(Check(name, False, str(error)))
            return None
        checks.append(Check(name, True, detail))
        return answer

    bundle = ask("integrity", lambda: _open(path))
    if bundle is None:
        return Verification(str(path), tuple(checks), cpu.describe())
    if configured_key(public_key) is not None and ask("signature", lambda: _signed(bundle, public_key)) is None:
        return Verification(str(path), tuple(checks), cpu.describe())
    how = {"backend": backend, "device": device, "threads": threads, **accelerator}

    def prove(part: Bundle, prefix: str = "") -> _Trial:
        ask(f"{prefix}manifest", lambda: _compare_manifests(part))
        trial = _Trial(part, dict(how), kernels)
        model = ask(f"{prefix}load", trial.load)
        if model is not None:
            with model:
                ask(f"{prefix}parity", lambda: (True, trial.prove(model)))
        return trial

    trial = prove(bundle)
    found = (ask("sizes", lambda: _sizes(bundle)) if holds_several(bundle) else None) or {}
    for size, part in found.items():
        if part is not bundle:
            prove(part, f"{size_text(size)} ")
    return Verification(str(path), tuple(checks), cpu.describe(), trial.kernels, trial.latency_ratio, trial.provenance)


def _open(path: str | Path) -> tuple[Bundle, str]:
    bundle = Bundle(path)
    return bundle, f"{len(bundle.manifest.members)} members, every sha256 as in the manifest"


def _sizes(bundle: Bundle) -> tuple[dict[Size, Bundle], str]:
    found = sizes_of(bundle)
    return found, ", ".join(map(size_text, found))


def _signed(bundle: Bundle, public_key: str | Path | None) -> tuple[str | None, str]:
    key = check_signature(bundle, public_key)
    return key, f"of the key {key}, over the manifest and so every member"


def _golden(bundle: Bundle) -> Golden:
    content = bundle.member(GOLDEN_MEMBER)
    if content is None:
        raise BundleError(f"{bundle.path} carries no parity contract ({GOLDEN_MEMBER}): export it again")
    return Golden.from_bytes(content, origin=str(bundle.path))


def _compare_manifests(bundle: Bundle) -> tuple[bool, str]:
    inside = bundle.artefact().manifest()
    if inside is None:
        raise BundleError("the artefact carries no edgecv metadata: it is not the one this bundle was made with")
    outer, inner = bundle.manifest.embedded().to_dict(), inside.to_dict()
    different = [key for key in outer if outer[key] != inner.get(key)]
    if different:
        raise BundleError(
            f"the manifest differs from the one inside the artefact in {', '.join(different)}: it was edited after "
            "the export; do not use this bundle, export it again"
        )
    return True, "equal to the one inside the artefact"


@dataclass
class _Trial:
    """The contract of one bundle, replayed with one set of kernels or with both."""

    bundle: Bundle
    options: dict[str, Any]
    requested: str
    kernels: str | None = None
    latency_ratio: float | None = None
    provenance: Provenance = field(init=False)
    artefact: Artefact = field(init=False)

    def __post_init__(self) -> None:
        self.provenance = cpu.provenance(self.bundle.manifest.proven_on)

    def load(self) -> tuple[Model, str]:
        self.artefact = self.bundle.artefact()
        model = self._model(self.requested)
        self.kernels = model.backend.kernels
        if model.backend.device == "CPU":  # perhaps as the fallback: from here on it is what is meant
            self.options = {name: self.options[name] for name in ("backend", "threads")}
        return model, repr(model)

    def prove(self, model: Model) -> str:
        """Replay, try the other kernels where that is called for, and settle on one.

        Returns
        -------
        str
            What was measured, in one line.

        Raises
        ------
        BundleError
            No kernels that may be chosen keep the contract.
        """
        golden = _golden(self.bundle)
        first = measure(model, golden)
        other = self._other(model, first)
        if other is None:
            self._remember(model, None)
            if not first.kept:
                raise BundleError(f"{broken(model, golden, first)}; {self.provenance}")
            return f"{first.figures}; {self.provenance}"
        try:
            alternative = self._model(other)
        except BackendError as error:
            remark, second = f"{other} kernels cannot be tried: {error}", None
        else:
            with alternative:
                remark, second = self._weigh(model, first, alternative, golden)
        if not first.kept and (second is None or not second.kept):
            self._remember(model, None)
            raise BundleError(f"{broken(model, golden, first)}; {remark}; {self.provenance}")
        self.kernels = model.backend.kernels if first.kept else other
        self._remember(model, self.kernels)
        figures = first.figures if first.kept or second is None else second.figures
        return f"{figures}; {remark}; {self.provenance}"

    def _other(self, model: Model, first: Replayed) -> str | None:
        """The back end's other kernels, where they are to be tried."""
        if self.requested != "auto" or model.backend.device != "CPU":
            return None
        integer = model.manifest.precision in INTEGER_PRECISIONS
        if first.kept and not (integer and self.provenance.differences):
            return None
        return next((name for name in model.backend.kernel_sets if name != model.backend.kernels), None)

    def _weigh(self, model: Model, first: Replayed, alternative: Model, golden: Golden) -> tuple[str, Replayed]:
        """Replay with the other kernels; what to say of the two, and what it costs."""
        started = time.perf_counter()
        second = measure(alternative, golden)
        seconds = (time.perf_counter() - started) / len(golden.images)
        here, there = model.backend.kernels, alternative.backend.kernels
        if not first.kept and not second.kept:
            return f"the {there} kernels break it too ({second.figures})", second
        by_name = {here: model, there: alternative}
        image = golden.images[0]
        runs = max(_LEAST_RUNS, min(_LATENCY_RUNS, int(_SECONDS / seconds)))
        fast, precise = measure_latency([by_name["fast"], by_name["precise"]], [image, image], runs)
        self.latency_ratio = precise.p50_ms / fast.p50_ms
        cost = (
            f"the precise kernels take {self.latency_ratio:.2f} times as long as the fast ones "
            f"({precise.p50_ms:.3g} and {fast.p50_ms:.3g} ms)"
        )
        if not first.kept:
            return (
                f"with the {there} kernels, since the {here} ones break the contract ({first.figures}); {cost}",
                second,
            )
        verb = "keep it too" if second.kept else f"break it ({second.figures})"
        return f"with the {here} kernels; the {there} ones {verb}; {cost}", second

    def _model(self, kernels: str) -> Model:
        return load_bundle(self.bundle, **self.options, kernels=kernels)

    def _remember(self, model: Model, kernels: str | None) -> None:
        if self.requested == "auto" and len(model.backend.kernel_sets) > 1 and model.backend.device == "CPU":
            remember(self.artefact, type(model.backend), kernels)
