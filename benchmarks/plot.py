"""Draws what a viewer costs against how many there are, from the JSON of a run.

``python -m benchmarks.plot result.json viewers.png``; needs matplotlib (the extra ``bench``).
"""

import importlib.util
import json
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["curves", "draw", "why_missing"]

Curve = list[tuple[int, float, float, float]]
"""Number of viewers, and CPU ms for all of them in a second: the median, the least, the most."""


def why_missing() -> str:
    """What is in the way of drawing; empty when nothing is."""
    if importlib.util.find_spec("matplotlib") is None:
        return "matplotlib is not installed: pip install -e '.[bench]'"
    return ""


def curves(results: Mapping[str, Any]) -> dict[str, Curve]:
    """Ours by protocol, and each reference beside it."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in results["rows"]:
        count = row["viewers"]
        # "200 RTMP viewers": the word behind the number is the protocol.
        protocol = row["load"].split()[1] if count else ""
        for name, figures in (
            (f"{protocol}, ours", row["ours"]),
            (f"{protocol}, {row['reference']}", row["theirs"]),
        ):
            if count and figures:
                found.setdefault(name, {})[count] = figures
    return {
        name: [_point(*one) for one in sorted(counts.items())] for name, counts in found.items()
    }


def _point(count: int, figures: list[float]) -> tuple[int, float, float, float]:
    return count, count * statistics.median(figures), count * min(figures), count * max(figures)


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Both axes are logarithmic: what is linear has a slope of one, as the dotted line."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6), layout="constrained")
    for name, curve in curves(results).items():
        counts = [point[0] for point in curve]
        ours = name.endswith(", ours")
        (line,) = axes.plot(
            counts, [point[1] for point in curve], label=name,
            marker="o" if ours else ".", linestyle="-" if ours else "--",
        )  # fmt: skip
        axes.fill_between(
            counts, [point[2] for point in curve], [point[3] for point in curve],
            color=line.get_color(), alpha=0.15,
        )  # fmt: skip
    axes.plot([20, 1000], [2, 100], color="grey", linestyle=":", label="0.1 ms each")
    axes.set(
        xscale="log", yscale="log", xlabel="viewers", ylabel="CPU ms per second, all viewers",
        title=f"{results['at']}, {results['machine']['cores']} cores",
    )  # fmt: skip
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    if missing := why_missing():
        sys.exit(missing)
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
