"""How the challenge and the practice round look: static HTML without a kernel, ipywidgets where one lives.

As in `views`: no JavaScript. The widgets are made once and change what they say, so that the focus is never on
something that vanishes. The remaining time is written by the kernel, once a second.
"""

import asyncio
import base64
import html
import time

from . import views
from .challenge import BADGE, NAMES, answer_lines, clock_text
from .questions import KEYS, StudyError

CHALLENGE = {"id": "09/challenge"}
PRESSED = "Write your name below, then show the badge or save it."
_SECONDS = 1.0  # between two looks at the clock
_LATE = 5.0  # seconds by which a text may come after the press that hands it in


def rules(limits):
    """The challenge's rules as HTML. limits: (shortest, longest) in seconds."""
    shortest, longest = map(clock_text, limits)
    return (
        "<p><b>The challenge: five problems against the clock</b></p>"
        f"<p>{', '.join(NAMES.values()).capitalize()}: one of each. Each has a limit of {shortest} to {longest} "
        "minutes, two attempts, and a hint after the first miss. Five of five make you a Freezing Master. The problems "
        "are drawn when you start; another try has others.</p>"
    )


def challenge_bundle(limits):
    """The static view of the challenge: the rules, and how to play by code. limits: (shortest, longest) in seconds."""
    page = (
        f"{rules(limits)}<p><small>Run this cell to play here. Without buttons: <code>challenge().start()</code>, then "
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
    folds = views.fold("Hint", views.text_html(question["hint"]))
    folds += views.fold("A repair", _html(answer_lines(question)[1]) + views.text_html(question["explanation"]))
    return views.static(question, folds)


def _html(line):
    """A line to tell; one that holds line breaks is code."""
    is_code = "\n" in line
    return f"<pre><code>{html.escape(line.rstrip(), quote=False)}</code></pre>" if is_code else views.text_html(line)


def lines_html(lines):
    """Lines to tell, as the live region that a screen reader speaks."""
    look = {"✔": ' class="study-right"', "✘": ' class="study-wrong"'}.get("".join(lines)[:1], "")
    return f'<div role="status"{look}>{"".join(f"<div>{_html(line)}</div>" for line in lines)}</div>'


def badge_bundle(svg, label):
    """The badge as a picture: {"text/html", "text/plain"}. In an <img> nothing of it can act on the page."""
    data = base64.b64encode(svg.encode()).decode()
    page = f'<img alt="{html.escape(label)}" width="720" height="400" src="data:image/svg+xml;base64,{data}">'
    return {"text/html": page, "text/plain": label}


class RoundView(views.View):
    """The ipywidgets view of a challenge.Round.

    round_: the Round. hidden: questions whose static views it replaces. badge(name) -> (bundle, lines) and
    save(name) -> lines, both may raise StudyError; None in a practice round. above: HTML that stands above.
    """

    def __init__(self, round_, hidden, badge=None, save=None, above=""):
        import ipywidgets

        self.w, self.round, self.badge, self.save = ipywidgets, round_, badge, save
        self.shown, self.stage, self.ended, self.counting, self.turn = "nothing yet", "idle", False, None, 0
        self.question, self.chosen, self.judged, self.pressed = {}, set(), "", -_LATE
        self.clock, self.task, self.feedback, self.picture = (
            self.text(value) for value in ("", "", lines_html(()), "")
        )
        self.go = self.button("Start", self.on_go)
        self.end = self.button("Give up", lambda _: self.act(round_.give_up))
        self.options = [self.row(lambda _, key=key: self.on_option(key)) for key in KEYS]
        self.input, self.name = self.area("Your answer"), self.area("Your name, for the badge", rows=1)
        self.input.add_class("study-code")
        self.input.observe(self.on_text, "value")
        self.check = self.button("Check", lambda _: self.on_check())
        self.show = self.button("Show the badge", lambda _: self.act(self.show_badge))
        self.keep = self.button("Save the badge", lambda _: self.act(self.save, self.name.value or None))
        head, row = self.text(views.STYLE + "".join(map(views.hide, hidden)) + above), ipywidgets.HBox
        above = [head, self.clock, row([self.go, self.end]), self.task, *self.options, self.input, self.check]
        below = [self.feedback, self.name, row([self.show, self.keep]), self.picture]
        self.outer = ipywidgets.VBox([*above, *below])
        for name in ("study-box", "study-even"):
            self.outer.add_class(name)
        self.refresh()
        round_.views.append(self.refresh)

    def view(self):
        """The widget to display."""
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
        going, asked, lines = stage in ("asking", "told"), stage != "idle", [*lines, *told]
        key = (state["number"], len(state["problems"])) if asked else None
        if key != self.shown:
            self.shown, self.ended = key, False
            self.set_task(self.round.question(state) if asked else {})
            self.feedback.value = lines_html(())
        ended = asked and stage != "asking"
        if ended and not self.ended and self.question["explanation"] not in lines:  # by code, or in another view
            lines += self.round.outcome(state)
        self.stage, self.ended = stage, ended
        self.clock.value = f'<div role="timer">{html.escape(self.round.heading(state))}</div>' if asked else ""
        self.go.description = {"asking": "Go on below", "told": "Next problem"}.get(stage, "Start")
        visible(self.end, going)
        for widget in (self.name, self.show, self.keep):
            visible(widget, self.badge and state and state["won"] and not going)
        if lines:
            lines = [PRESSED if line == BADGE else line for line in lines]
            self.turn ^= 1  # a blank more or less: the same text again would not be spoken
            self.feedback.value = lines_html(lines) + " " * self.turn
        self.count(stage)

    def set_task(self, question):
        """Show a problem's text and inputs, or none ({})."""
        self.question, self.chosen, kind = question, set(), question.get("kind")
        repair = kind == "repair"  # its code stands in the text area
        self.task.value = views.heading(question | {"code": None} if repair else question) if question else ""
        for key, row in zip(KEYS, self.options, strict=True):
            visible(row, key in question.get("options", {}))
            self.mark(key)
        self.judged = self.input.value = question["code"] if repair else ""
        self.input.rows = self.input.value.count("\n") + 2
        typed = question and "options" not in question
        self.check.description = "Run and check" if repair else "Check"
        visible(self.input, typed)
        visible(self.check, typed or kind == "multiple")

    def mark(self, key, right=None):
        """Write an option's text, with its tick when several may be chosen, and whether it was right."""
        option = self.question.get("options", {}).get(key)
        if option:
            tick = ("☑ " if key in self.chosen else "☐ ") if self.question["kind"] == "multiple" else ""
            sign = {True: "✔ ", False: "✘ ", None: tick}[right]
            self.label(self.options[KEYS.index(key)], f"{sign}{key}) {option['text']}", right)

    def count(self, stage):
        """While a problem is asked against the clock, look at it again every second."""
        if stage == "asking" and self.round.timed and (self.counting is None or self.counting.done()):
            try:
                self.counting = asyncio.get_running_loop().create_task(self.tick())
            except RuntimeError:  # no loop: the time is still told at each action
                self.counting = None

    async def tick(self):
        """Write the remaining time until it is over, or until the problem is."""
        while self.stage == "asking":
            await asyncio.sleep(_SECONDS)
            self.refresh()

    # what the learner does

    def act(self, action, *values):
        """Do it, and tell what came of it, or why not."""
        try:
            self.refresh(action(*values))
        except StudyError as error:
            self.refresh([str(error)])

    def on_go(self, _):
        if self.stage == "asking":
            return self.refresh(["The problem stands below: press Tab to go to its answers."])
        self.act(self.round.next if self.stage == "told" else self.round.start)

    def on_option(self, key):
        if self.question["kind"] == "multiple":
            self.chosen ^= {key}
            return self.mark(key)
        before = self.attempts()
        self.act(self.round.answer, key)
        if self.attempts() != before:
            self.mark(key, self.question["options"][key].get("right", False))

    def on_check(self):
        if "options" in self.question:
            return self.act(self.round.answer, *sorted(self.chosen))
        if self.input.value == self.judged:  # the press may have overtaken the text, which is judged when it comes
            self.pressed = time.monotonic()
            return self.refresh(["Write your answer first: what stands there was there before."])
        self.judged, before = self.input.value, self.attempts()
        if self.question["kind"] == "repair":
            self.feedback.value = lines_html(["Your code is being run. The clock stands still."])
        self.act(self.round.repair if self.question["kind"] == "repair" else self.round.answer, self.judged)
        if self.attempts() == before:  # what did not count may be handed in once more
            self.judged = None

    def attempts(self):
        state = self.round.look()[1]
        return state and state["problems"][-1]["attempts"]

    def on_text(self, _):
        if time.monotonic() - self.pressed < _LATE and self.input.value != self.judged:
            self.pressed = -_LATE
            self.on_check()

    def show_badge(self):
        bundle, lines = self.badge(self.name.value or None)
        self.picture.value = bundle["text/html"]
        return lines


def visible(widget, shown):
    """Show or hide a widget; it keeps its place."""
    widget.layout.display = None if shown else "none"
