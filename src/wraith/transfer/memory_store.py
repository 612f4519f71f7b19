"""A source and a target in memory: for short texts, for pipes of a test, and as the example of what
whoever fulfils wishes must do.

They touch nothing outside and answer every wish at once. The journal is the same one that
lies on a disk, so cutting it anywhere shows what a killed receiver would find.

Spec: transfer §6, §8.
"""

from __future__ import annotations

from collections.abc import Iterable

from wraith.content.chunking import (
    DIGEST_BYTES,
    Cut,
    chunk_digest,
    digest_of_digests,
    file_id,
    size_field,
    verify_chunk,
)
from wraith.content.inventory import Inventory
from wraith.errors import TransferError, WraithError
from wraith.transfer.answers import (
    AllPlaced,
    FailedPiece,
    KeptRead,
    PiecesRead,
    StoreOpened,
    SurveyResult,
    first_paths,
)
from wraith.transfer.chunk_records import ChunkRecordWriter
from wraith.transfer.journal_records import (
    CompleteMark,
    Dropped,
    FileDone,
    JournalHeader,
    Verified,
    encode_record,
    encode_verified,
    replay,
)
from wraith.transfer.listing import Entry, Kind, ListingWriter, decode_page
from wraith.transfer.messages import OfferKind, Reason
from wraith.transfer.path_rules import display_path
from wraith.transfer.sender import Outgoing
from wraith.transfer.wishes import (
    CheckRanges,
    Complete,
    DropFiles,
    FinishFiles,
    ForgetChunks,
    OpenStore,
    ReadAgain,
    ReadPages,
    ReadPieces,
    RemoveState,
    Store,
    StorePages,
    SummariseRanges,
    Survey,
    WritePieces,
)


class MemorySource(Store):
    """Offers ``files`` (path → bytes; ``None`` makes a folder). ``changed`` paths fail to read."""

    def __init__(
        self,
        files: dict[bytes, bytes | None],
        *,
        kind: OfferKind = OfferKind.FILES,
        name: bytes = b"",
        size_is_known: bool = True,
    ) -> None:
        self.contents: list[bytes | None] = []
        self.paths: list[bytes] = []
        self.pages: list[bytes] = []
        self.changed: set[bytes] = set()
        writer = ListingWriter()
        for path in sorted(files, key=lambda p: p.split(b"/")):
            content = files[path]
            if content is None:
                entry = Entry(Kind.FOLDER, 0o755, 0, 0, path)
            else:
                size = size_field(len(content) if size_is_known else None)
                entry = Entry(Kind.FILE, 0o644, 0, size, path)
            self._keep(writer.add(entry))
            self.paths.append(path)
            self.contents.append(content)
        self._keep(writer.finish())
        self.outgoing = Outgoing(writer.index, kind, name)

    @classmethod
    def text(cls, text: str, *, name: str = "text") -> MemorySource:
        """A short text as an offer of one file; above ``TEXT_BYTES_MAX`` it is refused."""
        return cls({name.encode(): text.encode()}, kind=OfferKind.TEXT, name=name.encode())

    def _keep(self, page: bytes | None) -> None:
        if page is not None:
            self.pages.append(page)

    def close(self) -> None:
        """Nothing to close; it stands beside sources that have."""

    def read_pages(self, wish: ReadPages) -> list[bytes]:
        return self.pages[wish.first : wish.first + wish.n]

    def check_ranges(self, wish: CheckRanges) -> list[bool]:
        return [
            digest_of_digests(
                self._digest(item.entry, c)
                for first, n in item.ranges
                for c in range(first, first + n)
            )
            == item.digest
            for item in wish.items
        ]

    def _chunk(self, entry: int, chunk: int) -> bytes:
        content = self.contents[entry] or b""
        at, n_bytes = Cut(len(content)).span(chunk, 1)
        return content[at : at + n_bytes]

    def _digest(self, entry: int, chunk: int) -> bytes:
        return chunk_digest(self._chunk(entry, chunk))

    def read_pieces(self, wish: ReadPieces) -> PiecesRead:
        writer = ChunkRecordWriter()
        failed: list[FailedPiece] = []
        payload = n_read = 0
        final_size = None
        for entry, first, n in wish.pieces:
            path = self.paths[entry]
            if path in self.changed:
                failed.append(FailedPiece(entry, Reason.SOURCE_CHANGED, path))
                continue
            size = len(self.contents[entry] or b"")
            n_chunks = Cut(size).n_chunks
            for chunk in range(first, min(first + n, n_chunks)):
                data = self._chunk(entry, chunk)
                writer.add(entry, chunk, data, chunk_digest(data))
                payload += len(data)
                n_read += 1
            if first + n > n_chunks:
                final_size = size
        return PiecesRead(writer.finish(), payload, n_read, tuple(failed), final_size)


