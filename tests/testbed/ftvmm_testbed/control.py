"""How the command talks to the keeper: one JSON line asks, JSON lines answer.

Request: {"verb": ..., arguments}.  Answers: any number of {"progress": text}, then one {"ok": value}
or {"error": text}.  One request per connection.
"""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from typing import Any

from .errors import TestbedError
from .instance import Instance

Progress = Callable[[str], None]


def _connect(instance: Instance) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(instance.control_socket))
    except OSError:
        connection.close()
        raise TestbedError(
            f"testbed {instance.name} is not up: start it with `testbed up`"
        ) from None
    return connection


def keeper_pid(instance: Instance) -> int:
    """The keeper's process id as this process sees it."""
    with _connect(instance) as connection:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return struct.unpack("iII", credentials)[0]


def request(
    instance: Instance, verb: str, progress: Progress | None = None,
    timeout_s: float | None = None, **arguments: Any,
) -> Any:  # fmt: skip
    """Asks the keeper.  Raises TestbedError with the keeper's words when it refuses."""
    with _connect(instance) as connection:
        connection.settimeout(timeout_s)
        connection.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
        try:
            for line in connection.makefile("r"):
                answer = json.loads(line)
                if "progress" in answer:
                    if progress:
                        progress(answer["progress"])
                elif "error" in answer:
                    raise TestbedError(answer["error"])
                else:
                    return answer["ok"]
        except OSError:
            pass  # a keeper that dies or hangs: said below
    raise TestbedError(f"testbed {instance.name} ended before it answered: see `testbed status`")


class Server:
    """Serves requests, each on a thread of its own, until the process ends."""

    def __init__(self, path: str, handle: Callable[[dict, Progress], Any]) -> None:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.reply(**_answer(handle, self.rfile.readline(), self.tell_progress))

            def tell_progress(self, text: str) -> None:
                self.reply(progress=text)

            def reply(self, **answer: Any) -> None:
                try:
                    self.wfile.write(json.dumps(answer).encode() + b"\n")
                except OSError:
                    pass  # the asker has left; what it asked for is done all the same

        class ThreadingServer(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = ThreadingServer(path, Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


def _answer(handle: Callable[[dict, Progress], Any], line: bytes, progress: Progress) -> dict:
    try:
        return {"ok": handle(json.loads(line), progress)}
    except TestbedError as error:
        return {"error": str(error)}
    except Exception as error:  # a bug in the keeper must not look like silence
        return {"error": f"internal error in the keeper: {error!r}"}
