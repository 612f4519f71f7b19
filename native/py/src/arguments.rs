//! Python arguments as Rust values. Whatever is out of range is `ValueError`, as in the Python twin.

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use wraith_core::Error;
use wraith_core::aead::Cipher;
use wraith_core::{Direction, WireFormat};
use zeroize::Zeroizing;

use crate::buffers::Input;

fn in_range<T>(result: PyResult<T>, py: Python<'_>, what: &'static str) -> PyResult<T> {
    result.map_err(|error| {
        if error.is_instance_of::<PyOverflowError>(py) {
            PyValueError::new_err(what)
        } else {
            error
        }
    })
}

/// An unsigned number of 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct U32(pub(crate) u32);

impl<'a, 'py> FromPyObject<'a, 'py> for U32 {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let number = object.extract::<u32>();
        in_range(number, object.py(), "this number is a u32").map(Self)
    }
}

/// An unsigned number of 64 bits.
#[derive(Clone, Copy)]
pub(crate) struct U64(pub(crate) u64);

impl<'a, 'py> FromPyObject<'a, 'py> for U64 {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let number = object.extract::<u64>();
        in_range(number, object.py(), "this number is a u64").map(Self)
    }
}

/// 32 secret bytes.
pub(crate) struct Key(pub(crate) Zeroizing<[u8; 32]>);

impl<'a, 'py> FromPyObject<'a, 'py> for Key {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let input = Input::get(&object)?;
        let mut key = Zeroizing::new([0; 32]);
        if input.as_slice().len() != key.len() {
            return Err(PyValueError::new_err("a key has 32 bytes"));
        }
        key.copy_from_slice(input.as_slice());
        Ok(Self(key))
    }
}

/// A size or count: what is negative counts as none.
pub(crate) fn size(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

pub(crate) fn cipher(number: i64) -> PyResult<Cipher> {
    Cipher::from_number(number)
        .ok_or_else(|| PyValueError::new_err("aead is 1 (XChaCha20-Poly1305) or 2 (AES-256-GCM)"))
}

pub(crate) fn direction(number: i64) -> PyResult<Direction> {
    Direction::from_number(number)
        .ok_or_else(|| PyValueError::new_err("direction is 0 (initiator to responder) or 1"))
}

pub(crate) fn format(packed: &Bound<'_, PyAny>) -> PyResult<WireFormat> {
    WireFormat::unpack(Input::get(packed)?.as_slice()).map_err(invalid)
}

/// The exception for what `core` refused.
pub(crate) fn invalid(error: Error) -> PyErr {
    match error {
        Error::Invalid(what) => PyValueError::new_err(what),
        // imported when needed: this module must not need the package in order to load
        Error::NonceExhausted => Python::attach(|py| {
            match py.import("wraith.errors").and_then(|m| m.getattr("NonceExhausted")?.call0()) {
                Ok(exception) => PyErr::from_value(exception),
                Err(error) => error,
            }
        }),
        Error::Aead => PyRuntimeError::new_err("the AEAD failed"),
    }
}