class MemoryTarget(Store):
    """Receives into dictionaries. What ``journal`` and ``data`` hold survives a restart: give them
    to a new target. ``fail`` (if set) is raised by every write after the first ``fail_after``."""

    def __init__(
        self,
        *,
        free_bytes: int | None = None,
        existing: Iterable[bytes] = (),
        journal: bytes = b"",
        data: dict[int, dict[int, bytes]] | None = None,
    ) -> None:
        self.free_bytes = free_bytes
        self.existing = set(existing)
        self.journal = bytearray(journal)
        self.data: dict[int, dict[int, bytes]] = data if data is not None else {}
        self.fail: WraithError | None = None
        self.fail_after = 0
        self.placed: dict[bytes, bytes | None] = {}
        self.entries: list[Entry] = []
        self.n_written = 0
        self.is_removed = False
        self._digests: dict[tuple[int, int], bytes] = {}
        self._is_text = False

    def store_pages(self, wish: StorePages) -> None:
        if wish.first == 0:
            self.entries = []
        for page in wish.pages:
            self.entries += decode_page(page)

    def survey(self, wish: Survey) -> SurveyResult:
        taken = tuple(t.path for t in wish.tops if t.path in self.existing)
        header = next((r for r, _ in replay(self.journal)), None)
        digest = wish.offer.listing_digest
        same = isinstance(header, JournalHeader) and header.listing_digest == digest
        return SurveyResult(taken, len(taken), free_bytes=self.free_bytes, same_listing=same)

    def summarise_ranges(self, wish: SummariseRanges) -> list[bytes]:
        return [
            digest_of_digests(
                self._digests[entry, c] for first, n in ranges for c in range(first, first + n)
            )
            for entry, ranges in wish.items
        ]

    def finish_files(self, wish: FinishFiles) -> None:
        for entry, size in wish.entries:
            self.journal += encode_record(FileDone(entry, size, self.file_id(entry, size)))

    def drop_files(self, wish: DropFiles) -> None:
        for entry in wish.entries:
            self.journal += encode_record(Dropped(entry))
            self.data.pop(entry, None)

    def read_again(self, wish: ReadAgain) -> KeptRead:
        held = ((e, c) for e, first, n in wish.pieces for c in range(first, first + n))
        return KeptRead(tuple(pair for pair in held if not self._is_good(*pair)))

    def remove_state(self, wish: RemoveState) -> None:
        self.is_removed = True

    def file_id(self, entry: int, size: int) -> bytes:
        """From the digests of its chunks, nothing hashed again."""
        return file_id(size, b"".join(self._digests[entry, c] for c in range(Cut(size).n_chunks)))

    def open_store(self, wish: OpenStore) -> StoreOpened:
        inventory = Inventory(wish.sizes)
        self._is_text = wish.offer.is_text
        records = [record for record, _ in replay(self.journal)]
        header = records[0] if records else None
        if (
            not isinstance(header, JournalHeader)
            or header.listing_digest != wish.offer.listing_digest
        ):
            peer = wish.peer.raw if wish.peer is not None else bytes(32)
            self.journal = bytearray(
                encode_record(JournalHeader(peer, bytes(16), wish.offer.listing_digest, b""))
            )
            self.data = {}
            return StoreOpened(inventory)
        completed = None
        for record in records[1:]:
            match record:
                case Verified():
                    self._load(inventory, record)
                case Dropped(entry):
                    inventory.drop(entry)
                case FileDone(entry, size, _):
                    inventory.add_whole(entry, size)
                case CompleteMark():
                    completed = AllPlaced()
                case _:
                    pass
        return StoreOpened(inventory, (), completed)

    def _load(self, inventory: Inventory, record: Verified) -> None:
        held = self.data.get(record.entry, {})
        chunks = range(record.first, record.first + record.n)
        n_bytes = sum(len(held.get(c, b"")) for c in chunks)
        inventory.add(record.entry, record.first, record.n, n_bytes)
        for i in range(record.n):
            digest = record.digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES]
            self._digests[record.entry, record.first + i] = digest

    def _is_good(self, entry: int, chunk: int) -> bool:
        data = self.data.get(entry, {}).get(chunk)
        return data is not None and chunk_digest(data) == self._digests[entry, chunk]

    def forget_chunks(self, wish: ForgetChunks) -> None:
        for entry in dict.fromkeys(entry for entry, _ in wish.chunks):
            bad = [chunk for e, chunk in wish.chunks if e == entry]
            held = self.data.setdefault(entry, {})
            for chunk in bad:
                held.pop(chunk, None)
            self.journal += encode_record(Dropped(entry))
            for chunk in sorted(held):
                self.journal += encode_verified(entry, chunk, self._digests[entry, chunk])

    def write_pieces(self, wish: WritePieces) -> None:
        for record in wish.records:
            if self.fail is not None and self.n_written >= self.fail_after:
                raise self.fail
            name = display_path(self.entries[record.entry].path)
            verify_chunk(record.parts, record.digest, file=name, chunk=record.chunk)
            self.data.setdefault(record.entry, {})[record.chunk] = b"".join(record.parts)
            self._digests[record.entry, record.chunk] = record.digest
            self.journal += encode_verified(record.entry, record.chunk, record.digest)
            self.n_written += 1

    def complete(self, wish: Complete) -> AllPlaced:
        failed = set(wish.failed)
        for number, entry in enumerate(self.entries):
            if number in failed:
                continue
            held = self.data.get(number, {})
            content = b"".join(held[c] for c in sorted(held))
            if entry.kind is Kind.FOLDER:
                self.placed[entry.path] = None
                continue
            if entry.cut.size_or(len(content)) != len(content):
                raise TransferError(f"{display_path(entry.path)} is not whole")
            self.placed[entry.path] = content
        self.journal += encode_record(CompleteMark())
        text = None
        if self._is_text:
            text = next((c for c in self.placed.values() if c is not None), b"")
        return AllPlaced(
            placed=tuple(display_path(e.path) for e in self.entries if b"/" not in e.path),
            failed_paths=first_paths(self.entries[e].path for e in sorted(failed)),
            text=text,
        )
