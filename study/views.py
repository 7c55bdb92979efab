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

# Colours are inherited from the theme. Buttons have a fixed height and cut their text, unless told otherwise.
STYLE = """<style>
.study-option, .study-button {height: auto !important; padding: 6px 10px; line-height: 1.4; white-space: normal;
  overflow: visible; text-overflow: clip; overflow-wrap: anywhere}
.study-option {text-align: left}
.study-option:focus-visible, .study-button:focus-visible {
  outline: 3px solid var(--jp-brand-color1, Highlight) !important; outline-offset: -3px !important}
.study-box {max-width: 60em}
.study-text, .study-text .widget-html-content {height: auto; line-height: 1.45; overflow-wrap: anywhere;
  font-size: var(--jp-content-font-size1, 14px)}
.study-text pre {margin-bottom: 0.7em}
.study-code textarea {font-family: var(--jp-code-font-family, monospace); white-space: pre; overflow-x: auto}
.study-text [role=timer] {font-weight: bold}
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
    """A part that opens by click or key; summary and lines are HTML."""
    return f"<details><summary>{summary}</summary>{'<br>'.join(lines)}</details>"


def _one_line(word, question):
    return " ".join(f"{word} {question['id']}: {question['prompt']}".split())


def quiz_bundle(question):
    """The static view of a quiz question: {"text/html": one fold an option, "text/plain": one line}."""
    explanation = [text_html(question["explanation"])] if question.get("explanation") else []
    folds = []
    for key, option in question.get("options", {}).items():
        after = explanation if option.get("right") and question["kind"] != "multiple" else []
        folds.append(
            fold(
                f"{key}) {text_html(option['text'])}",
                f"{RIGHT if option.get('right') else WRONG} {text_html(option['feedback'])}",
                *after,
            )
        )
    if "answer" in question:
        typed = [
            f"{RIGHT} <code>{html.escape(str(question['answer']), quote=False)}</code>"
            + (f" ± {question['tolerance']}" if question.get("tolerance") else ""),
            *explanation,
        ]
        typed += [
            f"{WRONG} <code>{html.escape(str(m['value']), quote=False)}</code>: {text_html(m['feedback'])}"
            for m in question.get("mistakes", ())
        ]
        folds.append(fold("Answer", *typed, f"{WRONG} Anything else: {text_html(question['otherwise'])}"))
    elif question["kind"] == "multiple" and explanation:
        folds.append(fold("Explanation", *explanation))
    return {"text/html": static(question, "".join(folds)), "text/plain": _one_line("Quiz", question)}


def recall_bundle(question):
    """The static view of a free-recall question: the prompt, the hints folded, and folded what a full answer names."""
    hints = "".join(f"<li>{text_html(concept['hint'])}</li>" for concept in question["concepts"])
    names = "".join(f"<li>{text_html(concept['name'])}</li>" for concept in question["concepts"])
    after = f"<p>{text_html(question['explanation'])}</p>" if question.get("explanation") else ""
    folds = fold("Hints", f"<ul>{hints}</ul>") + fold("What a full answer says", f"<ul>{names}</ul>{after}")
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
    live = hasattr(shell, "kernel") and os.environ.get("FREEZING_WIDGETS", "").lower() != "off"
    display(bundle, raw=True)
    if widget and live and importlib.util.find_spec("ipywidgets"):
        # An output of its own, which hides the static one while it lives (see `hide`). In one output with it, a
        # trusted notebook opened anew would show "Error displaying widget: model not found" and no question.
        display({WIDGET: {"model_id": widget().model_id, "version_major": 2, "version_minor": 0}}, raw=True)


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


def _status(lines=(), extra=""):
    """The live region: a screen reader speaks what is put into it. It is there, empty, from the beginning."""
    return f'<div role="status">{"<br>".join(map(text_html, lines))}{extra}</div>'


class View:
    """What the live views share: the heading, a row of buttons, and the feedback. Subclasses add the inputs.

    submit(*values) -> (Score, notes) scores and records; hint() -> text; since: date of the first right answer or None.
    """

    def __init__(self, question, submit, hint, since):
        import ipywidgets

        self.w, self.question, self.submit, self.hint = ipywidgets, question, submit, hint
        self.attempts = 0
        before = [f"{RIGHT[0]} You answered this correctly on {since[:10]}."] if since else ()
        self.feedback = self.text(_status(before))

    def box(self, *inputs):
        """inputs: widgets, the last one a Check button or None."""
        *above, check = inputs
        buttons = [check] if check else []
        head = self.text(STYLE + hide(self.question) + heading(self.question))
        below = self.w.HBox([*buttons, self.button("Hint", self.on_hint)])
        box = self.w.VBox([head, *above, below, self.feedback])
        box.add_class("study-box")
        return box

    def text(self, value):
        widget = self.w.HTML(value, layout=self.w.Layout(width="auto", height="auto"))
        widget.add_class("study-text")
        return widget

    def button(self, description, action, style="study-button"):
        button = self.w.Button(description=description, layout=self.w.Layout(width="auto", height="auto"))
        button.add_class(style)
        button.on_click(action)
        return button

    def on_hint(self, _):
        self.feedback.value = _status([self.hint()])

    def tell(self, *values):
        score, notes = self.submit(*values)
        if score.right is not None:
            self.attempts += 1
        # the number makes the text differ from the one before: the same text again would not be spoken
        count = f" (attempt {self.attempts})" if score.right is False and self.attempts > 1 else ""
        self.feedback.value = _status((score.lines[0] + count, *score.lines[1:], *notes))
        return score


class _Choose(View):
    """One button an option; for `multiple` they are toggled, and a Check button scores."""

    def view(self):
        self.several = self.question["kind"] == "multiple"
        self.chosen, self.marks, self.options = set(), {}, {}
        for key in self.question["options"]:
            self.options[key] = self.button("", lambda _, key=key: self.on_option(key), "study-option")
            self.label(key)
        return self.box(*self.options.values(), self.button("Check", self.on_check) if self.several else None)

    def label(self, key):
        mark = ("☑ " if key in self.chosen else "☐ ") if self.several else self.marks.get(key, "")
        self.options[key].description = f"{mark}{key}) {self.question['options'][key]['text'].replace('`', '')}"

    def on_option(self, key):
        if self.several:
            self.chosen ^= {key}
        else:
            self.marks[key] = f"{RIGHT[0] if self.tell(key).right else WRONG[0]} "
        self.label(key)

    def on_check(self, _):
        self.tell(*sorted(self.chosen))


class _Type(View):
    """A line to type a number or what is printed, and a Check button.

    The value is sent when the line is left: sent letter by letter, a click may overtake the last ones.
    """

    def view(self):
        lines = isinstance(self.question["answer"], str) and "\n" in self.question["answer"].strip()
        kind = self.w.Textarea if lines else self.w.Text
        self.input = kind(description="Answer", continuous_update=False, layout=self.w.Layout(width="24em"))
        return self.box(self.input, self.button("Check", lambda _: self.tell(self.input.value)))


class _Write(View):
    """A text area for the learner's own words, and a Check button."""

    def view(self):
        self.input = self.w.Textarea(
            placeholder="In your own words, in whole sentences",
            rows=5,
            continuous_update=False,
            layout=self.w.Layout(width="auto"),
        )
        return self.box(self.input, self.button("Check my words", lambda _: self.tell(self.input.value)))


def live(question, submit, hint, since):
    """The ipywidgets view of a quiz or free-recall question.

    submit: function(*values) -> (Score, notes). hint: function() -> text. since: when it was first right, or None.
    Returns a VBox.
    """
    kind = _Write if question["section"] == "recall" else _Choose if "options" in question else _Type
    return kind(question, submit, hint, since).view()
