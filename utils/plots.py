"""The course's figures: one style, and one meaning for each colour. Frozen is blue and hatched, trainable is orange.

Every function draws on a new figure, shows it, and returns nothing: the picture is the cell's output. `alt` is what the
figure says, in words, for those who do not see it.
"""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageChops

from utils.evidence import mean_interval

FROZEN = {"facecolor": "#4C8BBF", "edgecolor": "white", "hatch": "///"}
TRAINABLE = {"facecolor": "#F2A33A", "edgecolor": "white"}
# Keras and PyTorch are told apart by shape and fill, so that the two colours above keep their one meaning.
FRAMEWORKS = {
    "Keras": {"marker": "o", "color": "black"},
    "PyTorch": {"marker": "s", "color": "black", "markerfacecolor": "none"},
}
# What a changed flag did: fill and ink. Light, middle, dark; neither of them one of the colours above.
VERDICTS = {
    "obeyed": ("#E4EFE0", "black"),
    "error": ("#BBA7CC", "black"),
    "silently ignored": ("#5B2A6E", "white"),
}

plt.rcParams.update(
    {
        "figure.dpi": 100,
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": "medium",
        "font.size": 10,
        "legend.frameon": False,
        "hatch.linewidth": 1.2,
    }
)


def show(alt, photographs=False):
    """Show the current figure with twice the pixels of its place on the page (photographs: 1.5 times), and close it.

    alt: what is to be seen, in words; JupyterLab, the site and screen readers find it beside the picture.
    photographs: store it as JPEG, a fifth of the bytes where there are photographs in it.
    """
    figure, file, kind = plt.gcf(), io.BytesIO(), "image/jpeg" if photographs else "image/png"
    figure.savefig(file, format="png", dpi=(1.5 if photographs else 2) * figure.dpi)
    picture, file = Image.open(file).convert("RGB"), io.BytesIO()
    if photographs:
        picture.save(file, format="jpeg", quality=80, optimize=True)
    else:  # as few colours as it takes: a third of the bytes
        with_pictures = any(axis.images for axis in figure.axes)
        coloured = ImageChops.difference(picture, picture.convert("L").convert("RGB")).getbbox()
        picture.quantize(256 if with_pictures else 64 if coloured else 16).save(file, format="png", optimize=True)
    picture = {kind: base64.b64encode(file.getvalue()).decode(), "text/plain": alt}
    about = {kind: {"width": round(figure.dpi * figure.get_figwidth()), "alt": alt}}
    display(picture, metadata=about, raw=True)
    plt.close(figure)


def gallery(groups, columns=6, alt=""):
    """Rows of pictures, a row a class. groups: label -> pictures (n, 32, 32, 3) in [0, 1], n >= columns."""
    gap, zoom = 2, 2  # zoom: screen pixels a pixel; a whole number keeps the stored image small
    margin = 14 + 7 * max(map(len, groups))  # screen pixels, for the labels
    frame = ((0, 0), (0, gap), (0, gap), (0, 0))
    tiles = [np.pad(pictures[:columns], frame, constant_values=1) for pictures in groups.values()]
    sheet = np.concatenate([np.concatenate(row, axis=1) for row in tiles])
    height, width = sheet.shape[0] * zoom, sheet.shape[1] * zoom
    figure = plt.figure(figsize=((width + margin) / 100, height / 100), layout="none")
    axis = figure.add_axes([margin / (width + margin), 0, width / (width + margin), 1])
    axis.imshow(sheet, interpolation="nearest")
    axis.axis("off")
    for i, label in enumerate(groups):
        axis.text(-5, (i + 0.5) * sheet.shape[0] / len(groups), label, ha="right", va="center")
    show(alt)


def parameters(tables, alt=""):
    """Parameters of each layer as bars, frozen or trainable. tables: title -> rows as `layer_table` returns them."""
    figure, axes = plt.subplots(1, len(tables), figsize=(4.2 * len(tables), 2.4), sharey=True, squeeze=False)
    for axis, (title, rows) in zip(axes[0], tables.items(), strict=True):
        names = [name for name, _, _ in rows]
        trainable = np.array([part for _, _, part in rows])
        frozen = np.array([total for _, total, _ in rows]) - trainable
        axis.barh(names, frozen, **FROZEN)
        axis.barh(names, trainable, left=frozen, **TRAINABLE)
        for y, (_, total, _) in enumerate(rows):
            axis.text(total, y, f" {total:,}", va="center", fontsize="small")
        axis.set(title=title, xlabel="parameters", xlim=(0, 1.2 * (frozen + trainable).max()))
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.xaxis.set_major_formatter("{x:,.0f}")
    axes[0, 0].invert_yaxis()  # the picture comes in at the top
    figure.legend(handles=_legend(), loc="outside lower center", ncols=2)
    show(alt)


