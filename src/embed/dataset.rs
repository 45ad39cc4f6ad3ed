//! A dataset through an embedder: every text once, whatever the number of pairs it stands in.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rayon::prelude::*;

use super::{Amount, EmbedError, Embedder, Recipe, Task, Work, checked};
use crate::cache::{self, Bucket, Cache, Claim, Key, Space};
use crate::context::{Context, Observer};
use crate::limits::VECTORS;
use crate::matrix::Matrix;
use crate::net::one_line;
use crate::pairs::Pairs;
use crate::store::EmbeddingRecord;

/// Pairs whose vectors are in memory at a time, besides the deltas.
const BLOCK: usize = 1024;

/// How often we look whether another process has finished what we wait for.
const LOOK: Duration = Duration::from_millis(200);

/// A dataset, an embedder and a recipe; with a cache where that pays.
pub struct Embedding<'a> {
    pairs: &'a Pairs,
    embedder: &'a dyn Embedder,
    recipe: &'a Recipe,
    context: Context,
    store: Option<Store>,
    /// Addresses of texts that the embedder refused.
    refused: HashSet<Key>,
    /// The pairs are texts of any kind, which no row of a dataset holds.
    pub(super) is_loose: bool,
    /// What it took.
    pub record: EmbeddingRecord,
}

struct Store {
    bucket: Bucket,
    space: Space,
    /// Address of every pair's A, then of every pair's B.
    keys: Vec<Key>,
    /// Removed with the store, where the user's cache cannot be used.
    _temporary: Option<tempfile::TempDir>,
}

impl<'a> Embedding<'a> {
    /// Opens the cache where the embedder wants one.
    ///
    /// # Errors
    /// Where neither the user's cache nor a temporary one can be used.
    pub fn new(
        pairs: &'a Pairs,
        embedder: &'a dyn Embedder,
        recipe: &'a Recipe,
        context: &Context,
        listener: &mut dyn Observer,
    ) -> Result<Self, EmbedError> {
        let mut embedding = Self::plain(pairs, embedder, recipe);
        embedding.context = context.clone();
        if embedder.cached() && context.has_cache() {
            embedding.store = Some(embedding.open_store(listener)?);
        }
        Ok(embedding)
    }

    /// The same with this cache, whatever the embedder wants.
    ///
    /// # Errors
    /// Where the cache cannot be used.
    #[cfg(test)]
    pub(crate) fn with_cache(
        pairs: &'a Pairs,
        embedder: &'a dyn Embedder,
        recipe: &'a Recipe,
        cache: &Cache,
    ) -> Result<Self, EmbedError> {
        let mut embedding = Self::plain(pairs, embedder, recipe);
        let (bucket, space) = embedding.open(cache)?;
        embedding.store = Some(Store { bucket, space, keys: embedding.keys(), _temporary: None });
        Ok(embedding)
    }

    fn plain(pairs: &'a Pairs, embedder: &'a dyn Embedder, recipe: &'a Recipe) -> Self {
        let record = EmbeddingRecord {
            template: recipe.template().to_owned(),
            max_tokens: embedder.max_tokens(),
            ..EmbeddingRecord::default()
        };
        Self {
            pairs,
            embedder,
            recipe,
            context: Context::default(),
            store: None,
            refused: HashSet::new(),
            is_loose: false,
            record,
        }
    }

    /// What makes the vectors: one space of the cache.
    fn space(&self) -> String {
        format!("{} | {}", self.embedder.identity(), self.recipe.template())
    }

    fn open(&self, cache: &Cache) -> Result<(Bucket, Space), cache::CacheError> {
        let bucket = cache.bucket(cache::EMBEDDINGS)?;
        let space = bucket.space(&self.space())?;
        Ok((bucket, space))
    }

    fn keys(&self) -> Vec<Key> {
        let name = self.space();
        let count = self.pairs.pair_id.len();
        let (pairs, embedder, recipe) = (self.pairs, self.embedder, self.recipe);
        (0..2 * count)
            .into_par_iter()
            .map(|slot| cache::key(&[name.as_bytes(), text_of(pairs, embedder, recipe, slot).as_bytes()]))
            .collect()
    }

