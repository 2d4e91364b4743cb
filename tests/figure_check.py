"""Checks every figure that a notebook draws. The tests run this file at the start of a kernel, with
FIGURE_REPORT set.

A figure must not be blank, and every axes that shows ticks must name its axes. The findings go to
the file FIGURE_REPORT, one line per figure: "ok", or what is missing.
"""

import functools
import os

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg


def faults(canvas: FigureCanvasAgg) -> list[str]:
    """What is wrong with a figure that has just been drawn."""
    found = [] if np.asarray(canvas.buffer_rgba())[..., :3].std() > 2 else ["the figure is blank"]
    for axes in canvas.figure.axes:
        if not axes.get_visible() or not axes.axison or axes.get_label() == "<colorbar>":
            continue
        for axis in (axes.xaxis, axes.yaxis):
            ticks = [
                label for label in axis.get_ticklabels() if label.get_text() and label.get_visible()
            ]
            if ticks and not axis.get_label().get_text():
                found.append(f"axes '{axes.get_title()}' has no label on its {axis.axis_name} axis")
    return found


def report_on(draw_png):
    @functools.wraps(draw_png)  # Matplotlib asks the function for its arguments
    def checked(canvas, *arguments, **keywords):
        draw_png(canvas, *arguments, **keywords)
        with open(os.environ["FIGURE_REPORT"], "a") as report:
            report.write(("; ".join(faults(canvas)) or "ok") + "\n")

    return checked


if "FIGURE_REPORT" in os.environ:
    FigureCanvasAgg.print_png = report_on(FigureCanvasAgg.print_png)
