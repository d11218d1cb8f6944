"""Survey forms as a page, and filled in."""

from html.parser import HTMLParser

from deepvalues.survey.form import COLUMNS


class Page(HTMLParser):
    """What the tests look at in a page."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.open = []
        self.void = {"meta", "input", "br", "link", "img"}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def all(self, *tags):
        return [attrs for tag, attrs, _ in self.elements if tag in tags]


def answer(question, rng, skill=1.0):
    """An answer for each part; right with probability ``skill`` where something is."""
    if question.type == "choice":
        right = rng.random() < skill
        wrong = next(option.code for option in question.options if option.code != question.correct)
        return {"": question.correct if right else wrong}
    if question.type == "rating":
        size = int(rng.integers(1, 3))
        return {"": str(-size if question.correct == "below" else size)}
    if question.type == "ranking":
        return dict(zip(question.parts, map(str, rng.permutation(len(question.parts)) + 1), strict=True))
    if question.type == "allocation":
        points = rng.multinomial(question.total, [1 / len(question.parts)] * len(question.parts))
        return dict(zip(question.parts, map(str, points), strict=True))
    return {"": 'Well, "yes",\nand no; = 1'}


def completed(survey, respondent, rng, skill=1.0, open_questions=(), wrong=()):
    """The rows of a completed form, shown in an order of its own, checks first."""
    shown = list(survey.checks)
    blocks = list(survey.blocks)
    for place in rng.permutation(len(blocks)):
        shown += blocks[place].questions
    rows = [list(COLUMNS)]
    for position, question in enumerate(shown, start=1):
        one = skill if question not in survey.checks else 1.0
        given_answers = answer(question, rng, 0.0 if question.id in wrong else one)
        for part in question.parts:
            text = "" if question.id in open_questions else given_answers[part]
            rows.append([survey.name, survey.checksum, respondent, position, question.id, part, text])
    return rows


def saved(rows, path):
    """As the page saves it: every cell quoted, CRLF."""
    lines = (",".join('"' + str(cell).replace('"', '""') + '"' for cell in row) for row in rows)
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    return path
