"""How the challenge and the practice round look: static HTML without a kernel, ipywidgets where one lives.

As in `views`: only Button, Textarea, HTML and boxes, no JavaScript. The widgets are made once and change what they say,
so that the focus is never on something that vanishes. The remaining time is written by the kernel, once a second.
"""

import asyncio
import base64
import html

from . import views
from .challenge import NAMES, answer_lines, clock_text
from .questions import KEYS, StudyError

CHALLENGE = {"id": "09/challenge"}
_SECONDS = 1.0  # between two looks at the clock


def challenge_bundle(limits):
    """The static view of the challenge: the rules, and how to play by code. limits: (shortest, longest) in seconds."""
    kinds = "".join(f"<li>{name}</li>" for name in NAMES.values())
    shortest, longest = map(clock_text, limits)
    page = (
        f"<p><b>The challenge: five problems against the clock</b></p><ol>{kinds}</ol>"
        f"<p>Each has a limit of {shortest} to {longest} minutes, two attempts, and a hint after the first miss. Five "
        "of five make you a Freezing Master. The problems are drawn when you start; another try has others.</p>"
        "<p><small>Run this cell to play here. Without buttons: <code>challenge().start()</code>, then "
        '<code>challenge().answer("b")</code> or <code>challenge().repair("""...""")</code>, '
        "<code>challenge().next()</code>, <code>challenge().status()</code>.</small></p>"
    )
    return {"text/html": f'<div class="{views.class_name(CHALLENGE)}">{page}</div>', "text/plain": "The challenge"}


def practice_bundle(problems):
    """The static view of practice problems: each with its answers, hint and explanation folded."""
    page = "".join(
        _repair(question) if question["kind"] == "repair" else views.quiz_bundle(question)["text/html"]
        for question in problems
    )
    return {"text/html": f"<div>{page}</div>", "text/plain": "Practice: " + ", ".join(q["id"] for q in problems)}


def _repair(question):
    repair = f"<pre><code>{html.escape(answer_lines(question)[1].rstrip(), quote=False)}</code></pre>"
    folds = views.fold("Hint", views.text_html(question["hint"]))
    folds += views.fold("A repair", repair + views.text_html(question["explanation"]))
    return views.static(question, folds)


def lines_html(lines):
    """Lines to tell, as HTML: a line that holds line breaks is code."""
    parts = [
        f"<pre><code>{html.escape(line.rstrip(), quote=False)}</code></pre>"
        if "\n" in line
        else f"<div>{views.text_html(line)}</div>"
        for line in lines
    ]
    return f'<div role="status">{"".join(parts)}</div>'


def badge_bundle(svg, label):
    """The badge as a picture: {"text/html", "text/plain"}. In an <img> nothing of it can act on the page."""
    data = base64.b64encode(svg.encode()).decode()
    page = f'<img alt="{html.escape(label)}" width="720" height="400" src="data:image/svg+xml;base64,{data}">'
    return {"text/html": page, "text/plain": label}


