"""The systemd unit of a service that runs one ``edgecv run``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgecv_runtime.errors import InputError
from edgecv_runtime.streams.uri import redacted

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_MEMORY = re.compile(r"[1-9]\d{0,5}[KMGT%]?", re.IGNORECASE)
_DEVICE = re.compile(r"/dev/[\w./*-]+|char-[\w*-]+", re.ASCII)
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)

# Cameras, and the nodes of media controllers and of graphics (the Pi's camera stack, GPUs that infer).
_DEVICES = ("char-video4linux", "char-media", "char-drm", "char-dma_heap")

_HARDENING = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
UMask=0077
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
# Not MemoryDenyWriteExecute: inference libraries compile their kernels while they run."""


@dataclass(frozen=True)
class Service:
    """What a unit is made of.

    Attributes
    ----------
    name : str
        Of the unit, and of its folders below ``/var/lib`` and ``/var/cache``.
    program : str
        Absolute path of ``edgecv``.
    arguments : tuple of str
        What follows ``edgecv run``. Those that hold credentials go into the environment file.
    secrets : mapping of str to str
        Further variables of the environment file.
    user : str or None
        None: a user of its own, made for it each time it starts.
    groups : tuple of str
        Further groups, which must exist.
    memory : str
        Most memory: ``512M``, ``75%``.
    watchdog : int
        Seconds without a sign of life after which it is started anew.
    devices, writable : tuple of str
        Further device nodes it may use, and folders it may write to.

    Raises
    ------
    InputError
        A name, an amount or a path that systemd would not take.
    """

    name: str
    program: str
    arguments: tuple[str, ...]
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    user: str | None = None
    groups: tuple[str, ...] = ()
    memory: str = "75%"
    watchdog: int = 30
    devices: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _must(_NAME.fullmatch(self.name), "--name must be up to 32 letters a-z, digits and -", self.name)
        _must(_MEMORY.fullmatch(self.memory), "--memory must be an amount such as 512M, 2G or 75%", self.memory)
        _must(self.user is None or _USER.fullmatch(self.user), "--user must be the name of a user", str(self.user))
        _must(2 <= self.watchdog <= 3600, "--watchdog must be from 2 to 3600 seconds", str(self.watchdog))
        for device in self.devices:
            _must(_DEVICE.fullmatch(device), "--device must be a node such as /dev/apex_0", device)
        for folder in self.writable:
            _must(folder.startswith("/"), "--write must be an absolute path", folder)
        for value in (self.program, *self.arguments, *self.secrets.values(), *self.writable):
            if any(ord(letter) < 32 for letter in value):
                raise InputError("an argument of a service must be one line without control characters")

    @property
    def unit_path(self) -> str:
        return f"/etc/systemd/system/{self.name}.service"

    @property
    def environment_path(self) -> str:
        return f"/etc/edgecv/{self.name}.env"

    @property
    def hidden(self) -> dict[str, str]:
        """The variables of the environment file: whatever others must not read in the unit."""
        held = {f"EDGECV_ARGUMENT_{place}": one for place, one in enumerate(self.arguments) if redacted(one) != one}
        return {**held, **self.secrets}

    def environment(self) -> str:
        """The environment file; it must be readable by root alone."""
        return "".join(f'{name}="{_quoted(value)}"\n' for name, value in self.hidden.items())

    def unit(self) -> str:
        """The unit file."""
        held = [f"EDGECV_ARGUMENT_{place}" for place in range(len(self.arguments))]
        given = zip(held, self.arguments, strict=True)
        words = [f"${{{name}}}" if name in self.hidden else _word(one) for name, one in given]
        lines = [
            "[Unit]",
            f"Description=edgecv run ({self.name})",
            "Wants=network-online.target",
            "After=network-online.target",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            "Type=notify",
            "NotifyAccess=main",
            f"ExecStart={' '.join([_word(self.program), 'run', *words])}",
            "# As Ctrl-C: cameras are released and files are closed whole.",
            "KillSignal=SIGINT",
            "SuccessExitStatus=130",
            "TimeoutStartSec=180",
            "TimeoutStopSec=15",
            f"WatchdogSec={self.watchdog}",
            "Restart=always",
            "RestartSec=2",
            *([f"EnvironmentFile={self.environment_path}"] if self.hidden else []),
            "Environment=PYTHONUNBUFFERED=1",
            f"Environment=HOME=/var/lib/{self.name} XDG_CACHE_HOME=/var/cache/{self.name}",
            "DynamicUser=yes" if self.user is None else f"User={self.user}",
            *([f"SupplementaryGroups={' '.join(self.groups)}"] if self.groups else []),
            f"StateDirectory={self.name}",
            f"CacheDirectory={self.name}",
            f"WorkingDirectory=/var/lib/{self.name}",
            *[f"ReadWritePaths={_word(folder)}" for folder in self.writable],
            f"MemoryMax={self.memory}",
            "TasksMax=512",
            "LimitCORE=0",
            "DevicePolicy=closed",
            *[f"DeviceAllow={device} rw" for device in (*_DEVICES, *self.devices)],
            _HARDENING,
            "",
            "[Install]",
            "WantedBy=multi-user.target",
        ]
        return "\n".join(lines) + "\n"


def split_token(arguments: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """The arguments without ``--token TOKEN``, and the token: every user can read a process's arguments."""
    left: list[str] = []
    token: str | None = None
    rest = iter(arguments)
    for one in rest:
        if one == "--token":
            token = next(rest, None)
        elif one.startswith("--token="):
            token = one.partition("=")[2]
        else:
            left.append(one)
    return tuple(left), token


def _must(right: object, wanted: str, given: str) -> None:
    if not right:
        raise InputError(f"{wanted}; received {given!r}")


def _word(text: str) -> str:
    """A word of ExecStart as it is: systemd would expand % and $, and take quotes and backslashes away."""
    plain = text.replace("%", "%%").replace("$", "$$")
    return plain if _PLAIN.fullmatch(text) else f'"{_quoted(plain)}"'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
