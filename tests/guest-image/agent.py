"""A guest's console as tests see it: what it prints, and commands run through the agent behind it.

The agent (common/agent) reads lines "RUN ID COMMAND", COMMAND in base64, and answers with "BEGIN ID", the
command's output, "END ID CODE".  Each command gets an ID of its own that no output has by chance, so an
answer is found among boot messages, and an answer that nobody waited for is passed over.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import select
import socket
import time
from pathlib import Path
from typing import NamedTuple

MAX_COMMAND_BYTES = 32 * 1024  # in base64 still less than a tty takes in before its reader does
ASK_AGAIN_S = 2  # how often `ready` asks a guest that may not listen yet


class Answer(NamedTuple):
    code: int
    output: str  # both streams; bytes that are no UTF-8 survive `.encode("utf-8", "surrogateescape")`


class ConsoleError(Exception):
    """The console closed or failed.  The message has its last words."""


class ConsoleTimeout(ConsoleError):
    """The console did not say, or take, in time what it should have."""


class Console:
    """One end of a console: a unix socket's path, or a pair of file descriptors (to read, to write)."""

    def __init__(self, where: str | Path | tuple[int, int]) -> None:
        self._received = b""
        self._taken = 0  # how much of it `wait_for` has gone past
        self._socket: socket.socket | None = None
        self._connect(where)

    def _connect(self, where: str | Path | tuple[int, int]) -> None:
        if isinstance(where, tuple):
            self._input, self._output = where
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            try:
                self._socket.connect(str(where))
            except OSError:
                self.close()
                raise
            self._input = self._output = self._socket.fileno()

    def reconnect(self, where: str | Path | tuple[int, int]) -> None:
        """Goes on at another place, as when another host takes the guest over.  What was received stays:
        an answer that began there may end here."""
        self.close()
        self._connect(where)

    def close(self) -> None:
        """Closes the socket.  File descriptors belong to the caller."""
        if self._socket:
            self._socket.close()
            self._socket = None

    @property
    def transcript(self) -> str:
        """Everything the console has printed."""
        return self._received.decode(errors="replace")

    def send(self, data: bytes, timeout: float = 60) -> None:
        """Types at the console, and reads what it prints meanwhile, so that neither waits for the other."""
        deadline = time.monotonic() + timeout
        while data:
            readable, writable = self._poll([self._output], deadline, "takes no input")
            if readable:
                self._read()
            if writable:
                data = data[os.write(self._output, data[:1024]) :]

    def wait_for(self, pattern: str, timeout: float = 60) -> re.Match[bytes]:
        """Waits until the console prints what matches, after what was waited for before."""
        found = self._await(pattern, self._taken, time.monotonic() + timeout)
        self._taken = found.end()
        return found

    def _await(self, pattern: str, start: int, deadline: float) -> re.Match[bytes]:
        """The first match from byte `start` of what was received on."""
        sought = re.compile(pattern.encode(), re.MULTILINE)
        while not (found := sought.search(self._received, start)):
            self._poll([], deadline, f"did not print '{pattern}' in time")
            self._read()
        return found

    def _poll(self, outputs: list[int], deadline: float, complaint: str) -> tuple[list, list]:
        left = max(0.0, deadline - time.monotonic())
        readable, writable, _ = select.select([self._input], outputs, [], left)
        if not readable and not writable:
            raise ConsoleTimeout(f"the console {complaint}; its last words: {self._last_words()}")
        return readable, writable

    def _read(self) -> None:
        try:
            data = os.read(self._input, 65536)
        except OSError as error:
            raise ConsoleError(f"the console failed ({error}); its last words: {self._last_words()}") from None
        if not data:
            raise ConsoleError(f"the console closed; its last words: {self._last_words()}")
        self._received += data

    def _last_words(self) -> str:
        return repr(self._received[-400:].decode(errors="replace"))


class ConsoleAgent(Console):
    """A console with the agent behind it."""

    def ready(self, timeout: float = 300) -> None:
        """Waits until the agent answers.  Asks again and again: a guest that boots may lose what is typed."""
        deadline = time.monotonic() + timeout
        asked: list[str] = []
        while True:
            asked.append(self.start(":"))
            try:
                # Any of them: a slow guest answers those it has kept one after another.
                self.wait_for(f"^END ({'|'.join(asked)}) 0$", ASK_AGAIN_S)
                return
            except ConsoleTimeout:
                if time.monotonic() > deadline:
                    raise

    def run(self, command: str, timeout: float = 60) -> Answer:
        """A shell command in the guest.  After a timeout it goes on there, and what is asked next waits for it."""
        return self.finish(self.start(command), timeout)

    def start(self, command: str) -> str:
        """Asks for a command and returns its id, for `finish`."""
        encoded = base64.b64encode(command.encode())
        if len(encoded) > MAX_COMMAND_BYTES:
            raise ValueError("the command is too long for a console: put it into a file, with ssh or on a disk")
        name = secrets.token_hex(6)
        # The newline first ends whatever half a line the guest may have kept.
        self.send(b"\nRUN %s %s\n" % (name.encode(), encoded))
        return name

    def finish(self, name: str, timeout: float = 60) -> Answer:
        """Waits for the end of a command that was started.  After a timeout it can be asked again."""
        deadline = time.monotonic() + timeout
        begin = self._await(f"^BEGIN {name}\n", self._taken, deadline).end()
        end = self._await(f"\nEND {name} ([0-9]+)\n", begin, deadline)
        self._taken = end.end()
        output = self._received[begin : end.start()]
        return Answer(int(end[1]), output.decode("utf-8", "surrogateescape"))
