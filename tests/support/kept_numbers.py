"""What results keep for the text, for tests of numbers and sentences."""


def kept(results):
    """The text of every number, with plain spaces, by its key."""

    def walk(node, path):
        if set(node) == {"value", "text"}:
            yield ".".join(path), node["text"].replace("\u00a0", " ")
            return
        for name, inner in node.items():
            yield from walk(inner, (*path, name))

    return dict(walk(results.numbers, ()))
