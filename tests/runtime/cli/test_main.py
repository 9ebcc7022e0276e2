from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from edgecv_runtime import __version__
from edgecv_runtime.cli import main
from edgecv_runtime.cli.command import Command
from edgecv_runtime.errors import BundleError, CheckFailedError, EdgecvError

Run = Callable[..., Any]


def raising(error: BaseException) -> Command:
    def run(options: Any) -> int:
        raise error

    return Command("info", "raise an error", lambda parser: None, run)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Command], None]:
    """Put a command in the place of ``info``."""
    return lambda replacement: monkeypatch.setattr("edgecv_runtime.cli.info.INFO", replacement)


# -- usage ---------------------------------------------------------------------------------------------------------


def test_help_names_the_device_s_commands(edgecv: Run) -> None:
    outcome = edgecv("--help")
    assert outcome.status == 0 and outcome.err == ""
    for name in ("info", "verify", "eval", "compare", "bench", "run"):
        assert f"\n    {name} " in outcome.out


@pytest.mark.parametrize("name", ["info", "verify", "eval", "compare", "bench", "run"])
def test_help_of_each_command(edgecv: Run, name: str) -> None:
    outcome = edgecv(name, "--help")
    assert outcome.status == 0 and "--json" in outcome.out and "--debug" in outcome.out


def test_version(edgecv: Run) -> None:
    assert edgecv("--version").out == f"edgecv {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "edgecv: the following arguments are required: COMMAND (see edgecv --help)"),
        (["nonsense"], "edgecv: argument COMMAND: invalid choice: 'nonsense'"),
        (["verify"], "edgecv verify: the following arguments are required: BUNDLE (see edgecv verify --help)"),
        (["run", "a.edgecv"], "edgecv run: the following arguments are required: --source"),
        (["bench", "a.edgecv", "--runs", "many"], "edgecv bench: argument --runs: invalid int value: 'many'"),
        (["verify", "a.edgecv", "--nonsense"], "edgecv: unrecognized arguments: --nonsense"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(edgecv: Run, arguments: list[str], message: str) -> None:
    outcome = edgecv(*arguments)
    assert outcome.status == 2 and outcome.error.startswith(message)


@pytest.mark.parametrize(
    ("name", "package"), [("export", "edgecv-export"), ("models", "edgecv"), ("quickstart", "edgecv-export")]
)
@pytest.mark.parametrize("before", [[], ["--debug"]])
def test_commands_of_the_workstation_are_named_on_a_device(
    edgecv: Run, name: str, package: str, before: list[str]
) -> None:
    outcome = edgecv(*before, name, "mobilenet_v2", "--precision", "int8", "-o", "x.edgecv")
    assert outcome.status == 2
    assert outcome.error == (
        f"edgecv {name} runs on the workstation: pip install {package} there (this machine has only edgecv-runtime)"
    )


# -- errors become one line and a status ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (BundleError("two\nlines   of text"), 2, "edgecv info: two lines of text"),
        (CheckFailedError("the answer is no"), 1, "edgecv info: the answer is no"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            PermissionError(13, "Permission denied", "/root/x"),
            2,
            "edgecv info: [Errno 13] Permission denied: '/root/x'",
        ),
        (OSError(28, "No space left on device"), 2, "edgecv info: [Errno 28] No space left on device"),
    ],
)
def test_status_and_message(edgecv: Run, command: Any, error: BaseException, status: int, message: str) -> None:
    command(raising(error))
    outcome = edgecv("info")
    assert outcome.status == status and outcome.error == message


@pytest.mark.parametrize("arguments", [["--debug", "info"], ["info", "--debug"]])
def test_debug_shows_the_traceback(edgecv: Run, command: Any, arguments: list[str]) -> None:
    for error, status in ((BundleError("broken"), 2), (PermissionError(13, "denied"), 2), (CheckFailedError("no"), 1)):
        command(raising(error))
        outcome = edgecv(*arguments)
        assert outcome.status == status
        assert outcome.err.startswith("Traceback (most recent call last):\n")
        assert outcome.err.endswith(f"\nedgecv info: {error}\n")


def test_traceback_only_with_debug(edgecv_process: Run, tmp_path: Path) -> None:
    path = tmp_path / "none.edgecv"
    outcome = edgecv_process("info", path)
    assert outcome.status == 2 and outcome.error == f"edgecv info: no bundle at {path}"
    outcome = edgecv_process("info", path, "--debug")
    assert outcome.status == 2 and "Traceback (most recent call last)" in outcome.err


def test_a_programming_error_is_not_hidden(edgecv: Run, command: Any) -> None:
    command(raising(ZeroDivisionError("ours")))
    with pytest.raises(ZeroDivisionError):
        edgecv("info")


