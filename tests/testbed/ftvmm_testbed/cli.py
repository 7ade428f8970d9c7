"""The `testbed` command: a thin client of the keeper."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from . import access, image, keeper, requirements, status
from .arguments import parse
from .control import keeper_pid, request
from .errors import TestbedError
from .instance import Instance, select
from .machine import NFS_MEMORY_MIB

PROGRAM = Path(__file__).resolve().parents[1] / "testbed"
KEEPER_SLACK_MIB = 300  # the keeper, ssh, virtiofsd, QEMU's own memory
DOWN_LIMIT_S = 20


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def build(instance: Instance, _) -> int:
    start = time.monotonic()
    made = image.build(instance, lambda text: say(f"{time.monotonic() - start:6.1f} s  {text}"))
    path = image.image_dir(instance)
    say(f"image {path.name} built in {time.monotonic() - start:.0f} s" if made else f"{path.name} is up to date")
    return 0


def default_cpus(hosts: int, cores: int, nested: bool) -> int:
    """CPUs of a host.  Emulated hosts get one: QEMU before 8.1 loses a write to code that another emulated
    CPU is just translating, and a kernel that patches itself while both run (KVM's static keys, at every
    VM made) then loops on a stale breakpoint.  Nested hosts get two, unless that outnumbers the cores."""
    return 2 if nested and hosts * 2 <= cores else 1


def _shape(instance: Instance, options) -> keeper.Shape:
    nested = requirements.nested_kvm()
    image_dir = image.require_image(instance)
    cpus = options.cpus or default_cpus(options.hosts, os.cpu_count() or 1, nested)
    return keeper.Shape(options.hosts, options.nfs, options.memory, cpus, nested, str(image_dir))


def _open_owner(pid: int | None) -> int | None:
    if pid is None:
        text = os.environ.get("FTVMM_TESTBED_OWNER")
        if not text:
            return None
        if not text.isdigit():
            raise TestbedError(f"FTVMM_TESTBED_OWNER is '{text}': set it to a process id, or unset it")
        pid = int(text)
    try:
        return os.pidfd_open(pid)
    except OSError:
        raise TestbedError(f"there is no process {pid} to own the testbed: check --owner") from None


def up(instance: Instance, options) -> int:
    requirements.check_root()
    lock = instance.lock()
    if lock is None:
        return _reuse(instance, options)
    try:
        return _bring_up(instance, options, lock)
    except BaseException:
        os.close(lock)
        instance.sweep()
        raise


def _bring_up(instance: Instance, options, lock: int) -> int:
    """Requires the lock.  When it raises, no process is left, but files may be."""
    instance.remove_files()  # of a keeper that was killed
    requirements.check_tools(requirements.UP_TOOLS)
    shape = _shape(instance, options)
    needed = shape.hosts * shape.memory_mib + (NFS_MEMORY_MIB if shape.nfs else 0) + KEEPER_SLACK_MIB
    requirements.check_memory(needed)
    owner = _open_owner(options.owner)
    instance.run_dir.mkdir(parents=True)
    os.environ["PATH"] = requirements.SEARCH_PATH
    start = time.monotonic()
    process, startup = keeper.spawn(instance, shape, lock, owner, PROGRAM)
    try:
        for line in startup.makefile("r"):
            answer = json.loads(line)
            if "progress" in answer:
                say(answer["progress"])
            elif "error" in answer:
                raise TestbedError(answer["error"])
            else:
                say(f"testbed {instance.name} is up after {time.monotonic() - start:.1f} s")
                return 0
        log = instance.run_dir / "keeper.log"
        why = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
        raise TestbedError(f"the keeper ended while starting ({' '.join(why) or 'no reason given'})")
    except BaseException:
        startup.close()  # the keeper takes everything down
        process.wait()
        raise


def _reuse(instance: Instance, options) -> int:
    if not options.reuse:
        raise TestbedError(f"testbed {instance.name} is up already: `testbed down` first, or up --reuse")
    running = request(instance, "status")["shape"]
    wanted = asdict(_shape(instance, options))
    differs = [name for name in wanted if wanted[name] != running[name]]
    if differs:
        raise TestbedError(f"testbed {instance.name} is up with another {'/'.join(differs)}: `testbed down` first")
    say(f"testbed {instance.name} is up already")
    return 0


def down(instance: Instance, _) -> int:
    requirements.check_root()
    had_files = instance.run_dir.exists() or instance.disk_dir.exists()
    if instance.sweep():
        if not had_files:
            raise TestbedError(f"testbed {instance.name} is not up")
        say(f"testbed {instance.name} had ended already; its files are removed")
        return 0
    try:
        pid = keeper_pid(instance)
    except TestbedError:
        raise TestbedError(f"testbed {instance.name} is being brought up: interrupt that `up` instead") from None
    try:
        request(instance, "down", timeout_s=5)
    except TestbedError:
        pass  # it hangs: force below
    deadline = time.monotonic() + DOWN_LIMIT_S
    while not instance.sweep():
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)  # the kernel ends the rest
            deadline += DOWN_LIMIT_S
        time.sleep(0.02)
    say(f"testbed {instance.name} is down")
    return 0


def show_status(instance: Instance, options) -> int:
    report = status.complete(request(instance, "status"), keeper_pid(instance))
    print(json.dumps(report, indent=2) if options.json else status.table(report))
    return 0


def plain(verb: str, *names: str):
    """A verb that only asks the keeper."""
    def ask(instance: Instance, options) -> int:
        request(instance, verb, progress=say, **{name: getattr(options, name) for name in names})
        return 0

    return ask


def heal(instance: Instance, options) -> int:
    a, b = options.members or (None, None)
    request(instance, "heal", a=a, b=b)
    return 0


VERBS = {
    "build": build,
    "up": up,
    "run": access.run,
    "push": access.push,
    "shell": access.shell,
    "logs": access.logs,
    "kill": plain("kill", "host"),
    "pause": plain("pause", "host"),
    "resume": plain("resume", "host"),
    "start": plain("start", "host"),
    "cut": plain("cut", "a", "b", "net", "one_way"),
    "delay": plain("delay", "a", "b", "net", "one_way", "ms"),
    "loss": plain("loss", "a", "b", "net", "one_way", "permille"),
    "heal": heal,
    "bridge": plain("bridge", "host", "remove"),
    "nfs-stop": plain("nfs_stop"),
    "nfs-start": plain("nfs_start"),
    "status": show_status,
    "down": down,
}


def main(argv: list[str]) -> int:
    try:
        options = parse(argv)
        requirements.check_root()
        return VERBS[options.verb](select(options.instance), options)
    except TestbedError as error:
        say(f"testbed: {error}")
        return 1
    except KeyboardInterrupt:
        say("testbed: interrupted")
        return 130
    except BrokenPipeError:
        return 1
