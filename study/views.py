"""How questions look: static HTML that reads without a kernel, and ipywidgets where one lives.

The widgets use only what ipywidgets 7.7 (Colab) and 8.1 share, and no radio buttons: JupyterLab takes their arrow
keys. Nothing static depends on the learner's progress, so that committed outputs are the same for everyone.
"""

import html
import importlib.util
import os
import re
import sys
from pathlib import Path

from . import questions
from .questions import LEVELS, load, one_line
from .scoring import RIGHT, WRONG

WIDGET = "application/vnd.jupyter.widget-view+json"
STYLE = f"<style>{(Path(__file__).parent / 'style.css').read_text(encoding='utf-8')}</style>"
_told = set()  # what is said once a kernel


def text_html(text):
    """Text of a question file as HTML: everything is escaped, and what stands between backticks becomes code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def heading(question):
    """The prompt and code of a question as HTML."""
    several = " (more than one may be right)" if question.get("kind") == "multiple" else ""
    predict = "Predict: " if question.get("predict") else ""
    code = html.escape((question.get("code") or "").rstrip(), quote=False)
    code = f"<pre><code>{code}</code></pre>" if code else ""
    return f"<p><b>{predict}{text_html(question['prompt'])}</b>{several}</p>{code}"


def fold(summary, *lines):
    """A part that opens by click or key, and ends visibly; summary and lines are HTML."""
    return f"<details><summary>{summary}</summary><blockquote>{'<br>'.join(lines)}</blockquote></details>"


def _bundle(word, question, body):
    return {
        "text/html": static(question, body),
        "text/plain": " ".join(f"{word} {question['id']}: {question['prompt']}".split()),
    }


def quiz_bundle(question):
    """The static view of a quiz question: {"text/html": one fold an option, "text/plain": one line}."""
    after = [text_html(question["explanation"])] if question.get("explanation") else []
    several, folds = question["kind"] == "multiple", []
    for key, option in question.get("options", {}).items():
        verdict = f"{RIGHT if option.get('right') else WRONG} {text_html(option['feedback'])}"
        more = after if option.get("right") and not several else []
        folds.append(fold(f"{key}) {text_html(option['text'])}", verdict, *more))
    if "answer" in question:
        typed = [(m["value"], m["feedback"]) for m in question.get("mistakes", ())]
        typed = [f"<code>{html.escape(str(value), quote=False)}</code>: {text_html(text)}" for value, text in typed]
        typed.append(f"Anything else: {text_html(question['otherwise'])}")
        right = f"{RIGHT} <code>{html.escape(str(question['answer']), quote=False)}</code>"
        right += f" ± {question['tolerance']}" if question.get("tolerance") else ""
        folds.append(fold("Answer", right, *after, *(f"{WRONG} {line}" for line in typed)))
    elif several and after:
        folds.append(fold("Explanation", *after))
    return _bundle("Quiz", question, "".join(folds))


def recall_bundle(question):
    """The static view of a question for own words: the prompt, and folded the hints and the model answer."""
    hints = "".join(f"<li>{text_html(concept['hint'])}</li>" for concept in question["concepts"])
    model = "".join(f"<li>{text_html(concept['says'])}</li>" for concept in question["concepts"])
    after = f"<p>{text_html(question['explanation'])}</p>" if question.get("explanation") else ""
    folds = fold("Hints", f"<ul>{hints}</ul>") + fold("A model answer", f"<ol>{model}</ol>{after}")
    return _bundle("In your own words", question, f"<p>Write it down first, then compare.</p>{folds}")


def cards_bundle(cards):
    """The view of recall cards, by level: front as summary, back folded. cards: dicts from question files."""
    body, counts = [], []
    for level in LEVELS:
        group = [fold(text_html(c["front"]), text_html(c["back"])) for c in cards if c["level"] == level]
        if group:
            counts.append(f"{len(group)} {level}")
            body += [f"<p><b>{level.capitalize()}</b></p>", *group]
    return {"text/html": f"<div>{''.join(body)}</div>", "text/plain": f"Cards: {', '.join(counts)}"}


def _titled(path):
    """A notebook's number and title as (a link, plain text); path: of its question file."""
    title = f"{path.name[:2]} {load(path)['title']}"
    if "google.colab" in sys.modules:  # there each notebook stands alone
        return html.escape(title), title
    return f'<a href="{path.stem}.ipynb">{html.escape(title)}</a>', f"{title} ({path.stem}.ipynb)"


