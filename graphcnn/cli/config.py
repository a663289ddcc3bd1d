"""`--config FILE`: options of a command from a TOML file; what is on the command line comes first."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from graphcnn.errors import FileError, OptionError, meant
from graphcnn.interchange.files import as_path, write_atomically

F = TypeVar("F", bound=Callable[..., Any])
LARGEST = 2**16
"""Bytes of a file: options take a few lines."""
MOST_DOTS = 1000
"""In a file: what reads TOML takes a time that grows with the square of the parts of a key, `a.b.c`."""
GREATEST = 2**63
"""Whole numbers are below it."""


def config_option(command: F) -> F:
    """Give a command the option `--config`."""
    option = click.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        callback=_take_config,
        help="A TOML file with options, such as batch-size = 64; options of the command line come first.",
    )
    return option(command)


def _take_config(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    if path is not None:
        take_over(context, path)
    return path


def take_over(context: click.Context, path: Path) -> None:
    """Make the options of a file the defaults of a command. Raises FileError and OptionError."""
    known = options_by_key(context.command)
    values: dict[str, object] = {}
    for key, value in _read(path).items():
        option = known.get(key.replace("_", "-"))
        if option is None or option.name is None:
            raise OptionError(
                f"{path}: there is no option {key!r:.60}",
                facts=[f"there are: {', '.join(known)}"],
                mend=meant(key, known, "leave it out"),
            )
        values[option.name] = _checked(path, key, value, option)
    context.default_map = {**(context.default_map or {}), **values}


def options_by_key(command: click.Command) -> dict[str, click.Parameter]:
    """Return the options, and arguments, that a file can have, by what they are called there."""
    return {each.opts[0].removeprefix("--"): each for each in command.params if not each.is_eager}


def write_config(path: Path, context: click.Context, *, besides: Collection[str] = ()) -> None:
    """Write what a command was given, but for these options, as a file that `take_over` reads."""
    lines = [
        f"{key} = {_as_toml(context.params[option.name])}\n"
        for key, option in options_by_key(context.command).items()
        if option.name is not None
        and option.name not in besides
        and context.get_parameter_source(option.name) not in (None, ParameterSource.DEFAULT)
    ]
    write_atomically(path, "".join(lines).encode())


def _as_toml(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    return json.dumps(value if isinstance(value, bool | int | float) else str(value))


def _read(path: Path) -> dict[str, Any]:
    try:
        with as_path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}", mend="check the path") from None
    for count, most, things in (
        (len(content), LARGEST, "bytes"),
        (content.count(b"."), MOST_DOTS, "dots"),
    ):
        if count > most:
            raise FileError(f"{path} has more than {most:,} {things}", mend="name a file with options")
    try:
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # numbers that are too long, among others
        raise FileError(
            f"{path} is no TOML file",
            facts=[f"{error!s:.200}"],
            mend='write lines such as optimizer = "adamw"',
        ) from None


def _checked(path: Path, key: str, value: object, option: click.Parameter) -> object:
    """Return a value as the command line would give it. Raises OptionError for what it could not."""
    is_list = option.multiple if isinstance(option, click.Option) else False
    is_many = is_list or option.nargs != 1
    given = value if is_many and isinstance(value, list) else [value]
    is_flag = isinstance(option, click.Option) and option.is_flag
    is_whole = isinstance(option.type, click.types.IntParamType)
    for each in given:
        if not _is_value(each, is_flag) or (is_whole and isinstance(each, float)):
            example = f"{key} = true" if is_flag else f"{key} = 1" if is_whole else f'{key} = "..."'
            is_plain = isinstance(each, bool | float | str)
            shown = f"= {each!r:.60}" if is_plain else f"of the type {type(each).__name__}"
            raise OptionError(f"{path}: {key} {shown} is no value of this option", mend=example)
    return given if is_many else value


def _is_value(value: object, is_flag: bool) -> bool:
    if is_flag or isinstance(value, bool):
        return is_flag and isinstance(value, bool)
    return isinstance(value, float | str) or (isinstance(value, int) and abs(value) < GREATEST)