def against_theory(theory, measured, xlabel, ylabel, alt=""):
    """Measured values over what theory says, on the line where both are equal.

    theory: name -> value. measured: framework -> name -> sequence of repeated measurements; the point is their median,
    the bar goes from the lower to the upper quartile.
    """
    figure, axis = plt.subplots(figsize=(5.2, 4.2))
    low, high = 0.9 * min(theory.values()), 1.05 * max(theory.values())
    axis.plot([low, high], [low, high], color="grey", linewidth=1, label="theory")
    for i, (framework, values) in enumerate(measured.items()):
        x = np.array([theory[name] for name in values])
        quartiles = np.array([np.percentile(v, (25, 50, 75)) for v in values.values()]).T
        bars = [quartiles[1] - quartiles[0], quartiles[2] - quartiles[1]]
        shift = 0.004 * (2 * i - 1)  # side by side, not one over the other
        axis.errorbar(x + shift, quartiles[1], yerr=bars, linestyle="none", label=framework, **FRAMEWORKS[framework])
    for value in sorted(set(theory.values())):
        names = ", ".join(name for name in theory if theory[name] == value)
        axis.annotate(names, (value, value), (8, -4), textcoords="offset points", fontsize="small", va="top")
    axis.set(xlabel=xlabel, ylabel=ylabel, xlim=(low, high * 1.12))
    axis.legend()
    show(alt)


def truth_table(rows, notes=None, alt=""):
    """A table of verdicts, each a word on its own shade: readable in grey, too.

    rows: row label -> column label -> "obeyed", "silently ignored" or "error"; the same columns in every row.
    notes: the same keys -> a text to set below the verdict, such as a number; None for none.
    """
    columns = list(next(iter(rows.values())))
    width = 0.075 * max(map(len, rows)) + 1.5 * len(columns)
    figure, axis = plt.subplots(figsize=(width, (0.56 if notes else 0.42) * len(rows) + 0.6))
    for y, (label, row) in enumerate(rows.items()):
        for x, column in enumerate(columns):
            fill, ink = VERDICTS[row[column]]
            text = f"{row[column]}\n{notes[label][column]}" if notes else row[column]
            axis.add_patch(plt.Rectangle((x, y), 1, 1, facecolor=fill, edgecolor="white", linewidth=2))
            axis.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=ink, fontsize="small")
    axis.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
    axis.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axis.set_yticks(np.arange(len(rows)) + 0.5, list(rows))
    axis.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axis.spines[:].set_visible(False)
    show(alt)


def drift(law, shares, xlabel, ylabel, title="", alt=""):
    """How far statistics went, against the law. law: function of the number of batches. shares: label -> n -> values.

    The point is the mean over the values (one a seed), the bar goes from the smallest to the largest.
    """
    figure, axis = plt.subplots(figsize=(5.6, 3.6))
    marks = sorted({n for points in shares.values() for n in points})
    n = np.geomspace(marks[0], marks[-1], 100)
    axis.plot(n, law(n), color="grey", linewidth=1, label="the law")
    looks = ({"marker": "D", "markerfacecolor": "black"}, {"marker": "^", "markerfacecolor": "white"})
    for i, (label, points) in enumerate(shares.items()):
        values = np.array([points[n] for n in marks])
        means = values.mean(1)
        bars = [means - values.min(1), values.max(1) - means]
        at = np.array(marks) * 1.06 ** (2 * i - 1)  # side by side, not one over the other
        axis.errorbar(at, means, yerr=bars, linestyle="none", color="black", capsize=2, label=label, **looks[i % 2])
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title, xscale="log", ylim=(0, None))
    axis.set_xticks(marks, [f"{n}" for n in marks])
    axis.minorticks_off()
    axis.legend()
    show(alt)


def differences(rows, xlabel, title, alt):
    """Paired differences, a row a comparison: means, 95 % intervals as bars, and each seed as a small mark.

    rows: label -> group -> differences in percentage points, one a seed. Groups (at most four, such as the two bases)
    stand one below the other in a row, told apart by their marks.
    """
    groups = list(next(iter(rows.values())))
    figure, axis = plt.subplots(figsize=(7.2, 0.7 + (0.16 + 0.2 * len(groups)) * len(rows)))
    axis.axvline(0, color="0.6", linewidth=1)
    for y, row in enumerate(rows.values()):
        for i, group in enumerate(groups):
            at, values = y + 0.22 * (i - (len(groups) - 1) / 2), np.asarray(row[group], float)
            mean, half = mean_interval(values)
            axis.plot(values, np.full(len(values), at), "|", color="0.5", markersize=6)
            look = {"marker": "os^D"[i], "markerfacecolor": "black" if i % 2 == 0 else "white", "capsize": 2}
            axis.errorbar(mean, at, xerr=half, color="black", linestyle="none", label=None if y else group, **look)
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set(xlabel=xlabel, title=title, ylim=(len(rows) - 0.5, -0.5))
    axis.grid(axis="x", color="0.9")
    axis.set_axisbelow(True)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
    show(alt)


