//! Where deltas come from: memory, or a file that is larger than memory.

use std::{fs::File, io, path::Path, path::PathBuf};

use safetensors::tensor::{Dtype, Metadata};

use super::SaeError;
use crate::matrix::Matrix;

/// Deltas `[pairs, dimensions]` that can be read by row.
pub trait Deltas: Sync {
    /// Number of pairs.
    fn rows(&self) -> usize;

    /// Number of dimensions, D.
    fn dimensions(&self) -> usize;

    /// Writes the rows `index`, in that order, to `out`: row i at `i · stride`.
    ///
    /// # Errors
    /// [`SaeError::File`] where a file cannot be read. Every row has to exist.
    fn read(&self, index: &[u32], stride: usize, out: &mut [f32]) -> Result<(), SaeError>;

    /// The rows `index` as a matrix.
    ///
    /// # Errors
    /// See [`Deltas::read`].
    fn gather(&self, index: &[u32]) -> Result<Matrix, SaeError> {
        let cols = self.dimensions();
        let mut values = vec![0.0; index.len() * cols];
        self.read(index, cols, &mut values)?;
        Ok(Matrix { values, cols })
    }
}

impl Deltas for Matrix {
    fn rows(&self) -> usize {
        self.rows()
    }

    fn dimensions(&self) -> usize {
        self.cols
    }

    fn read(&self, index: &[u32], stride: usize, out: &mut [f32]) -> Result<(), SaeError> {
        for (&row, out) in index.iter().zip(out.chunks_mut(stride.max(1))) {
            out[..self.cols].copy_from_slice(self.row(row as usize));
        }
        Ok(())
    }
}

/// The deltas of a finished embed stage (`stages/deltas.safetensors`), read as they are needed: what
/// memory they take does not grow with the number of pairs.
#[derive(Debug)]
pub struct DeltaFile {
    file: File,
    path: PathBuf,
    /// Where the first row begins.
    offset: u64,
    rows: usize,
    dimensions: usize,
}

impl DeltaFile {
    /// Opens a safetensors file that holds `deltas`, F32 `[pairs, dimensions]`.
    ///
    /// # Errors
    /// [`SaeError::File`]; [`SaeError::Format`] for a file of another kind or a truncated one.
    pub fn open(path: &Path) -> Result<Self, SaeError> {
        let unreadable = |source| SaeError::File { action: "read", path: path.into(), source };
        let broken = |reason: String| SaeError::Format { path: path.into(), reason };
        let file = crate::limits::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let mut length = [0; 8];
        read_at(&file, &mut length, 0).map_err(unreadable)?;
        let length = u64::from_le_bytes(length);
        // The header names a few tensors; what claims more is something else.
        if length > size.saturating_sub(8).min(1 << 20) {
            return Err(broken("it is no safetensors file".into()));
        }
        let mut header = vec![0; 8 + length as usize];
        read_at(&file, &mut header, 0).map_err(unreadable)?;
        // Also holds the tensors to following each other without a gap, each as long as its shape says.
        let header: Metadata = serde_json::from_slice(header.get(8..).unwrap_or_default())
            .map_err(|error| broken(error.to_string()))?;
        let info = header.info("deltas").ok_or_else(|| broken("it holds no `deltas`".into()))?;
        let (Dtype::F32, &[rows, dimensions]) = (info.dtype, info.shape.as_slice()) else {
            return Err(broken(format!("`deltas` is {:?} {:?}, not a table of F32", info.dtype, info.shape)));
        };
        let offset = 8 + length + info.data_offsets.0 as u64;
        let bytes = rows as u64 * dimensions as u64 * 4;
        if offset + bytes > size {
            return Err(broken(format!("it ends after {size} bytes of {}", offset + bytes)));
        }
        Ok(Self { file, path: path.into(), offset, rows, dimensions })
    }
}

impl Deltas for DeltaFile {
    fn rows(&self) -> usize {
        self.rows
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn read(&self, index: &[u32], stride: usize, out: &mut [f32]) -> Result<(), SaeError> {
        let bytes = self.dimensions as u64 * 4;
        let mut buffer = Vec::new();
        let mut rows = index;
        let mut out = out.chunks_mut(stride.max(1));
        while let Some(&first) = rows.first() {
            // Neighbouring rows in one request.
            let run = (1..rows.len().min(256))
                .find(|&i| rows[i] != rows[i - 1].wrapping_add(1))
                .unwrap_or(rows.len().min(256));
            buffer.resize(run * self.dimensions * 4, 0);
            read_at(&self.file, &mut buffer, self.offset + u64::from(first) * bytes)
                .map_err(|source| SaeError::File { action: "read", path: self.path.clone(), source })?;
            // In this order: `zip` must not take a place of `out` that it has no row for.
            for (row, out) in buffer.chunks_exact(self.dimensions.max(1) * 4).zip(&mut out) {
                for (value, out) in row.as_chunks::<4>().0.iter().zip(out) {
                    *out = f32::from_le_bytes(*value);
                }
            }
            rows = &rows[run..];
        }
        Ok(())
    }
}

/// Fills `buffer` from `offset` on; several threads may do so at once.
#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills `buffer` from `offset` on; several threads may do so at once.
#[cfg(windows)]
fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset += read as u64;
        buffer = &mut buffer[read..];
    }
    Ok(())
}
