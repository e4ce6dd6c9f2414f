"""A report as one HTML file: tables, plots and pictures, with nothing from elsewhere.

Plots are SVG, pictures JPEG inside the file. Whatever is put in is escaped: names may be a stranger's.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from math import isfinite

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.text import printable

_STYLE = """
:root { --back: #fff; --text: #1a2026; --dim: #5b6875; --line: #d5dbe1; }
@media (prefers-color-scheme: dark) {
  :root { --back: #12161b; --text: #e6ebf0; --dim: #9aa7b4; --line: #2e3742; } }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; }
p { margin: .3rem 0; color: var(--dim); }
table { border-collapse: collapse; }
th, td { padding: .15rem .9rem .15rem 0; border-bottom: 1px solid var(--line); text-align: left;
  font-variant-numeric: tabular-nums; }
td.n, th.n { text-align: right; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--dim); font: 11px system-ui, sans-serif; }
svg .axis { stroke: var(--line); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; color: var(--dim); }
.legend svg { display: inline; width: 12px; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .5rem; }
figure { margin: 0; } figure img { width: 100%; display: block; }
figcaption { color: var(--dim); font-size: .85rem; }
.wide { overflow-x: auto; }
"""
COLOURS = ("#5aa9ff", "#ffb000", "#57c98a", "#f06ba8", "#b48cf2", "#ff7a45", "#8fa3b5", "#c8b27d")
_WIDTH, _HEIGHT, _LEFT, _BELOW = 900, 230, 46, 22
_FEW = 12
"""So many places are numbered each."""
_MOST_POINTS = 2000
"""Of a longer time line, the largest of each few frames are drawn."""
_JPEG_QUALITY = 82
_WIDEST = 480


@dataclass
class Page:
    """A report that grows section by section."""

    title: str
    _parts: list[str] = field(default_factory=list)

    def section(self, title: str, text: str = "") -> None:
        """Begin a section."""
        if title:
            self._parts.append(f"<h2>{_safe(title)}</h2>")
        if text:
            self._parts.append(f"<p>{_safe(text)}</p>")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table; columns of numbers to the right."""
        kinds = [
            all(isinstance(row[i], (int, float, type(None))) for row in rows) for i in range(len(columns))
        ]
        marks = [' class="n"' if number else "" for number in kinds]
        head = "".join(f"<th{mark}>{_safe(name)}</th>" for mark, name in zip(marks, columns, strict=True))
        body = "".join(
            "<tr>"
            + "".join(f"<td{m}>{_safe(_cell(v))}</td>" for m, v in zip(marks, row, strict=True))
            + "</tr>"
            for row in rows
        )
        self._parts.append(f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>')

    def bars(self, values: Mapping[str, float | None], unit: str, most: float | None = None) -> None:
        """One bar per name, longest value at ``most``."""
        known = [value for value in values.values() if value is not None and isfinite(value)]
        top = most or max([*known, 1e-9])
        names = max((len(name) for name in values), default=0)
        left, row = min(320, 20 + 7 * names), 22
        drawn = []
        for place, (name, value) in enumerate(values.items()):
            y = place * row
            drawn.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{_safe(name)}</text>')
            there = value if value is not None and isfinite(value) else 0.0
            length = max(0.0, min(1.0, there / top)) * (_WIDTH - left - 90)
            drawn.append(
                f'<rect x="{left}" y="{y + 4}" width="{length:.1f}" height="14" fill="{COLOURS[0]}"/>'
            )
            drawn.append(
                f'<text x="{left + length + 6:.1f}" y="{y + 15}">{_safe(_cell(value))} {_safe(unit)}</text>'
            )
        self._svg(row * len(values) + 4, drawn)

    def lines(
        self, series: Mapping[str, Sequence[float | None]], unit: str, across: str, stacked: bool = False
    ) -> None:
        """One line per name over the same places from 0 on; ``stacked`` fills them one above the other."""
        shown = {name: _thinned(values) for name, values in series.items() if len(values)}
        count = max((len(values) for values in series.values()), default=0)
        if not shown:
            return
        points = max(len(values) for values in shown.values())
        ground = np.zeros(points)
        heights: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        for name, values in shown.items():
            upper = np.array([*values, *[np.nan] * (points - len(values))], np.float64)
            if stacked:
                upper = ground + np.nan_to_num(upper)
                heights[name], ground = (ground, upper), upper
            else:
                heights[name] = (ground, upper)
        largest = max(float(np.nanmax(upper, initial=0.0)) for _, upper in heights.values())
        top = 100.0 if unit == "%" else largest * 1.05 if largest > 0 else 1.0
        drawn = _axes(top, unit, across, count)
        x = _LEFT + (np.arange(points) + 0.5) / points * (_WIDTH - _LEFT)
        for place, (name, (lower, upper)) in enumerate(heights.items()):
            colour = COLOURS[place % len(COLOURS)]
            if stacked:
                outline = [
                    *zip(x, _y(upper, top), strict=True),
                    *zip(x[::-1], _y(lower, top)[::-1], strict=True),
                ]
                title = f"<title>{_safe(name)}</title>"
                drawn.append(f'<polygon points="{_points(outline)}" fill="{colour}">{title}</polygon>')
                continue
            for run in _runs(upper):
                marks = list(zip(x[run], _y(upper[run], top), strict=True))
                drawn.append(
                    f'<polyline points="{_points(marks)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
                )
                if points <= 60:
                    drawn += [
                        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{colour}"/>' for a, b in marks
                    ]
        self._svg(_HEIGHT, drawn)
        self.legend({name: COLOURS[i % len(COLOURS)] for i, name in enumerate(heights)})

    def distribution(self, values: Mapping[str, Sequence[float]], unit: str) -> None:
        """How often each value occurs: one histogram per name, over the same range."""
        together = np.array([value for each in values.values() for value in each], np.float64)
        together = together[np.isfinite(together)]
        if not together.size:
            return
        # A few outliers would press all the others into one column; they are counted in the last one.
        top = float(np.percentile(together, 99.5)) * 1.05 or 1.0
        edges = np.linspace(0, top, 61)
        counts = {name: np.histogram(np.minimum(each, top), edges)[0] for name, each in values.items()}
        highest = max(int(found.max()) for found in counts.values())
        drawn = _axes(highest * 1.05, "frames", unit, top)
        wide = (_WIDTH - _LEFT) / 60
        for place, found in enumerate(counts.values()):
            colour = COLOURS[place % len(COLOURS)]
            for column, number in enumerate(found):
                height = number / (highest * 1.05) * (_HEIGHT - _BELOW)
                at = _LEFT + column * wide
                drawn.append(
                    f'<rect x="{at:.1f}" y="{_HEIGHT - _BELOW - height:.1f}" width="{wide - 1:.1f}" '
                    f'height="{height:.1f}" fill="{colour}" fill-opacity=".7"/>'
                )
        self._svg(_HEIGHT, drawn)
        self.legend({name: COLOURS[i % len(COLOURS)] for i, name in enumerate(counts)})

    def legend(self, colours: Mapping[str, str]) -> None:
        """What each colour stands for."""
        marks = [
            f'<span><svg width="12" height="12" viewBox="0 0 12 12">'
            f'<rect width="12" height="12" fill="{colour}"/></svg> {_safe(name)}</span>'
            for name, colour in colours.items()
        ]
        self._parts.append(f'<div class="legend">{"".join(marks)}</div>')

    def pictures(self, pictures: Sequence[tuple[NDArray[np.uint8], str]]) -> None:
        """Pictures (H, W, 3) uint8 RGB, each with a line below."""
        drawn = [
            f'<figure><img src="{data_uri(image)}" alt="{_safe(text)}">'
            f"<figcaption>{_safe(text)}</figcaption></figure>"
            for image, text in pictures
        ]
        self._parts.append(f'<div class="pictures">{"".join(drawn)}</div>')

    def text(self) -> str:
        """The whole file."""
        title = _safe(self.title)
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
            + "\n".join(self._parts)
            + "\n</body>\n</html>\n"
        )

    def _svg(self, height: float, drawn: Sequence[str]) -> None:
        self._parts.append(f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img">{"".join(drawn)}</svg>')


def data_uri(image: NDArray[np.uint8]) -> str:
    """A picture (H, W, 3) uint8 RGB as an address that holds it, at a size to look at."""
    height, width = image.shape[:2]
    if width > _WIDEST:
        size = (_WIDEST, max(1, round(height * _WIDEST / width)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def _axes(top: float, unit: str, across: str, last: float) -> list[str]:
    ground, drawn = _HEIGHT - _BELOW, []
    for part in range(5):
        y = ground - part / 4 * ground
        drawn.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        label = f"{_cell(top * part / 4)}" + (f" {unit}" if part == 4 else "")
        drawn.append(f'<text x="2" y="{max(10.0, y - 2):.1f}">{_safe(label)}</text>')
    few = isinstance(last, int) and last <= _FEW
    marks = int(last) if few else 4
    for part in range(marks):
        share = (part + 0.5) / marks if few else (part + 1) / marks
        ends = part == marks - 1
        x = _LEFT + share * (_WIDTH - _LEFT)
        text = _cell(part if few else last * share) + (f" {across}" if ends else "")
        drawn.append(f'<text x="{x - 2:.1f}" y="{_HEIGHT - 6}" text-anchor="end">{_safe(text)}</text>')
    return drawn


def _y(values: NDArray[np.float64], top: float) -> NDArray[np.float64]:
    return np.asarray((1 - values / top) * (_HEIGHT - _BELOW))


def _points(marks: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in marks)


def _runs(values: NDArray[np.float64]) -> list[slice]:
    """The stretches that hold numbers."""
    known = np.concatenate([[False], np.isfinite(values), [False]])
    changes = np.flatnonzero(known[1:] != known[:-1])
    return [slice(int(a), int(b)) for a, b in zip(changes[::2], changes[1::2], strict=True)]


def _thinned(values: Sequence[float | None]) -> NDArray[np.float64]:
    array = np.array([np.nan if value is None else value for value in values], np.float64)
    step = -(-len(array) // _MOST_POINTS)
    if step <= 1:
        return array
    whole = np.concatenate([array, np.full(-len(array) % step, np.nan)]).reshape(-1, step)
    filled = np.where(np.isnan(whole), -np.inf, whole).max(1)
    return np.asarray(np.where(np.isinf(filled), np.nan, filled))


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def _safe(text: object) -> str:
    return escape(printable(str(text)))
