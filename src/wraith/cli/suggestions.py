"""Values that a shell completes: names of peers, ids of unfinished transfers,
folders. Whatever goes wrong here suggests nothing: a shell has no place for an error."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from wraith.errors import WraithError


def peer_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names that `wraith peers name` gave."""
    del ctx, param
    return [CompletionItem(name) for name, _ in _peers() if name and name.startswith(incomplete)]


def peer_names_and_keys(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The same, and the keys of those that nobody has named."""
    del ctx, param
    words = [name or key for name, key in _peers()]
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def known_keys(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`last`, and every key that was met."""
    del ctx, param
    words = ["last", *(key for _, key in _peers())]
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def leftover_ids(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Ids of unfinished transfers in --out, and `all`."""
    del param
    from wraith.aio.disk.store_worker import leftovers

    try:
        found = [
            CompletionItem(each.path.name.removeprefix(".wraith-"), help=", ".join(each.names[:3]))
            for each in leftovers(ctx.params.get("out") or ".")
        ]
    except (OSError, WraithError):
        return []
    if found:
        found.append(CompletionItem("all"))
    return [item for item in found if item.value.startswith(incomplete)]


def folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell knows them itself."""
    del ctx, param
    return [CompletionItem(incomplete, type="dir")]


def _peers() -> list[tuple[str, str]]:
    from wraith.aio.disk.home_folder import HomeFolder

    try:
        return [(entry.name, str(entry.key)) for entry in HomeFolder.default().peers()]
    except (OSError, WraithError):
        return []


__all__ = ["folders", "known_keys", "leftover_ids", "peer_names", "peer_names_and_keys"]
