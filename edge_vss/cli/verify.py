"""``edge-vss verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_vss.cli.options import Bundle, Debug, Factory, HighBranch, Json
from edge_vss.cli.terminal import emit, flat, say, table, writable


def verify(
    bundle: Bundle,
    model: Annotated[
        Path | None, typer.Argument(help="The trained model the bundle was made from.", show_default=False)
    ] = None,
    factory: Factory = None,
    hr: HighBranch = None,
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="Unpickle a whole module.")] = False,
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Check a bundle's hashes and contracts, and its numbers against the model it came from."""
    writable(json)
    if model is None:
        from edge_vss.runtimes.tools.self_check import check

        found = check(bundle)
    else:
        from edge_vss.converters.verify import verify as compare

        found = compare(bundle, model, factory=factory, high=hr, trust_pickle=trust_pickle)
    emit(found, json)
    table(("check", "result"), flat(found.to_json()))
    say(f"{bundle} is whole")
