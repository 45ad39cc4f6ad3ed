//! A reason, clause by clause: which response each clause is about, whether it praises or complains, and its words.
//!
//! ```text
//! "I prefer A over B because it's shorter, but B gives an example."
//!   I prefer @1 over @2 because it is shorter      about the first, praise
//!   @2 gives an example                            about the second, after "but"
//! ```
//!
//! What a clause is about stands in its own words, or in those before it; a clause that says that both are alike says nothing
//! about their difference and is marked so. Order is the reader's: first and second are the responses as the row has them.

use std::collections::HashSet;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::describe::contrast::stopwords;

/// Whom a clause is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The row's first response.
    First,
    /// Its second.
    Second,
    /// The one that the label prefers.
    Chosen,
    /// The other one.
    Rejected,
}

impl Who {
    /// The other response.
    pub(super) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
            Self::Chosen => Self::Rejected,
            Self::Rejected => Self::Chosen,
        }
    }

    fn of(mark: &str) -> Option<Self> {
        match mark {
            "@1" => Some(Self::First),
            "@2" => Some(Self::Second),
            "@w" => Some(Self::Chosen),
            "@l" => Some(Self::Rejected),
            _ => None,
        }
    }
}

/// A part of a reason that says one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause {
    /// As it was written, for quoting.
    pub quote: String,
    /// In lower case, with marks (`@1`) for the responses.
    pub text: String,
    /// What it quotes of a response, in lower case.
    pub quoted: String,
    /// Whom it is about; `None` where it does not say.
    pub about: Option<Who>,
    /// It says that the two are alike in something.
    pub alike: bool,
    /// 1 where its words praise, −1 where they complain, 0 where they do neither or both.
    pub tone: i8,
    /// 1 where the reason says elsewhere that this response is the better one, −1 where the worse, 0 where nothing does, or this
    /// is what is granted ("although").
    pub verdict: i8,
    /// Words that say something, by their stems, in order.
    pub words: Vec<String>,
}

impl Clause {
    /// 1, −1 or 0: of its own words, or of what the reason says of this response as a whole.
    pub fn tone(&self) -> i8 {
        if self.tone == 0 { self.verdict } else { self.tone }
    }
}

const NOUN: &str = "(?:response|answer|option|output|reply|completion|assistant|model|version|candidate|chatbot|bot|choice|resp|summary|message)";
/// What follows a letter that stands for a response, and a noun hardly ever.
const VERBS: &str = "is|was|has|had|does|did|do|gives|gave|uses|used|provides|provided|includes|included|makes|made|goes|went|gets|got|says|said|will|would|can|could|seems|seemed|feels|felt|sounds|looks|reads|answers|answered|refuses|refused|refusing|because|as|since|for|over|and|but|also|actually|just|only|really|simply|clearly|at|lacks|wins|explains|explained|offers|offered|just|better|all|contains|contained|follows|followed|ignores|ignored|apologises|apologizes|apologised|apologized|keeps|kept|tells|told|asks|asked|needs|needed|shows|showed|comes|came|takes|took|never|not|by|with|in|on|to|than|hands|down|doesn't|didn't|isn't|wasn't|won't|can't|hasn't|wouldn't|couldn't|don't|rightly|correctly|wrongly|barely|hardly|annoyingly|immediately|directly|politely";

#[allow(clippy::expect_used)] // every pattern is tried by the tests
pub(super) fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern of this file")
}

