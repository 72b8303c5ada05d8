"""The command `guide`."""

from typing import Annotated

import typer

from optrun.cli import completion


def guide(
    page: Annotated[
        str | None,
        typer.Argument(metavar="[PAGE]", help="A page; all are listed.", autocompletion=completion.pages),
    ] = None,
) -> None:
    """Show a page of the manual, or list the pages.

    Example: optrun guide sweeps
    """
    from optrun.cli.views.guide import print_page, print_pages

    if page is None:
        print_pages()
    else:
        print_page(page)
