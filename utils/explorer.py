"""Look through a stored sweep: sliders where a kernel lives, and the same table as HTML where not.

Only what ipywidgets 7.7 (Colab) and 8.1 share; the sliders and the list take the arrow keys once they have the focus.
"""

import html

import numpy as np

from utils.evidence import mean_interval
from utils.study import views


def explore(recipes, trainable):
    """Show test and training accuracy by depth and size, with a table that says the same without a kernel.

    recipes: name -> rows of a sweep over "per_class" and "frozen" with "test" and "train". trainable: how many
    parameters train at each depth. FREEZING_WIDGETS=off leaves the sliders out.
    """
    views.show(static(recipes), lambda: _live(recipes, trainable))


def static(recipes):
    """The table: {"text/html": a row a recipe and size, "text/plain": one line}."""
    sizes, depths = ([*dict.fromkeys(row[name] for row in _first(recipes))] for name in ("per_class", "frozen"))
    head = "".join(f'<th scope="col">{title}</th>' for title in ("frozen blocks", *depths))
    body = []
    for name, rows in recipes.items():
        for size in sizes:
            cells = [_values(rows, size, depth) for depth in depths]
            best = int(np.argmax([test.mean() for test, _ in cells]))
            shown = [f"{test.mean():.3f} ({train.mean() - test.mean():+.2f})" for test, train in cells]
            shown[best] = f"<b>★ {shown[best]}</b>"
            body.append(
                f'<tr><th scope="row">{html.escape(name)}, {size} a class</th>'
                + "".join(f"<td>{text}</td>" for text in shown)
                + "</tr>"
            )
    caption = "Test accuracy (training minus test accuracy) by frozen blocks, means over seeds. ★: best depth of a row."
    table = f"<table><caption>{caption}</caption><tr>{head}</tr>{''.join(body)}</table>"
    return {"text/html": table, "text/plain": f"Table: {', '.join(recipes)} by frozen blocks"}


def sentence(rows, size, depth, trainable):
    """What one cell of the sweep says, in words."""
    test, train = _values(rows, size, depth)
    (mean, half), blocks = mean_interval(test), "block" if depth == 1 else "blocks"
    return (
        f"{size} examples a class, {depth} frozen {blocks}, {trainable[depth]:,} trainable parameters: "
        f"test {mean:.3f} ± {half:.3f}, training {train.mean():.3f}, gap {train.mean() - test.mean():.3f}."
    )


def _first(recipes):
    return next(iter(recipes.values()))


def _values(rows, size, depth):
    """Test and training accuracy of one cell, over seeds: two arrays."""
    chosen = [row for row in rows if (row["per_class"], row["frozen"]) == (size, depth)]
    return tuple(np.array([row[name] for row in chosen], float) for name in ("test", "train"))


def _live(recipes, trainable):
    import ipywidgets

    sizes, depths = ([*dict.fromkeys(row[name] for row in _first(recipes))] for name in ("per_class", "frozen"))
    style = {"description_width": "10em"}
    recipe = ipywidgets.Dropdown(options=list(recipes), description="recipe", style=style)
    size = ipywidgets.SelectionSlider(options=sizes, description="examples a class", style=style)
    depth = ipywidgets.SelectionSlider(options=depths, description="frozen blocks", style=style)
    shown = ipywidgets.HTML()

    def show(_=None):
        rows = recipes[recipe.value]
        line = [_bar(rows, size.value, other, other == depth.value) for other in depths]
        said = html.escape(sentence(rows, size.value, depth.value, trainable))
        shown.value = f"<div role='status'>{said}</div><table role='presentation'>{''.join(line)}</table>"

    for control in (recipe, size, depth):
        control.observe(show, "value")
    show()
    return ipywidgets.VBox([recipe, size, depth, shown])


def _bar(rows, size, depth, chosen):
    """One depth's test accuracy as a bar; the chosen one is dark and pointed at."""
    mean = _values(rows, size, depth)[0].mean()
    colour = "#333" if chosen else "#AAA"
    bar = f"<div style='background: {colour}; width: {300 * mean:.0f}px; height: 1em'></div>"
    return f"<tr><td>{'▶' if chosen else ''} {depth} frozen</td><td>{bar}</td><td>{mean:.3f}</td></tr>"