/// Names for the responses, as written, and the marks that take their place; tried in order.
static NAMES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let nouns = format!(r"{NOUN}s?");
    let name = |first: &str| {
        format!(r#"(?i)@?\b(?:the )?{NOUN}s?\s*(?:#|no\.?\s*|number\s*)?[\[("'*`]*(?-i:{first})\b[\])"'*`]*"#)
    };
    let spoken = |one: &str| {
        format!(r"(?i)\b(?:response|option|assistant|model|output|reply|version|candidate|number) {one}\b")
    };
    let small = |letter: &str| {
        format!(r"\b(?:response|option|answer|assistant|model|reply|output) {letter} (?P<after>{VERBS})\b")
    };
    let ordinal = |words: &str| format!(r"(?i)\b(?:the |my )?(?:{words})(?:[- ]hand)? (?:{NOUN}|one)\b");
    let alone = |words: &str| format!(r"(?i)\bthe (?:{words}) (?P<after>{VERBS})\b");
    let hand = |side: &str| {
        format!(
            r"(?i)\b(?:the )?(?:{side}[- ]hand (?:{NOUN}|one)|(?:{NOUN}|one) (?:on|to) the {side}|on the {side})\b"
        )
    };
    let list = [
        (r"(?i)\bon the other hand\b,?".to_owned(), " but "),
        (
            format!(
                r"(?i)\bboth (?:of (?:them|these|the \w+)|the )?(?:{nouns}|ones|are|were|have|had|do|did|give|gave|provide|contain|include|refuse|answer|seem|look|could|should|would|will|use|fail|get|say)\b"
            ),
            " @b ",
        ),
        (r"(?i)\bboth of (?:them|these)\b".to_owned(), " @b "),
        (
            format!(
                r"(?i)\b(?:neither|each) (?:of (?:them|the \w+) |{NOUN}|one)\b|\bneither\b|\bthe two {nouns}\b"
            ),
            " @b ",
        ),
        (
            format!(
                r"(?i)\b(?:the|my) (?:chosen|preferred|selected|picked|winning|better|best|favou?rite|stronger) (?:{NOUN}|one)\b|\bthe (?:{NOUN}|one) (?:that |which )?i (?:chose|picked|selected|prefer(?:red)?|went with|liked(?: more| better| best)?)\b|\bmy (?:choice|pick)\b"
            ),
            " @w ",
        ),
        (
            format!(r"(?i)\bthe (?:rejected|losing|worse|worst|weaker|discarded|unchosen) (?:{NOUN}|one)\b"),
            " @l ",
        ),
        (name("A|1"), " @1 "),
        (name("B|2"), " @2 "),
        (spoken("one"), " @1 "),
        (spoken("two"), " @2 "),
        (small("a"), " @1 $after"),
        (small("b"), " @2 $after"),
        (ordinal("first|1st|former"), " @1 "),
        (ordinal("second|2nd|latter"), " @2 "),
        (r"(?i)\bthe former\b".to_owned(), " @1 "),
        (r"(?i)\bthe latter\b".to_owned(), " @2 "),
        (alone("first"), " @1 $after"),
        (alone("second"), " @2 $after"),
        (hand("left") + &format!(r"|(?i)\bthe left (?:{NOUN}|one)\b"), " @1 "),
        (hand("right"), " @2 "),
        (r"(?i)(?:\bnumber |#)1\b|\br1\b".to_owned(), " @1 "),
        (r"(?i)(?:\bnumber |#)2\b|\br2\b".to_owned(), " @2 "),
        (format!(r"(?i)\bthe other (?:{NOUN}|one)\b"), " @o "),
        (format!(r"(?i)\bthe other (?P<after>{VERBS})\b"), " @o $after"),
        (r"(?i)\b(?P<before>than|over|unlike) the other\b".to_owned(), "$before @o "),
    ];
    list.into_iter().map(|(text, mark)| (pattern(&text), mark)).collect()
});

static LETTER: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b([AB])\b"));
static VERB: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!(r"^(?:'s|[,):]|\s+(?:{VERBS})\b|\s+[a-z]+(?:[^aiousc\W]s)\b)")));
/// Capital letters that are no responses.
const NO_RESPONSE: [&str; 16] = [
    "vitamin",
    "plan",
    "grade",
    "hepatitis",
    "type",
    "part",
    "level",
    "section",
    "point",
    "step",
    "appendix",
    "class",
    "group",
    "series",
    "schedule",
    "exhibit",
];
/// Nouns in -s that follow an article.
const SINGULAR: [&str; 5] = ["series", "lens", "bonus", "plus", "means"];

/// A capital A or B by itself, where it stands for a response.
fn letters(text: &str) -> String {
    let replaced = LETTER.replace_all(text, |found: &Captures<'_>| {
        let Some(letter) = found.get(1) else { return String::new() };
        let (before, after) = (&text[..letter.start()], &text[letter.end()..]);
        let previous =
            before.trim_end().rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or("").to_lowercase();
        let glued =
            before.ends_with(['&', '.', '-', '/', '\'', '@']) || after.starts_with(['+', '-', '/', '&']);
        if glued || NO_RESPONSE.contains(&previous.as_str()) {
            return letter.as_str().to_owned();
        }
        let begins =
            before.trim_end().is_empty() || before.trim_end().ends_with(['.', '!', '?', ':', '\n', '*', '"']);
        let next = after.trim_start().split(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
        // An article opens a sentence; anywhere else it is small.
        let article = letter.as_str() == "A" && begins && (!VERB.is_match(after) || SINGULAR.contains(&next));
        match (letter.as_str(), article) {
            (_, true) => "A".to_owned(),
            ("A", false) => " @1 ".to_owned(),
            _ => " @2 ".to_owned(),
        }
    });
    replaced.into_owned()
}

