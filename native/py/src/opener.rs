//! `Opener`: opens runs of packets.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyTuple};
use wraith_core::OpenReport;
use wraith_core::aead::AwsLc;

use crate::arguments::{self, Key, U32, invalid, size};
use crate::buffers::{Input, Output};

const RESULT_FIELDS: [&str; 12] = [
    "stream_bytes",
    "runs",
    "others",
    "received",
    "n_eliciting",
    "unclaimed",
    "highest",
    "cid_index",
    "authenticated_bytes",
    "dropped",
    "broken",
    "form_b",
];

/// The named tuple that `open_run` returns: the same fields as the Python twin's.
static RESULT_TYPE: PyOnceLock<(Py<PyAny>, Py<PyAny>)> = PyOnceLock::new();

fn result_type_and_make(py: Python<'_>) -> PyResult<&(Py<PyAny>, Py<PyAny>)> {
    RESULT_TYPE.get_or_try_init(py, || {
        let named = py.import("collections")?.getattr("namedtuple")?;
        let result = named.call1(("OpenResult", RESULT_FIELDS))?;
        result.setattr("__module__", "wraith_native")?;
        let make = result.getattr("_make")?;
        Ok((result.unbind(), make.unbind()))
    })
}

/// The class of `open_run`'s results.
pub(crate) fn result_type(py: Python<'_>) -> PyResult<Py<PyAny>> {
    Ok(result_type_and_make(py)?.0.clone_ref(py))
}

fn result<'py>(py: Python<'py>, report: &OpenReport) -> PyResult<Bound<'py, PyAny>> {
    let runs = report.runs.iter().map(|run| (run.sid, run.offset, run.at, run.length, run.fin));
    let others = report
        .others
        .iter()
        .map(|o| (o.epoch, o.pn, PyBytes::new(py, &report.frames[o.start..o.end])));
    let received = report.received.iter().map(|r| (r.epoch, r.first, r.last, r.eliciting));
    let fields: [Bound<'py, PyAny>; 12] = [
        report.stream_bytes.into_pyobject(py)?.into_any(),
        PyList::new(py, runs)?.into_any(),
        PyList::new(py, others)?.into_any(),
        PyList::new(py, received)?.into_any(),
        report.n_eliciting.into_pyobject(py)?.into_any(),
        PyList::new(py, &report.unclaimed)?.into_any(),
        report.highest.into_pyobject(py)?.into_any(),
        report.cid_index.map_or(-1, i64::from).into_pyobject(py)?.into_any(),
        report.authenticated_bytes.into_pyobject(py)?.into_any(),
        report.dropped.into_pyobject(py)?.into_any(),
        report.broken.into_pyobject(py)?.into_any(),
        report.form_b.into_pyobject(py)?.to_owned().into_any(),
    ];
    result_type_and_make(py)?.1.bind(py).call1((PyTuple::new(py, fields)?,))
}

/// Opens what one session receives in one direction. Keeps chains and window of every live epoch.
///
/// aead, fmt: as for `Sealer`. direction: of the packets that are received. hp_key: header-mask key of
/// that direction. cid_key: key of this side's own connection ids. window: replay window in packets, a
/// power of two from 256 to 65,536. Raises `ValueError`.
#[pyclass(module = "wraith_native")]
pub(crate) struct Opener {
    inner: wraith_core::Opener<AwsLc>,
    /// Kept from call to call for its capacity.
    report: OpenReport,
}

#[pymethods]
impl Opener {
    #[new]
    fn new(
        aead: i64,
        direction: i64,
        fmt: &Bound<'_, PyAny>,
        hp_key: Key,
        cid_key: Key,
        window: i64,
    ) -> PyResult<Self> {
        let inner = wraith_core::Opener::new(
            arguments::cipher(aead)?,
            arguments::direction(direction)?,
            arguments::format(fmt)?,
            &hp_key.0,
            &cid_key.0,
            window,
        );
        Ok(Self { inner: inner.map_err(invalid)?, report: OpenReport::default() })
    }

    /// Where the connection id lies in a datagram, 0 to 13.
    #[getter]
    fn cid_offset(&self) -> usize {
        self.inner.format().cid_offset()
    }

    /// Bytes of a datagram that are not payload.
    #[getter]
    fn fixed_overhead(&self) -> usize {
        self.inner.format().overhead()
    }

    /// Begin to accept packets of `epoch`; `root` has 32 bytes and is not kept.
    fn add_epoch(&mut self, epoch: U32, root: Key) -> PyResult<()> {
        self.inner.add_epoch(epoch.0, &root.0).map_err(invalid)
    }

    /// Wipe keys and window of `epoch`; one that is not there is no error.
    fn drop_epoch(&mut self, epoch: U32) {
        self.inner.drop_epoch(epoch.0);
    }

    /// This endpoint's header-mask keys that the peer may use for form B: two at most, 32 bytes.
    fn set_hmk(&mut self, hmks: Vec<Key>) -> PyResult<()> {
        let keys: zeroize::Zeroizing<Vec<[u8; 32]>> =
            zeroize::Zeroizing::new(hmks.iter().map(|key| *key.0).collect());
        self.inner.set_mask_keys(&keys).map_err(invalid)
    }

    /// Accept the connection ids of the indices `low` to `high`, both included, 16 at most.
    fn set_cids(&mut self, low: U32, high: U32) -> PyResult<()> {
        self.inner.set_cids(low.0, high.0).map_err(invalid)
    }

    /// Whether the unmasked header looks like this session's: reserved bits zero, number in range.
    fn claims(&self, datagram: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.inner.claims(Input::get(datagram)?.as_slice()))
    }

    /// `claims`, and its connection id, in form A or B, is one that is accepted now.
    fn fits(&self, datagram: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.inner.fits(Input::get(datagram)?.as_slice()))
    }

    /// Open the datagrams in `buf`: `segment_bytes` each, the last one possibly shorter.
    ///
    /// Stream bytes land back to back in `out`, which is as long as `buf` and does not overlap it. A packet
    /// that fails anywhere has no effect but on a count. Raises `ValueError` and `BufferError` before
    /// anything changes. Runs without the interpreter lock.
    fn open_run<'py>(
        &mut self,
        py: Python<'py>,
        buf: &Bound<'py, PyAny>,
        segment_bytes: i64,
        out: &Bound<'py, PyAny>,
        now: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        if segment_bytes < 1 {
            return Err(PyValueError::new_err("segment_bytes must be at least 1"));
        }
        let buf = Input::get(buf)?;
        let mut out = Output::get(out)?;
        let (buf, segment_bytes) = (buf.as_slice(), size(segment_bytes));
        let out = out.as_mut_slice(&[buf])?;
        let Self { inner, report } = self;
        py.detach(|| inner.open_run(buf, segment_bytes, out, now, report)).map_err(invalid)?;
        result(py, report)
    }

    /// Erase keys of packets that were overtaken `ttl_s` or longer ago; they count as seen.
    fn expire(&mut self, now: f64, ttl_s: f64) {
        self.inner.expire(now, ttl_s);
    }

    /// Wipe every key. The object is of no use afterwards.
    fn close(&mut self) {
        self.inner.close();
    }
}
