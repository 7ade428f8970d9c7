"""The picture of a run: what the client waited for each answer, and who was Primary meanwhile.  SVG, by hand."""

from __future__ import annotations

import html
import math
from typing import NamedTuple

WIDTH, HEIGHT = 1100, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 70, 110
COLOURS = {"h1": "#2f6fab", "h2": "#c2571a", "h3": "#3d8b40"}
LEAST_MS, MOST_MS = 1.0, 10_000.0


class Answer(NamedTuple):
    at: float  # s, when it came
    ms: float  # after it was asked for
    number: int


class Event(NamedTuple):
    at: float
    text: str
    is_loss: bool = False


class Term(NamedTuple):
    """Who was Primary, from when to when."""

    host: str
    begin: float
    end: float


def draw(answers: list[Answer], events: list[Event], terms: list[Term], title: str) -> str:
    end = max(answers[-1].at, terms[-1].end)

    def x(at: float) -> float:
        return LEFT + at / end * (WIDTH - LEFT - RIGHT)

    def y(ms: float) -> float:
        share = math.log(min(max(ms, LEAST_MS), MOST_MS) / LEAST_MS) / math.log(MOST_MS / LEAST_MS)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="17">{html.escape(title)}</text>',
        f'<text x="{LEFT}" y="44" fill="#555">each dot is one answer, and how long the client waited for it</text>',
    ]
    for ms, label in ((1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1000, "1 s"), (10_000, "10 s")):
        parts.append(f'<line x1="{LEFT}" y1="{y(ms):.1f}" x2="{WIDTH - RIGHT}" y2="{y(ms):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(ms) + 4:.1f}" text-anchor="end" fill="#555">{label}</text>')
    step = next(step for step in (5, 10, 20, 60, 120, 300, 600, 3600) if end / step <= 12)
    for at in range(0, int(end) + 1, step):
        parts.append(f'<text x="{x(at):.1f}" y="{HEIGHT - 12}" text-anchor="middle" fill="#555">{at} s</text>')
    for term in terms:
        width = max(x(term.end) - x(term.begin), 1)
        parts.append(f'<rect x="{x(term.begin):.1f}" y="{HEIGHT - 62}" width="{width:.1f}" height="26" '
                     f'fill="{COLOURS.get(term.host, "#777")}"/>')  # fmt: skip
        parts.append(f'<text x="{x(term.begin) + 6:.1f}" y="{HEIGHT - 44}" fill="white">Primary: {html.escape(term.host)}</text>')
    for event in events:
        colour = "#b00020" if event.is_loss else "#888"
        parts.append(f'<line x1="{x(event.at):.1f}" y1="{TOP - 6}" x2="{x(event.at):.1f}" y2="{HEIGHT - 36}" '
                     f'stroke="{colour}" stroke-dasharray="4 3"/>')  # fmt: skip
        parts.append(f'<text x="{x(event.at) + 4:.1f}" y="{HEIGHT - 80 - 16 * (not event.is_loss):.1f}" '
                     f'fill="{colour}">{html.escape(event.text)}</text>')  # fmt: skip
    for answer in answers:
        parts.append(f'<circle cx="{x(answer.at):.1f}" cy="{y(answer.ms):.1f}" r="1.6" fill="#222" fill-opacity="0.5"/>')
    return "\n".join(parts) + "\n</svg>\n"
