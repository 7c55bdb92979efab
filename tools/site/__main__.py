"""The course as pages to read, with all outputs: `make site` writes build/site/index.html (Sphinx, MyST-NB)."""

import re
import shutil
import sys
from pathlib import Path

from nbformat.v4 import new_markdown_cell
from sphinx.cmd.build import build_main

from study.scoring import RIGHT, WRONG
from tools import ROOT, code_cells, notebooks, read, write
from utils.freeze_report import KINDS, kinds_page

HERE = Path(__file__).resolve().parent
PAGES = {  # the page's source: what it is made from
    "index.md": "README.md",
    **{name: name for name in ("TEACHING.md", "CONTRIBUTING.md", "data/README.md", "data/questions/README.md")},
    **{f"docs/{name}.md": f"docs/{name}.md" for name in ("install", "symptoms", "claims", "benchmarks")},
}
FILES = (
    "LICENSE",
    "CITATION.cff",
    "data/gpu.json",
    "tools/site/truth_table.png",
    "utils/freeze_report.py",
)  # what pages lead to or show
CELL = re.compile(r"\([./]*(?:notebooks/)?(\d\d)_(\w+)\.ipynb#cell-id=([\w-]+)\)")  # a link to a cell
KIND = re.compile(rf"`({'|'.join(KINDS)})`")  # of a finding
WAITING = re.compile(r"<p><small>Run this cell to .*?</small></p>|Run this cell to play here\. ")  # nothing runs there
OPTION = re.compile(rf"<details>(?=<summary>[a-z]\) (?:(?!</summary>).)*</summary><blockquote>({RIGHT}|{WRONG}))")
TOC = """

```{{toctree}}
:hidden:
:caption: Notebooks

{notebooks}
```

```{{toctree}}
:hidden:
:caption: What you see, what we found

docs/symptoms
finding_kinds
docs/claims
docs/benchmarks
docs/install
```

```{{toctree}}
:hidden:
:caption: For teachers

TEACHING
{teaching}
```

```{{toctree}}
:hidden:
:caption: For contributors

CONTRIBUTING
data/README
data/questions/README
```
"""


def main(folder=ROOT / "notebooks", target=ROOT / "build" / "site"):
    """Write the site of a folder's notebooks into a folder. Exits with one sentence when something is wrong."""
    source = target.with_name(f"{target.name}_source")
    try:
        shutil.rmtree(source, ignore_errors=True)
        paths = prepare(folder, source)
    except OSError as error:
        sys.exit(f"Cannot write {error.filename or source} ({error.strerror}): mend that and run the same again.")
    if build_main(["-q", "-j", "2", "-b", "html", "-c", str(HERE), str(source), str(target)]):
        sys.exit("Sphinx could not make the pages: its error is above.")
    print(f"{target / 'index.html'}: {len(paths)} notebooks")


def prepare(folder, source):
    """Copy pages, files and notebooks into `source`, as Sphinx wants them. Returns the notebooks' paths."""
    paths = notebooks(folder)
    originals = {path: read(path) for path in paths}
    texts = {page: (ROOT / made_from).read_text(encoding="utf-8") for page, made_from in PAGES.items()}
    teaching = sorted((ROOT / "data" / "teaching").glob("*.md"))
    toc = TOC.format(
        notebooks="\n".join(f"{path.stem[:2]} {title(nb)} <notebooks/{path.stem}>" for path, nb in originals.items()),
        teaching="\n".join(f"data/teaching/{path.stem}" for path in teaching),
    )
    texts["index.md"] += toc
    texts |= {f"data/teaching/{path.name}": path.read_text(encoding="utf-8") for path in teaching}
    texts["docs/symptoms.md"] = KIND.sub(r"[`\1`](../finding_kinds.md#\1)", texts["docs/symptoms.md"])
    texts["finding_kinds.md"] = KIND.sub(r"`\1`{#\1}", kinds_page())
    wanted = {found.groups() for text in texts.values() for found in CELL.finditer(text)}
    for page, text in texts.items():
        text = CELL.sub(lambda found: f"(#{found[1]}-{found[3]})", text)
        write(re.sub(r"\((\.\./)?README\.md", r"(\1index.md", text), source / page)
    for path, notebook in originals.items():
        ids = {cell for number, _, cell in wanted if number == path.stem[:2]}
        write(for_pages(notebook, path.stem[:2], ids), source / "notebooks" / path.name)
    for file in FILES:
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, source / file)
    return paths


def title(notebook):
    """The text of a notebook's first heading."""
    return next(re.search(r"^# (.+)$", cell.source, re.M)[1] for cell in notebook.cells if cell.source.startswith("# "))


def for_pages(notebook, number, ids):
    """A notebook as the site shows it; it is changed and returned.

    Folded cells are told by their title, figures keep their alternative text and width, questions do not ask for a
    kernel and mark the option that is chosen (site.css), and each cell in `ids` gets the anchor NUMBER-ID for links.
    """
    for cell in code_cells(notebook):
        title = re.match(r"# @title (.+)", cell.source)
        if "solution" in cell.metadata.get("tags", ()):
            cell.metadata.tags.append("hide-input")
        label = title[1] if title else "Solution"
        page = {"code_prompt_show": label, "code_prompt_hide": f"Hide: {label}"}
        for output in cell.outputs:
            for about in output.get("metadata", {}).values():  # of image/png or image/jpeg
                if isinstance(about, dict) and about.get("alt"):
                    page["image"] = {"alt": about["alt"]}  # MyST-NB takes the width from the output, but not the text
            if "text/html" in output.get("data", {}):
                html = WAITING.sub("", output.data["text/html"])
                html = re.sub(r'href="(\d\d_\w+)\.ipynb"', r'href="\1.html"', html)
                output.data["text/html"] = OPTION.sub(_option, html)
        cell.metadata["mystnb"] = page
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("](../README.md", "](../index.md")
    for cell in [cell for cell in notebook.cells if cell.id in ids]:
        anchor = new_markdown_cell(f"({number}-{cell.id})=", id=f"anchor-{cell.id}"[:64])
        notebook.cells.insert(notebook.cells.index(cell), anchor)
    return notebook


def _option(found):
    return f'<details class="option {"right" if found[1] == RIGHT else "wrong"}">'


if __name__ == "__main__":
    main()