    fn open_store(&self, listener: &mut dyn Observer) -> Result<Store, EmbedError> {
        let (opened, temporary) = match Cache::of(&self.context).and_then(|cache| self.open(&cache)) {
            Ok(opened) => (opened, None),
            Err(error @ cache::CacheError::Damaged { .. }) => return Err(error.into()),
            Err(error) => {
                // Embedding for hours and keeping nothing would be worse than saying so.
                let message = error.to_string();
                let first = message.lines().next().unwrap_or_default();
                listener.note(&format!("vectors are not kept for the next run: {first}"));
                let folder = tempfile::tempdir().map_err(|source| cache::CacheError::Io {
                    action: "create",
                    path: std::env::temp_dir(),
                    source,
                })?;
                (self.open(&Cache::at(folder.path()))?, Some(folder))
            }
        };
        Ok(Store { bucket: opened.0, space: opened.1, keys: self.keys(), _temporary: temporary })
    }

    fn text(&self, slot: usize) -> Cow<'a, str> {
        text_of(self.pairs, self.embedder, self.recipe, slot)
    }

    /// Embeds what is not in the cache yet; nothing to do without one.
    ///
    /// # Errors
    /// Where the embedder or the cache fails. What was embedded by then is in the cache.
    fn fill(&mut self, listener: &mut dyn Observer) -> Result<(), EmbedError> {
        let Some(mut store) = self.store.take() else { return Ok(()) };
        let outcome = self.fill_store(&mut store, listener);
        self.store = Some(store);
        outcome
    }

    fn fill_store(&mut self, store: &mut Store, listener: &mut dyn Observer) -> Result<(), EmbedError> {
        let before = self.embedder.usage();
        let mut first: HashMap<Key, usize> = HashMap::with_capacity(store.keys.len());
        let mut slots: Vec<usize> = Vec::new();
        for (slot, key) in store.keys.iter().enumerate() {
            first.entry(*key).or_insert_with(|| {
                slots.push(slot);
                slot
            });
        }
        drop(first);
        let texts = slots.len();
        let keys: Vec<Key> = slots.iter().filter_map(|&slot| store.keys.get(slot)).copied().collect();
        let present = store.bucket.present(&keys)?;
        if let Some((key, _)) = keys.iter().zip(&present).find(|(_, present)| **present) {
            store.bucket.read(&[*key], |_, bytes| self.embedder.expect(bytes.len() / 4))?;
        }
        let mut present = present.into_iter();
        slots.retain(|_| !present.next().unwrap_or(false));
        let mut waiting: Vec<(usize, usize)> =
            slots.iter().map(|&slot| (slot, self.text(slot).len())).collect();
        // The longest first: batches of about one length, memory at its peak at once, and a bar that gets faster.
        // Shortest last also keeps the last batches small. The slot breaks ties, so that the order is the same always.
        waiting.sort_by_key(|&(slot, bytes)| (std::cmp::Reverse(bytes), slot));

        let mut queue = Queue {
            embedding: self,
            store,
            listener,
            others: Vec::new(),
            next: 0,
            waiting,
            done: texts - slots.len(),
            embedded: 0,
            texts,
            dimensions: None,
            refused: Vec::new(),
            cut: HashSet::new(),
        };
        queue.tell();
        let mut told = false;
        loop {
            queue.embedding.embedder.embed_all(&mut queue)?;
            if queue.others.is_empty() {
                break;
            }
            // Another run is at it. If it dies, its claims are worth nothing and we take them over.
            if !told {
                told = true;
                let count = queue.others.len();
                queue
                    .listener
                    .note(&format!("waiting for another run that embeds {count} of the same texts"));
            }
            let cancel = &queue.embedding.context.cancel;
            let _graceful = cancel.graceful_shutdown();
            std::thread::sleep(LOOK);
            if cancel.requested() {
                return Err(crate::net::NetError::Stopped.into());
            }
            queue.waiting = std::mem::take(&mut queue.others);
            queue.next = 0;
        }
        let (embedded, refused) = (queue.embedded, std::mem::take(&mut queue.refused));
        for text in self.embedder.learnt() {
            queue.listener.note(&text);
        }
        if !refused.is_empty() {
            queue.listener.note(&self.refused_in_words(&refused));
        }
        self.refused = refused.iter().filter_map(|(slot, _)| store.keys.get(*slot)).copied().collect();
        let usage = self.embedder.usage();
        let record = &mut self.record;
        (record.texts, record.embedded, record.from_cache) =
            (texts, embedded, texts - embedded - refused.len());
        record.refused = refused.len();
        record.tokens = usage.tokens - before.tokens;
        record.requests = usage.requests - before.requests;
        record.sent = usage.sent - before.sent;
        Ok(())
    }

    /// Which texts were refused, by their rows, and why.
    fn refused_in_words(&self, refused: &[(usize, String)]) -> String {
        let count = self.pairs.pair_id.len();
        let judgements = &self.pairs.judgements;
        let place = |(slot, _): &(usize, String)| {
            if self.is_loose {
                return format!("“{}”", one_line(&self.text(*slot), 40));
            }
            let (pair, side) = if *slot < count { (*slot, "A") } else { (slot - count, "B") };
            let at = judgements.pair.iter().position(|other| *other as usize == pair);
            match at.and_then(|at| judgements.row.get(at)) {
                Some(row) => format!("response {side} of row {row}"),
                None => format!("response {side} of pair {pair}"),
            }
        };
        let mut places: Vec<String> = refused.iter().take(5).map(place).collect();
        if refused.len() > places.len() {
            places.push(format!("{} more", refused.len() - places.len()));
        }
        let said = refused.first().map(|(_, said)| one_line(said, 160)).unwrap_or_default();
        let what = match self.is_loose {
            true => "they count as texts that say nothing",
            false => "their pairs count as not different",
        };
        format!(
            "the embedder gave no vector for {} of the texts ({}); {what}. It said: {said}",
            refused.len(),
            places.join(", ")
        )
    }

    /// Vectors of some slots, straight from the embedder, `[slots, dimensions]`.
    fn embedded(&self) -> impl Fn(std::ops::Range<usize>) -> Result<Matrix, EmbedError> + Sync + use<'a> {
        let (pairs, embedder, recipe) = (self.pairs, self.embedder, self.recipe);
        move |slots| {
            let texts: Vec<Cow<str>> = slots.map(|slot| text_of(pairs, embedder, recipe, slot)).collect();
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            let rows = embedder.embed(&texts)?;
            checked(embedder, &texts, &rows)?;
            Ok(rows)
        }
    }

    /// Vectors of some slots from the cache, `[slots, dimensions]`.
    /// `cut` hears of those whose texts were cut.
    fn kept(
        &self,
        store: &Store,
        slots: std::ops::Range<usize>,
        cut: &mut HashSet<Key>,
    ) -> Result<Matrix, EmbedError> {
        let keys = store.keys.get(slots.clone()).unwrap_or_default();
        let mut rows: Vec<Vec<f32>> = vec![Vec::new(); keys.len()];
        store.bucket.read(keys, |position, bytes| {
            if let Some(row) = rows.get_mut(position) {
                *row = decode(bytes);
                cut.extend(keys.get(position).filter(|_| is_of_a_cut_text(bytes)));
            }
        })?;
        let cols = rows.iter().map(Vec::len).max().unwrap_or(0);
        for ((row, slot), key) in rows.iter_mut().zip(slots).zip(keys) {
            if row.is_empty() && self.refused.contains(key) {
                row.resize(cols.max(self.embedder.dimensions().unwrap_or(0)), 0.0);
            } else if row.is_empty() {
                // Somebody has cleared the cache meanwhile.
                *row = self.embedded()(slot..slot + 1)?.values;
            }
        }
        let cols = rows.first().map_or(0, Vec::len);
        if let Some(odd) = rows.iter().find(|row| row.len() != cols) {
            return Err(EmbedError::Shape {
                embedder: self.embedder.identity(),
                rows: 1,
                cols: odd.len(),
                texts: 1,
                dimensions: cols,
            });
        }
        Ok(Matrix { values: rows.concat(), cols })
    }

    /// Both responses' vectors for consecutive pairs, block by block: index of the first pair, A, B.
    pub(super) fn for_each_block<E: From<EmbedError>>(
        &mut self,
        listener: &mut dyn Observer,
        mut sink: impl FnMut(usize, Matrix, Matrix) -> Result<(), E>,
    ) -> Result<(), E> {
        self.fill(listener)?;
        let count = self.pairs.pair_id.len();
        let embedded = self.embedded();
        let mut cut = HashSet::new();
        for start in (0..count).step_by(BLOCK) {
            self.context.cancel.check().map_err(EmbedError::from)?;
            let end = (start + BLOCK).min(count);
            let (sides_a, sides_b) = (start..end, count + start..count + end);
            let (a, b) = match &self.store {
                None => rayon::join(|| embedded(sides_a), || embedded(sides_b)),
                Some(store) => (self.kept(store, sides_a, &mut cut), self.kept(store, sides_b, &mut cut)),
            };
            let (mut a, mut b) = (a?, b?);
            if let Some(store) = self.store.as_ref().filter(|_| !self.refused.is_empty()) {
                // What is known of one response alone is no difference.
                let is_refused =
                    |slot: usize| store.keys.get(slot).is_some_and(|key| self.refused.contains(key));
                for pair in (start..end).filter(|pair| is_refused(*pair) || is_refused(count + pair)) {
                    a.row_mut(pair - start).fill(0.0);
                    b.row_mut(pair - start).fill(0.0);
                }
            }
            self.record.dimensions = a.cols;
            sink(start, a, b)?;
            if self.store.is_none() {
                listener.advance(end);
            }
        }
        self.record.cut = cut.len() as u64;
        if self.store.is_none() {
            self.record.texts = 2 * count;
            self.record.embedded = 2 * count;
        }
        Ok(())
    }

    /// The deltas e(A) − e(B), `[pairs, dimensions]`.
    ///
    /// # Errors
    /// Where the embedder or the cache fails; what was embedded by then is in the cache.
    pub fn deltas(&mut self, listener: &mut dyn Observer) -> Result<Matrix, EmbedError> {
        let mut deltas = Matrix { values: Vec::new(), cols: self.embedder.dimensions().unwrap_or(0) };
        let (pairs, embedder) = (self.pairs.pair_id.len(), self.embedder);
        self.for_each_block(listener, |_, a, b| {
            if deltas.values.is_empty() {
                let bytes = (pairs as u64).saturating_mul(a.cols as u64).saturating_mul(4);
                VECTORS
                    .check(bytes)
                    .map_err(|too_much| EmbedError::TooMuch { embedder: embedder.identity(), too_much })?;
                deltas.cols = a.cols;
                deltas.values.reserve_exact(pairs * a.cols);
            }
            deltas.values.extend(a.values.iter().zip(&b.values).map(|(a, b)| a - b));
            Ok::<_, EmbedError>(())
        })?;
        Ok(deltas)
    }

    /// Ids of the pairs, for files.
    pub(super) fn pair_ids(&self) -> &'a [String] {
        &self.pairs.pair_id
    }
}

