//! `RecordSealer` and `RecordReader`: the lengths in front of the packets of a link.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use wraith_core::aead::AwsLc;

use crate::arguments::{Key, invalid, size};
use crate::buffers::Output;

/// Where packets lie back to back: start, bytes of all, bytes of each but the last.
type Run = (usize, usize, usize);

/// Seals the lengths of what one end of a link sends. `key` has 32 bytes.
#[pyclass(module = "wraith_native")]
pub(crate) struct RecordSealer(wraith_core::RecordSealer<AwsLc>);

#[pymethods]
impl RecordSealer {
    #[new]
    fn new(key: Key) -> Self {
        Self(wraith_core::RecordSealer::new(&key.0))
    }

    /// The headers (18 bytes each, back to back) of a run of packets.
    ///
    /// `data_bytes` in packets of `segment_bytes`, the last one possibly shorter. Raises `ValueError`, before
    /// anything changes, if a packet has not 33 to 16,384 bytes or there are more than 65,536.
    fn seal<'py>(
        &mut self,
        py: Python<'py>,
        data_bytes: i64,
        segment_bytes: i64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let headers = self.0.seal(size(data_bytes), size(segment_bytes)).map_err(invalid)?;
        Ok(PyBytes::new(py, &headers))
    }

    /// Wipe the key. The object is of no use afterwards.
    fn close(&mut self) {
        self.0.close();
    }
}

/// Opens what one end of a link receives. `key` has 32 bytes.
#[pyclass(module = "wraith_native")]
pub(crate) struct RecordReader(wraith_core::RecordReader<AwsLc>);

#[pymethods]
impl RecordReader {
    #[new]
    fn new(key: Key) -> Self {
        Self(wraith_core::RecordReader::new(&key.0))
    }

    /// False for good once a length did not open or was out of range.
    #[getter]
    fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// Whether a header comes next; else the rest of a packet.
    #[getter]
    fn expects_header(&self) -> bool {
        self.0.expects_header()
    }

    /// Open the lengths in `buffer` and move the complete packets together at its front.
    ///
    /// Returns the runs `(at, n_bytes, segment_bytes)` and where what is left over begins; that comes first in
    /// the next `buffer`. Runs without the interpreter lock.
    fn read(&mut self, py: Python<'_>, buffer: &Bound<'_, PyAny>) -> PyResult<(Vec<Run>, usize)> {
        let mut buffer = Output::get(buffer)?;
        let bytes = buffer.as_mut_slice(&[])?;
        let reader = &mut self.0;
        let (runs, rest) = py.detach(|| reader.read(bytes));
        Ok((runs.iter().map(|run| (run.at, run.n_bytes, run.segment_bytes)).collect(), rest))
    }

    /// Wipe the key, and read nothing any more.
    fn close(&mut self) {
        self.0.close();
    }
}
