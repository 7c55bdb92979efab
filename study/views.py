"""How questions look: static HTML that reads without a kernel, and ipywidgets where one lives.

The widgets use only what ipywidgets 7.7 (Colab) and 8.1 share, and no radio buttons: JupyterLab takes their arrow
keys. Nothing static depends on the learner's progress, so that committed outputs are the same for everyone.
"""

import html
import importlib.util
import os
import re

from .questions import LEVELS
from .scoring import RIGHT, WRONG

WIDGET = "application/vnd.jupyter.widget-view+json"

# Colours are the theme's, tinted where they mean something. A choice is a row: a button without looks, as large as the
# row, over a text that may hold code, which a button cannot. What waits for a busy kernel says so without one: while it
# is pressed the mark behind it shows, and its way back takes minutes, unless the class of the box changes (`answered`),
# which gives the turn to the other of the two marks. A box whose kernel is gone shows nothing to press.
_WAITS = '"waiting for the kernel \\2026"'
STYLE = f"""<style>
.study-box {{max-width: 60em}}
.study-text, .study-text .widget-html-content {{height: auto; line-height: 1.45; overflow-wrap: anywhere;
  font-size: var(--jp-content-font-size1, 14px)}}
.study-text pre {{margin-bottom: 0.7em}}
.study-text code, .study-code textarea {{font-family: var(--jp-code-font-family, monospace)}}
.study-text code {{background: rgba(128, 128, 128, 0.16); border-radius: 3px; padding: 1px 3px}}
.study-text pre code {{background: none; padding: 0}}
.study-text [role=timer] {{font-weight: bold}}
.study-text [role=status] {{border-left: 4px solid transparent; padding-left: 10px}}
.study-text .study-right {{border-color: #2e7d32}}
.study-text .study-wrong {{border-color: #c62828}}
.study-code textarea {{white-space: pre; overflow-x: auto}}
.study-row, .study-button {{border: 1px solid var(--jp-border-color0, rgba(128, 128, 128, 0.6)); border-radius: 4px}}
.study-row {{position: relative; overflow: visible; margin: 3px 2px; padding: 4px 10px}}
.study-row:hover, .study-row:focus-within, .study-button:hover {{border-color: var(--jp-brand-color1, Highlight)}}
.study-row:focus-within, .study-button:focus-visible {{
  outline: 3px solid var(--jp-brand-color1, Highlight) !important; outline-offset: -2px !important}}
.study-row.study-right {{background: rgba(46, 160, 67, 0.18); border-color: #2e7d32}}
.study-row.study-wrong {{background: rgba(218, 54, 51, 0.16); border-color: #c62828}}
.study-row .study-option {{position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0;
  cursor: pointer}}
.study-row .study-text {{pointer-events: none; margin: 0}}
.study-button {{position: relative; height: auto !important; padding: 4px 12px; line-height: 1.4; overflow: visible}}
.study-row::before, .study-row::after, .study-button::before, .study-button::after {{content: {_WAITS}; opacity: 0;
  position: absolute; right: 0; bottom: -1px; z-index: 1; padding: 0 6px; border-radius: 4px; font-size: 12px;
  font-style: italic; white-space: nowrap; pointer-events: none; color: var(--jp-ui-font-color1, CanvasText);
  background: var(--jp-layout-color2, Canvas)}}
.study-button::before, .study-button::after {{right: auto; left: 100%; bottom: 4px}}
.study-even :is(.study-row, .study-button)::before, .study-odd :is(.study-row, .study-button)::after {{
  transition: opacity 0s 300s}}
.study-even :is(.study-row, .study-button):is(:active, :has(:active))::before,
.study-odd :is(.study-row, .study-button):is(:active, :has(:active))::after {{opacity: 1; transition: none}}
.jupyter-widgets-disconnected.study-box > :not(:first-child) {{display: none}}
.jupyter-widgets-disconnected.study-box *::before {{content: none}}
.jupyter-widgets-disconnected.study-box::after {{content: "The kernel that asked this is gone: run the cell again."}}
</style>"""