@pytest.mark.filterwarnings("always")
def test_warnings_are_one_line(edgecv: Run, command: Any) -> None:
    def run(options: Any) -> int:
        warnings.warn("first\n  second", RuntimeWarning, stacklevel=1)
        return 0

    command(Command("info", "warn", lambda parser: None, run))
    before = warnings.showwarning
    assert edgecv("info").error == "warning: first second"
    assert warnings.showwarning is before


def test_a_name_that_is_too_long(edgecv: Run) -> None:
    outcome = edgecv("info", "x" * 5000 + ".edgecv")
    assert outcome.status == 2 and "File name too long" in outcome.error


def test_a_bundle_in_a_folder_that_may_not_be_entered(bundle: Path, tmp_path: Path, device_program: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    # Everything is imported first: the interpreter itself may lie where only root can read.
    program = device_program.replace(
        "sys.exit", "import edgecv_runtime.bundle, edgecv_runtime.cpu, os; os.setuid(65534); sys.exit"
    )
    command = [sys.executable, "-c", program, "info", str(folder / "a.edgecv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("edgecv info: ") and done.stderr.count("\n") == 1
    assert "Permission denied" in done.stderr


# -- where the output goes -----------------------------------------------------------------------------------------


def test_a_pipe_that_is_closed_early_is_no_error(
    any_bundle: Path, pictures: Path, device_program: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", device_program, "run", str(any_bundle), "--source", str(pictures), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0


def test_a_full_disk_behind_stdout(bundle: Path, device_program: str) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        command = [sys.executable, "-c", device_program, "info", str(bundle)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "edgecv info: [Errno 28] No space left on device\n"


def test_a_terminal_that_is_not_utf8(edgecv_process: Run, bundle: Path) -> None:
    outcome = edgecv_process("verify", bundle, env={"PYTHONIOENCODING": "ascii"})
    assert outcome.status == 0
    assert outcome.out.startswith("? integrity: ") and "passed on" in outcome.out


def test_remarks_of_native_libraries_stay_away(edgecv_process: Run, tmp_path: Path, tiny: Any) -> None:
    """LiteRT and OpenCV's decoders write to file descriptor 2 by themselves; with --debug they may."""
    bundle = tiny.write(tmp_path / "a.edgecv", "tflite")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(30))
    outcome = edgecv_process("run", bundle, "--source", tmp_path / "cut.png", "--json")
    assert outcome.status == 2 and "cut.png is not an image" in outcome.error
    assert (
        "INFO: Created TensorFlow Lite XNNPACK delegate"
        in edgecv_process("run", bundle, "--source", tmp_path / "cut.png", "--json", "--debug").err
    )


# -- commands from elsewhere ---------------------------------------------------------------------------------------

HELLO = Command("hello", "say hello", lambda parser: None, lambda options: print("hello") or 0)  # noqa: T201
NOT_A_COMMAND = "a string"


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    module = type(sys)("edgecv_test_plugin")
    module.HELLO, module.NOT_A_COMMAND = HELLO, NOT_A_COMMAND  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "edgecv_test_plugin", module)

    def install(**points: str) -> None:
        known = [EntryPoint(name, value, "edgecv.commands") for name, value in points.items()]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda **query: known)

    return install


def test_a_command_found_by_entry_point(plugins: Any, capsys: Any) -> None:
    plugins(hello="edgecv_test_plugin:HELLO")
    assert main(["hello"]) == 0
    assert capsys.readouterr().out == "hello\n"
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "say hello" in capsys.readouterr().out


def test_a_broken_one_does_not_keep_the_others_from_running(plugins: Any, capsys: Any, bundle: Path) -> None:
    plugins(export="edgecv_no_such_package.commands:EXPORT")
    assert main(["info", str(bundle)]) == 0
    assert capsys.readouterr().err == ""
    assert main(["export", "mobilenet_v2", "--precision", "int8"]) == 2
    assert capsys.readouterr().err == (
        "edgecv export: the command cannot be loaded from edgecv_no_such_package.commands:EXPORT: "
        "No module named 'edgecv_no_such_package'\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "cannot be loaded: No module named" in " ".join(capsys.readouterr().out.split())


def test_something_that_is_no_command(plugins: Any) -> None:
    plugins(hello="edgecv_test_plugin:NOT_A_COMMAND")
    with pytest.raises(TypeError, match="registered as command 'hello', must be a Command"):
        main(["hello"])


def test_every_error_of_ours_is_an_edgecv_error() -> None:
    assert issubclass(CheckFailedError, EdgecvError)
