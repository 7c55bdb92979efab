"""The badge of the challenge as an SVG file: text and shapes only, nothing from outside, fit for printing."""

import contextlib
import datetime
import html
import re
import unicodedata
from pathlib import Path

from .challenge import clock_text
from .questions import StudyError, a_type

LONGEST = 60  # characters of a name; more is cut
WIDTH = 560  # user units that the name may take, of 720
FROZEN, TRAINABLE, INK = "#4878a8", "#e08a1e", "#1c2733"


def clean_name(name):
    """A name fit for one line of a picture: no control characters, no line breaks, at most 60 characters.

    name: text in any script. Returns text. Raises StudyError for anything else, and if nothing is left of it.
    """
    if not isinstance(name, str):
        raise StudyError(f'The name must be a text such as "Ada Lovelace", not {a_type(name)}.')
    # of what is not printed, only the joiners stay that scripts and emoji need: others turn the direction
    kept = (one if one.isprintable() or one in "\u200c\u200d" else " " if one.isspace() else "" for one in name)
    name = " ".join("".join(kept).split())
    name = re.sub(r"([\u0300-\u036f]{4})[\u0300-\u036f]+", r"\1", name)  # a tower of accents
    if len(name) > LONGEST:
        name = re.sub(r"[\u0300-\u036f\u200c\u200d ]+$", "", name[: LONGEST - 1]) + "…"
    if not any(unicodedata.category(letter)[0] in "LNS" for letter in name):
        raise StudyError('Write your name with at least one letter, such as "Ada Lovelace".')
    return name


def label(name, date, seconds, number):
    """The badge in one line of text; arguments as for `svg`."""
    day = datetime.datetime.fromisoformat(date).date().isoformat()
    return f"Freezing Master: {clean_name(name)}, {day}, five of five problems in {clock_text(seconds)}, try {number}"


def svg(name, date, seconds, number):
    """The badge as the text of an SVG file, 720 by 400 units.

    name: text, cleaned and escaped here. date: ISO 8601 text. seconds: time taken, in seconds. number: of the try.
    """
    name = clean_name(name)
    day = datetime.datetime.fromisoformat(date).date()
    size = max(12, min(44, int(WIDTH / _ems(name))))
    # squeezed to fit where a font is wider than reckoned; a name in full size is short enough as it is
    fit = f' textLength="{WIDTH}" lengthAdjust="spacingAndGlyphs"' if size < 44 else ""
    block = f'y="318" width="46" height="34" rx="4" fill="url(#hatch)" stroke="{FROZEN}" stroke-width="2"/>'
    blocks = "".join(f'<rect x="{235 + 52 * i}" {block}' for i in range(4))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 400" width="720" height="400" role="img">
<title>{html.escape(label(name, date, seconds, number))}</title>
<defs><pattern id="hatch" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="8" height="8" fill="#dce8f3"/><line x1="0" y1="0" x2="0" y2="8" stroke="{FROZEN}" stroke-width="5"/>
</pattern></defs>
<rect x="2" y="2" width="716" height="396" rx="18" fill="#ffffff" stroke="{FROZEN}" stroke-width="4"/>
<rect x="14" y="14" width="692" height="372" rx="11" fill="none" stroke="{TRAINABLE}" stroke-width="1.5"/>
<g font-family="'Helvetica Neue', Arial, 'Noto Sans', sans-serif" text-anchor="middle" fill="{INK}">
<text x="360" y="92" font-size="54" font-weight="bold">Freezing Master</text>
<text x="360" y="132" font-size="19">Freezing layers, run and proved</text>
<text x="360" y="206" font-size="{size}" font-weight="bold"{fit} unicode-bidi="isolate">{html.escape(name)}</text>
<line x1="160" y1="226" x2="560" y2="226" stroke="{INK}" stroke-width="1"/>
<text x="360" y="260" font-size="19">solved five of five problems in {clock_text(seconds)}, try {int(number)}</text>
<text x="360" y="290" font-size="19">{day.day} {day:%B %Y}</text>
</g>
{blocks}<rect x="443" y="318" width="46" height="34" rx="4" fill="{TRAINABLE}" stroke="#a35f0c" stroke-width="2"/>
</svg>
"""


def _ems(name):
    """About how wide a name is, in units of the font's size, reckoned with a wide font (DejaVu Sans Bold)."""

    def em(letter):
        if unicodedata.combining(letter) or letter == "\u200d":
            return 0
        wide = unicodedata.east_asian_width(letter) in "WF" or letter in "WM@%mw"
        return 1.15 if wide else 0.4 if letter in "iljtfI.,'|! " else 0.8 if letter.isupper() else 0.7

    return sum(map(em, name))


def save(text, folder):
    """Write the badge to the first free name in a folder: freezing_master.svg, freezing_master-2.svg, ...

    Returns the path. Raises StudyError if the folder cannot be written.
    """
    number = 1
    while True:
        path = Path(folder) / (f"freezing_master-{number}.svg" if number > 1 else "freezing_master.svg")
        try:
            with open(path, "x", encoding="utf-8") as file:
                file.write(text)
            return path
        except FileExistsError:
            number += 1
        except OSError as error:
            with contextlib.suppress(OSError):  # a full disk leaves half a file
                path.unlink()
            raise StudyError(f"The badge cannot be saved in {folder} ({error.strerror}).") from None
