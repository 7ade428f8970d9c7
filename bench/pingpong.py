#!/usr/bin/env python3
"""Request and response over TCP, one byte each: pingpong.py serve PORT | measure ADDRESS PORT SECONDS."""

import json
import socket
import statistics
import sys
import time


def serve(port: int) -> None:
    with socket.create_server(("", port)) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while byte := connection.recv(1):
                    connection.sendall(byte)


def measure(address: str, port: int, seconds: float) -> None:
    """Prints the round trips' median and 99th percentile in microseconds."""
    trips_us = []
    with socket.create_connection((address, port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.monotonic() + seconds
        while (begun := time.monotonic()) < end:
            connection.sendall(b"x")
            connection.recv(1)
            trips_us.append((time.monotonic() - begun) * 1e6)
    trips_us = trips_us[len(trips_us) // 20 :]  # without the warming up
    print(json.dumps({
        "median_us": statistics.median(trips_us),
        "p99_us": statistics.quantiles(trips_us, n=100)[98],
        "trips": len(trips_us),
    }))  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        measure(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
