"""Rendering the paper: by Quarto where there is one, else by pandoc and typst."""

from __future__ import annotations

from pathlib import Path

from deepvalues.core.errors import UserError
from deepvalues.core.paths import PAPER, shown
from deepvalues.paper.plain import render_plain
from deepvalues.paper.quarto import find_quarto, render_with_quarto


def render(plain: bool | None = None, paper: Path = PAPER) -> Path:
    """Render the article and the notebook pages; give the folder of the site.

    Both ways end in the same place: ``index.html``, ``index.pdf``, ``notebooks/NAME-preview.html``
    and, beside them, the data and figures that the pages link to.

    Parameters
    ----------
    plain
        True takes pandoc and typst, False insists on Quarto, None takes Quarto if it is there.
    paper
        The folder of the manuscript.

    Raises
    ------
    UserError
        If something in the sources does not resolve, or Quarto is asked for and missing.
    """
    quarto = None if plain else find_quarto()
    if quarto is None and plain is False:
        raise UserError(
            "Quarto is not installed. Get it from https://quarto.org/docs/get-started/, "
            "or leave the choice open: the paper then is rendered by pandoc and typst."
        )
    site = render_with_quarto(quarto, paper) if quarto else render_plain(paper)
    print(f"The paper is in {shown(site / 'index.html')} and {shown(site / 'index.pdf')}.", flush=True)
    return site
