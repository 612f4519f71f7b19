//! `Sealer`: seals runs of packets.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use wraith_core::aead::AwsLc;
use wraith_core::{FramesRequest, SealRequest};

use crate::arguments::{self, Key, U32, U64, invalid, size};
use crate::buffers::{self, Input, Output};

/// Seals what one session sends in one direction. Keeps the send chain of every live epoch.
///
/// aead: 1 XChaCha20-Poly1305, 2 AES-256-GCM. direction: 0 if the handshake's initiator sends, 1 if its
/// responder does. fmt: the packed wire format, 8 bytes. hp_key: header-mask key of this direction.
/// cid_key: key of the connection ids that are written, the peer's. Raises `ValueError`.
#[pyclass(module = "wraith_native")]
pub(crate) struct Sealer(wraith_core::Sealer<AwsLc>);

#[pymethods]
impl Sealer {
    #[new]
    fn new(
        aead: i64,
        direction: i64,
        fmt: &Bound<'_, PyAny>,
        hp_key: Key,
        cid_key: Key,
    ) -> PyResult<Self> {
        Ok(Self(wraith_core::Sealer::new(
            arguments::cipher(aead)?,
            arguments::direction(direction)?,
            arguments::format(fmt)?,
            &hp_key.0,
            &cid_key.0,
        )))
    }

    /// Random bytes that one datagram takes from `seal_run`'s `random`.
    #[getter]
    fn dummy_bytes(&self) -> usize {
        self.0.format().dummy_bytes()
    }

    /// Begin to be able to send in `epoch`; `root` has 32 bytes and is not kept.
    fn add_epoch(&mut self, epoch: U32, root: Key) -> PyResult<()> {
        self.0.add_epoch(epoch.0, &root.0).map_err(invalid)
    }

    /// Wipe the chain of `epoch`; one that is not there is no error.
    fn drop_epoch(&mut self, epoch: U32) {
        self.0.drop_epoch(epoch.0);
    }

    /// The peer endpoint's header-mask key for form B, 32 bytes; `None` while it is not known.
    fn set_hmk(&mut self, hmk: Option<Key>) {
        self.0.set_mask_key(hmk.as_ref().map(|key| &*key.0));
    }

    /// The packet number that comes next in `epoch`.
    fn next_pn(&self, epoch: U32) -> PyResult<u32> {
        self.0.next_pn(epoch.0).map_err(invalid)
    }

    /// Spend the next packet number of `epoch` on nothing and forget its key; returns the number.
    ///
    /// Raises `ValueError` for an epoch that is not live and `NonceExhausted` at the bound.
    fn skip(&mut self, epoch: U32) -> PyResult<u32> {
        self.0.skip(epoch.0).map_err(invalid)
    }

    /// Bytes of frames that fit into a datagram of `datagram_bytes`.
    fn capacity(&self, datagram_bytes: i64) -> i64 {
        datagram_bytes.saturating_sub(self.0.format().overhead() as i64)
    }

    /// Cut a run into packets and seal them back to back into `out` from `at`.
    ///
    /// `lead` goes whole into the first datagram; `data` are segments of one stream, contiguous from
    /// `offset`. `out` must not overlap an input. Returns bytes written, datagrams, stream bytes taken,
    /// stream bytes of the first datagram. Raises `ValueError`, `BufferError` and `NonceExhausted` before
    /// anything changes. Runs without the interpreter lock.
    #[pyo3(signature = (*, epoch, cid_index, form, lead, sid = U32(0), offset = U64(0), data = None, fin = false,
                      datagram_bytes, n_max, random, out, at = 0))]
    #[allow(clippy::too_many_arguments)]
    fn seal_run(
        &mut self,
        py: Python<'_>,
        epoch: U32,
        cid_index: U32,
        form: i64,
        lead: &Bound<'_, PyAny>,
        sid: U32,
        offset: U64,
        data: Option<&Bound<'_, PyAny>>,
        fin: bool,
        datagram_bytes: i64,
        n_max: i64,
        random: &Bound<'_, PyAny>,
        out: &Bound<'_, PyAny>,
        at: i64,
    ) -> PyResult<(usize, usize, usize, usize)> {
        if !matches!(form, 0 | 1) {
            return Err(PyValueError::new_err("form is 0 (A) or 1 (B)"));
        }
        let (lead, random) = (Input::get(lead)?, Input::get(random)?);
        let views = data.map_or_else(|| Ok(Vec::new()), buffers::inputs)?;
        let mut out = Output::get(out)?;
        let mut inputs: Vec<&[u8]> = views.iter().map(Input::as_slice).collect();
        inputs.extend([lead.as_slice(), random.as_slice()]);
        let out = out.as_mut_slice(&inputs)?;
        let room = usize::try_from(at).ok().and_then(|at| out.get_mut(at..));
        let room = room.ok_or_else(|| PyValueError::new_err("at is outside out"))?;
        let request = SealRequest {
            epoch: epoch.0,
            cid_index: cid_index.0,
            form_b: form == 1,
            lead: lead.as_slice(),
            sid: sid.0,
            offset: offset.0,
            data: &inputs[..views.len()],
            fin,
            datagram_bytes: size(datagram_bytes),
            n_max: size(n_max),
            random: random.as_slice(),
        };
        let sealer = &mut self.0;
        let report = py.detach(|| sealer.seal_run(&request, room)).map_err(invalid)?;
        Ok((
            report.bytes_written,
            report.n_datagrams,
            report.stream_bytes,
            report.first_stream_bytes,
        ))
    }

    /// Seal each of `payloads`, encoded frames, into a packet of its own, back to back into `out` from `at`.
    ///
    /// 1 to 64 payloads of any size. Returns bytes written and packets: fewer than payloads if `out` is full.
    /// `out` must not overlap an input. Raises `ValueError`, `BufferError` and `NonceExhausted` before anything
    /// changes. Runs without the interpreter lock.
    #[pyo3(signature = (*, epoch, cid_index, form, payloads, random, out, at = 0))]
    #[allow(clippy::too_many_arguments)]
    fn seal_frames(
        &mut self,
        py: Python<'_>,
        epoch: U32,
        cid_index: U32,
        form: i64,
        payloads: &Bound<'_, PyAny>,
        random: &Bound<'_, PyAny>,
        out: &Bound<'_, PyAny>,
        at: i64,
    ) -> PyResult<(usize, usize)> {
        if !matches!(form, 0 | 1) {
            return Err(PyValueError::new_err("form is 0 (A) or 1 (B)"));
        }
        let random = Input::get(random)?;
        let views = buffers::inputs(payloads)?;
        let mut out = Output::get(out)?;
        let mut inputs: Vec<&[u8]> = views.iter().map(Input::as_slice).collect();
        inputs.push(random.as_slice());
        let out = out.as_mut_slice(&inputs)?;
        let room = usize::try_from(at).ok().and_then(|at| out.get_mut(at..));
        let room = room.ok_or_else(|| PyValueError::new_err("at is outside out"))?;
        let request = FramesRequest {
            epoch: epoch.0,
            cid_index: cid_index.0,
            form_b: form == 1,
            payloads: &inputs[..views.len()],
            random: random.as_slice(),
        };
        let sealer = &mut self.0;
        py.detach(|| sealer.seal_frames(&request, room)).map_err(invalid)
    }

    /// Wipe every key. The object is of no use afterwards.
    fn close(&mut self) {
        self.0.close();
    }
}