/// With marks for the responses.
pub(super) fn marked(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| match c {
            '’' | '‘' | '`' => '\'',
            '“' | '”' => '"',
            '@' => ' ',
            c if c.is_control() && c != '\n' => ' ',
            c => c,
        })
        .collect();
    let mut marked = plain.replace("e.g.", "eg").replace("i.e.", "ie").replace("**", "");
    for (name, mark) in NAMES.iter() {
        if name.is_match(&marked) {
            marked = name.replace_all(&marked, *mark).into_owned();
        }
    }
    let marked = letters(&marked);
    static PAIR: LazyLock<Regex> = LazyLock::new(|| pattern(r"@[12]\s+(?:and|&|or|nor)\s+@[12]\b"));
    PAIR.replace_all(&marked, "@b").into_owned()
}

static SENTENCE: LazyLock<Regex> = LazyLock::new(|| pattern(r#"[.!?]+["')\]]*(?:\s+|$)|\n+"#));
static JOIN: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i);|\s[–—-]+\s|—|,?\s+(?:but|while|whereas|although|though|however|yet|even though|in contrast|by contrast|conversely)\b,?|(?:,|,?\s+and|,?\s+because|,?\s+since|,?\s+as|:|\()\s*@[12owlb]\b",
    )
});
static GRANTED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^[\s,]*(?:but|although|though|however|yet|even though|even if|despite|granted|admittedly)\b",
    )
});

/// The clauses of a marked text; whether each begins a sentence.
fn pieces(marked: &str) -> Vec<(bool, &str)> {
    let mut found = Vec::new();
    let mut start = 0;
    let ends = SENTENCE.find_iter(marked).map(|m| m.end()).chain([marked.len()]);
    for end in ends {
        let sentence = marked.get(start..end).unwrap_or("");
        start = end;
        let mut from = 0;
        for joint in JOIN.find_iter(sentence) {
            // A mark after a comma begins the next clause; a conjunction is kept with what it grants.
            let cut = joint.start();
            // "It took a while" goes on.
            let for_a_while =
                joint.as_str().trim_start().starts_with("while") && sentence[..cut].ends_with(" a");
            if for_a_while || sentence[from..cut].trim().is_empty() {
                continue;
            }
            found.push((from == 0, &sentence[from..cut]));
            from = cut;
        }
        found.push((from == 0, &sentence[from..]));
    }
    found.retain(|(_, piece)| piece.chars().any(char::is_alphanumeric));
    found
}

/// Lower case, contractions written out, signs left out that no pattern needs.
fn lowered(piece: &str) -> String {
    let mut text = piece.to_lowercase();
    for (short, long) in [
        ("cannot", "can not"),
        ("can't", "can not"),
        ("won't", "will not"),
        ("n't", " not"),
        ("'re", " are"),
        ("'m", " am"),
        ("it's", "it is"),
        ("that's", "that is"),
        ("'ve", " have"),
        ("'ll", " will"),
    ] {
        text = text.replace(short, long);
    }
    text.chars()
        .map(|c| if c.is_alphanumeric() || "@,'-;:()".contains(c) { c } else { ' ' })
        .collect::<String>()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\b(?:than|over|to|rather than|instead of|unlike|compared (?:to|with)|comparing (?:it )?(?:to|with)|versus|vs|against|from|as opposed to|what|like)(?: (?:in|that of|those of|the one in|is|what|with))? (@[12owl])",
    )
});
static MARK: LazyLock<Regex> = LazyLock::new(|| pattern(r"@[12owlb]"));
static ALIKE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"@b|\b(?:equally|similarly|the same (?:as|length|amount|number|tone)|(?:just|equally) as \w+ as|on par|no (?:real )?difference|about the same)\b",
    )
});
/// What is said of people or answers at large is about neither response by what stands before.
static AT_LARGE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^(?:i|we|my|in general|generally|people|users|usually|answers|responses|a good|one)\b")
});

