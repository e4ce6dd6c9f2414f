"""``edge-vss verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_vss.cli._family import family_options
from edge_vss.cli._hushed import hushed
from edge_vss.cli.options import Bundle, Debug, Factory, Json
from edge_vss.cli.terminal import emit, flat, say, table, writable


def verify(
    context: typer.Context,
    bundle: Bundle,
    model: Annotated[
        Path | None, typer.Argument(help="The trained model the bundle was made from.", show_default=False)
    ] = None,
    factory: Factory = None,
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="Unpickle a whole module.")] = False,
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Check a bundle's hashes and contracts, and its numbers against the model it came from."""
    writable(json)
    if model is None and factory is None:
        from edge_vss.runtimes.tools.self_check import check

        found = check(bundle)
    else:
        with hushed(debug):
            from edge_vss.converters.conversion import Conversion
            from edge_vss.converters.verify import verify as compare

            options = family_options(context)
            conversion = Conversion(model, factory=factory, options=options, trust_pickle=trust_pickle)
            found = compare(bundle, conversion)
    emit(found, json)
    table(("check", "result"), flat(found.to_json()))
    say(f"{bundle} is whole")
