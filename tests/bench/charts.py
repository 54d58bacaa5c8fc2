"""Two kinds of chart, drawn as SVG: bars of ratios, and lines of times."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from bench.report import duration

# Readable on white and on black.
COLOURS = ("#2a7fd4", "#e07b00", "#3a9d5d", "#b5519e", "#7a7a7a", "#c9a400")
GREY = "#808080"
WIDTH = 760


class Drawing:
    """The elements of one picture."""

    def __init__(self, height: float, title: str) -> None:
        self.height = height
        self.elements = [f"<title>{escape(title)}</title>"]
        self.text(WIDTH / 2, 22, title, size=16, anchor="middle")

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float = 1.0, dash: str = "") -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.elements.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>'
        )

    def bar(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self.elements.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
        )

    def dot(self, x: float, y: float, colour: str) -> None:
        self.elements.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')

    def text(self, x: float, y: float, words: str, size: float = 13, anchor: str = "start", colour: str = GREY) -> None:
        self.elements.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">'
            f"{escape(words)}</text>"
        )

    def svg(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height:.0f}" font-family="sans-serif">'
        )
        return "\n".join([head, *self.elements, "</svg>", ""])


def bars(title: str, values: dict[str, float], goal: float) -> str:
    """Ratios, from the smallest to the largest; at 1 both take as long."""
    left, right, step, top = 170, 60, 22, 40
    drawing = Drawing(top + step * len(values) + 30, title)
    most = max(1.2, *values.values())
    scale = (WIDTH - left - right) / most
    bottom = top + step * len(values)
    for row, (name, value) in enumerate(sorted(values.items(), key=lambda item: item[1])):
        y = top + row * step
        drawing.text(left - 8, y + 15, name, anchor="end")
        drawing.bar(left, y + 4, value * scale, step - 8, COLOURS[0] if value <= 1 else COLOURS[1])
        drawing.text(left + value * scale + 5, y + 15, f"{value:.2f}")
    for at, words, dash in ((goal, f"goal of the mean: {goal}", "4 4"), (1.0, "1: as long as pathlib", "")):
        drawing.line([(left + at * scale, top), (left + at * scale, bottom + 6)], GREY, dash=dash)
        drawing.text(left + at * scale, bottom + 20, words, anchor="middle")
    return drawing.svg()


def lines(title: str, unit: str, steps: list[tuple[float, dict[str, float]]], straight: bool) -> str:
    """Times, by whatever grows; with logarithmic axes unless they are to be straight."""
    left, right, top, bottom = 80, 20, 40, 330
    drawing = Drawing(bottom + 70, title)
    names = list(steps[0][1])
    times = [time for _, found in steps for time in found.values()]
    if straight:
        x = spaced([step for step, _ in steps], left, WIDTH - right, lambda value: value)
        y = spaced([0, max(times) * 1.05], bottom, top, lambda value: value)
        marks = [max(times) * part / 4 for part in range(5)]
    else:
        order = {step: at for at, (step, _) in enumerate(steps)}
        x = spaced(list(order.values()), left, WIDTH - right, lambda value: value)
        positions, x_of = order, x
        x = lambda value: x_of(positions[value])  # noqa: E731  # evenly: sizes grow by factors
        low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
        y = spaced([10.0**low, 10.0**high], bottom, top, math.log10)
        marks = [10.0**power for power in range(low, high + 1)]
    for mark in marks:
        drawing.line([(left, y(mark)), (WIDTH - right, y(mark))], GREY, 0.4)
        drawing.text(left - 6, y(mark) + 4, duration(mark) if mark else "0", anchor="end")
    for step, _ in steps:
        drawing.text(x(step), bottom + 18, short(step, unit), anchor="middle")
    drawing.text((left + WIDTH - right) / 2, bottom + 38, unit, anchor="middle")
    for colour, name in zip(COLOURS, names, strict=False):
        points = [(x(step), y(found[name])) for step, found in steps]
        drawing.line(points, colour, 2)
        for point in points:
            drawing.dot(*point, colour)
    for at, (colour, name) in enumerate(zip(COLOURS, names, strict=False)):
        drawing.bar(left + at * 150, bottom + 50, 12, 12, colour)
        drawing.text(left + at * 150 + 18, bottom + 61, name)
    return drawing.svg()


def spaced(values: list[float], first: float, last: float, scale: Callable[[float], float]) -> Callable[[float], float]:
    """Where on a line from *first* to *last* a value lies."""
    low, high = scale(min(values)), scale(max(values))
    return lambda value: first + (last - first) * (scale(value) - low) / ((high - low) or 1)


def short(step: float, unit: str) -> str:
    if unit == "bytes":
        for name, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
            if step >= size:
                return f"{step / size:g} {name}"
        return "0" if step == 1 else f"{step:g}"
    return f"{step:,g}" if step < 1000 else f"{step:,.0f}"
