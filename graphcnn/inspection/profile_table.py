"""A profile as a table: on a terminal, as text, and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphcnn.backend import Memory
from graphcnn.inspection.tables import scaled
from graphcnn.rendering import as_text
from graphcnn.visible import visible

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from graphcnn.inspection.profile import KernelTime, Profile

NAMES = ("kernel", "layer", "rule")
EXACT = 0.1
"""How far the sum of the parts may be from the step before the table says so."""
CELL = "padding: 1px 8px"
NUMBERS = ("ms of step", "share", "GFLOP/s", "GB/s", "limit")


@dataclass(frozen=True, slots=True)
class _Row:
    """What a row shows, its share of the step, and whether it is a kernel's."""

    cells: tuple[str, ...]
    share: float = 0.0
    is_kernel: bool = False


def profile_table(profile: Profile, rows: int = 20) -> Table:
    """Return a rich table of the slowest kernels, of the time that belongs to none, and of the sum."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header, least, most in zip(NAMES, (12, 8, 8), (28, 16, 24), strict=True):
        table.add_column(header, min_width=least, max_width=most)
    for header in NUMBERS:
        table.add_column(header, justify="right", no_wrap=True, min_width=len(header))
    for row in _rows(profile, rows):
        cells = [Text(cell, no_wrap=True, overflow="ellipsis") for cell in row.cells]
        table.add_row(*cells, style="" if row.is_kernel else "bold")
    return table


def profile_display(profile: Profile) -> Group:
    """Return for rich what was measured, the table, and what its times mean."""
    from rich.console import Group
    from rich.text import Text

    return Group(*map(Text, _headlines(profile)), profile_table(profile), Text(_explanation(profile)))


def profile_text(profile: Profile) -> str:
    """Return the same as text."""
    return as_text(profile_display(profile))


def profile_html(profile: Profile, rows: int = 20) -> str:
    """Return the table as HTML without styles or scripts of anybody else; a bar shows each share."""
    head, *rest = map(html.escape, _headlines(profile))
    lines = [
        '<div style="font-variant-numeric: tabular-nums">',
        f"<p><b>{head}</b><br>{'<br>'.join(rest)}</p>",
        "<table><thead><tr>",
        *(f'<th style="text-align: left; {CELL}">{name}</th>' for name in NAMES),
        *(f'<th style="text-align: right; {CELL}">{name}</th>' for name in NUMBERS),
        "</tr></thead><tbody>",
    ]
    for row in _rows(profile, rows):
        lines.append("<tr>" if row.is_kernel else '<tr style="font-weight: bold">')
        for number, cell in enumerate(map(html.escape, row.cells)):
            side = "left" if number < len(NAMES) else "right"
            bar = ""
            if number == len(NAMES) + 1 and row.share:
                width = f"{min(row.share, 1.0):.1%}"
                bar = f"; background: linear-gradient(to right, #8ab4f866 {width}, transparent {width})"
            wide = "; min-width: 7em" if number == len(NAMES) + 1 else ""
            lines.append(f'<td style="text-align: {side}; {CELL}{wide}{bar}">{cell}</td>')
        lines.append("</tr>")
    lines += ["</tbody></table>", f"<p><small>{html.escape(_explanation(profile))}</small></p>", "</div>"]
    return "\n".join(lines)


def _headlines(profile: Profile) -> list[str]:
    rate = profile.flops / profile.seconds
    share = f", {rate / profile.peak:.0%} of {profile.peak / 1e9:.0f}" if profile.peak else ""
    threads = f", {profile.threads} threads" if profile.threads > 1 else ""
    lines = [
        f"{profile.title}{threads}",
        f"{profile.seconds * 1e3:.3f} ms a call (median of {profile.repeats}), "
        f"{profile.batch / profile.seconds:,.0f} images/s, {scaled(profile.flops)}FLOP, "
        f"{rate / 1e9:.1f} GFLOP/s{share}",
    ]
    return lines if profile.memory is None else [*lines, _memory_line(profile.memory)]


def _memory_line(memory: Memory) -> str:
    needed = f"{scaled(memory.peak)}B must be alive at a time"
    if not memory.parts:
        return f"memory: {needed}"
    parts = ", ".join(f"{name} {scaled(size)}B" for name, size in memory.parts.items())
    return f"memory: {scaled(memory.allocated)}B ({parts}), of which {needed}"


def _explanation(profile: Profile) -> str:
    text = "ms of step: the parts add up to one call."
    if profile.threads > 1:
        text = (
            f"ms of step: time summed over the {profile.threads} threads, divided by {profile.threads}; "
            "so the parts add up to one call."
        )
    if profile.peak and profile.bandwidth:
        narrow = profile.peak_of_bfloat16
        bfloat16 = f" and {narrow / 1e9:,.0f} of bfloat16" if narrow else ""
        text += (
            "\nlimit: what binds a kernel, and how much of its time that takes at this machine's best: "
            f"products, {profile.peak / 1e9:.0f} GFLOP/s{bfloat16} (those that it performs: Winograd's are "
            f"fewer), or memory, {profile.bandwidth / 1e9:.0f} GB/s (a cache gives more); latency, where "
            "neither takes a third."
        )
    if profile.prepared:
        text += (
            "\nprepared once, and again when parameters have changed, not in these calls: "
            f"{visible(', '.join(dict.fromkeys(profile.prepared)))}"
        )
    if abs(profile.parts / profile.seconds - 1) <= EXACT:
        return text
    return (
        f"{text}\nHere they do not: other programs used the processors meanwhile, or the step is so short "
        "that measuring its parts is felt. Measure again on a quiet machine, or with more repeats."
    )


def _rows(profile: Profile, limit: int) -> Iterator[_Row]:
    kernels = sorted(profile.kernels, key=lambda kernel: -kernel.seconds)
    for kernel in kernels[:limit]:
        yield _kernel_row(profile, kernel)
    hidden = kernels[limit:]
    if hidden:
        yield _part(profile, f"{len(hidden)} more", sum(kernel.seconds for kernel in hidden), is_kernel=True)
    if profile.timeline is not None:
        yield _part(profile, "threads wait", profile.waiting)
        yield _part(profile, "Python", profile.python)
    else:
        yield _part(profile, "no kernel", profile.other)
    yield _part(profile, "sum", profile.parts)


def _kernel_row(profile: Profile, kernel: KernelTime) -> _Row:
    share = kernel.seconds / profile.seconds
    rate = kernel.flops / kernel.seconds if kernel.seconds else 0.0
    moved = kernel.bytes / kernel.seconds if kernel.seconds else 0.0
    cells = (
        *map(visible, (kernel.name, kernel.layers, kernel.rules)),
        f"{kernel.seconds * 1e3:.3f}",
        f"{share:.0%}",
        f"{rate / 1e9:.1f}" if kernel.flops else "",
        f"{moved / 1e9:.1f}",
        "{} {:4.0%}".format(*kernel.limit) if kernel.limit else "",
    )
    return _Row(cells, share, is_kernel=True)


def _part(profile: Profile, name: str, seconds: float, is_kernel: bool = False) -> _Row:
    share = seconds / profile.seconds
    return _Row((name, "", "", f"{seconds * 1e3:.3f}", f"{share:.0%}", "", "", ""), share, is_kernel)
