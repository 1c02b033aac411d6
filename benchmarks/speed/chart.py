"""One picture of the plain case: CPU per request, a bar for each, on a logarithmic scale, in light and in dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, LEFT, ROW, BAR, TOP = 880, 330, 34, 20, 64

_STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 16px }
  .note { fill: #59636e; font-size: 12px }
  .bar { fill: #8c959f } .ours { fill: #0969da } .floor { fill: #afb8c1 }
  .ours-label { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .note { fill: #9198a1 }
    .bar { fill: #656c76 } .ours { fill: #4493f8 } .floor { fill: #3d444d }
  }
"""


def chart(title: str, note: str, bars: Sequence[tuple[str, float, str]]) -> str:
    """`bars`: label, microseconds, and one of `bar`, `ours`, `floor`."""
    low = min(value for _, value, _ in bars) / 2
    high = max(value for _, value, _ in bars)
    room = WIDTH - LEFT - 110

    def length(value: float) -> float:
        return room * math.log(value / low) / math.log(high / low)

    height = TOP + ROW * len(bars) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="16" y="26">{escape(title)}</text>',
        f'<text class="note" x="16" y="46">{escape(note)}</text>',
    ]
    for index, (label, value, kind) in enumerate(bars):
        y = TOP + ROW * index
        bold = ' class="ours-label"' if kind == "ours" else ""
        parts += [
            f'<text{bold} x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(label)}</text>',
            f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{length(value):.1f}" height="{BAR}" rx="3"/>',
            f'<text{bold} x="{LEFT + length(value) + 8:.1f}" y="{y + 15}">{_microseconds(value)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def bars(figures: Mapping[str, Mapping[str, float]], labels: Mapping[str, str]) -> list[tuple[str, float, str]]:
    """The cheapest first; whoever has no label is left out."""
    kinds = {"ogw": "ours", "echo": "floor", "bare-native": "floor"}
    found = [(labels[name], row["CPU, us"], kinds.get(name, "bar")) for name, row in figures.items() if name in labels]
    return sorted(found, key=lambda bar: bar[1])


def _microseconds(value: float) -> str:
    return f"{value / 1000:,.1f} ms" if value >= 10_000 else f"{value:,.0f} us"
