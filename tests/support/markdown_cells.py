"""A Markdown table taken apart, for tests of what tables say."""

from deepvalues.paper import tables


def shown(frame, name):
    """The table that a notebook publishes of a frame, under the columns of ``results/<name>.csv``."""
    return tables.table(frame, f"results/{name}.csv")


def cells(table):
    """Its lines as lists of cells: the head, the rule, and the rows."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def head(table):
    return cells(table)[0]


def rows(table):
    return cells(table)[2:]


def column(table, name):
    place = head(table).index(name)
    return [row[place] for row in rows(table)]


def to_the_right(table):
    """The heads whose columns are numbers, aligned to the right."""
    return [name for name, mark in zip(*cells(table)[:2], strict=True) if mark.endswith(":")]