/// The text to embed of a slot: those of every pair's A, then those of every pair's B.
fn text_of<'a>(pairs: &'a Pairs, embedder: &dyn Embedder, recipe: &Recipe, slot: usize) -> Cow<'a, str> {
    let count = pairs.pair_id.len();
    let (pair, response) =
        if slot < count { (slot, &pairs.response_a) } else { (slot - count, &pairs.response_b) };
    let prompt = if recipe.has_prompt() { pairs.prompt.get(pair) } else { "" };
    recipe.render(prompt, response.get(pair), embedder)
}

/// The texts that are not in the cache, handed out piece by piece.
struct Queue<'q, 'a> {
    embedding: &'q Embedding<'a>,
    store: &'q mut Store,
    listener: &'q mut dyn Observer,
    /// Slots and lengths in bytes.
    waiting: Vec<(usize, usize)>,
    next: usize,
    /// Those that another process works on.
    others: Vec<(usize, usize)>,
    /// Different texts done, of `texts`.
    done: usize,
    embedded: usize,
    texts: usize,
    dimensions: Option<usize>,
    /// Slots whose texts the embedder refused, and why.
    refused: Vec<(usize, String)>,
    /// Slots whose texts were longer than it reads.
    cut: HashSet<usize>,
}

impl Queue<'_, '_> {
    fn tell(&mut self) {
        let pairs = self.embedding.pairs.pair_id.len();
        self.listener.advance((self.done as f64 / self.texts.max(1) as f64 * pairs as f64) as usize);
    }

