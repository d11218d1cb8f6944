"""What results keep for the text, for tests of numbers and sentences."""

from deepvalues.paper.sentences import Sentences


def telling(study, facts):
    """Writes a sentence, with plain spaces, from the arguments of the function that gives its facts."""
    sentences = Sentences(study)

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
