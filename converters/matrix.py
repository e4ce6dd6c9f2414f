"""One model as a bundle for every target and precision that this machine can write and run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.converters.quantizers import QUANTIZERS
from edge_vss.converters.readers._recognise import reader_of
from edge_vss.converters.targets import TARGETS
from edge_vss.errors import EdgeVssError, OptionError
from edge_vss.runtimes.tools.compare import engines_of


def convert_each(
    conversion: Conversion,
    folder: Path,
    precisions: Sequence[str],
    calibrate: Path,
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[list[Path], list[str]]:
    """Convert for each target and precision into ``folder``.

    ``calibrate`` is the video that int8 is fitted to. Gives the bundles, and a line for what could not be
    made. Raises ModelError for a file that is no model, OptionError for options that do not fit, and where
    nothing could be made.
    """
    if conversion.path is not None:
        reader_of(conversion.path)
    made, problems = [], []
    for writer in TARGETS.all():
        target, extra = writer.name, writer.description.extra
        if not engines_of(target) or not writer.description.installed:
            problems.append(f'{target}: left out, it needs an engine and pip install "edge-vss[{extra}]"')
            continue
        for precision in precisions:
            if precision != "fp32" and not (reducer := QUANTIZERS.find(target).description).installed:
                problems.append(f'{target} {precision}: left out, pip install "edge-vss[{reducer.extra}]"')
                continue
            tell(f"converting for {target}, {precision}")
            path = folder / f"{target}-{precision}.vss"
            video = calibrate if precision == "int8" else None
            try:
                convert(replace(conversion, target=target, precision=precision, calibrate=video), path)
            except OptionError:
                raise  # what is wrong for one is wrong for all
            except EdgeVssError as error:
                problems.append(f"{target} {precision}: {error}")
                continue
            made.append(path)
    if not made:
        raise OptionError(f"nothing could be converted; {problems[0]}")
    return made, problems