def rates(curves, interval, ylabel, alt=""):
    """Accuracy over the learning rate. curves: label -> rate -> values, one a seed; the best of a line is filled."""
    figure, axis = plt.subplots(figsize=(6.2, 3.6))
    for i, (label, points) in enumerate(curves.items()):
        means, halves = np.transpose([interval(values) for values in points.values()])
        at = np.array(list(points)) * 1.1 ** (i - 1)  # side by side, not one over the other
        style = {"color": "black", "linestyle": ("-", "--", ":")[i], "marker": "osD"[i], "capsize": 2}
        axis.errorbar(at, means, yerr=halves, markerfacecolor="white", label=label, **style)
        best = int(np.argmax(means))
        axis.plot(at[best], means[best], marker="osD"[i], color="black", markersize=9)
    axis.set(xscale="log", xlabel="learning rate (Adam)", ylabel=ylabel, ylim=(0, 1))
    marks = sorted({rate for points in curves.values() for rate in points})
    axis.set_xticks(marks, [f"{rate:g}" for rate in marks])
    axis.minorticks_off()
    axis.legend(loc="lower right", fontsize="small")
    show(alt)


def depth_maps(maps, trainable, ylabel, alt):
    """Maps of means over seeds, two side by side: frozen blocks to the right, cases upwards; the lighter the better.

    maps: title -> {(case, frozen blocks): values over seeds}; a case is a number of examples, or a name. trainable: how
    many parameters train at each depth, written below. The shade says how far a cell is behind the best of its row, 0
    to 15 points. The best depth wears a full frame and its 95 % interval; a broken one those whose paired difference
    to it has an interval that reaches zero.
    """
    rows = -(-len(maps) // 2)
    cases, depths = (list(dict.fromkeys(key[i] for key in next(iter(maps.values())))) for i in (0, 1))
    size = (8.6, 1.4 + rows * (0.8 + 0.45 * len(cases)))
    figure, axes = plt.subplots(rows, 2, figsize=size, sharex=True, sharey=True, squeeze=False)
    for axis, (title, cells) in zip(axes.flat, maps.items(), strict=True):
        means = np.array([[100 * np.mean(cells[case, depth]) for depth in depths] for case in cases])
        behind = means.max(1, keepdims=True) - means
        edges = [np.arange(n + 1) - 0.5 for n in (len(depths), len(cases))]
        shades = axis.pcolormesh(*edges, behind, cmap="Greys", vmin=0, vmax=15)
        for y, case in enumerate(cases):
            top = int(means[y].argmax())
            for x, depth in enumerate(depths):
                gap, half = mean_interval(100 * (np.asarray(cells[case, depths[top]]) - cells[case, depth]))
                text, ink = f"{means[y, x]:.1f}", "white" if behind[y, x] > 9 else "black"
                if x == top:
                    text += f"\n± {100 * mean_interval(cells[case, depth])[1]:.1f}"
                axis.text(x, y, text, ha="center", va="center", color=ink, fontsize="small")
                if x == top or gap <= half:
                    line = {"linewidth": 2.5} if x == top else {"linewidth": 1.2, "linestyle": (0, (3, 2))}
                    axis.add_patch(plt.Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, edgecolor=ink, **line))
        axis.set_title(title)
        axis.set_yticks(range(len(cases)), cases)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    for axis in axes[-1]:
        axis.set_xticks(range(len(depths)), [f"{depth}\n{trainable[depth]:,}" for depth in depths])
        axis.set_xlabel("frozen blocks; below, the parameters that train")
    for axis in axes[:, 0]:
        axis.set_ylabel(ylabel)
    figure.colorbar(shades, ax=axes, label="points behind the best of the row", shrink=0.8)
    handles = [
        plt.Rectangle((0, 0), 1, 1, fill=False, linewidth=2.5, label="best mean, % right, with its 95 % interval"),
        plt.Rectangle((0, 0), 1, 1, fill=False, linestyle=(0, (3, 2)), label="cannot be told apart from the best"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize="small")
    show(alt)


def curves(panels, interval, xlabel, ylabel, alt=""):
    """Means with their intervals at places in order. panels: title -> label -> {place: values over seeds}.

    The first label has full marks and a full line, the others are hollow and broken.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(1 + 2.9 * len(panels), 3.1), sharey=True, squeeze=False)
    looks = (("o-", "black"), ("s--", "white"), ("D:", "white"), ("^-.", "white"))
    for axis, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for i, (label, points) in enumerate(lines.items()):
            means, halves = np.array([interval(values) for values in points.values()]).T
            at = np.arange(len(points)) + 0.06 * (i - (len(lines) - 1) / 2)  # side by side, not one over the other
            line, face = looks[i % 4]
            axis.errorbar(at, means, halves, fmt=line, color="black", markerfacecolor=face, capsize=2, label=label)
        axis.set_xticks(range(len(points)), list(points))
        axis.set(title=title, xlabel=xlabel, ylim=(0, 1.02))
        axis.grid(axis="y", color="0.9")
    axes[0, 0].set_ylabel(ylabel)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    show(alt)


def layer_charts(schedules, parts, alt=""):
    """Which part trains when, a panel a schedule: time from left to right, the first part at the bottom.

    schedules: title -> part -> (start, end) of the span in which it trains, in shares of the run. parts: names.
    """
    rows = -(-len(schedules) // 3)  # three panels a row
    figure, axes = plt.subplots(rows, 3, figsize=(8.4, 0.5 + 2.1 * rows), sharex=True, sharey=True, squeeze=False)
    for axis, (title, spans) in zip(axes.flat, schedules.items(), strict=False):
        axis.barh(parts, 1, height=0.94, **FROZEN)
        for y, part in enumerate(parts):
            start, end = spans.get(part, (0, 0))
            axis.barh(y, end - start, left=start, height=0.94, **TRAINABLE)
        axis.set(title=title, xlim=(0, 1), ylim=(-0.5, len(parts) - 0.5))
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.tick_params(axis="y", length=0)
    for axis in axes[-1]:
        axis.set_xlabel("share of the run")
    figure.legend(handles=_legend(), loc="outside lower center", ncols=2)
    show(alt)


def work(panels, xlabel, alt=""):
    """Work by kind as stacked bars, a row a schedule, the total at the end. panels: title -> label -> kind -> share."""
    looks = {
        "forward": {"facecolor": "0.25"},
        "input gradients": {"facecolor": "0.6"},
        "weight gradients": {"facecolor": "0.85"},
        "filling the store": {"facecolor": "white", "edgecolor": "black", "hatch": "...."},
    }
    labels = list(next(iter(panels.values())))
    size = (1.6 + 3.3 * len(panels), 1.1 + 0.32 * len(labels))
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axis, (title, rows) in zip(axes[0], panels.items(), strict=True):
        for y, kinds in enumerate(rows.values()):
            left = 0
            for kind, share in kinds.items():
                if share:
                    axis.barh(y, share, left=left, height=0.7, **looks[kind])
                left += share
            axis.text(left, y, f" {left:.2f}", va="center", fontsize="small")
        axis.set(title=title, xlabel=xlabel, xlim=(0, 1.15))
    axes[0, 0].set_yticks(range(len(labels)), labels)
    axes[0, 0].invert_yaxis()
    handles = [Patch(label=kind, **look) for kind, look in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize="small")
    show(alt)


def steps_against_work(work, measured, xlabel, alt=""):
    """A row a case: a bar as long as its work, and on it what was measured.

    work: case -> share. measured: framework -> case -> repeated measurements; the mark is their median, the line goes
    from the lower to the upper quartile.
    """
    figure, axis = plt.subplots(figsize=(6.4, 0.9 + 0.34 * len(work)))
    axis.barh(list(work), list(work.values()), height=0.8, facecolor="0.85", label="work on paper")
    for i, (framework, values) in enumerate(measured.items()):
        low, middle, high = np.array([np.percentile(values[case], (25, 50, 75)) for case in work]).T
        at = np.arange(len(work)) + 0.3 * (i - (len(measured) - 1) / 2)
        look = FRAMEWORKS[framework] | {"linestyle": "none", "label": framework}
        axis.errorbar(middle, at, xerr=[middle - low, high - middle], **look)
    axis.set(xlabel=xlabel, xlim=(0, 1.1))
    axis.invert_yaxis()
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")  # not on the longest bar
    show(alt)


def memory(rows, parts, xlabel, title, alt=""):
    """Stacked bars of what stands in memory. rows: label -> megabytes of each part; parts: their names."""
    figure, axis = plt.subplots(figsize=(7.2, 0.9 + 0.34 * len(rows)))
    left, values = np.zeros(len(rows)), np.array(list(rows.values()))
    for part, name, grey in zip(values.T, parts, np.linspace(0.15, 0.9, len(parts)), strict=True):
        axis.barh(list(rows), part, left=left, color=str(grey), edgecolor="black", label=name)
        left = left + part
    axis.invert_yaxis()
    axis.set(xlabel=xlabel, title=title)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
    show(alt)


def _legend():
    return [Patch(label="frozen", **FROZEN), Patch(label="trainable", **TRAINABLE)]
