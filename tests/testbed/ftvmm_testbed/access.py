"""Getting at members: commands, shells, files and logs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from .control import keeper_pid, request
from .errors import TestbedError
from .instance import Instance
from .plan import CLIENT
from .remote import LOST, session_command

DEATH_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL", "--"]


def _command(instance: Instance, host: str, command: list[str], tty: bool = False) -> list[str]:
    """The local command line that runs `command` on a member.  Refuses a host that cannot answer."""
    session = request(instance, "session", host=host)
    keeper = keeper_pid(instance)
    if host != CLIENT:
        return [*DEATH_WITH_PARENT, *session_command(Path(session["control"]), host, command, tty)]
    # In the keeper's pid namespace too, so that whatever runs there ends with the testbed.
    inside = f"/proc/{keeper}/root/proc/{session['client_pid']}/ns/net"
    return [
        "nsenter", f"--net={inside}", f"--pid=/proc/{keeper}/ns/pid", f"--mount=/proc/{keeper}/ns/mnt",
        f"--wd={os.getcwd()}", "--", *DEATH_WITH_PARENT, *command,
    ]  # fmt: skip


def _finish(instance: Instance, host: str, code: int) -> int:
    """The exit code to pass on.  A lost connection's is 255 and, unlike a command's own 255, comes
    with a line that says so."""
    if code == LOST and host != CLIENT:
        try:
            request(instance, "session", host=host)
        except TestbedError as error:
            print(f"testbed: the connection to {host} was lost: {error}", file=sys.stderr)
    return code if code >= 0 else 128 - code


def run(instance: Instance, options) -> int:
    """Streams are the command's own; so is the exit code."""
    command = _command(instance, options.host, options.command)
    return _finish(instance, options.host, subprocess.run(command).returncode)


def shell(instance: Instance, options) -> int:
    if options.host == CLIENT:
        return subprocess.run(_command(instance, CLIENT, ["bash", "-i"])).returncode
    return subprocess.run(_command(instance, options.host, [], tty=sys.stdin.isatty())).returncode


def split_destination(files: list[str]) -> tuple[list[str], str]:
    """FILE... [DEST] -> files and DEST.  DEST is a last word that is absolute and ends in '/', or
    that names nothing here; without one it is /root/."""
    last = files[-1]
    if len(files) > 1 and last.startswith("/") and (last.endswith("/") or not os.path.lexists(last)):
        return files[:-1], last
    return files, "/root/"


def push(instance: Instance, options) -> int:
    """Copies files and folders, modes kept.  DEST with a final '/' is a folder, made when missing;
    without one it is the new name of the one FILE."""
    files, destination = split_destination(options.files)
    missing = [name for name in files if not os.path.lexists(name)]
    if missing:
        raise TestbedError(f"no such file: {missing[0]}")
    as_folder = destination.endswith("/") or len(files) > 1
    if options.host == CLIENT:
        raise TestbedError("client shares this machine's files: nothing to push")
    command = _command(instance, options.host, ["tar", "-x", "--no-same-owner", "-C", "/"])
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        with process.stdin, tarfile.open(fileobj=process.stdin, mode="w|") as archive:
            for name in files:
                target = os.path.join(destination, Path(name).resolve().name) if as_folder else destination
                archive.add(name, arcname=target.lstrip("/"), recursive=True)
    except BrokenPipeError:
        pass  # tar on the host says why
    code = _finish(instance, options.host, process.wait())
    if code != 0:
        raise TestbedError(f"the files did not arrive on {options.host}: see above")
    return 0


def logs(instance: Instance, options) -> int:
    request(instance, "status")  # says so when the testbed is not up
    if options.journal:
        options.command = ["journalctl", "--no-pager", "-b"]
        return run(instance, options)
    name = "keeper.log" if options.host == "keeper" else f"{options.host}.serial"
    path = instance.run_dir / name
    if "/" in options.host or not path.exists():
        raise TestbedError(f"no log of '{options.host}': name a machine of `testbed status`, or keeper")
    with open(path, "rb") as log:
        shutil.copyfileobj(log, sys.stdout.buffer)
    return 0
