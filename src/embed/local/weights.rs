//! Weights of a model: safetensors files, a tensor at a time as `f32`.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata};
use serde::Deserialize;

use crate::embed::EmbedError;

/// A tensor on the host, row-major.
#[derive(Debug, Clone, Default)]
pub(super) struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Array {
    /// Tables with the same number of columns, one below the other.
    pub fn stacked(parts: Vec<Self>) -> Self {
        let rest: Vec<usize> =
            parts.first().map(|part| part.shape.iter().skip(1).copied().collect()).unwrap_or_default();
        let rows = parts.iter().filter_map(|part| part.shape.first()).sum();
        let mut values = Vec::with_capacity(parts.iter().map(|part| part.values.len()).sum());
        for part in parts {
            values.extend(part.values);
        }
        Self { shape: std::iter::once(rows).chain(rest).collect(), values }
    }
}

/// Longest header that is read; real ones have some hundred kilobytes.
const MAX_HEADER: u64 = 100 << 20;

/// The files of a model's weights, by tensor.
#[derive(Debug)]
pub(super) struct Weights {
    files: Vec<Shard>,
    prefix: String,
    /// Names of the tensors that have been read: the rest is not used.
    embedder: String,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    header: Metadata,
    /// Where the data begins.
    offset: u64,
}

/// The files that hold the weights in a model's folder.
pub(super) fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let single = folder.join("model.safetensors");
    if single.exists() {
        return Ok(vec![single]);
    }
    let index = folder.join("model.safetensors.index.json");
    if index.exists() {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let bytes = crate::limits::read(&index)
            .map_err(|error| format!("cannot read `{}`: {error}", index.display()))?;
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|error| format!("`{}` is not an index of weights: {error}", index.display()))?;
        let mut names: Vec<String> = index.weight_map.into_values().collect();
        names.sort();
        names.dedup();
        // Names come from a file that anybody may have written: none may lead out of the folder.
        if let Some(odd) = names.iter().find(|name| name.contains(['/', '\\']) || name.starts_with('.')) {
            return Err(format!("its index of weights names `{odd}`, which is no file beside it"));
        }
        return Ok(names.into_iter().map(|name| folder.join(name)).collect());
    }
    let pickled = ["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"];
    Err(match pickled.iter().find(|name| folder.join(name).exists()) {
        Some(name) => format!(
            "it has `{name}` but no `model.safetensors`; save it as safetensors \
             (`model.save_pretrained(FOLDER, safe_serialization=True)`)"
        ),
        None => "it has no `model.safetensors`".to_owned(),
    })
}

impl Weights {
    /// Reads the headers of the files. `prefixes` are what the names of the tensors may begin with, the wrapper's
    /// name in a checkpoint of a larger model; `probe` is a tensor that every model of the kind has.
    pub fn open(
        embedder: &str,
        files: &[PathBuf],
        prefixes: &[&str],
        probe: &str,
    ) -> Result<Self, EmbedError> {
        let failed = |message: String| EmbedError::Model { embedder: embedder.to_owned(), message };
        let mut shards = Vec::new();
        for path in files {
            shards.push(Shard::open(path).map_err(failed)?);
        }
        let mut weights = Self { files: shards, prefix: String::new(), embedder: embedder.to_owned() };
        let known = |prefix: &str| weights.info(&format!("{prefix}{probe}")).is_some();
        match prefixes.iter().find(|prefix| known(prefix)) {
            Some(prefix) => weights.prefix = (*prefix).to_owned(),
            None => return Err(failed(format!("its weights have no tensor `{probe}`"))),
        }
        Ok(weights)
    }

    fn info(&self, name: &str) -> Option<(&Shard, &safetensors::tensor::TensorInfo)> {
        self.files.iter().find_map(|file| file.header.info(name).map(|info| (file, info)))
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.info(&format!("{}{name}", self.prefix)).is_some()
    }

    /// A tensor, which must have this shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Array, EmbedError> {
        let failed = |message: String| EmbedError::Model { embedder: self.embedder.clone(), message };
        let full = format!("{}{name}", self.prefix);
        let Some((shard, info)) = self.info(&full) else {
            return Err(failed(format!("its weights have no tensor `{full}`")));
        };
        if info.shape != shape {
            return Err(failed(format!(
                "tensor `{full}` has the shape {:?}, its configuration says {shape:?}",
                info.shape
            )));
        }
        let values = shard.read(info).map_err(failed)?;
        Ok(Array { shape: shape.to_vec(), values })
    }

    /// A tensor, if it is there.
    pub fn optional(&self, name: &str, shape: &[usize]) -> Result<Option<Array>, EmbedError> {
        if self.has(name) { self.get(name, shape).map(Some) } else { Ok(None) }
    }

    /// The number of rows of a table whose size no setting says.
    pub fn rows(&self, name: &str) -> Option<usize> {
        let (_, info) = self.info(&format!("{}{name}", self.prefix))?;
        info.shape.first().copied()
    }
}

impl Shard {
    fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot read `{}`: {error}", path.display());
        let damaged = |why: String| format!("`{}` is damaged: {why}", path.display());
        let mut file = crate::limits::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| damaged(format!("it has only {size} bytes")))?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER || length + 8 > size {
            return Err(damaged(format!("{size} bytes cannot hold a header of {length}")));
        }
        let mut header = vec![0; length as usize + 8];
        file.rewind().map_err(failed)?;
        file.read_exact(&mut header).map_err(failed)?;
        // Also holds the tensors to following each other without a gap, each as long as its shape says.
        let header: Metadata = serde_json::from_slice(header.get(8..).unwrap_or_default())
            .map_err(|error| damaged(error.to_string()))?;
        let offset = length + 8;
        let end =
            header.offset_keys().iter().filter_map(|name| header.info(name)).map(|i| i.data_offsets.1).max();
        if offset + end.unwrap_or(0) as u64 != size {
            return Err(damaged(format!("it has {size} bytes, its header says another number")));
        }
        Ok(Self { path: path.into(), header, offset })
    }

    fn read(&self, info: &safetensors::tensor::TensorInfo) -> Result<Vec<f32>, String> {
        let failed = |error: std::io::Error| format!("cannot read `{}`: {error}", self.path.display());
        let (from, to) = info.data_offsets;
        let mut bytes = vec![0; to.saturating_sub(from)];
        let mut file = crate::limits::open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(self.offset + from as u64)).map_err(failed)?;
        file.read_exact(&mut bytes).map_err(failed)?;
        let halves = || bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        match info.dtype {
            Dtype::F32 => Ok(bytes
                .chunks_exact(4)
                .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
                .collect()),
            Dtype::F16 => Ok(halves().map(|bits| half::f16::from_bits(bits).to_f32()).collect()),
            Dtype::BF16 => Ok(halves().map(|bits| half::bf16::from_bits(bits).to_f32()).collect()),
            other => Err(format!(
                "`{}` holds {other:?}; weights in F32, F16 and BF16 are read, quantised ones are not",
                self.path.display()
            )),
        }
    }
}
