#!/usr/bin/env python3
"""A VM outlives its host, twice: what `./demo` shows.

A stock Debian serves a page whose counter is a row in a database on shared storage.  A client asks for the next number
over one connection, all the while.  The host that runs the VM is killed; then the one that took it over.
"""

from __future__ import annotations

import argparse
import json
import queue
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "testbed"), str(TESTS / "guest-image"), str(TESTS / "demo")]
from agent import ConsoleAgent  # noqa: E402
from harness import Testbed, acquire  # noqa: E402
from pairing import SHARED, Cluster, Half, drop, ft_section  # noqa: E402
from picture import Answer, Event, Term, draw  # noqa: E402
from vm import LIMIT_S, Vm  # noqa: E402

HOSTS = ("h1", "h2", "h3")
PORT = 8080
# An emulated host shares this machine's processors with the others: silent for less than this is busy.
DEAD_AFTER_MS = 1000
SHOW_EVERY_S = 2.0

SERVICE = r'''
import http.server, socket, sqlite3
db = sqlite3.connect("/root/counter.db", isolation_level=None)
db.execute("pragma synchronous = full")
db.execute("create table if not exists numbers (number integer primary key)")
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/next":
            body = str(db.execute("insert into numbers default values").lastrowid)
        elif self.path == "/all":
            body = " ".join(str(row[0]) for row in db.execute("select number from numbers order by number"))
        else:
            body = "<h1>%d</h1>" % db.execute("select count(*) from numbers").fetchone()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_):
        pass
class Server(http.server.HTTPServer):
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().server_bind()
Server(("", 8080), Page).serve_forever()
'''

# One connection for all: that it lives through everything is half of what there is to see.
CLIENT = r"""
import http.client, json, sys, time
http.client.HTTPConnection.debuglevel = 0
connection = http.client.HTTPConnection(sys.argv[1], 8080, timeout=120)
connection.connect()
connection.auto_open = 0
while True:
    asked = time.time()
    connection.request("GET", "/next")
    number = int(connection.getresponse().read())
    came = time.time()
    print(json.dumps([came, 1e3 * (came - asked), number]), flush=True)
    time.sleep(0.02)
"""


class Show:
    """What people see as it goes."""

    def __init__(self) -> None:
        self.began = time.time()

    def say(self, text: str) -> None:
        print(f"{time.time() - self.began:7.1f} s  {text}", flush=True)

    def step(self, text: str) -> None:
        print(flush=True)
        self.say(f"== {text}")


class Client:
    """Asks for numbers until it is ended; notes each answer as it comes."""

    def __init__(self, tb: Testbed, address: str) -> None:
        self.tb = tb
        self.process = tb.spawn("client", "sh", "-c", 'echo $$; exec "$@"', "sh", "python3", "-c", CLIENT, address)
        self.pid = self.process.stdout.readline().strip()
        self.answers: list[Answer] = []
        self.began = time.time()
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line)

    def look(self) -> list[Answer]:
        """What came since the last look."""
        new = []
        while not self._lines.empty():
            at, ms, number = json.loads(self._lines.get())
            new.append(Answer(at - self.began, ms, number))
        self.answers += new
        if self.process.poll() is not None:
            raise SystemExit(f"demo: the client's connection broke: {self.process.stderr.read()}")
        return new

    def end(self) -> None:
        # There, and not the command that brought it there, which waits for it.
        self.tb.run("client", "kill", "-KILL", self.pid, check=False)
        self.process.wait()
        self.look_quietly()

    def look_quietly(self) -> None:
        try:
            self.look()
        except SystemExit:
            pass


