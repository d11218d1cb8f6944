"""What results keep for the text, for tests of numbers and sentences."""

import re

from deepvalues.core import paths
from deepvalues.paper.sentences import Sentences


def saying(study):
    """Writes a sentence from its facts, in whichever of the study's files it stands."""
    files = {
        macro: Sentences(path.stem)
        for path in paths.SENTENCES.glob(f"{study}*.md")
        for macro in re.findall(r"macro (\w+)", path.read_text(encoding="utf-8"))
    }
    return lambda name, facts: files[name](name, facts)


def telling(study, facts):
    """Writes a sentence, with plain spaces, from the arguments of the function that gives its facts."""
    sentences = saying(study)

    def told(name, *arguments):
        return sentences(name, getattr(facts, name)(*arguments)).replace("\u00a0", " ")

    return told


def kept(results):
    """The text of every number, with plain spaces, by its key."""

    def walk(node, path):
        if set(node) == {"value", "text"}:
            yield ".".join(path), node["text"].replace("\u00a0", " ")
            return
        for name, inner in node.items():
            yield from walk(inner, (*path, name))

    return dict(walk(results.numbers, ()))
