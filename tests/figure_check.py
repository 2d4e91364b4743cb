"""Run by every notebook kernel of the tests at its start: each figure drawn is checked, and what is wrong with it is written down.

A figure must not be blank, and every axes that shows ticks must name both of its axes. The findings go, one line per figure, to the
file named by FIGURE_REPORT ("ok" or what is missing).
"""

import os

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

draw_png = FigureCanvasAgg.print_png


def faults(figure) -> list[str]:
    found = []
    for axes in figure.axes:
        if not axes.get_visible() or axes.get_label() == "<colorbar>" or not axes.axison:
            continue
        for axis in (axes.xaxis, axes.yaxis):
            ticks = [label for label in axis.get_ticklabels() if label.get_text() and label.get_visible()]
            if ticks and not axis.get_label().get_text():
                found.append(f"axes '{axes.get_title()}' has no label on its {axis.axis_name} axis")
    return found


def checked_print_png(canvas, *arguments, **keywords):
    draw_png(canvas, *arguments, **keywords)
    found = faults(canvas.figure)
    if np.asarray(canvas.buffer_rgba())[..., :3].std() < 2:
        found.append("the figure is blank")
    with open(os.environ["FIGURE_REPORT"], "a") as report:
        report.write(("; ".join(found) or "ok") + "\n")


FigureCanvasAgg.print_png = checked_print_png
