//! How people name the known concepts in reasons: not what a response that has them says, but what is said of it.
//!
//! "B won't answer" names the refusal; a response that refuses says "I can't help with that". So the bank's detectors read
//! the one and these words the other. What is not clearly named is left out: it shows among the themes.

use std::sync::LazyLock;

use regex::Regex;

/// One way of naming a concept.
pub(super) struct Naming {
    /// Id in the bank.
    pub concept: &'static str,
    /// 1: the response that it is said of has more of it; −1: less of it.
    pub more: i8,
    /// 1 where the words praise by themselves ("concise"), −1 where they complain ("long-winded"), 0 where they do neither.
    pub tone: i8,
    /// The words.
    pub words: Regex,
}

/// Concept, more, tone, words; they stand between word boundaries in lower case, "n't" written out as "not".
const WORDS: &[(&str, i8, i8, &str)] = &[
    // Length
    (
        "longer",
        -1,
        1,
        r"concise\w*|succinct\w*|brevity|(?:straight|right|gets?|got|getting|more|brief|direct|directly|stays?|very|quickly|comes?|and|is|was) to the point|short and sweet|crisp|compact|snappy|economical|(?:few|fewer) words|(?:keeps?|kept|keeping) (?:it|things) (?:short|brief|simple and short)|nice and short|short enough|right length|without rambling|pithy|not waste (?:words|time)|(?:does|did) not ramble",
    ),
    (
        "longer",
        -1,
        -1,
        r"too (?:short|brief)|(?:too|overly) terse|\bcurt\b|skimpy|bare-?bones|(?:lacks?|lacking|lacked) (?:any |in )?(?:depth|detail|details|elaboration|substance)|not (?:very |really )?(?:detailed|thorough|comprehensive|in-depth|fleshed out|elaborate enough)|not enough (?:detail|details|depth|information|explanation)|(?:little|less|no|insufficient|fewer) (?:detail|details|depth|elaboration)|barely (?:says|said|answers|explains|scratches)|scratch\w* the surface|superficial|underdeveloped|says (?:very|too) little|one-?liner|should (?:be|have been) longer|leaves out (?:a lot|too much|most)|thin on",
    ),
    (
        "longer",
        1,
        1,
        r"(?:more |very |highly |quite |nicely |so |well-?)?(?:detailed|thorough\w*|comprehensive\w*|in-depth|elaborate[sd]?)|(?:more|greater|much|a lot of|lots of|better|extra|good|enough) (?:detail|details|depth)|in (?:detail|depth)|(?:more )?(?:fleshed out|extensive)|fuller|(?:goes|went|going) (?:\w+ )?(?:deeper|further|into (?:\w+ ){0,2}(?:detail|depth))|more (?:information|content|complete explanation)|expands? (?:on|more)|in more detail",
    ),
    (
        "longer",
        1,
        -1,
        r"(?:too|overly|unnecessarily|needlessly|excessively|very|so) (?:long|lengthy|wordy|verbose|detailed|much (?:detail|text|information))|long-?winded\w*|verbos\w*|wordy|wordiness|rambl(?:es|ing|ed|y)|drags? on|dragg(?:ed|ing)|bloated|padd(?:ed|ing)|filler|waffl\w+|fluff\w*|goes on (?:and on|forever|too long|for ages)|went on (?:and on|forever|too long)|walls? of text|wall-of-text|tl;?dr|too many words|takes? (?:forever|ages|too long) to|should (?:be|have been) (?:shorter|briefer)|(?:a|an) essay|over-?explain\w*|long and boring|overlong",
    ),
    (
        "longer",
        1,
        0,
        r"longer|lengthy|lengthier|(?:is|was|are) (?:a bit |rather |quite |pretty )?long|long (?:answer|response|reply|text|output|version)|(?:greater|its|the) length",
    ),
    (
        "longer",
        -1,
        0,
        r"shorter|briefer|(?:is|was) (?:a bit |rather |quite |pretty |nicely |more )?(?:short|brief)|(?:short|brief) (?:answer|response|reply|text|output|version)|briefly|simpler and shorter",
    ),
    (
        "few_words",
        1,
        0,
        r"(?:one|single|two|three)[- ]word (?:answer|response|reply)|just (?:says )?(?:yes|no)",
    ),
    ("long_sentences", 1, 0, r"long(?:er)? sentences|run-?on sentences"),
    ("long_sentences", -1, 0, r"short(?:er)? sentences"),
    ("long_words", 1, 0, r"(?:long|longer|big|bigger|fancy|complicated|difficult) (?:words|vocabulary)"),
    ("long_words", -1, 0, r"(?:simple|simpler|plain|plainer|easy|easier) (?:words|language|vocabulary)"),
    // Layout
    ("paragraphs", 1, 0, r"(?:more |separate |short |clear )?paragraphs|paragraph breaks"),
    (
        "lists",
        1,
        0,
        r"bullet(?:s|ed)?(?:[- ]?(?:points?|list|lists))?|bulletpoints?|listicles?|as a list|in a list|list (?:form|format|style)|(?:un)?ordered lists?|(?:uses?|used|using|has|have|with|in|of|into|a|an|the|clear|nice|helpful|useful|neat|long|these|those|many|more|fewer|and|or|no) lists?|itemi[sz]\w+|lists? (?:the|all|out|everything|several|each)",
    ),
    ("lists", -1, 0, r"(?:plain|flowing|continuous|regular|normal|full|in|as) prose"),
    (
        "steps",
        1,
        0,
        r"step[- ]by[- ]step|numbered (?:steps|list|instructions)|(?:clear|the|numbered|in|individual|into) steps|(?:each|every) step",
    ),
    ("headings", 1, 0, r"headings?|headers?|subheadings?|section titles|titled sections"),
    ("tables", 1, 0, r"(?:in|as|with|into) a table|tables?(?: format)?"),
    ("code", 1, 0, r"code ?blocks?|code (?:formatting|fences?)|(?:in|puts the) code in a block"),
    ("bold", 1, 0, r"bold(?:ed|ing|face)?|in bold"),
    ("italics", 1, 0, r"italic\w*"),
    ("emoji", 1, 0, r"emojis?|emoticons?|smile(?:ys|y|ies)"),
    ("exclamation", 1, 0, r"exclamation (?:marks?|points?)|exclamations"),
    ("capitals", 1, 0, r"all[- ]caps|capital(?:s| letters)|capitali[sz]\w+|upper ?case|shout\w*"),
    ("quotation", 1, 0, r"quotations?|quotes? (?:from|by|of)|direct quotes?"),
    ("formula", 1, 0, r"formulas?|formulae|equations?|latex"),
    (
        "breaks_off",
        1,
        -1,
        r"cut(?:s)? off|breaks? off|broke off|truncated|(?:ends|stops|ended|stopped) (?:abruptly|mid-?sentence|in the middle)|unfinished|incomplete sentence",
    ),
    ("verse", 1, 0, r"poems?|rhym\w+|poetic|in verse|poetry"),
    // How it answers
    ("opens_willing", 1, 0, r"(?:opens|starts|begins) with (?:sure|certainly|of course)"),
    (
        "closing_question",
        1,
        0,
        r"(?:ends?|ended|closes|closed|ending|finish\w*|concludes) (?:with|on|by asking|in) (?:a |another |an? \w+ )?(?:follow-?up )?question|asks? (?:a )?(?:follow-?up |further )?questions? (?:at|in) the end|(?:closing|follow-?up|final) question",
    ),
    ("inner_questions", 1, 0, r"rhetorical questions?"),
    (
        "clarifies",
        1,
        0,
        r"(?:asks?|asked|asking|seeks?|requests?) (?:\w+ )?(?:for )?(?:\w+ )?(?:clarif\w+|more (?:information|details|context))|clarifying questions?|asks? (?:what|which) (?:i|the user|they|you) (?:mean|meant|want\w*)|asks? back",
    ),
    (
        "offers_help",
        1,
        0,
        r"offer(?:s|ed|ing)? (?:\w+ )?(?:more |further |additional |to )(?:help|assist\w*)|let me know if|feel free to ask|follow-?up help",
    ),
    ("greeting", 1, 0, r"greet(?:s|ed|ing|ings)?|says? (?:hi|hello)"),
    ("thanks", 1, 0, r"thanks? (?:the user|me|you|the person)|thank(?:ed|ing)|expresses gratitude"),
    (
        "please",
        1,
        1,
        r"(?:more |very |so |really )?(?:polite\w*|courteous\w*|well-?mannered|good manners|respectful\w*|civil)",
    ),
    (
        "please",
        -1,
        -1,
        r"impolite\w*|rude\w*|discourteous|disrespectful\w*|bad manners|brusque\w*|unfriendly tone",
    ),
    (
        "restates",
        1,
        0,
        r"(?:repeat(?:s|ed|ing)?|restat(?:es|ed|ing)|rephras(?:es|ed|ing)|parrots?|echo(?:es|ed)?) (?:back )?(?:the |my |their |user's )?(?:question|prompt|query)",
    ),
    (
        "off_topic",
        1,
        -1,
        r"off[- ]?topic|irrelevant\w*|unrelated|beside the point|(?:goes|went|going) off on|tangents?|strays?|(?:does|did) not (?:really |even |actually |fully )?(?:answer|address) (?:the|my|what)|misses the (?:point|question)|nothing to do with",
    ),
    (
        "off_topic",
        -1,
        1,
        r"on[- ]topic|(?:more )?relevant|(?:sticks|stays|stayed|keeps|stuck) (?:to|on) (?:the )?(?:topic|subject|question|task|point)",
    ),
    (
        "repeats_itself",
        1,
        -1,
        r"repetiti\w+|repeats? (?:itself|the same|things|points|information)|repeated itself|redundan\w+|(?:says|said) the same \w+ (?:twice|again|over)|same (?:thing|point|idea)s? (?:twice|again and again|over and over)|over and over",
    ),
    (
        "other_language",
        1,
        0,
        r"(?:wrong|another|different|other) language|(?:switches|switched) (?:to )?\w* ?language|not in english",
    ),
    (
        "summary",
        1,
        0,
        r"summar(?:y|ies|ises?|izes?|ised|ized|ising|izing)(?: at the end)?|wrap(?:s|ped)? (?:it |things )?up|conclusions?|recap\w*",
    ),
    (
        "example",
        1,
        0,
        r"examples?|illustrat(?:es?|ed|ing|ions?|ive)|for instance|concrete cases?|sample (?:code|sentences?)",
    ),
    ("definition", 1, 0, r"defin(?:es|ed|ing|ition|itions)|explains? what (?:\w+ ){1,3}(?:is|are|means?)"),
    (
        "reasons",
        1,
        0,
        r"(?:gives|gave|provides?|explains?|with|states?) (?:its |the |clear |good |some |more )?(?:reasons?|reasoning|rationale|justification)|explain(?:s|ed|ing)? why|justif(?:ies|ied)",
    ),
    (
        "refuses",
        1,
        0,
        r"refus(?:es|ed|e|al|als|ing)|declin(?:es|ed|e|ing)|(?:will|would|can) not (?:even |actually |really )?(?:answer|help|comply|engage|assist|fulfil\w*|do what)|(?:does|did|do) not (?:even |actually |really )?(?:want to (?:answer|help)|comply|engage|assist)|turn(?:s|ed|ing)? (?:me|it|the \w+|you|the user|this) (?:down|away)|turn(?:s|ed|ing)? down|reject(?:s|ed|ing)? (?:the |my |this )?(?:request|question|prompt|task)|unwilling\w*|non-?answers?|avoids? (?:answering|the question)|dodg(?:es|ed|ing)|evasive|shuts? (?:me|it|the \w+) down",
    ),
    (
        "refuses",
        -1,
        1,
        r"(?:actually|at least|really) (?:answer(?:s|ed)?|help(?:s|ed)?|does what|tries to (?:help|answer)|complies|engages|attempts)|compli(?:es|ed|ant)|complying|fulfil(?:s|ls|led)? (?:the|my) request|(?:tries|willing) to (?:help|answer)",
    ),
    (
        "safe_alternative",
        1,
        0,
        r"safe(?:r)? (?:alternatives?|options?|ways?)|(?:offers?|suggests?|proposes?) (?:a |an |some |other )?(?:\w+ )?alternatives?",
    ),
    (
        "as_an_ai",
        1,
        0,
        r"as an ai|(?:it is|being|that it is) (?:just |only )?an? (?:ai|robot|machine|language model)|ai (?:disclaimer|boilerplate)|mentions? (?:that it is )?an? ai",
    ),
    ("disclaimer", 1, 0, r"disclaimers?|caveats?|boilerplate warnings?"),
    (
        "hedges",
        1,
        -1,
        r"hedg(?:es|ed|ing|y)|wishy-?washy|non-?committal|unsure|vague\w*|indecisive\w*|(?:sits|sitting) on the fence|(?:sounds?|seems?|is|too) uncertain|uncertainty|beats? around the bush|(?:too|so) many (?:maybes|mights|perhapses)|not (?:very |really |too )?(?:confident|sure of itself|definite)|tentative\w*",
    ),
    (
        "hedges",
        -1,
        1,
        r"(?:more |very |so )?(?:confident(?:ly)?|decisive\w*|definite(?:ly answers)?|assertive\w*)|commits? to an answer",
    ),
    (
        "does_not_know",
        1,
        0,
        r"admit(?:s|ted|ting)? (?:that )?(?:it |to )?(?:does not know|not know\w*|ignorance|its limits)|says? (?:that )?it does not know|(?:honest|open) about (?:not knowing|what it does not know)|claims? (?:it does )?not (?:to )?know",
    ),
    (
        "apologises",
        1,
        0,
        r"apolog(?:ises|izes|ise|ize|ised|ized|ising|izing|y|ies|etic\w*)|(?:says|saying|said) (?:it is |that it is )?sorry|sorry",
    ),
    (
        "flatters",
        1,
        -1,
        r"flatter(?:s|y|ing|ed)?|sycophan\w+|sucks? up|kiss(?:es|ing) up|butter(?:s|ing) (?:me |the user )?up|brown-?nos\w+|ingratiating|gushing|over-?praises?",
    ),
    (
        "flatters",
        1,
        0,
        r"compliment(?:s|ed|ing)? (?:me|the user|you|on)|praises? (?:me|the user|the question)",
    ),
    ("agrees", 1, 0, r"agree(?:s|d|ing|able)? with (?:me|the user|the premise|what)"),
    (
        "disagrees",
        1,
        0,
        r"disagree(?:s|d|ing)?|(?:contradicts?|corrects?|pushes back on) (?:me|the user|the premise)|push(?:es)? back",
    ),
    (
        "empathy",
        1,
        1,
        r"empath\w+|(?:more |very )?(?:compassionate\w*|understanding of|caring|sympathetic\w*|sympathy)|acknowledges? (?:the |my |their |user's )?(?:feelings|pain|grief)|(?:shows|with) (?:compassion|understanding)",
    ),
    (
        "empathy",
        -1,
        -1,
        r"cold(?:er)?(?: and \w+)?|unsympathetic|uncaring|heartless|insensitive|callous|unfeeling",
    ),
    (
        "encourages",
        1,
        1,
        r"encourag(?:es|ing|ed|ement)|motivat(?:es|ing|ional|ed)|uplifting|cheers? (?:me|the user) on|supportive",
    ),
    ("first_person", 1, 0, r"first[- ]person|talks? about itself"),
    (
        "anecdote",
        1,
        0,
        r"anecdot\w+|personal (?:story|stories|experiences?)|(?:makes|made) up (?:a )?(?:personal )?(?:life|experiences?)",
    ),
    (
        "second_person",
        1,
        0,
        r"(?:addresses|speaks to|talks to) (?:me|you|the (?:user|reader)) (?:directly|personally)|second[- ]person",
    ),
    (
        "humour",
        1,
        1,
        r"(?:more |very |really )?(?:funny|funnier|humou?rous\w*|witty|hilarious|amusing)|humou?r|made me (?:laugh|smile)|good jokes?",
    ),
    ("humour", 1, 0, r"jok(?:es|e|ing|ey)|puns?"),
    ("slang", 1, 0, r"slang|casual(?:ly)?|colloquial\w*|informal\w*"),
    ("formal", 1, 0, r"formal(?:ly|ity)?|stiff"),
    (
        "profanity",
        1,
        -1,
        r"swear(?:s|ing)?|profan\w+|curs(?:es|ing)|vulgar\w*|foul language|obscen\w+|bad language|crude",
    ),
    ("insults", 1, -1, r"insult(?:s|ing|ed)?|offensive|offends?|name-?calling|demeaning|belittl\w+"),
    ("violence", 1, -1, r"violen(?:t|ce|tly)|gore|gory|graphic violence"),
    ("sexual", 1, -1, r"sexual\w*|sexually explicit|pornographic|lewd"),
    (
        "illegal_help",
        1,
        -1,
        r"(?:helps?|assists?|aids?) (?:\w+ )?(?:with |commit |do )?(?:a )?(?:crimes?|something illegal|illegal \w+|criminals?)|promotes? (?:crime|illegal \w+)|dangerous instructions",
    ),
    (
        "disparages_group",
        1,
        -1,
        r"racis(?:t|m)|sexis(?:t|m)|bigot\w*|discriminat\w+|stereotyp\w+|prejudiced?|homophobic|hateful|xenophobic",
    ),
    (
        "self_harm_support",
        1,
        0,
        r"(?:crisis|help|suicide) ?(?:line|lines|hotline)|hotlines?|emergency (?:services|number)",
    ),
    ("warns", 1, 0, r"warn(?:s|ed|ing|ings)?|cautions?|safety (?:notes?|advice|tips|warnings?)"),
    (
        "professional",
        1,
        0,
        r"(?:see|consult\w*|seek\w*|talk\w* to|speak\w* to|ask\w*|refers? \w+ to|recommends?|suggests?|sends? \w+ to|visit\w*) (?:\w+ )?(?:a |an |my |your |the )?(?:doctor|professional|professionals|lawyer|therapist|expert|physician|specialist)|professional (?:help|advice)",
    ),
    (
        "moralises",
        1,
        -1,
        r"moralis\w+|moraliz\w+|preach(?:y|es|ing|ed)?|lectur(?:es|ing|ed|e)|judg(?:e)?mental\w*|sermon\w*|self-righteous|holier-than-thou|patroni[sz]\w+|condescend\w+|scolds?|finger-?wagging",
    ),
    (
        "appeals_to_law",
        1,
        0,
        r"(?:says|mentions|points out|notes|explains) (?:that )?(?:it is |this is )?(?:illegal|against the law)|legal consequences",
    ),
    (
        "figures",
        1,
        0,
        r"(?:more |concrete |specific |exact |actual |hard |real |no |with |of |some )(?:numbers|figures|statistics|stats|numerical \w+)|statistics|numbers and|percentages|quantif(?:ies|ied|y)|numeric(?:al)? (?:data|values|details)",
    ),
    (
        "citations",
        1,
        0,
        r"(?:cites?|cited|citing|gives?|gave|provides?|provided|with|names?|has|the|its|no|any|more|of|some|real|links? to|credible|reliable|includes?) (?:\w+ )?sources?|citations?|(?:with|of|no|any|more|its|provides?|provided|gives?|gave|includes?|useful|has) (?:\w+ )?(?:references|links)|cites?|cited|sourced",
    ),
    ("money", 1, 0, r"prices?|(?:the )?costs (?:of|are|in)|dollar amounts"),
    ("dates", 1, 0, r"(?:gives|includes|mentions|more|the|exact|specific) (?:dates|years)|timeline"),
    ("jargon", 1, -1, r"jargon|too technical|technobabble|overly technical"),
    ("jargon", 1, 0, r"(?:more )?technical(?: terms| language| words)?|terminology"),
    (
        "opinion",
        1,
        0,
        r"(?:gives|shares|states|has|offers|its|an|own|personal) (?:its |an |a )?(?:own |personal )?opinions?|opinionated|takes? a (?:stance|side)",
    ),
    (
        "both_sides",
        1,
        1,
        r"(?:more |very )?(?:balanced|even-?handed|nuanced?|impartial|unbiased)|both sides|pros and cons|(?:multiple|different|several|various) (?:perspectives|viewpoints|points of view|sides)|neutral(?:ity)?",
    ),
    ("both_sides", -1, -1, r"one-?sided\w*|biased|bias|unbalanced"),
    ("story", 1, 0, r"(?:tells?|told|as|is|with) a (?:\w+ )?story|narrative (?:style|form)|storytelling"),
    (
        "role_play",
        1,
        0,
        r"(?:stays?|stayed|staying) in character|role-?play\w*|plays? (?:the|a|its) (?:role|character)|breaks? character",
    ),
    ("comparison", 1, 0, r"metaphors?|analog(?:y|ies)|similes?|imagery"),
    (
        "emphasises",
        1,
        0,
        r"(?:stresses|emphasi[sz]es|highlights) (?:what is |the )?(?:important|importance|key)",
    ),
    (
        "positive_tone",
        1,
        1,
        r"(?:more |very |so |really )?(?:upbeat|cheerful\w*|enthusias\w+|optimistic|positive (?:tone|attitude|language|outlook|vibe)|warm(?:er)? tone)|(?:is|was|sounds?) (?:more |very |so )?positive",
    ),
    (
        "negative_tone",
        1,
        -1,
        r"(?:negative (?:tone|attitude|language|vibe)|pessimis\w+|gloomy|downbeat|discouraging|bleak)|(?:is|was|sounds?) (?:too |more |very |so )?negative",
    ),
    (
        "personal_data",
        1,
        -1,
        r"(?:personal|private) (?:data|information|details)|privacy|phone numbers?|home address\w*|dox\w+",
    ),
    ("religion", 1, 0, r"religio(?:n|us)|mentions? god"),
    ("politics", 1, 0, r"politic(?:s|al|ally)"),
];

/// The table, compiled once.
pub(super) static NAMINGS: LazyLock<Vec<Naming>> = LazyLock::new(|| {
    let compiled = WORDS.iter().filter_map(|&(concept, more, tone, words)| {
        // A pattern that does not compile would show in the tests.
        let words = Regex::new(&format!(r"\b(?:{words})\b")).ok()?;
        Some(Naming { concept, more, tone, words })
    });
    compiled.collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles_and_names_a_concept_of_the_bank() {
        assert_eq!(NAMINGS.len(), WORDS.len());
        let bank = crate::describe::known::ConceptBank::boxed().unwrap();
        for naming in NAMINGS.iter() {
            assert!(bank.concepts().iter().any(|concept| concept.id == naming.concept), "{}", naming.concept);
            assert!(!naming.words.is_match("") && naming.more.abs() == 1, "{}", naming.concept);
        }
    }
}
