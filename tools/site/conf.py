"""Sphinx's settings of the site; `python -m tools.site` prepares what it reads."""

project = "Freezing layers, run and proved"
author = "the authors of the course"
html_title = project
extensions = ["myst_nb", "sphinx_copybutton"]
html_theme = "sphinx_book_theme"
html_theme_options = {"show_toc_level": 2, "use_download_button": False, "use_fullscreen_button": False}
html_theme_options |= {"navbar_persistent": [], "navbar_end": []}  # the search stands in the side bar
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
nb_execution_mode = "off"  # the stored outputs are the site's
nb_ipywidgets_js = {}  # no widget lives there, and none is fetched
nb_merge_streams = True
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline"]  # the kinds of findings are targets
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header"]


def setup(app):
    """A table that is wider than a phone scrolls in its box: the keyboard must be able to get there."""
    box = 'class="pst-scrollable-table-container"'

    def reachable(app, page, template, context, doctree):
        context["body"] = context.get("body", "").replace(box, f'{box} tabindex="0"')

    app.connect("html-page-context", reachable)
