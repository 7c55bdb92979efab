"""The site: what the notebooks show is on its pages, nothing is fetched from elsewhere, and it reads on a phone."""

import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import ROOT, site, write
from tools.site.__main__ import WAITING, for_pages, main

pytestmark = pytest.mark.filterwarnings("ignore")  # Sphinx' own libraries warn each other
ALT = "Bars, the left one longer."
QUESTION = '<div class="study-01-a"><p><b>Why?</b></p><p><small>Run this cell to answer here.</small></p></div>'
# What a page would fetch when it is opened; a link that is followed by hand is none.
FETCHED = (
    r"<(?:script|img|link|iframe|source|video|audio|embed|object)\b[^>]*?(?:src|href|data)\s*=\s*[\"']?(?:https?:)?//"
)


def notebook():
    """With a folded proof, a figure, a question and a solution."""
    picture = {
        "image/png": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPhfDwAChAGAZ8wM4wAAAABJRU5ErkJggg=="
    }
    figure = new_output("display_data", data=picture, metadata={"image/png": {"alt": ALT, "width": 320}})
    asked = new_output("display_data", data={"text/html": QUESTION, "text/plain": "Quiz"})
    cells = [
        new_markdown_cell("# First\n\nText, and [rows](../README.md#start).", id="title"),
        new_code_cell("# @title Proof: of it\nsecret = 1", id="p", outputs=[figure], metadata={"tags": ["hide-input"]}),
        new_code_cell("quiz('01/a')", id="q", outputs=[asked]),
        new_code_cell("answer = 1", id="s", metadata={"tags": ["solution"]}),
    ]
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def test_a_notebook_for_the_pages():
    made = for_pages(notebook(), "01", {"q"})
    assert [cell.id for cell in made.cells] == ["title", "p", "anchor-q", "q", "s"]
    proof, anchor, asked, solution = made.cells[1:]
    assert proof.metadata.mystnb == {"code_prompt_show": "Proof: of it", "code_prompt_hide": "Hide: Proof: of it"} | {
        "image": {"alt": ALT}
    }
    assert anchor.source == "(01-q)="
    assert "Why?" in asked.outputs[0].data["text/html"] and "Run this" not in asked.outputs[0].data["text/html"]
    assert "hide-input" in solution.metadata.tags and solution.metadata.mystnb.code_prompt_show == "Solution"
    assert WAITING.search((ROOT / "study" / "views.py").read_text()), "the line below a question reads otherwise now"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A site of one small notebook and one of the course's, beside the course's own pages."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "notebooks").mkdir()
    write(notebook(), folder / "notebooks" / "01_freeze_basics.ipynb")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))[1:]:
        (folder / "notebooks" / path.name).write_bytes(path.read_bytes())
    main(folder / "notebooks", folder / "pages")
    return folder / "pages"


def test_pages_fetch_nothing_and_hold_all(pages):
    assert site
    html = {path.relative_to(pages).as_posix(): path.read_text(encoding="utf-8") for path in pages.rglob("*.html")}
    fetched = {name: found.group() for name, text in html.items() if (found := re.search(FETCHED, text))}
    assert {name: text for name, text in fetched.items() if "webpack-macros" not in name} == {}
    page = html["notebooks/01_freeze_basics.html"]
    assert f'alt="{ALT}"' in page and 'width="320' in page
    assert "Proof: of it" in page and "Run this cell" not in "".join(html.values())
    third = html["notebooks/03_batchnorm_pitfall.html"]
    assert len(re.findall(r'<img alt="[^"]{40,}', third)) == third.count("<img alt=") >= 4
    for target in re.findall(r'href="notebooks/03_batchnorm_pitfall\.html#([\w-]+)"', html["index.html"]):
        assert f'id="{target}"' in third
    assert 'href="notebooks/03_batchnorm_pitfall.html#' in html["index.html"]
    assert "statistics-will-drift" in html["finding_kinds.html"]
    assert 'href="../index.html#start"' in page
    assert {"TEACHING.html", "CONTRIBUTING.html", "data/README.html", "search.html"} <= html.keys()
    assert max(path.stat().st_size for path in (pages / "notebooks").glob("*.html")) < 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "light"), (390, "dark")])
def test_pages_in_a_browser(pages, browser, width, theme):
    from browser import SCREENSHOTS

    asked, page = [], browser.new_page(viewport={"width": width, "height": 900})
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script(f"localStorage.mode = localStorage.theme = '{theme}'")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for name in ("index.html", "notebooks/03_batchnorm_pitfall.html", "data/teaching/03_batchnorm_pitfall.html"):
        page.goto((pages / name).as_uri())
        shot = f"site_{name.removesuffix('.html').replace('/', '_')}_{width}_{theme}.png"
        page.screenshot(path=SCREENSHOTS / shot, full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the window"
        clipped = page.evaluate("""() => [...document.querySelectorAll('pre')]
            .filter(pre => pre.scrollWidth > pre.clientWidth + 1 && getComputedStyle(pre).overflowX === 'hidden')
            .map(pre => pre.textContent.slice(0, 60))""")
        assert clipped == []
    page.goto((pages / "notebooks/03_batchnorm_pitfall.html").as_uri())
    first = page.locator("details summary", has_text="a)").first
    first.click()
    assert page.locator("details[open] blockquote").first.is_visible()
    page.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_a_folder_without_notebooks_and_a_broken_one_get_one_sentence(tmp_path):
    with pytest.raises(SystemExit, match="There are no notebooks in"):
        main(tmp_path, tmp_path / "pages")
    (tmp_path / "01_x.ipynb").write_text("{")
    with pytest.raises(SystemExit, match="01_x.ipynb is not a notebook"):
        main(tmp_path, tmp_path / "pages")
    assert not (tmp_path / "pages").exists()
