"""A machine of the tests' own: Debian's init with its services, over this machine's files, which it leaves as they are."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

ROOTS = {"HOME": "/root", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}  # as after `sudo -i`
CALM = ("running", "degraded")  # what `systemctl is-system-running` says when it has started what it can


class CannotBoot(Exception):
    """What runs this process allows no machine in it, as inside a container."""


class Machine:
    """Boots on entering; what it writes lies in memory, and ends with it.

    Its files are this machine's, under a layer of its own; its processes, network and clock of boot are its own.
    """

    def __init__(self, *needed: Path):
        """Takes folders that it needs, also where they are on another file system than the root."""
        root = Path("/").stat().st_dev
        self.elsewhere = [path for path in needed if path.stat().st_dev != root or path.is_relative_to("/tmp")]

    def __enter__(self) -> Self:
        self.layer = Path(tempfile.mkdtemp(prefix="machine-"))
        self.layer.chmod(0o755)
        self.root, self._process = self.layer / "root", None
        try:
            self._lay()
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _lay(self) -> None:
        upper = self.layer / "upper"
        for folder in (self.root, upper):
            folder.mkdir(mode=0o755)
        _mount("tmpfs", upper)
        for folder in (upper / "files", upper / "work"):
            folder.mkdir(mode=0o755)
        _mount("overlay", self.root, f"lowerdir=/,upperdir={upper}/files,workdir={upper}/work")
        for path in self.elsewhere:
            (self.root / path.relative_to("/")).mkdir(
                parents=True, exist_ok=True
            )  # what is mounted there is no part of it

    def _boot(self, timeout_seconds: float = 120) -> None:
        """Starts the machine, and waits until it has started its services."""
        command = ["systemd-nspawn", f"--directory={self.root}", "--boot", "--console=pipe", "--private-network"]
        command += ["--register=no", "--keep-unit", *(f"--overlay={path}::{path}" for path in self.elsewhere)]
        with (self.layer / "console").open("wb") as console:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )
        until = time.monotonic() + timeout_seconds
        while not self._has_started():
            if self._process.poll() is not None or time.monotonic() > until:
                raise CannotBoot(f"no machine can be booted here: {(self.layer / 'console').read_text()[-500:]}")
            time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()  # its processes go with their first
                self._process.wait()
        for folder in (self.root, self.layer / "upper"):
            if folder.is_mount():
                subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(self.layer)

    def run(self, command: str, timeout: float = 300) -> "subprocess.CompletedProcess[str]":
        """Runs a shell's command inside, as root."""
        inside = ["nsenter", "--target", str(self._leader()), "--all", "sh", "-c", command]
        return subprocess.run(
            inside, capture_output=True, text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL, env=ROOTS
        )

    def do(self, command: str, timeout: float = 300) -> str:
        """Runs a command that must succeed, and gives what it printed."""
        done = self.run(command, timeout)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}\n{self.journal()}"
        return done.stdout

    def open_to_all(self, path: Path) -> None:
        """Lets every user of the machine reach a file or folder, as where an operator would put it."""
        for folder in path.parents:
            inside = self.root / folder.relative_to("/")
            inside.chmod(inside.stat().st_mode | 0o001)

    def journal(self, lines: int = 60) -> str:
        """Returns the end of what the services said."""
        return self.run(f"journalctl --no-pager --lines {lines} --unit 'ml-platform-*' --unit 'postgresql@*'").stdout

    def _leader(self) -> int:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    def _has_started(self) -> bool:
        try:
            return self.run("systemctl is-system-running").stdout.strip() in CALM
        except IndexError:  # nspawn has not started it yet
            return False


def why_not() -> str:
    """Says what is missing here to boot a machine; nothing if it can be."""
    if os.getuid() != 0:
        return "booting a machine of the tests' own needs root"
    if missing := [one for one in ("systemd-nspawn", "nsenter") if shutil.which(one) is None]:
        return f"{', '.join(missing)} is missing; as root: apt-get install systemd-container"
    return ""


def _mount(kind: str, folder: Path, options: str = "rw") -> None:
    done = subprocess.run(
        ["mount", "-t", kind, "-o", options, kind, str(folder)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise CannotBoot(f"no machine can be booted here: {done.stderr.strip()}")
