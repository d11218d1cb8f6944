"""The form: one HTML file that works from disk and sends nothing anywhere.

Python writes the questions, so that they can be read and checked without a browser; the page's script
orders them for the respondent, keeps the answers on the respondent's machine, and saves them as CSV.
Correct answers are not in the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from pathlib import Path
from string import Template

from deepvalues.survey.codes import ALPHABET, LENGTH
from deepvalues.survey.questions import IN_PARTS, Block, Option, Question, Scale, Survey

#: Columns of the CSV that a form saves, a row for each part of each question in the order shown.
COLUMNS = ("survey", "form", "respondent", "position", "question", "part", "answer")

_FOLDER = Path(__file__).parent

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="robots" content="noindex">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<h1>$title</h1>
<noscript><p class="fault">This form needs JavaScript, which is switched off in this browser.</p></noscript>
<p class="fault" id="unkept" hidden>This browser does not keep your answers when the page is closed. Please
finish in one sitting.</p>
<form id="form" novalidate autocomplete="off">
<div id="app" hidden>
<section id="start" aria-labelledby="start-heading">
<h2 id="start-heading">Before you begin</h2>
<p>$purpose</p>
<p>Your answers stay on this device until you save them as a file at the end and hand the file in. This page
sends nothing anywhere. It does not ask for your name; the file carries the code that you were given.</p>
<p><label for="code">Your code ($length characters)</label>
<input type="text" id="code" maxlength="$length" aria-describedby="code-fault" autocapitalize="characters"
spellcheck="false"></p>
<p class="fault" id="code-fault"></p>
<p class="option"><input type="checkbox" id="consent" aria-describedby="consent-fault">
<label for="consent">$consent</label></p>
<p class="fault" id="consent-fault"></p>
<button type="button" id="begin">Begin</button>
</section>
<section id="questions" aria-labelledby="questions-heading" hidden>
<h2 id="questions-heading" tabindex="-1">What to do</h2>
$instructions
<div class="bar"><label for="progress"><span id="progress-text">0 answered</span>
<progress id="progress" value="0" max="1"></progress></label></div>
$checks
<div id="blocks">
$blocks
</div>
<div id="summary" role="group" aria-labelledby="summary-heading" hidden>
<h2 id="summary-heading" tabindex="-1">Questions are still open</h2>
<ul id="summary-list"></ul>
<p id="summary-more"></p>
<p>You may leave questions open if you would rather not answer them.</p>
<button type="button" class="quiet" id="save-anyway">Save with open questions</button>
</div>
<button type="submit">Finish and save my answers</button>
<section id="done" aria-labelledby="done-heading" hidden>
<h2 id="done-heading" tabindex="-1">Thank you</h2>
<p>Your answers were saved as <strong id="saved-name"></strong>, where this browser puts downloads. Please
hand that file in to whoever gave you your code. You can change answers and save again.</p>
</section>
<p><button type="button" class="quiet" id="start-over">Start over</button>
<span class="small">deletes all answers on this page</span></p>
</section>
</div>
</form>
<p class="small">Form $form</p>
</main>
<script type="application/json" id="survey">$data</script>
<script>$script</script>
</body>
</html>
""")


def _box_id(question: Question, part: str) -> str:
    return f"q-{question.id}--{part}"


def _option(question: Question, option: Option) -> str:
    id = _box_id(question, option.code)
    box = f'<input type="radio" name="q-{question.id}" id="{id}" value="{option.code}">'
    return (
        f'<label class="option" for="{id}">{box}<span>{escape(option.text)}{_detail(option)}</span></label>'
    )


def _detail(option: Option) -> str:
    return f' <span class="detail">{escape(option.detail)}</span>' if option.detail else ""


def _scale(question: Question, scale: Scale) -> str:
    boxes = []
    for number in range(scale.low, scale.high + 1):
        id = _box_id(question, str(number))
        ends = {scale.low: scale.low_text, scale.high: scale.high_text}
        # The ends' words stand below the scale for the eye; the ear needs them with the number.
        label = f' aria-label="{number}: {escape(ends[number])}"' if number in ends else ""
        box = f'<input type="radio" name="q-{question.id}" id="{id}" value="{number}"{label}>'
        shown = str(number).replace("-", "−")
        boxes.append(f'<label for="{id}">{box}<span>{shown}</span></label>')
    ends_text = f"<span>{escape(scale.low_text)}</span><span>{escape(scale.high_text)}</span>"
    return f'<div class="scale">{"".join(boxes)}</div><p class="ends" aria-hidden="true">{ends_text}</p>'