class Demo:
    def __init__(self, tb: Testbed, show: Show, keep_s: float) -> None:
        self.tb, self.show, self.keep_s = tb, show, keep_s
        self.cluster = Cluster(tb, *HOSTS)
        self.disk = "/srv/ftvmm/demo.img"
        base = Vm(tb, "h1", "demo", self.disk)
        self.address = base.address
        toml = base.toml + ft_section(DEAD_AFTER_MS, 10)
        self.halves = {host: Half(self.cluster, host, toml) for host in HOSTS}
        self.vm = base
        self.events: list[Event] = []
        self.terms: list[Term] = []
        self.client: Client | None = None

    def start(self) -> None:
        self.show.step("a stock Debian 12, its disk on shared storage, is started on host h1")
        self.vm.copy_disk()
        first = self.halves["h1"]
        first.run()
        console = first.console()
        try:
            agent = ConsoleAgent((console.stdout.fileno(), console.stdin.fileno()))
            agent.wait_for("guest login: ", LIMIT_S)
            self.show.say("it is up")
        finally:
            drop(console)
        self.serve()

    def serve(self) -> None:
        done = self.vm_ssh("cat > /root/service.py", SERVICE)
        assert done.returncode == 0, done.stderr
        self.vm_ssh("systemd-run --unit=counter python3 /root/service.py", "")
        deadline = time.monotonic() + LIMIT_S
        while self.tb.run("client", "curl", "-s", "-m", 5, f"http://{self.address}:{PORT}/", check=False).returncode != 0:
            if time.monotonic() > deadline:
                raise SystemExit("demo: the guest's page does not answer")
            time.sleep(0.5)
        self.show.say(f"its page answers at http://{self.address}:{PORT}/")

    def vm_ssh(self, command: str, stdin: str) -> subprocess.CompletedProcess[str]:
        from vm import KEY

        return self.tb.run("client", "ssh", "-i", KEY, "-o", "StrictHostKeyChecking=no", "-o",
                           "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60",
                           f"root@{self.address}", command, check=False, stdin=stdin)  # fmt: skip

    def ask(self) -> None:
        self.client = Client(self.tb, self.address)
        self.terms.append(Term("h1", 0, 0))
        self.show.step("a client asks for the next number, over one connection, all the while")
        self.watch(5)

    def now(self) -> float:
        return time.time() - self.client.began

    def watch(self, seconds: float, until: object = None) -> None:
        """Shows what the client sees."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not (until and until()):
            time.sleep(SHOW_EVERY_S)
            new = self.client.look()
            if not new:
                self.show.say("    no answer")
                continue
            times = [answer.ms for answer in new]
            bar = "#" * min(int(max(times) / 50) + 1, 60)
            self.show.say(f"    number {new[-1].number:6}   {len(new):4} answers, half within {statistics.median(times):4.0f} ms, "
                          f"longest {max(times):6.0f} ms  {bar}")  # fmt: skip

    def protect(self, primary: str, secondary: str) -> None:
        self.show.step(f"host {secondary} becomes its Secondary, while it runs")
        before = self.halves[primary].log().count("the VM is protected")
        self.halves[secondary].follow()
        self.watch(LIMIT_S, lambda: self.halves[primary].log().count("the VM is protected") > before)
        said = [line for line in self.halves[primary].log().splitlines() if "the VM is protected" in line]
        self.show.say(said[-1])
        self.events.append(Event(self.now(), f"protected by {secondary}"))
        self.watch(self.keep_s)

    def kill(self, primary: str, secondary: str) -> None:
        self.show.step(f"the power of host {primary} fails")
        at = self.now()
        self.tb.verb("kill", primary)
        self.events.append(Event(at, f"{primary} killed", True))
        self.watch(60, lambda: "takes the VM over" in self.halves[secondary].log())
        for line in self.halves[secondary].log().splitlines()[-3:]:
            self.show.say(f"{secondary} says: {line}")
        self.terms[-1] = self.terms[-1]._replace(end=at)
        self.watch(self.keep_s)
        # Both sides of the gap: when the last answer came before it, and the first behind it.
        came = [answer.at for answer in self.client.answers]
        gap, begin = max((later - sooner, sooner) for sooner, later in zip(came, came[1:]) if later > at)
        self.terms.append(Term(secondary, begin + gap, self.now()))
        self.show.say(f"the client waited {1e3 * gap:.0f} ms, once, on the connection that it had")

    def sum_up(self, picture: Path) -> bool:
        self.client.end()
        answers = self.client.answers
        self.terms[-1] = self.terms[-1]._replace(end=answers[-1].at)
        stored = self.tb.run("client", "curl", "-s", "-m", 60, f"http://{self.address}:{PORT}/all").stdout.split()
        numbers = [answer.number for answer in answers]
        lost = len(set(numbers) - set(map(int, stored)))
        holes = numbers != list(range(numbers[0], numbers[0] + len(numbers)))
        times = sorted(answer.ms for answer in answers)
        title = f"{len(answers)} answers over one connection; two hosts killed; {lost} lost"
        picture.write_text(draw(answers, self.events, self.terms, title))
        self.show.step("what there was to see")
        print(f"""
  answers                        {len(answers)}, over one TCP connection, from {answers[-1].at:.0f} s
  time to an answer              half within {statistics.median(times):.0f} ms, 99 of 100 within {times[len(times) * 99 // 100]:.0f} ms
  longest                        {', '.join(f'{ms:.0f} ms' for ms in times[-2:][::-1])}
  numbers without a hole         {'no' if holes else 'yes'}
  acknowledged and not stored    {lost}
  the picture                    {picture}
""")  # fmt: skip
        return not holes and lost == 0

    def end(self) -> None:
        if self.client and self.client.process.poll() is None:
            self.client.end()
        for half in self.halves.values():
            half.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description="A VM outlives its host, twice.")
    parser.add_argument("--picture", type=Path, default=Path("demo.svg"), help="where the picture goes")
    parser.add_argument("--seconds", type=float, default=15, help="to watch between two events")
    options = parser.parse_args()
    show = Show()
    show.step("three hosts and their shared storage start, emulated on this machine")
    tb = acquire("--hosts", "3")
    demo = None
    try:
        demo = Demo(tb, show, options.seconds)
        demo.start()
        demo.ask()
        demo.protect("h1", "h2")
        demo.kill("h1", "h2")
        demo.protect("h2", "h3")
        demo.kill("h2", "h3")
        return 0 if demo.sum_up(options.picture) else 1
    finally:
        if demo:
            demo.end()
        tb.release()


if __name__ == "__main__":
    sys.exit(main())
