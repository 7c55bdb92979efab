"""The site: what the notebooks show is on its pages, nothing is fetched from elsewhere, and it reads on a phone."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from conftest import DEMO
from study import questions, views
from tools import ROOT, site, write
from tools.site.__main__ import WAITING, for_pages, main

pytestmark = pytest.mark.filterwarnings("ignore")  # Sphinx' own libraries warn each other
THIRD = "notebooks/03_batchnorm_pitfall.html"
ALT = "Bars, the left one longer."
QUESTION = views.quiz_bundle(questions.read(DEMO)[0]["questions"]["90/single"])["text/html"]
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
    shown = asked.outputs[0].data["text/html"]
    assert "Run this" in QUESTION and "Run this" not in shown
    options = re.findall(r'<details class="option (right|wrong)"><summary>[a-z]\)', shown)
    assert options.count("right") == 1 and len(options) == QUESTION.count("<details><summary>") > 2
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
    assert 'href="notebooks/03_batchnorm_pitfall.html#' in html["index.html"]
    assert 'href="../finding_kinds.html#statistics-will-drift"' in html["docs/symptoms.html"]
    assert 'href="../notebooks/03_batchnorm_pitfall.html#train-torch"' in html["docs/symptoms.html"]
    assert 'href="../index.html#start"' in page
    assert {"TEACHING.html", "CONTRIBUTING.html", "data/README.html", "docs/claims.html", "search.html"} <= html.keys()
    assert max(map(len, html.values())) < 1_000_000


def test_links_between_pages_lead_to_what_is_there(pages):
    dead, ids = [], {}
    for path in pages.rglob("*.html"):
        for target, anchor in re.findall(r'href="([\w./-]+\.html)#([\w.-]+)"', path.read_text(encoding="utf-8")):
            to = (path.parent / target).resolve()
            if to not in ids:
                ids[to] = set(re.findall(r'id="([^"]+)"', to.read_text(encoding="utf-8"))) if to.exists() else set()
            dead += [f"{path.name}: {target}#{anchor}"] * (anchor not in ids[to])
    assert dead == [] and len(ids) > 10


def violations(page):
    """What axe-core finds wrong on a page, but for the theme's own: its side bar is no landmark."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"] if one["id"] != "region"]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "light"), (390, "dark")])
def test_pages_in_a_browser(pages, browser, width, theme):
    from browser import SCREENSHOTS

    asked, page = [], browser.new_page(viewport={"width": width, "height": 900})
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script(f"localStorage.mode = localStorage.theme = '{theme}'")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    teaching = "data/teaching/03_batchnorm_pitfall.html"
    for name in ("index.html", "docs/symptoms.html", "docs/claims.html", "finding_kinds.html", teaching, THIRD):
        page.goto((pages / name).as_uri())
        shot = f"site_{name.removesuffix('.html').replace('/', '_')}_{width}_{theme}.png"
        page.screenshot(path=SCREENSHOTS / shot, full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the window"
        assert violations(page) == []
        clipped = page.evaluate("""() => [...document.querySelectorAll('pre')]
            .filter(pre => pre.scrollWidth > pre.clientWidth + 1 && getComputedStyle(pre).overflowX === 'hidden')
            .map(pre => pre.textContent.slice(0, 60))""")
        assert clipped == []
    option = page.locator("details.option summary").first
    option.press("Enter")
    assert page.locator("details.option[open] blockquote").first.is_visible()
    assert "your choice" in option.evaluate("one => getComputedStyle(one, '::after').content")
    page.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_a_folder_without_notebooks_and_a_broken_one_get_one_sentence(tmp_path):
    with pytest.raises(SystemExit, match="There are no notebooks in"):
        main(tmp_path, tmp_path / "pages")
    (tmp_path / "01_x.ipynb").write_text("{")
    with pytest.raises(SystemExit, match="01_x.ipynb is not a notebook"):
        main(tmp_path, tmp_path / "pages")
    assert not (tmp_path / "pages").exists()