def _part(question: Question, option: Option) -> str:
    id = _box_id(question, option.code)
    if question.type == "ranking":
        ranks = "".join(f'<option value="{n}">{n}</option>' for n in range(1, len(question.options) + 1))
        box = f'<select id="{id}" data-part="{option.code}"><option value="">–</option>{ranks}</select>'
    else:
        limits = f'min="0" max="{question.total}" step="1" inputmode="numeric"'
        box = f'<input type="number" id="{id}" data-part="{option.code}" {limits}>'
    label = f'<label for="{id}">{escape(option.text)}{_detail(option)}</label>'
    return f'<div class="part" data-option="{option.code}">{label}{box}</div>'


def _boxes(question: Question) -> str:
    if question.scale:
        return _scale(question, question.scale)
    if question.type == "choice":
        return f"<div>{''.join(_option(question, option) for option in question.options)}</div>"
    if question.type in IN_PARTS:
        parts = "".join(_part(question, option) for option in question.options)
        total = f'<p>Points given so far: <output data-sum="{question.id}">0</output> of {question.total}</p>'
        return f'<div data-parts="{question.id}">{parts}</div>' + (
            total if question.type == "allocation" else ""
        )
    id = _box_id(question, "")
    return f'<div><textarea id="{id}" data-part="" rows="6"></textarea></div>'


def _question(question: Question) -> str:
    total = f' data-total="{question.total}"' if question.type == "allocation" else ""
    # A label element for the text box too: some readers announce legends only once.
    text = escape(question.text)
    if question.type == "text":
        text = f'<label for="{_box_id(question, "")}">{text}</label>'
    return (
        f'<fieldset id="q-{question.id}" data-question="{question.id}" data-type="{question.type}"{total}'
        f' aria-describedby="q-{question.id}-fault"><legend>{text}</legend>{_boxes(question)}'
        f'<p class="fault" id="q-{question.id}-fault"></p></fieldset>'
    )


def _block(block: Block) -> str:
    passage = "".join(f'<p class="passage">{escape(text)}</p>' for text in block.passage)
    questions = "\n".join(_question(question) for question in block.questions)
    flags = (" data-shuffled" if block.shuffled else "") + (" data-fixed" if block.fixed else "")
    return f'<div class="block" data-block="{block.id}"{flags}>{passage}\n{questions}</div>'


def _checks(survey: Survey) -> str:
    if not survey.checks:
        return ""
    questions = "\n".join(_question(check) for check in survey.checks)
    heading = '<p class="passage">First, please show that the task is clear:</p>'
    return f'<div class="block">{heading}\n{questions}</div>'


def _data(survey: Survey) -> str:
    """What the script needs to know; no correct answer is in it."""
    told = {
        "name": survey.name,
        "form": survey.checksum,
        "columns": COLUMNS,
        "alphabet": ALPHABET,
        "codeLength": LENGTH,
    }
    return json.dumps(told).replace("<", "\\u003c")


def _source(text: str) -> str:
    """A policy source that allows this very script or style and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def form(survey: Survey) -> str:
    """Write a survey as one HTML page, the same bytes every time.

    The page's content security policy forbids every connection, and every script but its own.
    """
    script, style = ((_FOLDER / f"form.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    policy = (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)};"
        " base-uri 'none'; form-action 'none'"
    )
    return _PAGE.substitute(
        policy=policy,
        title=escape(survey.title),
        style=style,
        purpose=escape(survey.purpose),
        consent=escape(survey.consent),
        length=LENGTH,
        instructions="\n".join(f"<p>{escape(text)}</p>" for text in survey.instructions),
        checks=_checks(survey),
        blocks="\n".join(_block(block) for block in sorted(survey.blocks, key=lambda block: not block.fixed)),
        form=survey.checksum,
        data=_data(survey),
        script=script,
    )
