"""Types of the native part; the meaning of every call stands in ``wraith.hotpath._python``."""

from collections.abc import Sequence
from typing import Final, NamedTuple, final

from typing_extensions import Buffer

VERSION: Final[str]
INTERFACE: Final[int]

class OpenResult(NamedTuple):
    stream_bytes: int
    runs: list[tuple[int, int, int, int, bool]]
    others: list[tuple[int, int, bytes]]
    received: list[tuple[int, int, int, bool]]
    n_eliciting: int
    unclaimed: list[int]
    highest: tuple[int, int] | None
    cid_index: int
    authenticated_bytes: int
    dropped: int
    broken: int
    form_b: bool

@final
class Sealer:
    def __new__(
        cls, aead: int, direction: int, fmt: Buffer, hp_key: Buffer, cid_key: Buffer
    ) -> Sealer: ...
    @property
    def dummy_bytes(self) -> int: ...
    def add_epoch(self, epoch: int, root: Buffer) -> None: ...
    def drop_epoch(self, epoch: int) -> None: ...
    def set_hmk(self, hmk: Buffer | None) -> None: ...
    def next_pn(self, epoch: int) -> int: ...
    def skip(self, epoch: int) -> int: ...
    def capacity(self, datagram_bytes: int) -> int: ...
    def seal_run(
        self,
        *,
        epoch: int,
        cid_index: int,
        form: int,
        lead: Buffer,
        sid: int = 0,
        offset: int = 0,
        data: Sequence[Buffer] = (),
        fin: bool = False,
        datagram_bytes: int,
        n_max: int,
        random: Buffer,
        out: bytearray | memoryview,
        at: int = 0,
    ) -> tuple[int, int, int, int]: ...
    def seal_frames(
        self,
        *,
        epoch: int,
        cid_index: int,
        form: int,
        payloads: Sequence[Buffer],
        random: Buffer,
        out: bytearray | memoryview,
        at: int = 0,
    ) -> tuple[int, int]: ...
    def close(self) -> None: ...

@final
class Opener:
    def __new__(
        cls,
        aead: int,
        direction: int,
        fmt: Buffer,
        hp_key: Buffer,
        cid_key: Buffer,
        window: int,
    ) -> Opener: ...
    @property
    def cid_offset(self) -> int: ...
    @property
    def fixed_overhead(self) -> int: ...
    def add_epoch(self, epoch: int, root: Buffer) -> None: ...
    def drop_epoch(self, epoch: int) -> None: ...
    def set_hmk(self, hmks: Sequence[Buffer]) -> None: ...
    def set_cids(self, low: int, high: int) -> None: ...
    def claims(self, datagram: Buffer) -> bool: ...
    def fits(self, datagram: Buffer) -> bool: ...
    def open_run(
        self, buf: Buffer, segment_bytes: int, out: bytearray | memoryview, now: float
    ) -> OpenResult: ...
    def expire(self, now: float, ttl_s: float) -> None: ...
    def close(self) -> None: ...

@final
class RecordSealer:
    def __new__(cls, key: Buffer) -> RecordSealer: ...
    def seal(self, data_bytes: int, segment_bytes: int) -> bytes: ...
    def close(self) -> None: ...

@final
class RecordReader:
    def __new__(cls, key: Buffer) -> RecordReader: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def expects_header(self) -> bool: ...
    def read(self, buffer: bytearray | memoryview) -> tuple[list[tuple[int, int, int]], int]: ...
    def close(self) -> None: ...

def blake3_chunks(buf: Buffer, chunk_bytes: int) -> bytes: ...
def blake3_chunks_of(parts: Sequence[Buffer], chunk_bytes: int) -> bytes: ...
