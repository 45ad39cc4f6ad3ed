//! From what the user names to an embedder.

use std::path::{Path, PathBuf};

use super::{BundledEmbedder, EmbedError, Embedder, Hardware, LocalEmbedder, RemoteEmbedder, StaticEmbedder};
use crate::config::{EmbedConfig, Precision};
use crate::context::{Context, Observer};
use crate::hub;
use crate::suggest::nearest;

/// Which embedder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// The one in the program.
    Boxed,
    /// A model2vec model's folder.
    Static(PathBuf),
    /// A transformer's folder.
    Folder(PathBuf),
    /// A transformer on the Hub.
    Hub(String),
    /// A model on an OpenAI-compatible server.
    Remote(String),
}

const FORMS: &str = "`boxed`, a folder with `config.json`, `tokenizer.json` and `model.safetensors`, `static:FOLDER`, \
                     `hf://OWNER/NAME` or `openai:MODEL`";

impl Spec {
    /// Reads a name.
    ///
    /// # Errors
    /// [`EmbedError::Unknown`] with what there is.
    pub fn parse(name: &str) -> Result<Self, EmbedError> {
        let unknown = |hint: String| EmbedError::Unknown { name: name.chars().take(200).collect(), hint };
        if name == "boxed" {
            return Ok(Self::Boxed);
        }
        if hub::is_hub(name) {
            return Ok(Self::Hub(name.to_owned()));
        }
        if let Some(model) = name.strip_prefix("openai:") {
            if model.trim().is_empty() {
                return Err(unknown("name a model: `openai:text-embedding-3-small`".into()));
            }
            return Ok(Self::Remote(model.trim().to_owned()));
        }
        let (path, is_static) = match name.strip_prefix("static:") {
            Some(path) => (path, true),
            None => (name, false),
        };
        if !Path::new(path).is_dir() {
            let what = if path.is_empty() {
                format!("it is one of {FORMS}")
            } else if Path::new(path).is_file() {
                "name the folder, not a file in it".to_owned()
            } else {
                let near = nearest(name, ["boxed", "static:FOLDER", "openai:MODEL"].into_iter());
                let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                format!("{near}no folder is at that path; it is one of {FORMS}")
            };
            return Err(unknown(what));
        }
        Ok(if is_static { Self::Static(path.into()) } else { Self::Folder(path.into()) })
    }
}

/// An embedder, and how it came to be.
pub struct Opened {
    /// The embedder.
    pub embedder: Box<dyn Embedder>,
    /// Names the very same one again, from anywhere: a path from the root, a commit instead of a branch.
    pub source: String,
    /// The server's address, for one that has it from the environment.
    pub base_url: Option<String>,
    /// Sentences for the user.
    pub notes: Vec<String>,
}

/// Opens the embedder that the settings name, fetching it where it lies on the Hub. Weights are loaded with the first
/// text, and no server is asked.
///
/// # Errors
/// See [`EmbedError`].
pub fn open(
    settings: &EmbedConfig,
    hardware: Hardware,
    seed: u64,
    context: &Context,
    progress: &mut dyn Observer,
) -> Result<Opened, EmbedError> {
    let local = |folder: &Path, source: String| {
        let name = settings.embedder.as_str();
        let embedder = LocalEmbedder::open(folder, name, hardware.clone(), settings.max_tokens)?
            .with_precision(settings.precision)?;
        let notes = embedder.notes().to_vec();
        Ok::<_, EmbedError>(Opened { embedder: Box::new(embedder), source, base_url: None, notes })
    };
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or(path.into()).display().to_string();
    let plain =
        |embedder: Box<dyn Embedder>, source| Opened { embedder, source, base_url: None, notes: Vec::new() };
    let spec = Spec::parse(&settings.embedder)?;
    if settings.precision == Precision::Int8 && !matches!(spec, Spec::Folder(_) | Spec::Hub(_)) {
        return Err(EmbedError::Model {
            embedder: settings.embedder.clone(),
            message: "`int8` is for transformers that run in this program\nhint: leave \
                      `--embedder-precision` (`embed.precision`) out, or name a model's folder or `hf://OWNER/NAME`"
                .into(),
        });
    }
    match spec {
        Spec::Boxed => Ok(plain(Box::new(BundledEmbedder::load()?), "boxed".into())),
        Spec::Static(path) => {
            Ok(plain(Box::new(StaticEmbedder::load(&path)?), format!("static:{}", absolute(&path))))
        }
        Spec::Folder(path) => local(&path, absolute(&path)),
        Spec::Hub(name) => {
            let fetched = hub::model(&name, context, progress)?;
            local(&fetched.folder, fetched.pinned)
        }
        Spec::Remote(model) => {
            let embedder = RemoteEmbedder::new(&model, settings, seed, context)?;
            let base_url = Some(embedder.base().to_owned());
            let source = settings.embedder.clone();
            Ok(Opened { embedder: Box::new(embedder), source, base_url, notes: Vec::new() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_embedders() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        assert_eq!(Spec::parse("boxed").unwrap(), Spec::Boxed);
        assert_eq!(Spec::parse(&path).unwrap(), Spec::Folder(folder.path().into()));
        assert_eq!(Spec::parse(&format!("static:{path}")).unwrap(), Spec::Static(folder.path().into()));
        assert_eq!(Spec::parse("hf://a/b").unwrap(), Spec::Hub("hf://a/b".into()));
        assert_eq!(Spec::parse("openai:m").unwrap(), Spec::Remote("m".into()));
        for wrong in ["", "boxd", "openai:", "static:", "/no/such/folder"] {
            let message = Spec::parse(wrong).unwrap_err().to_string();
            assert!(message.contains("hint:"), "{message}");
        }
        assert!(Spec::parse("boxd").unwrap_err().to_string().contains("`boxed`"));
    }

    #[test]
    fn only_transformers_here_have_8_bits() {
        for name in ["boxed", "openai:m"] {
            let settings =
                EmbedConfig { embedder: name.into(), precision: Precision::Int8, ..EmbedConfig::default() };
            let opened = open(&settings, Hardware::Cpu, 0, &Context::default(), &mut ());
            let error = opened.err().unwrap();
            assert!(error.is_users() && error.to_string().contains("hint:"), "{error}");
        }
    }
}
