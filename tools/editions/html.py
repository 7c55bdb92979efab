"""Notebooks as pages that need nothing else: `python -m tools.editions.html`, or `make html`.

Each page holds its styles and pictures, and no script: it opens from a disk, from a memory stick, without a network.
"""

import argparse
import copy
import html
import re
import sys
from pathlib import Path

from jinja2 import DictLoader
from nbconvert import HTMLExporter
from traitlets.config import Config

from .errors import EditionError
from .files import ROOT, not_written, read, shown

# nbconvert's own page loads require.js, MathJax and Mermaid from other hosts; the course uses none of them.
PAGE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock html_head_js -%}
{%- block html_head_js_mathjax -%}{%- endblock html_head_js_mathjax -%}
{%- block html_head_js_mermaidjs -%}{%- endblock html_head_js_mermaidjs -%}
{%- block jupyter_widgets -%}{%- endblock jupyter_widgets -%}
{%- block extra_css -%}<style>
main { max-width: 1000px; margin: 0 auto; padding: 0 1em; }
summary { cursor: pointer; }
.solution > summary { margin-left: 80px; }
nav a { text-decoration: underline; }
</style>{%- endblock extra_css -%}
{%- block body_header -%}{{ super() }}<nav><a href="index.html">All notebooks</a></nav>{%- endblock body_header -%}
{%- block codecell -%}
{%- if 'solution' in cell.metadata.get('tags', []) -%}
<details class="solution"><summary>Solution</summary>{{ super() }}</details>
{%- else -%}{{ super() }}{%- endif -%}
{%- endblock codecell -%}
"""
ALT = "Figure; the text below it says what is to be seen."
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Freezing layers, run and proved</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 800px; margin: 2em auto; padding: 0 1em; color: #222; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.4em 1em 0.4em 0; border-bottom: 1px solid #ccc; }}
</style>
</head>
<body>
<main>
<h1>Freezing layers, run and proved</h1>
<p>The notebooks of the course with their outputs, to be read. To run them, to answer and to be checked, open them in
JupyterLab.</p>
<table>
<thead><tr><th scope="col">notebook</th><th scope="col">the question</th><th scope="col">minutes</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</main>
</body>
</html>
"""


def main(arguments=None):
    """Write the pages. Exits with one sentence when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.editions.html", description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "notebooks", help="default: notebooks")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "html", help="default: build/html")
    options = parser.parse_args(arguments)
    try:
        print(f"{shown(options.to / 'index.html')}: {write(options.folder, options.to)} notebooks")
    except EditionError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(not_written(error, options.to))


def write(folder, target):
    """Write a page for each notebook of a folder, and an index.

    folder, target: paths. Returns the number of notebooks. Raises EditionError if there are none.
    """
    notebooks = {path.stem: read(path) for path in sorted(folder.glob("*.ipynb"))}
    if not notebooks:
        raise EditionError(f"There are no notebooks in {folder}: name their folder.")
    target.mkdir(parents=True, exist_ok=True)
    for name, notebook in notebooks.items():
        (target / f"{name}.html").write_text(page(notebook, name), encoding="utf-8")
    (target / "index.html").write_text(index(notebooks), encoding="utf-8")
    return len(notebooks)


def page(notebook, name):
    """One notebook as a page: text."""
    notebook = copy.deepcopy(notebook)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        if "image/png" in output.get("data", {}):
            output.metadata["image/png"] = {**output.metadata.get("image/png", {}), "alt": ALT}
    exporter = HTMLExporter(
        template_file="page.html.j2",
        extra_loaders=[DictLoader({"page.html.j2": PAGE})],
        embed_images=True,
        config=Config({"HTMLExporter": {"sanitize_html": False}}),
    )
    text, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title(notebook) or name}})
    return re.sub(r'href="((?!https?:)[\w./-]+)\.ipynb"', r'href="\1.html"', text)


def index(notebooks):
    """The page that lists the notebooks. notebooks: {name: notebook}. Returns text."""
    rows = []
    for name, notebook in notebooks.items():
        cells = (f'<a href="{name}.html">{name[:2]} {_text(title(notebook) or name)}</a>', _text(question(notebook)))
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in (*cells, minutes(notebook))) + "</tr>")
    return INDEX.format(rows="\n".join(rows))


def title(notebook):
    """The heading of a notebook, or an empty text."""
    return _found(notebook, r"^# ([^\n]+)")


def question(notebook):
    """The notebook's question, or an empty text."""
    return _found(notebook, r"^\*\*The question\.\*\* (.+?)(?=\n\n|\Z)")


def minutes(notebook):
    """How long it takes to work through, as text, or an empty text."""
    return _found(notebook, r"^\*\*You need\*\*.*?\bAbout (\d+) minutes\b")


def _found(notebook, pattern):
    text = notebook.cells[0].source if notebook.cells else ""
    match = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    return " ".join(match[1].split()) if match else ""


def _text(words):
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(words))


if __name__ == "__main__":
    main()