    fn key(&self, slot: usize) -> Key {
        self.store.keys.get(slot).copied().unwrap_or_default()
    }
}

impl Work for Queue<'_, '_> {
    fn next(&mut self, most: Amount) -> Result<Option<Task>, EmbedError> {
        // Before anything is claimed.
        self.embedding.context.cancel.check()?;
        let mut items = Vec::new();
        let mut bytes = 0;
        while items.is_empty() && self.next < self.waiting.len() {
            let mut asked = Vec::new();
            while let Some(&(slot, length)) = self.waiting.get(self.next) {
                if !asked.is_empty() && (asked.len() >= most.texts || bytes + length > most.bytes) {
                    break;
                }
                asked.push((slot, length));
                bytes += length;
                self.next += 1;
            }
            let keys: Vec<Key> = asked.iter().map(|&(slot, _)| self.key(slot)).collect();
            for (&(slot, length), claim) in asked.iter().zip(self.store.bucket.claim(&keys)?) {
                match claim {
                    Claim::Ours => items.push((slot, self.embedding.text(slot).into_owned())),
                    Claim::Theirs => self.others.push((slot, length)),
                    Claim::Present => self.done += 1,
                }
            }
            bytes = 0;
        }
        self.tell();
        Ok((!items.is_empty()).then_some(Task { items }))
    }

