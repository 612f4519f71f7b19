//! Borrowed views of Python buffers. All `unsafe` code of this crate is here.
//!
//! The views live for one call. The contract with the caller, as for every buffer function of CPython:
//! nobody writes to a buffer, and nobody touches `out`, while the call runs. Overlap between what is read
//! and what is written is refused before the first byte is touched.

use core::ptr::NonNull;
use core::slice;

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;

/// A held `Py_buffer` of plain contiguous bytes. Boxed, because exporters may keep its address.
struct View(Box<ffi::Py_buffer>);

impl View {
    fn get(object: &Bound<'_, PyAny>, flags: core::ffi::c_int) -> PyResult<Self> {
        let mut view = Box::new(ffi::Py_buffer::new());
        // SAFETY: `object` is a live object, the interpreter is attached (a `Bound` proves it), and `view`
        // is a valid place for a Py_buffer. On failure nothing is held and an exception is set.
        let code = unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut *view, flags) };
        if code != 0 {
            return Err(PyErr::fetch(object.py()));
        }
        Ok(Self(view))
    }

    /// Start and size. Python gives a null pointer for some empty buffers, Rust wants none.
    fn parts(&self) -> (NonNull<u8>, usize) {
        let start = NonNull::new(self.0.buf.cast::<u8>());
        match (start, usize::try_from(self.0.len)) {
            (Some(start), Ok(n)) => (start, n),
            _ => (NonNull::dangling(), 0),
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: the buffer was got by `get` and is released once. Views are locals of functions that
        // Python called, so the interpreter is attached here.
        unsafe { ffi::PyBuffer_Release(&raw mut *self.0) }
    }
}

/// Bytes to read.
pub(crate) struct Input(View);

impl Input {
    /// Borrow the bytes of any contiguous buffer. Raises `BufferError` or `TypeError`.
    pub(crate) fn get(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        View::get(object, ffi::PyBUF_SIMPLE).map(Self)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        let (start, n) = self.0.parts();
        // SAFETY: a PyBUF_SIMPLE view is `n` contiguous bytes, and the exporter keeps them in place until
        // the view is released, which the borrow of `self` forbids. That nobody writes to them meanwhile
        // is the caller's side of the contract above.
        unsafe { slice::from_raw_parts(start.as_ptr(), n) }
    }
}

/// Borrow every buffer of an iterable.
pub(crate) fn inputs(objects: &Bound<'_, PyAny>) -> PyResult<Vec<Input>> {
    objects.try_iter()?.map(|object| Input::get(&object?)).collect()
}

/// Bytes to write.
pub(crate) struct Output(View);

impl Output {
    /// Borrow the bytes of a writable contiguous buffer. Raises `BufferError` or `TypeError`.
    pub(crate) fn get(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        View::get(object, ffi::PyBUF_WRITABLE).map(Self)
    }

    /// The bytes, once it is certain that no input shares one of them.
    pub(crate) fn as_mut_slice(&mut self, inputs: &[&[u8]]) -> PyResult<&mut [u8]> {
        let (start, n) = self.0.parts();
        let (from, to) = (start.as_ptr().addr(), start.as_ptr().addr() + n);
        let overlaps = inputs.iter().any(|input| {
            let at = input.as_ptr().addr();
            !input.is_empty() && at < to && from < at + input.len()
        });
        if overlaps {
            return Err(PyValueError::new_err("out overlaps an input"));
        }
        // SAFETY: as for `Input::as_slice`, and the view is writable. `&mut self` makes this the only slice
        // made from this view; no input of this call shares a byte with it, as just checked.
        Ok(unsafe { slice::from_raw_parts_mut(start.as_ptr(), n) })
    }
}
