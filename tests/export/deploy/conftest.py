"""A device for tests: a folder of this machine, reached through an sshd of its own with its own keys and port."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from edgecv_export.deploy import Host

_NEEDED = (
    "numpy", "ai-edge-litert", "backports.strenum", "flatbuffers", "tqdm", "typing-extensions", "protobuf", "ml_dtypes",
)  # fmt: skip


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of LiteRT and what it needs, put together from what is installed here: a device needs no internet."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in _NEEDED:
        _repack(name, folder)
    return folder


def _repack(name: str, folder: Path) -> None:
    found = distribution(name)
    # The last one: some say py2 first.
    tag = [line[5:] for line in (found.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")][-1]
    files = [file for file in found.files or () if not str(file).startswith("..") and file.suffix != ".pyc"]
    normal = found.metadata["Name"].replace("-", "_").replace(".", "_")
    with zipfile.ZipFile(folder / f"{normal}-{found.version}-{tag}.whl", "w") as archive:
        for file in files:
            if file.name == "METADATA":  # one of them claims to be for older Pythons only, and works
                lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
                archive.writestr(str(file), "".join(line for line in lines if not line.startswith("Requires-Python")))
            elif file.name not in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
                archive.write(str(file.locate()), str(file))
        information = next(file.parent for file in files if file.name == "METADATA")
        archive.writestr(f"{information}/RECORD", "")


@pytest.fixture(scope="session")
def ssh_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """This machine through an sshd of its own."""
    with _serving(tmp_path_factory.mktemp("ssh"), getpass.getuser()) as host:
        yield host


@pytest.fixture(scope="session")
def ssh_other_user() -> Iterator[tuple[Host, Path]]:
    """Another account of this machine, which EDGECV_DEPLOY_USER names, and its home; only root can let it in."""
    name = os.environ.get("EDGECV_DEPLOY_USER")
    if name is None or os.geteuid() != 0:
        pytest.skip("needs root, and EDGECV_DEPLOY_USER with the name of an account that may be deployed to")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # sshd reads the keys as that user
        with _serving(Path(folder), name) as host:
            yield host, Path(pwd.getpwnam(name).pw_dir)


@contextlib.contextmanager
def _serving(folder: Path, user: str) -> Iterator[Host]:
    daemon = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if daemon is None or shutil.which("ssh-keygen") is None or shutil.which("ssh") is None:
        pytest.skip("OpenSSH's client and server are needed (openssh-server)")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"PermitRootLogin prohibit-password\nMaxStartups 100\nAllowUsers {user}\n"
    )
    (folder / "config").write_text(f"UserKnownHostsFile {folder}/known_hosts\nStrictHostKeyChecking yes\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd separates its privileges
    server = subprocess.Popen(
        [daemon, "-D", "-e", "-f", folder / "sshd_config"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port, server)
        yield Host(f"{user}@127.0.0.1", port, str(folder / "user"), str(folder / "config"))
    finally:
        server.terminate()
        server.wait()


def _wait_for(port: int, server: subprocess.Popen[Any]) -> None:
    for _ in range(200):
        if server.poll() is not None:
            pytest.skip(f"sshd does not start here (status {server.returncode})")
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.skip("sshd does not listen")