def text_html(text):
    """Text of a question file as HTML: everything is escaped, and what stands between backticks becomes code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def heading(question):
    """The prompt and code of a question as HTML."""
    code = ""
    if question.get("code"):
        code = f"<pre><code>{html.escape(question['code'].rstrip(), quote=False)}</code></pre>"
    several = " (more than one may be right)" if question.get("kind") == "multiple" else ""
    predict = "Predict: " if question.get("predict") else ""
    return f"<p><b>{predict}{text_html(question['prompt'])}</b>{several}</p>{code}"


def fold(summary, *lines):
    """A part that opens by click or key, and ends visibly; summary and lines are HTML."""
    return f"<details><summary>{summary}</summary><blockquote>{'<br>'.join(lines)}</blockquote></details>"


def _one_line(word, question):
    return " ".join(f"{word} {question['id']}: {question['prompt']}".split())


def quiz_bundle(question):
    """The static view of a quiz question: {"text/html": one fold an option, "text/plain": one line}."""
    explanation = [text_html(question["explanation"])] if question.get("explanation") else []
    folds = []
    for key, option in question.get("options", {}).items():
        after = explanation if option.get("right") and question["kind"] != "multiple" else []
        verdict = f"{RIGHT if option.get('right') else WRONG} {text_html(option['feedback'])}"
        folds.append(fold(f"{key}) {text_html(option['text'])}", verdict, *after))
    if "answer" in question:
        within = f" ± {question['tolerance']}" if question.get("tolerance") else ""
        typed = [f"{RIGHT} <code>{html.escape(str(question['answer']), quote=False)}</code>{within}", *explanation]
        typed += [
            f"{WRONG} <code>{html.escape(str(m['value']), quote=False)}</code>: {text_html(m['feedback'])}"
            for m in question.get("mistakes", ())
        ]
        folds.append(fold("Answer", *typed, f"{WRONG} Anything else: {text_html(question['otherwise'])}"))
    elif question["kind"] == "multiple" and explanation:
        folds.append(fold("Explanation", *explanation))
    return {"text/html": static(question, "".join(folds)), "text/plain": _one_line("Quiz", question)}


def recall_bundle(question):
    """The static view of a question for own words: the prompt, and folded the hints and the model answer."""
    hints, model = (
        "".join(f"<li>{text_html(concept[part])}</li>" for concept in question["concepts"]) for part in ("hint", "says")
    )
    after = f"<p>{text_html(question['explanation'])}</p>" if question.get("explanation") else ""
    folds = fold("Hints", f"<ul>{hints}</ul>") + fold("A model answer", f"<ol>{model}</ol>{after}")
    return {
        "text/html": static(question, f"<p>Write it down first, then compare.</p>{folds}"),
        "text/plain": _one_line("In your own words", question),
    }


def cards_bundle(cards):
    """The view of recall cards, by level: front as summary, back folded. cards: dicts from question files."""
    body, counts = [], []
    for level in LEVELS:
        group = [card for card in cards if card["level"] == level]
        if group:
            counts.append(f"{len(group)} {level}")
            body.append(f"<p><b>{level.capitalize()}</b></p>")
            body += [fold(text_html(card["front"]), text_html(card["back"])) for card in group]
    return {"text/html": f"<div>{''.join(body)}</div>", "text/plain": f"Cards: {', '.join(counts)}"}


_told = set()  # what is said once a kernel


def show(bundle, widget=None):
    """Display a bundle, with the live view where a kernel and ipywidgets are; print its line where there is no IPython.

    widget: a function that makes the ipywidgets view. FREEZING_WIDGETS=off leaves the live view out.
    """
    shell = None
    if importlib.util.find_spec("IPython"):
        from IPython import get_ipython
        from IPython.display import display

        shell = get_ipython()
    if shell is None:
        print(bundle["text/plain"])
        return
    live = widget and hasattr(shell, "kernel") and os.environ.get("FREEZING_WIDGETS", "").lower() != "off"
    display(bundle, raw=True)
    if live and importlib.util.find_spec("ipywidgets"):
        # An output of its own, which hides the static one while it lives (see `hide`). In one output with it, a
        # trusted notebook opened anew would show "Error displaying widget: model not found" and no question.
        display({WIDGET: {"model_id": widget().model_id, "version_major": 2, "version_minor": 0}}, raw=True)
    elif live and "ipywidgets" not in _told:
        _told.add("ipywidgets")
        print("There are no buttons, because ipywidgets is not installed: install it, or answer by code.")


def static(question, body):
    """The static view of a question, with the class by which the live view hides it."""
    run = "<p><small>Run this cell to answer here.</small></p>"
    return f'<div class="{class_name(question)}">{heading(question)}{body}{run}</div>'


def class_name(question):
    """The class of a question's static view."""
    return "study-" + question["id"].replace("/", "-")


