"""The question that a person is asked before anything is taken.

Which offer an answer belongs to is ``aio/files/answering.py``'s business; what was typed before a
question was there answers nothing.

Spec: transfer §6 [TR-100, TR-101].
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from wraith.aio.disk.store_worker import Choices, ExistsPolicy
from wraith.cli.narrator import entry_line, offer_lines
from wraith.cli.output import Output
from wraith.cli.terminal import Terminal
from wraith.transfer.answers import SurveyResult
from wraith.transfer.events import OfferReceived
from wraith.transfer.listing import Entry
from wraith.transfer.marks import mark_words
from wraith.transfer.messages import Reason
from wraith.transfer.path_rules import shown_path

MORE = "wraith: Enter shows more, q ends the list: "
QUESTION = "wraith: accept? [y/N/l]: "
EXISTING = (
    "wraith: what exists: overwrite it, rename what comes, skip it, or take nothing? [o/r/s/N]: "
)
MERGE = "wraith: what comes goes beside what is there, and nothing there is touched? [y/N]: "
ONE_OF_SEVERAL = "exists: overwrite it, rename what comes, or skip it? [o/r/s/oa/ra/sa/N]: "
ONE_BY_ONE_HELP = "o, r and s are for this one; oa, ra, sa for all that follow; n takes nothing"
ONE_BY_ONE_MAX = 20
"""More names than that are asked about once."""
POLICIES = {
    "o": ExistsPolicy.OVERWRITE,
    "overwrite": ExistsPolicy.OVERWRITE,
    "r": ExistsPolicy.RENAME,
    "rename": ExistsPolicy.RENAME,
    "s": ExistsPolicy.SKIP,
    "skip": ExistsPolicy.SKIP,
}
FOR_ALL = {f"{letter}a": POLICIES[letter] for letter in "ors"}
CHANGED_PAUSE_S = 1.0
"""So long after an offer took the place of another one nothing that is typed counts."""

Entries = Callable[[bytes], Iterator[Entry]]
"""The entries of the listing with this digest; nothing when it is not there any more."""


class Consent:
    """Asks a person about the offers of one run.

    Args:
        entries: for showing the whole listing.
        ask_on: the terminal to ask on, or ``None`` for stdin and stderr.
        choose: takes what to do with names that exist, before the offer is accepted; ``None``
            where nobody is asked about them.
    """

    def __init__(
        self,
        entries: Entries,
        output: Output,
        *,
        ask_on: str | None,
        choose: Callable[[Choices], None] | None = None,
    ) -> None:
        self._choose = choose
        self._entries = entries
        self._output = output
        self._ask_on = ask_on

    async def ask(self, event: OfferReceived, changed: bool) -> Reason | None:
        """Asks until the answer is yes or no (``Answering``). [TR-101]"""
        if changed:
            # A "y" that was on its way to the other question is no answer to this one.
            await asyncio.sleep(CHANGED_PAUSE_S)
        if self._choose is not None:
            self._choose(Choices())  # what was chosen for another offer
        with Terminal(self._ask_on, self._output) as terminal:
            accepted = await self._conversation(event, terminal)
        return None if accepted else Reason.DECLINED

    async def _conversation(self, event: OfferReceived, terminal: Terminal) -> bool:
        if self._output.is_silent:
            for line in offer_lines(event):
                terminal.write(f"wraith: {line}\n")
        is_listed = False
        while True:
            match (await terminal.ask(QUESTION)).strip().lower():
                case "y" | "yes" if event.marks.n_unseen and not is_listed:
                    n = event.marks.n_unseen
                    terminal.write(f"wraith: list first (l): {n:,} marked names were not shown\n")
                case "y" | "yes":
                    return await self._settle_existing(event, terminal)
                case "n" | "no" | "":
                    return False
                case "l" | "list":
                    is_listed |= await self._list(event, terminal)
                case _:
                    terminal.write("wraith: y takes it, n refuses it, l lists everything\n")

    async def _settle_existing(self, event: OfferReceived, terminal: Terminal) -> bool:
        """Asks what to do with names that exist; false when nothing is to be taken then. [TR-70]"""
        survey = event.survey
        if self._choose is None or not (survey.n_existing or survey.n_merges):
            return True
        if not survey.n_existing:
            choices = await self._merged(terminal)
        elif 1 < survey.n_existing <= ONE_BY_ONE_MAX and survey.n_merges == len(survey.merges):
            choices = await self._one_by_one(survey, terminal)
        else:
            choices = await self._all_at_once(terminal)
        if choices is None:
            return False
        self._choose(choices)
        return True

    async def _merged(self, terminal: Terminal) -> Choices | None:
        while True:
            answer = (await terminal.ask(MERGE)).strip().lower()
            if answer in ("y", "yes"):
                return Choices(ExistsPolicy.SKIP)  # of what appears there until the end
            if answer in ("n", "no", ""):
                return None
            terminal.write("wraith: y takes it, n takes nothing at all\n")

    async def _all_at_once(self, terminal: Terminal) -> Choices | None:
        while True:
            answer = (await terminal.ask(EXISTING)).strip().lower()
            if answer in POLICIES:
                return Choices(POLICIES[answer])
            if answer in ("n", "no", ""):
                return None
            terminal.write("wraith: o overwrites, r renames, s skips; n takes nothing at all\n")

    async def _one_by_one(self, survey: SurveyResult, terminal: Terminal) -> Choices | None:
        chosen = {met.number: ExistsPolicy.SKIP for met in survey.merges}  # files are asked about
        for met in survey.existing:
            question = f"wraith: {shown_path(met.path)} {ONE_OF_SEVERAL}"
            while (answer := (await terminal.ask(question)).strip().lower()) not in POLICIES:
                if answer in FOR_ALL:
                    return Choices(FOR_ALL[answer], chosen)
                if answer in ("n", "no", ""):
                    return None
                terminal.write(f"wraith: {ONE_BY_ONE_HELP}\n")
            chosen[met.number] = POLICIES[answer]
        return Choices(single=chosen)

    async def _list(self, event: OfferReceived, terminal: Terminal) -> bool:
        """Shows every entry, a screen at a time; whether it was shown to its end, or until the
        person had seen enough. [TR-106]"""
        n = 0
        for entry in self._entries(event.offer.listing_digest):
            if n and n % terminal.lines == 0:
                answer = await terminal.ask(MORE, forget=False)
                if answer.strip().lower() in ("q", "quit"):
                    return True
            line = entry_line(entry, shown_path(entry.path)) + mark_words(entry)
            terminal.write(line + "\n")
            n += 1
        return n == event.offer.n_entries