/// Whom a clause is about, `last` being whom the one before was about.
fn about(text: &str, last: Option<Who>, fixed: Option<Who>) -> Option<Who> {
    let resolve = |mark: &str| match mark {
        "@o" => last.or(fixed).map(Who::other),
        mark => Who::of(mark),
    };
    let beside: Vec<&str> =
        REFERENCE.captures_iter(text).filter_map(|c| c.get(1)).map(|m| m.as_str()).collect();
    let plain = REFERENCE.replace_all(text, " ");
    if let Some(subject) = MARK.find(&plain) {
        return resolve(subject.as_str());
    }
    // "Shorter than B", "unlike B it …": about the other one.
    if let Some(beside) = beside.first() {
        return resolve(beside).map(Who::other);
    }
    if AT_LARGE.is_match(text) { fixed } else { last.or(fixed) }
}

const PRAISE: &str = r"(?:i|we) (?:really |also )?lik(?:e|ed)|lik(?:e|ed) (?:that|how|the|it|@\d|this)|love[sd]?|prefer(?:s|red|able)?|better|best|good|great|nice\w*|help(?:ful|fully)|appreciat\w+|useful\w*|a plus|bonus|wins?|easier|easy|enjoy\w*|pleasant\w*|excellent\w*|superior|(?:reads?|does|did|works?|flows?) (?:\w+ )?well|well[- ](?:written|structured|organi[sz]ed|done|put|explained|thought|rounded)|right(?:ly|fully)|right (?:call|thing|choice|decision|move)|correct(?:ly)?|welcome|perfect\w*|clear(?:er|ly)?|impress\w+|strong(?:er|ly)?|strength|thankfully|valuable|effective\w*|favou?r\w*|chose|picked|went with|fantastic|wonderful|readable|elegant\w*|neat\w*|sensibl[ey]|convincing\w*|engaging|refreshing\w*|commendable|smart|wise(?:ly)?|handy|stands out|advantage|improv\w+|happy|glad|pleased|scan|digest|accurate|informative|factual|honest|natural|interesting|creative|insightful|practical|relevant|mak(?:es|ing) (?:it )?(?:more )?(?:easy|clear|credible)|trustworthy|credible|reassuring";
const COMPLAINT: &str = r"dislik\w+|hat(?:e|ed)|worse|worst|bad(?:ly)?|annoy\w*|unhelpful\w*|useless|irritat\w+|off-?putting|unnecessar\w+|needless\w*|pointless\w*|wrong(?:ly)?|poor(?:ly)?|disappoint\w*|frustrat\w*|distract\w*|boring|confus\w+|awkward\w*|a minus|downside|drawback|problematic|a problem|inaccura\w+|incorrect\w*|false|mislead\w+|generic|nonsens\w*|hallucinat\w+|incomplete|irrelevant|unfortunately|sadly|weak(?:er|ness)?|inferior|terrible|awful|horrible|inappropriate\w*|clutter\w*|excessive\w*|overly|too (?:much|many)|fail(?:s|ed|ing)?|bother(?:s|ed|some)?|cringe\w*|unprofessional\w*|harder|hard to|difficult to|waste[sd]?|silly|childish|gimmick\w*|ruin\w*|detract\w*|grat(?:es|ing)|pushy|tiresome|tedious|mistake|inexcusable|unwarranted|uncalled|no reason to|no use|bad form|unhappy|lets? (?:me|it|the user) down|unacceptable|loses|sloppy|messy|overkill|undesirable";
const NOT: &str = r"\b(?:not|no|never|without|nor|hardly|less|neither)\b(?: \w+){0,3}$";

/// Words that praise minus words that complain: its sign; a negation up to three words before turns one round.
fn tone(text: &str) -> i8 {
    static WORDS: LazyLock<Regex> =
        LazyLock::new(|| pattern(&format!(r"\b(?:(?P<praise>{PRAISE})|(?P<complaint>{COMPLAINT}))\b")));
    static NOT_BEFORE: LazyLock<Regex> = LazyLock::new(|| pattern(NOT));
    let sum: i32 = WORDS
        .captures_iter(text)
        .map(|found| {
            let own = if found.name("praise").is_some() { 1 } else { -1 };
            let at = found.get(0).map_or(0, |m| m.start());
            let before = text[..at]
                .rsplit([',', ':', '('])
                .next()
                .unwrap_or("")
                .trim_end()
                .replace("not only", "")
                .replace("not just", "");
            if NOT_BEFORE.is_match(&before) { -own } else { own }
        })
        .sum();
    sum.signum() as i8
}

