//! `wraith_native`: the packet layer's heavy loops as a Python module.
//!
//! Converts arguments, maps errors, lets go of the interpreter lock around every heavy call. No logic:
//! that is `wraith-core`. The reference for names, results and errors is `wraith/hotpath/_python.py`;
//! `wraith.hotpath` is the only importer, and takes this module only if `VERSION` and `INTERFACE` equal its
//! own.

mod arguments;
mod buffers;
mod opener;
mod records;
mod sealer;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use arguments::{invalid, size};
use buffers::{Input, inputs};

/// Number of this surface. It grows with every change of names, arguments or results, here and in
/// `wraith/hotpath/__init__.py`, in one commit.
const INTERFACE: u32 = 4;

/// BLAKE3 digests (32 bytes each, back to back) of the consecutive chunks of `buf`.
///
/// The last chunk may be shorter than `chunk_bytes`; an empty buffer has no digest. One thread, and the
/// interpreter lock is released: call it from a worker thread for large pieces. Raises `ValueError` if
/// `chunk_bytes` is less than 1.
#[pyfunction]
fn blake3_chunks<'py>(
    py: Python<'py>,
    buf: &Bound<'py, PyAny>,
    chunk_bytes: i64,
) -> PyResult<Bound<'py, PyBytes>> {
    digests(py, &[Input::get(buf)?], chunk_bytes)
}

/// `blake3_chunks` of what `parts` are when joined, without joining them: a chunk may lie in several.
#[pyfunction]
fn blake3_chunks_of<'py>(
    py: Python<'py>,
    parts: &Bound<'py, PyAny>,
    chunk_bytes: i64,
) -> PyResult<Bound<'py, PyBytes>> {
    digests(py, &inputs(parts)?, chunk_bytes)
}

fn digests<'py>(
    py: Python<'py>,
    parts: &[Input],
    chunk_bytes: i64,
) -> PyResult<Bound<'py, PyBytes>> {
    let parts: Vec<&[u8]> = parts.iter().map(Input::as_slice).collect();
    let digests = py.detach(|| wraith_core::chunk_digests(&parts, size(chunk_bytes)));
    Ok(PyBytes::new(py, &digests.map_err(invalid)?))
}

/// The native part of wraith: runs of packets, sealed and opened.
#[pymodule]
fn wraith_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    module.add("INTERFACE", INTERFACE)?;
    module.add_class::<sealer::Sealer>()?;
    module.add_class::<opener::Opener>()?;
    module.add_class::<records::RecordSealer>()?;
    module.add_class::<records::RecordReader>()?;
    module.add_function(wrap_pyfunction!(blake3_chunks, module)?)?;
    module.add_function(wrap_pyfunction!(blake3_chunks_of, module)?)?;
    module.add("OpenResult", opener::result_type(module.py())?)?;
    Ok(())
}
