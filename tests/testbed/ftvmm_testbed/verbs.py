"""What the keeper does when asked: the verbs of a running testbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import delayline, hostbridge
from .control import Progress
from .errors import TestbedError
from .faults import Direction, Faults, directions
from .instance import Instance
from .machine import NFS_MEMORY_MIB, Machine, MachineSpec
from .network import apply_faults
from .plan import CLIENT, MGMT, NFS, Member, shared_nets
from .remote import LOST, Connection, answers

PROGRAM = Path(__file__).resolve().parents[1] / "testbed"
BOOT_LIMIT_S = 300  # an emulated host on a busy machine; usual is a tenth of it
READY = "/usr/lib/ftvmm-testbed/ready"


class Verbs:
    """All state of a running testbed.  Any thread may call `handle`."""

    def __init__(self, instance: Instance, shape, who: dict[str, Member], client) -> None:
        self._instance = instance
        self._shape = shape
        self._members = who
        self._client: subprocess.Popen = client
        self._machines = {name: self._machine(m) for name, m in who.items() if name != CLIENT}
        key = Path(shape.image_dir) / "ssh_key"
        self._connections = {
            name: Connection(name, who[name].address(MGMT), key, instance.ssh_socket(name))
            for name in self._machines
        }
        self._ready: set[str] = set()
        self._switch_locks = {name: threading.Lock() for name in self._machines}
        self._faults = Faults()
        self._faults_lock = threading.Lock()
        self._delay_process: subprocess.Popen | None = None
        self._nfs_stopped = False
        self.on_down: Callable[[], None] = lambda: None

    def _machine(self, member: Member) -> Machine:
        name, instance, shape = member.name, self._instance, self._shape
        is_nfs = name == NFS
        spec = MachineSpec(
            instance=instance.name,
            member=member,
            memory_mib=NFS_MEMORY_MIB if is_nfs else shape.memory_mib,
            cpus=1 if is_nfs else shape.cpus,
            nested_kvm=shape.nested_kvm,
            with_nfs=shape.nfs,
            image_dir=Path(shape.image_dir),
            disk=instance.disk_dir / f"{name}.qcow2",
            serial_log=instance.serial_log(name),
            virtiofs_socket=None if is_nfs else instance.run_dir / f"{name}.virtiofs",
        )
        return Machine(instance, spec, instance.build_dir)

    def handle(self, asked: dict, progress: Progress) -> Any:
        """Does one request.  Raises TestbedError when it cannot."""
        verb = getattr(self, "verb_" + asked.pop("verb", ""), None)
        if verb is None:
            raise TestbedError("the running testbed is of another version: `testbed down` it first")
        return verb(progress=progress, **asked)

    # --- machines ---

    def boot_all(self, tell: Progress) -> None:
        """Switches every machine on and waits until all are ready."""
        for machine in self._machines.values():
            machine.switch_on()
            self._watch(machine)
        if self._machines:
            tell(f"booting {' '.join(self._machines)}")
        deadline = time.monotonic() + BOOT_LIMIT_S
        with ThreadPoolExecutor(max_workers=max(1, len(self._machines))) as pool:
            waits = {pool.submit(self._wait_ready, n, deadline): n for n in self._machines}
            for done in as_completed(waits):
                done.result()
                tell(f"{waits[done]} is ready")

    def _watch(self, machine: Machine) -> None:
        """When this QEMU ends, by itself or not, what depends on it ends too."""
        def wait() -> None:
            machine.wait_end()
            self._ready.discard(machine.name)
            self._connections[machine.name].close()

        threading.Thread(target=wait, daemon=True).start()

    def _wait_ready(self, name: str, deadline: float) -> None:
        connection, machine = self._connections[name], self._machines[name]
        booted = machine.started_at
        what = "no ssh server answers"
        while time.monotonic() < deadline:
            if machine.pid is None or machine.started_at != booted:
                raise TestbedError(f"{name} ended while booting ({machine.last_words()}): "
                                   f"see `testbed logs {name}`")  # fmt: skip
            if machine.state == "up" and answers(connection.address, 1.0):
                if connection.open(min(deadline, time.monotonic() + 60)):
                    seconds = max(1, int(deadline - time.monotonic()))
                    code, what = connection.run([READY, str(seconds)], seconds + 10)
                    if code == 0:
                        self._ready.add(name)
                        return
            time.sleep(0.2)
        load = " ".join(f"{value:.1f}" for value in os.getloadavg())
        raise TestbedError(f"{name} was not ready in {BOOT_LIMIT_S} s ({what}; this machine's load: {load}); "
                           f"what it printed last:{machine.console_tail()}")  # fmt: skip

    def _machine_named(self, name: str) -> Machine:
        if name == CLIENT:
            raise TestbedError("client is a network namespace, not a machine: name a host")
        if name not in self._machines:
            raise TestbedError(f"no host '{name}': this testbed has {', '.join(self._machines) or 'none'}")
        return self._machines[name]

    def _require(self, name: str, *states: str) -> Machine:
        machine = self._machine_named(name)
        if machine.state not in states:
            advice = {"down": "start", "paused": "resume", "up": "pause"}[machine.state]
            raise TestbedError(f"{name} is {machine.state}: `testbed {advice} {name}` first")
        return machine

    def verb_kill(self, progress: Progress, host: str) -> None:
        machine = self._machine_named(host)
        with self._switch_locks[host]:
            self._require(host, "up", "paused")
            machine.power_loss()
        self._ready.discard(host)
        self._connections[host].close()

    def verb_pause(self, progress: Progress, host: str) -> None:
        machine = self._machine_named(host)
        with self._switch_locks[host]:
            self._require(host, "up")
            machine.pause()

    def verb_resume(self, progress: Progress, host: str) -> None:
        machine = self._machine_named(host)
        with self._switch_locks[host]:
            self._require(host, "paused")
            machine.resume()

    def verb_start(self, progress: Progress, host: str) -> None:
        machine = self._machine_named(host)
        with self._switch_locks[host]:
            if machine.state != "down":
                raise TestbedError(f"{host} is {machine.state} already")
            machine.switch_on()
            self._watch(machine)
        started = time.monotonic()
        progress(f"booting {host}")
        self._wait_ready(host, started + BOOT_LIMIT_S)
        if host == NFS:
            self._nfs_stopped = False
        progress(f"{host} is ready after {time.monotonic() - started:.1f} s")

    def verb_session(self, progress: Progress, host: str) -> dict:
        """How to reach a member: the ssh control socket, or the client's namespaces."""
        if host == CLIENT:
            return {"client_pid": self._client.pid}
        self._require(host, "up")
        if host not in self._ready:
            raise TestbedError(f"{host} is still booting: wait for its `start` or see `testbed logs {host}`")
        connection = self._connections[host]
        if not connection.ensure(time.monotonic() + 30):
            raise TestbedError(f"{host} does not answer on ssh: see `testbed logs {host}`")
        return {"control": str(connection.control)}

    # --- networks ---

    def _directions(self, a: str, b: str, net: str, one_way: bool) -> list[Direction]:
        for name in (a, b):
            if name not in self._members:
                raise TestbedError(f"no member '{name}': this testbed has {', '.join(self._members)}")
        first, second = self._members[a], self._members[b]
        return directions(first, second, shared_nets(first, second, net), one_way)

    def _apply(self) -> None:
        """Brings bridge rules and delay line in line with the faults in force."""
        old = self._delay_process
        cables = delayline.cables(self._faults, self._members)
        self._delay_process = self._start_delay_line(cables) if cables else None
        apply_faults(self._faults, self._members)
        if old:
            old.kill()
            old.wait()

    def _start_delay_line(self, cables: list[delayline.Cable]) -> subprocess.Popen:
        argument = json.dumps([asdict(cable) for cable in cables])
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), "_delayline", argument],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if process.stdout.readline() != "ready\n":
            raise TestbedError("the delay line did not start: see `testbed logs keeper`")
        return process

    def verb_cut(self, progress: Progress, a: str, b: str, net: str, one_way: bool) -> None:
        with self._faults_lock:
            self._faults.cuts |= set(self._directions(a, b, net, one_way))
            self._apply()

    def verb_heal(self, progress: Progress, a: str | None, b: str | None) -> None:
        with self._faults_lock:
            if a is not None:
                self._directions(a, b, "all", False)
            self._faults.heal(a, b)
            self._apply()

    def verb_delay(self, progress: Progress, a: str, b: str, net: str, one_way: bool, ms: float) -> None:
        with self._faults_lock:
            for direction in self._directions(a, b, net, one_way):
                self._faults.delay_ms.pop(direction, None)
                if ms:
                    self._faults.delay_ms[direction] = ms
            self._apply()

    def verb_loss(self, progress: Progress, a: str, b: str, net: str, one_way: bool, permille: int) -> None:
        with self._faults_lock:
            for direction in self._directions(a, b, net, one_way):
                self._faults.loss_permille.pop(direction, None)
                if permille:
                    self._faults.loss_permille[direction] = permille
            self._apply()

    def verb_bridge(self, progress: Progress, host: str, remove: bool) -> None:
        self._machine_named(host)
        self.verb_session(progress, host)
        script = (hostbridge.remove_script if remove else hostbridge.add_script)(self._members[host])
        code, output = self._connections[host].run(["sh", "-c", script], 60)
        if code != 0:
            why = "the connection was lost" if code == LOST else output.replace("\n", " ")
            raise TestbedError(f"{host}'s {hostbridge.BRIDGE} was not {'removed' if remove else 'made'}: {why}")

    # --- shared storage, status, end ---

    def _nfs_service(self, action: str) -> None:
        if NFS not in self._machines:
            raise TestbedError("this testbed has no nfs1: it was brought up with --no-nfs")
        self.verb_session(lambda _: None, NFS)
        code, output = self._connections[NFS].run(["systemctl", action, "nfs-server"], 120)
        if code != 0:
            why = "the connection was lost" if code == LOST else output.replace("\n", " ")
            raise TestbedError(f"nfs-server did not {action} on nfs1: {why}")
        self._nfs_stopped = action == "stop"

    def verb_nfs_stop(self, progress: Progress) -> None:
        self._nfs_service("stop")

    def verb_nfs_start(self, progress: Progress) -> None:
        self._nfs_service("start")

    def verb_status(self, progress: Progress) -> dict:
        now = time.monotonic()
        machines = {}
        for name, machine in self._machines.items():
            state, pid = machine.state, machine.pid
            machines[name] = {
                "state": "booting" if state == "up" and name not in self._ready else state,
                "pid_inside": pid,
                "memory_mib": machine.spec.memory_mib,
                "uptime_s": round(now - machine.started_at, 1) if pid else None,
                "addresses": {net: self._members[name].address(net) for net in self._members[name].nets},
            }
        nfs = None
        if NFS in self._machines:
            up = self._machines[NFS].state == "up" and not self._nfs_stopped
            nfs = "serving" if up else "stopped"
        return {
            "instance": self._instance.name,
            "shape": asdict(self._shape),
            "machines": machines,
            "client": {"pid_inside": self._client.pid, "address": self._members[CLIENT].address("svc")},
            "faults": self._faults.describe(),
            "nfs": nfs,
        }

    def verb_down(self, progress: Progress) -> None:
        threading.Timer(0.05, self.on_down).start()  # once the answer is out