/// Words about preferring and about responses as such: by themselves they say nothing of what a response is like.
const SAYS_NOTHING: &str = "response responses answer answers option output reply completion assistant model version candidate chatbot bot choice \
    better best worse worst good bad great nice prefer prefers preferred like liked likes dislike love loved hate chose choose chosen pick \
    picked select selected winner wins win overall slightly much far bit little more most less also because since although both one ones first \
    second other think feel feels felt seems seem opinion really very quite just simply so superior inferior rejected way reason gives give gave \
    provides provide provided has uses user user's prompt does do is was makes make made contains includes perfect excellent fine okay ok";

/// The stem of a word, roughly: what stays when the usual endings go.
pub(super) fn stem(word: &str) -> String {
    let word = word.trim_matches('\'').trim_end_matches("'s");
    for ending in ["ingly", "edly", "fully", "ness", "ing", "ies", "ely", "ed", "es", "ly", "s", "e", "y"] {
        if let Some(stem) = word.strip_suffix(ending)
            && stem.chars().count() >= 4
            && !(ending == "s" && stem.ends_with('s'))
        {
            return stem.to_owned();
        }
    }
    word.to_owned()
}

/// Words that say something, by their stems.
pub(super) fn content(text: &str) -> Vec<String> {
    static EMPTY: LazyLock<HashSet<&str>> =
        LazyLock::new(|| stopwords().into_iter().chain(SAYS_NOTHING.split_whitespace()).collect());
    text.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '@' || c == '-'))
        .map(|word| word.trim_matches(['\'', '-']))
        .filter(|word| word.chars().count() > 2 && !word.starts_with('@') && !EMPTY.contains(word))
        .filter(|word| word.chars().any(char::is_alphabetic) && word.len() <= 40)
        .map(stem)
        .collect()
}

static QUOTED: LazyLock<Regex> = LazyLock::new(|| pattern(r#""([^"]+)""#));
static VERDICT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\b(?:better|best|prefer(?:s|red|able)?|superior|winner|wins?|chose|choose|choosing|pick(?:ed)?|went with|going with|favou?r(?:ed|ite)?|worse|worst|inferior|loses)\b",
    )
});

/// The clauses of a reason; all about `fixed` where it is a critique of one response.
pub fn clauses(reason: &str, fixed: Option<Who>) -> Vec<Clause> {
    let marked = marked(reason);
    let mut last = None;
    let mut best: Option<Who> = None;
    let mut granted = Vec::new();
    let mut found: Vec<Clause> = Vec::new();
    for (_, piece) in pieces(&marked) {
        let text = lowered(piece);
        let alike = ALIKE.is_match(&text);
        let between =
            QUOTED.captures_iter(piece).filter_map(|found| found.get(1)).map(|m| lowered(m.as_str()));
        let quoted_words = between.collect::<Vec<_>>().join(" ; ");
        let about = about(&text, last, fixed);
        if MARK.is_match(&text) && !text.contains("@b") {
            last = about.or(last);
        }
        let tone = tone(&text);
        if !alike && VERDICT.is_match(&text) && best.is_none() && MARK.is_match(&text) {
            best = about.filter(|_| tone != 0).map(|who| if tone > 0 { who } else { who.other() });
        }
        granted.push(GRANTED.is_match(piece));
        let words = content(&text);
        found.push(Clause {
            quote: quoted(piece),
            text,
            quoted: quoted_words,
            about,
            alike,
            tone,
            verdict: 0,
            words,
        });
    }
    if let Some(best) = best {
        for (clause, granted) in found.iter_mut().zip(granted) {
            let own = clause.about.filter(|_| !granted && !clause.alike);
            clause.verdict = own.map_or(0, |who| match who {
                who if who == best => 1,
                who if who == best.other() => -1,
                _ => 0,
            });
        }
    }
    found
}

/// For people: the marks in words again, short.
fn quoted(piece: &str) -> String {
    let mut text = piece.split_whitespace().collect::<Vec<_>>().join(" ");
    for (mark, words) in [
        ("@1", "the first"),
        ("@2", "the second"),
        ("@o", "the other"),
        ("@w", "the chosen one"),
        ("@l", "the rejected one"),
        ("@b", "both"),
    ] {
        text = text.replace(mark, words);
    }
    let text = text.trim_matches([' ', ',', ';', ':', '-', '(', '.']);
    text.chars().take(160).collect()
}