def origin_bundle(question, state):
    """One line on where a question is from, and how it was answered last (a text)."""
    link, plain = _titled(questions.FOLDER / question["file"])
    return {"text/html": f"<p>From {link} · {html.escape(state)}</p>", "text/plain": f"From {plain}, {state}"}


def progress_bundle(rows, again, todo, path=None, note=""):
    """The learner's progress, as a table with bars in HTML and in text.

    rows: (path of the question file, how many are right, tried, there, date of the last). again: (question, its state)
    for what to answer again. todo: what to do next, and path: with which notebook, or None. note: one more sentence.
    """
    calls = {"quiz": "quiz", "recall": "recall", "exercises": "hint", "challenge": "practice"}
    lines, cells = [], ["<tr><th>notebook</th><th>right</th><th>of</th><th>tried</th><th>last</th></tr>"]
    titles = [_titled(path) for path, *_ in rows]
    width = max([8, *(len(plain.partition(" (")[0]) for _, plain in titles)])
    lines.append(f"{'notebook':{width}}  {'right':14}   of  tried  last")
    for (link, plain), (_, right, tried, there, last) in zip(titles, rows, strict=True):
        full = -(-10 * right // there) if there else 0  # one answer is to be seen, and all is all
        full -= full == 10 and right < there
        bar = "█" * full + "░" * (10 - full)
        title = plain.partition(" (")[0]
        lines.append(f"{title:{width}}  {bar} {right:3}  {there:3}  {tried:5}  {last or '–'}".rstrip())
        numbers = "".join(f"<td>{value}</td>" for value in (there, tried, last or "–"))
        cells.append(f'<tr><td>{link}</td><td><span aria-hidden="true">{bar}</span> {right}</td>{numbers}</tr>')
    link, plain = _titled(path) if path else ("", "")
    page = f"<table>{''.join(cells)}</table><p><b>Next.</b> {todo} {link}</p>"
    lines += ["", f"Next. {todo} {plain}".rstrip()]
    items = []
    lines += ["", "To answer again:"] if again else []
    for question, state in again:
        call = f'{calls[question["section"]]}("{question["id"]}")'
        link, plain = _titled(questions.FOLDER / question["file"])
        prompt = one_line(question["prompt"], 70)
        items.append(f"<li>{link}: {text_html(prompt)} ({html.escape(state)}) <code>{html.escape(call)}</code></li>")
        lines += [f"  {plain.partition(' (')[0]}: {prompt}", f"    {state}: {call}"]
    if items:
        page += f"<p><b>To answer again</b></p><ul>{''.join(items)}</ul>"
    page += f"<p><small>{note}</small></p>" if note else ""
    return {"text/html": page, "text/plain": "\n".join([*lines, *([note] if note else [])])}


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

        self.w, self.question, self.submit, self.hint, self.attempts = ipywidgets, question, submit, hint, 0
        self.feedback = self.text(
            _status([f"{RIGHT[0]} You answered this correctly on {since[:10]}."] if since else ())
        )

    def box(self, *inputs, check=None, below=()):
        """inputs: widgets above the buttons; check: the first of the buttons, or None; below: widgets below them."""
        head = self.text(STYLE + hide(self.question) + heading(self.question))
        hint = self.button("Hint", lambda _: self.say(self.hint()))
        self.outer = self.w.VBox(
            [head, *inputs, self.w.HBox([check, hint] if check else [hint]), *below, self.feedback]
        )
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
        """Take away what says that a press waits for the kernel (style.css)."""
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
        row.children[0].description = text.replace("`", "")
        row.children[1].value = f'<span aria-hidden="true">{text_html(text)}</span>'
        for name, on in (("study-right", right is True), ("study-wrong", right is False)):
            row.add_class(name) if on else row.remove_class(name)

    def say(self, *lines, right=None):
        self.feedback.value = _status(lines, right)

    def tell(self, *values):
        score, notes = self.submit(*values)
        self.attempts += score.right is not None
        # the number makes the text differ from the one before: the same text again would not be spoken
        count = f" (attempt {self.attempts})" if score.right is False and self.attempts > 1 else ""
        self.say(score.lines[0] + count, *score.lines[1:], *notes, right=score.right)
        return score.right


class _Choose(View):
    """One row an option; for `multiple` they are toggled, and a Check button scores."""

    def view(self):
        self.several, self.chosen = self.question["kind"] == "multiple", set()
        options = self.question["options"]
        self.rows = {key: self.row(lambda _, key=key: self.on_option(key)) for key in options}
        for key in options:
            self.mark(key)
        return self.box(*self.rows.values(), check=self.button("Check", self.on_check) if self.several else None)

    def mark(self, key, right=None):
        tick = ("☑ " if key in self.chosen else "☐ ") if self.several else ""
        sign = {True: f"{RIGHT[0]} ", False: f"{WRONG[0]} ", None: ""}[right]
        self.label(self.rows[key], f"{tick}{sign}{key}) {self.question['options'][key]['text']}", right)

    def on_option(self, key):
        self.chosen ^= {key} if self.several else set()
        self.mark(key, None if self.several else self.tell(key))

    def on_check(self, _):
        if self.tell(*sorted(self.chosen)) is not None:
            for key, option in self.question["options"].items():
                self.mark(key, option.get("right", False) if key in self.chosen else None)


class _Type(View):
    """A line to type a number or what is printed; Enter checks it, and so does leaving it, for the Check button.

    A text is judged when it arrives, and not when a button's press does: the browser holds a text back while an older
    one is not yet taken by the kernel, and lets a press overtake it, which would judge the older one. Letter by letter
    (continuous_update) it would hold back the last letters of any text.
    """

    def view(self):
        lines = isinstance(self.question["answer"], str) and "\n" in self.question["answer"].strip()
        layout = self.w.Layout(width="24em", max_width="calc(100% - 4px)")
        field = (self.w.Textarea if lines else self.w.Text)(
            description="Answer", continuous_update=False, layout=layout
        )
        field.observe(self.on_text, "value")
        self.verdict = _status(["Write your answer first."])
        return self.box(field, check=self.button("Check", self.on_check))

    def on_text(self, change):
        if change["new"].strip():
            self.tell(change["new"])
            self.verdict = self.feedback.value

    def on_check(self, _):
        self.feedback.value = self.verdict  # a hint may stand in its place


class _Write(View):
    """A text area for own words; Compare shows the concepts of a model answer, for the learner to tick."""

    def view(self):
        words = "In your own words, in whole sentences"
        layout = self.w.Layout(width="auto")
        self.input = self.w.Textarea(placeholder=words, rows=5, continuous_update=False, layout=layout)
        self.said, places = set(), range(1, len(self.question["concepts"]) + 1)
        self.rows = {place: self.row(lambda _, place=place: self.on_concept(place)) for place in places}
        for place in places:
            self.mark(place)
        record = self.w.HBox([self.button("Record", self.on_record)])
        intro = self.text("A model answer. Tick what you have said, in whatever words:")
        self.model = self.w.VBox([intro, *self.rows.values(), record], layout=self.w.Layout(display="none"))
        return self.box(self.input, check=self.button("Compare", self.on_compare), below=[self.model])

    def mark(self, place):
        text = self.question["concepts"][place - 1]["says"]
        self.label(self.rows[place], f"{'☑' if place in self.said else '☐'} {text}")

    def on_compare(self, _):
        score, _ = self.submit(self.input.value, None)
        written = len(score.lines) > 1  # else the only line asks for words
        self.model.layout.display = None if written else "none"
        self.say(*(() if written else score.lines))

    def on_concept(self, place):
        self.said ^= {place}
        self.mark(place)

    def on_record(self, _):
        score, notes = self.submit(self.input.value, sorted(self.said))
        self.say(score.lines[0], *notes, right=score.right or None)


def live(question, submit, hint, since):
    """The ipywidgets view of a quiz question, or of one for own words.

    submit: function(*values) -> (Score, notes). hint: function() -> text. since: when it was first right, or None.
    Returns a VBox.
    """
    kind = _Write if question["section"] == "recall" else _Choose if "options" in question else _Type
    return kind(question, submit, hint, since).view()
