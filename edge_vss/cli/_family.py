"""Options that a family declares in its own file, on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from edge_vss.cli.terminal import explain, say
from edge_vss.errors import EdgeVssError

if TYPE_CHECKING:
    from edge_vss.converters.families import FamilyOption

DECLARED = "edge_vss.declared"
"""Where a command's context keeps the options that this call's family declares."""
VALUES = "edge_vss.family_options"
"""Where it keeps what the user gave for them, by name."""
USUAL = "propagate"


def family_options(context: typer.Context) -> dict[str, object]:
    """The options of the family that the user gave, by name."""
    values: dict[str, object] = context.meta[VALUES]
    return values


class FamilyCommand(TyperCommand):
    """A command that takes ``--family NAME`` and the options of that family."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            declared = self.declared(args)
        except (EdgeVssError, ImportError) as error:
            say(f"error: {explain(error)}")
            raise typer.Exit(1) from None
        ctx.meta[DECLARED] = list(zip(declared, _parameters(declared), strict=True))
        rest = super().parse_args(ctx, args)
        values = {}
        for option, parameter in ctx.meta[DECLARED]:
            value = ctx.params.pop(parameter.name, None)
            if value is not None:
                values[option.name] = Path(value) if option.type is Path else value
        ctx.meta[VALUES] = values
        return rest

    def get_params(self, ctx: Any) -> list[Any]:
        declared = ctx.meta.get(DECLARED, [])
        taken = {option.spelling for option, _ in declared}
        own = [parameter for parameter in super().get_params(ctx) if not taken & set(parameter.opts)]
        return [*own[:-1], *(parameter for _, parameter in declared), *own[-1:]]

    def declared(self, args: Sequence[str]) -> Sequence[FamilyOption]:
        """The options of the family that ``args`` name, or of the usual one where ``args`` need more options.

        Else none are looked up: a family imports torch, which takes seconds and is not on a device.
        """
        name = _value(args, "--family")
        if name is None and not self.asks_for_more(args):
            return ()
        return _options(USUAL if name is None else name)

    def asks_for_more(self, args: Sequence[str]) -> bool:
        """Whether ``args`` have an option that this command does not have itself."""
        own = {"--help", "--", *(name for parameter in self.params for name in parameter.opts)}
        named = {arg.partition("=")[0] for arg in args if arg.startswith("--")}
        return bool(named - own)


class BundleFamilyCommand(FamilyCommand):
    """A command that takes a bundle, and the files that its family wants: all else the bundle records."""

    def declared(self, args: Sequence[str]) -> Sequence[FamilyOption]:
        from edge_vss.bundle import read
        from edge_vss.bundle.rules import MANIFEST

        paths = [Path(arg) for arg in args if not arg.startswith("-")]
        bundles = [path for path in paths if (path / MANIFEST).is_file()]
        if not bundles or not self.asks_for_more(args):
            return ()
        return [option for option in _options(read(bundles[0]).family) if option.type is Path]


def _options(family: str) -> tuple[FamilyOption, ...]:
    from edge_vss.converters.families import FAMILIES

    return FAMILIES.find(family).description.options


def _parameters(options: Sequence[FamilyOption]) -> list[Any]:
    """The options as typer's own, by way of a command that has no others."""
    wanted = {
        f"family_{option.name}": Annotated[
            (str if option.type is Path else option.type) | None,
            typer.Option(option.spelling, help=option.help, metavar=option.metavar or None),
        ]
        for option in options
    }

    def command(**values: object) -> None:
        pass

    signature = Signature(
        [
            Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in wanted.items()
        ]
    )
    setattr(command, "__signature__", signature)  # noqa: B010
    command.__annotations__ = dict(wanted)
    app = typer.Typer(add_completion=False)
    app.command()(command)
    made = {parameter.name: parameter for parameter in typer.main.get_command(app).params}
    return [made[name] for name in wanted]


def _value(args: Sequence[str], option: str) -> str | None:
    for index, arg in enumerate(args):
        if arg == "--":
            break
        if arg == option and index + 1 < len(args):
            return args[index + 1]
        if arg.startswith(f"{option}="):
            return arg.removeprefix(f"{option}=")
    return None