def hide(question):
    """The style that hides a question's static view while the live one is there."""
    return f"<style>.{class_name(question)} {{display: none}}</style>"


def _status(lines=(), right=None):
    """The live region: a screen reader speaks what is put into it. It is there, empty, from the beginning."""
    look = {True: ' class="study-right"', False: ' class="study-wrong"'}.get(right, "")
    return f'<div role="status"{look}>{"<br>".join(map(text_html, lines))}</div>'


class View:
    """What the live views share: the heading, choices, a row of buttons, and the feedback. Subclasses add the inputs.

    submit(*values) -> (Score, notes) scores and records; hint() -> text; since: date of the first right answer or None.
    """

    outer = None  # the box around all

    def __init__(self, question, submit, hint, since):
        import ipywidgets

        self.w, self.question, self.submit, self.hint = ipywidgets, question, submit, hint
        self.attempts = 0
        before = [f"{RIGHT[0]} You answered this correctly on {since[:10]}."] if since else ()
        self.feedback = self.text(_status(before))

    def box(self, *inputs, check=None, below=()):
        """inputs: widgets above the buttons; check: the first of the buttons, or None; below: widgets below them."""
        head = self.text(STYLE + hide(self.question) + heading(self.question))
        buttons = self.w.HBox([*([check] if check else []), self.button("Hint", self.on_hint)])
        self.outer = self.w.VBox([head, *inputs, buttons, *below, self.feedback])
        for name in ("study-box", "study-even"):
            self.outer.add_class(name)
        return self.outer

    def text(self, value):
        widget = self.w.HTML(value, layout=self.w.Layout(width="auto", height="auto"))
        widget.add_class("study-text")
        return widget

    def button(self, description, action, style="study-button"):
        def act(button):
            action(button)
            self.answered()

        button = self.w.Button(description=description, layout=self.w.Layout(width="auto", height="auto"))
        button.add_class(style)
        button.on_click(act)
        return button

    def answered(self):
        """Take away what says that a press waits for the kernel (STYLE)."""
        if self.outer:
            odd = "study-odd" in self.outer._dom_classes
            self.outer.remove_class("study-odd" if odd else "study-even")
            self.outer.add_class("study-even" if odd else "study-odd")

    def row(self, action):
        """A choice that has yet to be labelled."""
        row = self.w.HBox([self.button("", action, "study-option"), self.text("")])
        row.add_class("study-row")
        return row

    def label(self, row, text, right=None):
        """Write a choice's text, and colour it. The button holds it for screen readers, the text beside it for eyes."""
        button, label = row.children
        button.description = text.replace("`", "")
        label.value = f'<span aria-hidden="true">{text_html(text)}</span>'
        for name, on in (("study-right", right is True), ("study-wrong", right is False)):
            row.add_class(name) if on else row.remove_class(name)

    def on_hint(self, _):
        self.feedback.value = _status([self.hint()])

    def tell(self, *values):
        score, notes = self.submit(*values)
        if score.right is not None:
            self.attempts += 1
        # the number makes the text differ from the one before: the same text again would not be spoken
        count = f" (attempt {self.attempts})" if score.right is False and self.attempts > 1 else ""
        self.feedback.value = _status((score.lines[0] + count, *score.lines[1:], *notes), score.right)
        return score