class RoundView(views.View):
    """The ipywidgets view of a challenge.Round.

    round_: the Round. hidden: questions whose static views it replaces. badge(name) -> (bundle, lines) and
    save(name) -> lines, both may raise StudyError; None in a practice round.
    """

    def __init__(self, round_, hidden, badge=None, save=None):
        import ipywidgets

        self.w, self.round, self.badge, self.save = ipywidgets, round_, badge, save
        self.shown, self.ended, self.counting, self.chosen, self.turn = "nothing yet", False, None, set(), 0
        style = views.STYLE + "".join(map(views.hide, hidden))
        self.head, self.clock = self.text(style), self.text("")
        self.go, self.end = self.button("Start", self.on_go), self.button("Give up", self.on_end)
        self.task = self.text("")
        self.options = [self.row(lambda _, key=key: self.on_option(key)) for key in KEYS]
        self.input, self.name = self.area(""), self.area("Your name, for the badge", rows=1)
        self.input.add_class("study-code")
        self.check = self.button("Check", self.on_check)
        self.feedback = self.text(lines_html(()))
        self.show, self.keep = self.button("Show the badge", self.on_badge), self.button("Save the badge", self.on_save)
        self.picture = self.text("")
        self.refresh()
        round_.views.append(self.refresh)

    def view(self):
        """The widget to display."""
        self.outer = self.w.VBox(
            [
                *(self.head, self.clock, self.w.HBox([self.go, self.end]), self.task, *self.options, self.input),
                *(self.check, self.feedback, self.name, self.w.HBox([self.show, self.keep]), self.picture),
            ]
        )
        for name in ("study-box", "study-even"):
            self.outer.add_class(name)
        return self.outer

    def area(self, placeholder, **fields):
        """A text area, hidden; its value is sent when it is left."""
        layout = self.w.Layout(width="auto", display="none")  # its own: what is shared is hidden together
        return self.w.Textarea(placeholder=placeholder, continuous_update=False, layout=layout, **fields)

    # what is shown

    def refresh(self, lines=()):
        """Show the state the round is in, and lines to tell."""
        try:
            stage, state, told = self.round.look()
        except StudyError as error:
            stage, state, told = "idle", None, [str(error)]
        asked = stage in ("asking", "told") or (stage == "over" and state["problems"])
        key = (state["number"], len(state["problems"]), state["problems"][-1]["started"]) if asked else None
        ended = asked and stage != "asking"
        if key != self.shown:
            self.shown, self.ended = key, False
            self.set_task(self.round.question(state) if asked else None)
            self.feedback.value = lines_html(())
        if (
            ended and not self.ended and not lines and not told
        ):  # in another view, by code, or before this view was made
            told = self.round.outcome(state)
        self.ended = ended
        if asked:
            self.clock.value = f'<div role="timer">{html.escape(self.round.heading(state))}</div>'
        else:
            self.clock.value = ""
        going = stage in ("asking", "told")
        self.go.description = {"asking": "Go on below", "told": "Next problem"}.get(stage, "Start")
        visible(self.end, going)
        for widget in (self.name, self.show, self.keep):
            visible(widget, self.badge and state and state.get("won") and not going)
        if lines or told:
            # a blank more or less: the same text again would not be spoken
            self.turn ^= 1
            self.feedback.value = lines_html([*lines, *told]) + " " * self.turn
        self.count(stage)

    def set_task(self, question):
        """Show a problem's text and inputs, or none."""
        self.question, self.chosen = question, set()
        repair = bool(question) and question["kind"] == "repair"  # its code stands in the text area
        self.task.value = views.heading({**question, "code": None} if repair else question) if question else ""
        options = question.get("options", {}) if question else {}
        for key, row in zip(KEYS, self.options, strict=True):
            visible(row, key in options)
            self.mark(key)
        typed = question and "options" not in question
        self.input.value = question["code"] if repair else ""
        self.input.rows = self.input.value.count("\n") + 2
        self.input.placeholder = "Your answer"
        visible(self.input, typed)
        self.check.description = "Run and check" if repair else "Check"
        visible(self.check, typed or (question and question["kind"] == "multiple"))

    def mark(self, key):
        """An option's text, with its mark when several may be chosen."""
        option = ((self.question or {}).get("options") or {}).get(key)
        if option:
            several = self.question["kind"] == "multiple"
            mark = ("☑ " if key in self.chosen else "☐ ") if several else ""
            self.label(self.options[KEYS.index(key)], f"{mark}{key}) {option['text']}")

    def count(self, stage):
        """While a problem is asked against the clock, look at it again every second."""
        if stage != "asking" or not self.round.timed or (self.counting and not self.counting.done()):
            return
        try:
            self.counting = asyncio.get_running_loop().create_task(self.tick())
        except RuntimeError:  # no loop: the time is still told at each action
            self.counting = None

    async def tick(self):
        """Write the remaining time until it is over, or until the problem is."""
        while self.round.left() is not None:
            await asyncio.sleep(_SECONDS)
            self.refresh()

    # what the learner does

    def act(self, action, *values):
        """Do it, and tell what came of it, or why not."""
        try:
            lines = action(*values)
        except StudyError as error:
            lines = [str(error)]
        self.refresh(lines)

    def on_go(self, _):
        stage = self.round.look()[0]
        if stage == "asking":
            return self.refresh(["The problem stands below: press Tab to go to its answers."])
        self.act(self.round.next if stage == "told" else self.round.start)

    def on_end(self, _):
        self.act(self.round.give_up)

    def on_option(self, key):
        if self.question["kind"] == "multiple":
            self.chosen ^= {key}
            return self.mark(key)
        self.act(self.round.answer, key)

    def on_check(self, _):
        if self.question["kind"] == "repair":
            self.feedback.value = lines_html(["Your code is being run. The clock stands still."])
            return self.act(self.round.repair, self.input.value)
        chosen = self.question["kind"] == "multiple"
        self.act(self.round.answer, *(sorted(self.chosen) if chosen else [self.input.value]))

    def on_badge(self, _):
        def show():
            bundle, lines = self.badge(self.name.value or None)
            self.picture.value = bundle["text/html"]
            return lines

        self.act(show)

    def on_save(self, _):
        self.act(lambda: self.save(self.name.value or None))


def visible(widget, shown):
    """Show or hide a widget; it keeps its place."""
    widget.layout.display = None if shown else "none"
