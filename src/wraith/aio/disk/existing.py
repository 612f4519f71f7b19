"""Names that exist at the target already: which of them an offer meets, and the choice for each.

Spec: transfer §10 [TR-70, TR-72, TR-107].
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from os import stat_result

from wraith.aio.disk.safe_tree import SafeTree
from wraith.transfer.answers import Existing
from wraith.transfer.journal_records import EVERY_ENTRY, Choice, OnExists
from wraith.transfer.listing import Entry, Kind

IsReplaced = Callable[[bytes, stat_result], bool]
"""Whether a run whose disk failed has put there what is there."""


class ExistsPolicy(Enum):
    """Says how a name that exists already is treated. The default refuses before anything moves."""

    REFUSE = "refuse"
    OVERWRITE = "overwrite"
    RENAME = "rename"
    SKIP = "skip"


_CHOICES = {
    ExistsPolicy.OVERWRITE: Choice.OVERWRITE,
    ExistsPolicy.RENAME: Choice.RENAME,
    ExistsPolicy.SKIP: Choice.SKIP,
}
_POLICIES = {choice: policy for policy, choice in _CHOICES.items()}


class Choices:
    """One policy for every name that exists, and others for single entries of one offer.

    Args:
        every: for every entry that ``single`` does not name.
        single: by the number of the entry in the listing. A folder that meets a folder is merged
            with it when any policy but ``REFUSE`` holds for it.
    """

    def __init__(
        self,
        every: ExistsPolicy = ExistsPolicy.REFUSE,
        single: Mapping[int, ExistsPolicy] | None = None,
    ) -> None:
        self.every = every
        self.single = dict(single or {})

    @classmethod
    def of_journal(cls, noted: Mapping[int, Choice]) -> Choices:
        """The choices of the ON_EXISTS records that hold, by entry."""
        policies = {entry: _POLICIES[choice] for entry, choice in noted.items()}
        return cls(policies.pop(EVERY_ENTRY, ExistsPolicy.REFUSE), policies)

    def records(self) -> Iterator[OnExists]:
        """The records that note all of it. The one for every entry comes first: it takes back
        what stands before it."""
        if self.every is not ExistsPolicy.REFUSE:
            yield OnExists(EVERY_ENTRY, _CHOICES[self.every])
        for entry, policy in self.single.items():
            yield OnExists(entry, _CHOICES[policy])

    def __getitem__(self, entry: int) -> ExistsPolicy:
        return self.single.get(entry, self.every)

    def __bool__(self) -> bool:
        """Something was chosen."""
        return self.every is not ExistsPolicy.REFUSE or bool(self.single)

    def __contains__(self, policy: ExistsPolicy) -> bool:
        return policy is self.every or policy in self.single.values()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Choices):
            return NotImplemented
        return (self.every, self.single) == (other.every, other.single)

    __hash__ = None  # type: ignore[assignment]


def existing(
    tree: SafeTree,
    tops: Iterable[Entry],
    entries: Callable[[], Iterator[tuple[int, Entry]]],
    is_replaced: IsReplaced,
) -> Iterator[Existing]:
    """What a person is asked about: every top name of the offer that ``tree`` has, and below a
    folder that meets a folder every file and link that it has.

    Args:
        entries: all of the listing with their numbers. It is read only if a top name exists.
    """
    there = {top.path for top in tops if _is_there(tree, top, is_replaced)}
    if not there:
        return
    for number, entry in entries():
        top, slash, _ = entry.path.partition(b"/")
        if top not in there:
            continue
        if not slash:
            info = tree.lstat(entry.path)
            is_merge = entry.kind is Kind.FOLDER and info is not None and stat.S_ISDIR(info.st_mode)
            if not is_merge:
                there.discard(top)  # nothing below it is met
            yield Existing(number, entry.path, is_merge=is_merge)
        elif entry.kind is not Kind.FOLDER and _is_there(tree, entry, is_replaced):
            yield Existing(number, entry.path, is_merge=False)


def _is_there(tree: SafeTree, entry: Entry, is_replaced: IsReplaced) -> bool:
    info = tree.lstat(entry.path)
    return info is not None and not is_replaced(entry.path, info)