    fn done(&mut self, task: Task, rows: Matrix) -> Result<(), EmbedError> {
        let embedder = self.embedding.embedder;
        checked(embedder, &task.texts(), &rows)?;
        let dimensions = *self.dimensions.get_or_insert(rows.cols);
        if rows.cols != dimensions {
            return Err(EmbedError::Shape {
                embedder: embedder.identity(),
                rows: rows.rows(),
                cols: rows.cols,
                texts: task.items.len(),
                dimensions,
            });
        }
        let keys: Vec<Key> = task.items.iter().map(|&(slot, _)| self.key(slot)).collect();
        let slots = task.items.iter().map(|(slot, _)| slot);
        let bytes: Vec<Vec<u8>> =
            slots.enumerate().map(|(row, slot)| encode(rows.row(row), self.cut.contains(slot))).collect();
        let entries = keys.iter().zip(bytes.iter().map(Vec::as_slice));
        self.store.bucket.put(self.store.space, entries)?;
        self.done += keys.len();
        self.embedded += keys.len();
        self.tell();
        Ok(())
    }

    fn cut(&mut self, slots: &[usize]) {
        self.cut.extend(slots);
    }

    fn refused(&mut self, task: Task, said: &str) -> Result<(), EmbedError> {
        let keys: Vec<Key> = task.items.iter().map(|&(slot, _)| self.key(slot)).collect();
        self.store.bucket.release(&keys)?;
        self.refused.extend(task.items.iter().map(|(slot, _)| (*slot, said.to_owned())));
        self.done += keys.len();
        Ok(())
    }
}

/// A vector as the cache keeps it: `f32`, little-endian; with one byte behind them where its text was cut, which older
/// versions do not look at.
fn encode(row: &[f32], is_cut: bool) -> Vec<u8> {
    row.iter().flat_map(|value| value.to_le_bytes()).chain(is_cut.then_some(1)).collect()
}

fn is_of_a_cut_text(bytes: &[u8]) -> bool {
    bytes.len() % 4 == 1
}

fn decode(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}

#[cfg(test)]
pub(super) mod tests;