class _Choose(View):
    """One row an option; for `multiple` they are toggled, and a Check button scores."""

    def view(self):
        self.several, self.chosen, self.rows = self.question["kind"] == "multiple", set(), {}
        for key in self.question["options"]:
            self.rows[key] = self.row(lambda _, key=key: self.on_option(key))
            self.mark(key)
        return self.box(*self.rows.values(), check=self.button("Check", self.on_check) if self.several else None)

    def mark(self, key, right=None):
        sign = ("☑ " if key in self.chosen else "☐ ") if self.several else ""
        sign += {True: f"{RIGHT[0]} ", False: f"{WRONG[0]} ", None: ""}[right]
        self.label(self.rows[key], f"{sign}{key}) {self.question['options'][key]['text']}", right)

    def on_option(self, key):
        if self.several:
            self.chosen ^= {key}
            return self.mark(key)
        self.mark(key, self.tell(key).right)

    def on_check(self, _):
        if self.tell(*sorted(self.chosen)).right is not None:
            for key in self.rows:
                self.mark(key, self.question["options"][key].get("right", False) if key in self.chosen else None)


class _Type(View):
    """A line to type a number or what is printed; Enter checks it, and so does leaving it, for the Check button.

    A text is judged when it arrives, and not when a button's press does: the browser holds a text back while an older
    one is not yet taken by the kernel, and lets a press overtake it, which would judge the older one. Letter by letter
    (continuous_update) it would hold back the last letters of any text.
    """

    def view(self):
        lines = isinstance(self.question["answer"], str) and "\n" in self.question["answer"].strip()
        kind = self.w.Textarea if lines else self.w.Text
        self.input = kind(description="Answer", continuous_update=False, layout=self.w.Layout(width="24em"))
        self.input.observe(self.on_text, "value")
        self.verdict = _status(["Write your answer first."])
        return self.box(self.input, check=self.button("Check", self.on_check))

    def on_text(self, change):
        if change["new"].strip():
            self.tell(change["new"])
            self.verdict = self.feedback.value
            self.answered()

    def on_check(self, _):
        self.feedback.value = self.verdict  # a hint may stand in its place


class _Write(View):
    """A text area for own words; Compare shows the concepts of a model answer, for the learner to tick."""

    def view(self):
        self.input = self.w.Textarea(
            placeholder="In your own words, in whole sentences",
            rows=5,
            continuous_update=False,
            layout=self.w.Layout(width="auto"),
        )
        self.said, self.rows = set(), {}
        for place in range(1, len(self.question["concepts"]) + 1):
            self.rows[place] = self.row(lambda _, place=place: self.on_concept(place))
            self.mark(place)
        record = self.w.HBox([self.button("Record", self.on_record)])
        parts = [self.text("A model answer. Tick what you have said, in whatever words:"), *self.rows.values(), record]
        self.model = self.w.VBox(parts, layout=self.w.Layout(display="none"))
        return self.box(self.input, check=self.button("Compare", self.on_compare), below=[self.model])

    def mark(self, place):
        text = self.question["concepts"][place - 1]["says"]
        self.label(self.rows[place], f"{'☑' if place in self.said else '☐'} {text}")

    def on_compare(self, _):
        score, _ = self.submit(self.input.value, None)
        written = len(score.lines) > 1  # else the only line asks for words
        self.model.layout.display = None if written else "none"
        self.feedback.value = _status(() if written else score.lines)

    def on_concept(self, place):
        self.said ^= {place}
        self.mark(place)

    def on_record(self, _):
        score, notes = self.submit(self.input.value, sorted(self.said))
        self.feedback.value = _status((*score.lines[:1], *notes), score.right or None)


def live(question, submit, hint, since):
    """The ipywidgets view of a quiz question, or of one for own words.

    submit: function(*values) -> (Score, notes). hint: function() -> text. since: when it was first right, or None.
    Returns a VBox.
    """
    kind = _Write if question["section"] == "recall" else _Choose if "options" in question else _Type
    return kind(question, submit, hint, since).view()
