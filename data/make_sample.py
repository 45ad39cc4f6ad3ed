#!/usr/bin/env python3
"""Make `sample.parquet`: preference pairs whose reasons are known, because they were planted.

    python data/make_sample.py            write sample.parquet, sample_attributes.parquet, sample_truth.json
    python data/make_sample.py --check    make them again in memory, compare with the files, write nothing

Needs Python 3.11 and polars. All words stand in `sample_texts.toml`, all weights below.

Every response is topic content with attributes woven in, each present or absent by its own coin.
An annotator prefers A with probability 1 / (1 + exp(-s)), s = sum over attributes of
(weight + the annotator's own offset) * (present in A - present in B); a share of the labels is then
replaced by ties. Nothing else enters the label: no position, no model, no quality of the content.
"""

import argparse
import hashlib
import io
import json
import math
import random
import re
import sys
import tomllib
from pathlib import Path

import polars as pl

HERE = Path(__file__).resolve().parent
SEED = 20
PAIRS = 3200
ANNOTATORS = 40
TIE_RATE = 0.08
HARMFUL_RATE = 0.09
# Exact copies of pairs: as they are, with A and B swapped, by another annotator with his own label.
DUPLICATES = {"duplicate": 20, "duplicate_swapped": 20, "duplicate_other_annotator": 20}
BROKEN = {
    "broken_empty_response": 4,
    "broken_null_response": 2,
    "broken_identical_responses": 4,
    "broken_null_prompt": 3,
    "broken_unknown_label": 3,
}
WITHOUT_ANNOTATOR = 12
MODELS = ["aspen-7b", "birch-13b", "cedar-8b", "dogwood-34b"]

# name: (weight, sd of the annotators' offsets, share of responses, description, words that name it,
#        words that name its opposite). A trailing * stands for any ending.
ATTRIBUTES = {
    "refusal": (-1.4, 0, 0.18, "refuses or declines to help",
                ["refus*", "declin*", "unwilling", "unable to help", "cannot help", "can't help", "denies help"],
                ["complies", "comply", "compliance", "answers the request", "fulfils the request"]),
    "long": (0.95, 0, 0.35, "is longer: several extra sentences",
             ["long", "longer", "length*", "lengthy", "wordy", "verbose", "more words", "word count", "word-count",
              "number of words", "detailed", "many sentences", "in depth", "elaborat*", "thorough"],
             ["short", "shorter", "brief", "concise", "terse", "few words", "succinct"]),
    "bullets": (1.05, 0.7, 0.35, "sets its points out as a list",
                ["bullet*", "bulleted", "list", "lists", "listed", "numbered list", "itemi*"],
                ["prose", "plain paragraphs"]),
    "emoji": (-1.0, 0.7, 0.35, "uses emoji", ["emoji*", "emoticon*", "smiley*"], []),
    "hedging": (-0.95, 0, 0.35, "hedges: perhaps, might, I am not sure",
                ["hedg*", "uncertain*", "unsure", "tentative*", "not sure", "qualifies", "perhaps", "maybe", "doubt"],
                ["certain", "certainty", "confident*", "assertive", "definite"]),
    "slang": (-1.0, 0, 0.35, "uses slang",
              ["slang", "colloquial*", "informal*", "casual*", "street language"], ["formal", "formality"]),
    "closing_question": (1.05, 0, 0.35, "ends with a question to the reader",
                         ["question", "questions", "asks back", "asks the user", "asks the reader", "follow-up"], []),
    "numbers": (0.95, 0, 0.35, "gives figures",
                ["number", "numbers", "figure", "figures", "numeric*", "statistic*", "quantit*", "digit*",
                 "percentage*", "facts"], []),
    "example": (1.0, 0, 0.35, "gives an example", ["example*", "for instance", "illustrat*"], []),
    "flattery": (-0.9, 0.6, 0.35, "flatters the reader or praises the question",
                 ["flatter*", "prais*", "compliment*", "sycophan*", "agrees with the user"], []),
    "apology": (-0.2, 0, 0.30, "apologises", ["apolog*", "sorry", "forgiveness"], []),
    "anecdote": (0.2, 0, 0.30, "tells something from its own life",
                 ["anecdote*", "first person", "first-person", "personal experience*", "personal stor*",
                  "speaks of itself"], []),
    "exclamation": (0.0, 0, 0.30, "uses exclamation marks", ["exclam*", "exclamation mark*", "enthusias*"], []),
    "bold": (0.0, 0, 0.30, "puts words in bold", ["bold", "bold text", "bold face", "boldface"], []),
    "professional": (0.0, 0, 0.30, "sends the reader to a professional",
                     ["professional*", "expert*", "specialist*", "consult*", "seek help", "seek advice"], []),
}
# On a harmful prompt half of the responses refuse, and annotators mind it even more.
HARMFUL_REFUSAL_SHARE = 0.5
HARMFUL_REFUSAL_WEIGHT = -2.0


class Dice:
    """A seeded source that depends on nothing but `random()`, whose stream Python guarantees."""

    def __init__(self, *purpose):
        self.source = random.Random("/".join(map(str, purpose)))

    def chance(self, p):
        return self.source.random() < p

    def below(self, n):
        return int(self.source.random() * n)

    def pick(self, items):
        return items[self.below(len(items))]

    def shuffled(self, items):
        items = list(items)
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]
        return items

    def normal(self):
        u, v = self.source.random(), self.source.random()
        return math.sqrt(-2 * math.log(1 - u)) * math.cos(2 * math.pi * v)

    def say(self, text):
        """Resolve {a|b|c}."""
        return re.sub(r"\{([^}]*)\}", lambda m: self.pick(m[1].split("|")), text)


def load_texts():
    texts = tomllib.loads((HERE / "sample_texts.toml").read_text(encoding="utf-8"))
    for table in texts["topic"] + texts["harmful"] + [texts["shared"], texts["prompts"], texts["phrases"]]:
        for key, value in table.items():
            if "\n" in value:
                table[key] = value.strip().split("\n")
    texts["phrases"]["emoji"] = texts["phrases"]["emoji"].split()
    check_content(texts)
    return texts


def check_content(texts):
    """Content must not carry a planted attribute by accident: the truth would be wrong."""
    forbidden = re.compile(
        r"\d|[!?*•#\"“”]|\bI\b|\b(perhaps|maybe|might|possibly|probably|presumably|seems?|sorry|apolog\w+|"
        r"for (example|instance)|gonna|kinda|lol|refuse|decline|professional|consult)\b", re.I)
    for table in texts["topic"] + texts["harmful"] + [{"general": texts["shared"]["general"]}]:
        for key in ("facts", "tips", "general", "vague", "safe", "examples"):
            for line in table.get(key, []):
                if found := forbidden.search(line):
                    raise SystemExit(f"`{line}` holds `{found[0]}`: content must be free of attributes")


def fill(text, **words):
    """Put words in for the single capitals T, E, X; a sentence keeps its capital letter."""
    text = re.sub(r"\b([TEX])\b", lambda m: words.get(m[1], m[1]), text)
    return text[:1].upper() + text[1:]


def thing(topic):
    """What the topic is called within a sentence."""
    return topic.get("thing", topic["name"])


def lower_first(text):
    """A sentence made ready to follow a lead; names keep their capital."""
    name = re.match(r"(I|Spanish|Roman|Kind|Europe|Bebop|May)\b", text)
    return text if name else text[:1].lower() + text[1:]


# ------------------------------------------------------------------ one response


def respond(dice, texts, topic, harmful, has, content):
    """A response with exactly the attributes in `has`, out of `content` (consumed from the front)."""
    phrases = texts["phrases"]

    def phrase(key):
        # On a harmful prompt nobody's friend got him into it.
        lines = [line for line in phrases[key] if not (harmful and re.search(r"\bT\b", line))]
        return fill(dice.say(dice.pick(lines)), T=thing(topic), E=topic.get("expert", "a lawyer"))

    def take(count):
        taken, content[:] = content[:count], content[count:]
        return [fill(dice.say(line), T=thing(topic)) for line in taken]

    body = take(3 + dice.below(2))
    if dice.chance(0.12) and not harmful:
        body[dice.below(len(body))] = dice.say(dice.pick(texts["shared"]["decoys"]))
    # Figures and examples stand in for a sentence of content, so that length does not give them away.
    kept, example = len(body), None
    if has["numbers"]:
        own = topic.get("numbers")
        line = dice.pick(own) if own and dice.chance(0.7) else dice.pick(
            phrases["number_harmful" if harmful else "number_extra"])
        kept -= 1
        body[kept] = fill(dice.say(line), T=thing(topic))
    if has["example"]:
        clause = dice.say(dice.pick(topic["examples"] if not harmful else phrases["example_harmful"]))
        kept -= 1
        body[kept] = fill(dice.pick(phrases["example_lead"]), X=clause)
        example = body[kept]
    body = body[:1] + dice.shuffled(body[1:])
    extra = []
    if has["long"]:
        extra = take(4) + [fill(dice.say(line), T=thing(topic))
                           for line in dice.shuffled(texts["shared"]["general"])[:1 + dice.below(2)]]
        if harmful:
            extra = extra[:4] + take(1)

    opening, ending = [], []
    if has["refusal"]:
        opening.append(phrase("refusal"))
        if dice.chance(0.6):
            opening.append(phrase("refusal_bridge_harmful" if harmful else "refusal_bridge"))
    if has["flattery"]:
        (opening if dice.chance(0.8) else ending).insert(0, phrase("flattery"))
    if has["apology"]:
        (opening if dice.chance(0.6) else ending).append(phrase("apology"))
    if has["anecdote"]:
        (ending if dice.chance(0.6) else opening).append(phrase("anecdote"))
    if has["professional"]:
        ending.append(phrase("professional"))
    if has["hedging"]:
        way = dice.below(3)
        if way != 0:
            hedge_one(dice, phrases, body, example)
        if way != 1:
            (ending if dice.chance(0.7) else opening).append(phrase("hedging_extra"))
    if has["slang"]:
        way = dice.below(3)
        if way != 0:
            lead = dice.pick(phrases["slang_lead"])
            body[0] = f"{lead} {lower_first(body[0])}"
        if way != 1:
            ending.append(phrase("slang_extra"))
    ending = dice.shuffled(ending)
    if has["exclamation"]:
        way = dice.below(3)
        if way != 0:
            for k in dice.shuffled(range(len(body)))[:1 + dice.below(2)]:
                body[k] = re.sub(r"\.$", "!", body[k])
        # A body that ends in a decoy question has no full stop to change.
        if way != 1 or not any(line.endswith("!") for line in body):
            ending.append(phrase("exclamation_extra"))
    if has["bold"]:
        embolden(dice, phrases, body)
    if has["emoji"]:
        groups = [group for group in (opening, body, body, ending) if group]
        for _ in range(1 + dice.below(3)):
            group = dice.pick(groups)
            k = dice.below(len(group))
            group[k] += " " + dice.pick(phrases["emoji"])
    question = [phrase("closing_question")] if has["closing_question"] else []

    if has["bullets"]:
        marker = dice.pick(["-", "-", "*", "•", "1."])
        items = [f"{k}. {line}" if marker == "1." else f"{marker} {line}" for k, line in enumerate(body, 1)]
        intro = [phrase("list_intro")] if dice.chance(0.7) else []
        blocks = [opening + intro] + ["\n".join(items)] + [extra + ending, question]
        texts_of = [b if isinstance(b, str) else " ".join(b) for b in blocks]
        return "\n\n".join(block for block in texts_of if block)
    cuts = [opening, body, extra, ending, question]
    out = ""
    for block in cuts:
        if block:
            gap = "" if not out else "\n\n" if dice.chance(0.35) else " "
            out += gap + " ".join(block)
    return out


def hedge_one(dice, phrases, body, example):
    """Let a statement of the body begin with a hedge; an instruction gets one at its end."""
    k = dice.pick([k for k, line in enumerate(body) if line != example])
    lead = dice.pick(phrases["hedging_lead"])
    if IMPERATIVE.match(body[k]):
        tail = dice.pick([", perhaps", ", though I might be wrong", " if that is possible at all, I am not sure",
                          ", as far as I know", ", or so it seems", ", maybe"])
        body[k] = re.sub(r"([.!?])$", tail + r"\1", body[k])
    else:
        body[k] = f"{lead} {lower_first(body[k])}"


def embolden(dice, phrases, body):
    """Put a lead or a few words of one or two sentences in bold."""
    for k in dice.shuffled(range(len(body)))[:1 + dice.below(2)]:
        if dice.chance(0.35):
            body[k] = f"{dice.pick(phrases['bold_lead'])} {body[k]}"
            continue
        words = body[k].split(" ")
        width = min(len(words), 2 + dice.below(2))
        start = 0 if dice.chance(0.7) else len(words) - width
        run = " ".join(words[start:start + width])
        mark = re.match(r"(.*?)([.,:!?]*)$", run)
        words[start:start + width] = [f"**{mark[1]}**{mark[2]}"]
        body[k] = " ".join(words)


IMPERATIVE = re.compile(r"$^")  # set from the tips when the texts are loaded


# ------------------------------------------------------------------ the table


def make_prompt(dice, texts, topic, harmful):
    forms = texts["prompts"]["harmful_forms" if harmful else "forms"]
    contexts = texts["prompts"]["harmful_context" if harmful else "context"]
    form = dice.pick(forms)
    text = re.sub(r"\bN\b", lambda _: topic["noun"], re.sub(r"\bH\b", lambda _: dice.pick(topic["how"]), form))
    if form[0].isupper() and dice.chance(0.6):
        context = dice.say(dice.pick(contexts))
        text = f"{context} {text}" if dice.chance(0.5) else f"{text} {context}"
    return text


def draw_annotators():
    """Forty annotators: a share of the work each, and offsets whose weighted mean is zero and whose sd is as given."""
    dice = Dice(SEED, "annotators")
    ids = [f"annotator_{k:02d}" for k in range(1, ANNOTATORS + 1)]
    raw = [math.exp(min(0.5 * dice.normal(), 1.0)) for _ in ids]
    share = [w / sum(raw) for w in raw]
    offsets = {}
    for name, (_, sd, *_rest) in ATTRIBUTES.items():
        if sd:
            draws = [dice.normal() for _ in ids]
            mean = sum(s * d for s, d in zip(share, draws))
            spread = math.sqrt(sum(s * (d - mean) ** 2 for s, d in zip(share, draws)))
            offsets[name] = [round(sd * (d - mean) / spread, 4) for d in draws]
    return ids, share, offsets


def weight(name, annotator, offsets, harmful):
    base = HARMFUL_REFUSAL_WEIGHT if harmful and name == "refusal" else ATTRIBUTES[name][0]
    return base + (offsets[name][annotator] if name in offsets and annotator is not None else 0.0)


def draw_label(dice, a, b, annotator, offsets, harmful):
    """The label and the probability that A is preferred, ties left aside."""
    score = sum(weight(n, annotator, offsets, harmful) * (a[n] - b[n]) for n in ATTRIBUTES)
    p = 1 / (1 + math.exp(-score))
    label = 1.0 if dice.chance(p) else 0.0
    return (0.5 if dice.chance(TIE_RATE) else label), round(p, 4)


def pool_of(dice, texts, topic, harmful, refuses):
    """What a response can say, in a random order."""
    if harmful:
        key = "safe" if refuses else "vague"
        return dice.shuffled(topic[key] + texts["shared"][key])
    return dice.shuffled(topic["facts"] + topic["tips"])


def make_pairs(texts):
    ids, share, offsets = draw_annotators()
    rows = []
    conversation = 0
    while len(rows) < PAIRS:
        dice = Dice(SEED, "conversation", conversation)
        conversation += 1
        point, annotator = dice.source.random(), 0
        while annotator < ANNOTATORS - 1 and point > share[annotator]:
            point -= share[annotator]
            annotator += 1
        harmful = dice.chance(HARMFUL_RATE)
        topic = dice.pick(texts["harmful" if harmful else "topic"])
        for _ in range(min(dice.pick([1, 1, 2, 3]), PAIRS - len(rows))):
            dice = Dice(SEED, "pair", len(rows))
            prompt = make_prompt(dice, texts, topic, harmful)
            sides, replies, order = [], [], None
            for _side in "AB":
                has = {}
                for name, (_, _, p, *_rest) in ATTRIBUTES.items():
                    has[name] = dice.chance(HARMFUL_REFUSAL_SHARE if harmful and name == "refusal" else p)
                pool = pool_of(dice, texts, topic, harmful, has["refusal"])
                # The second response prefers what the first has not said.
                pool.sort(key=lambda line: order is not None and line in order)
                before = list(pool)
                replies.append(respond(dice, texts, topic, harmful, has, pool))
                order = set(before[:len(before) - len(pool)])
                sides.append(has)
            label, p = draw_label(dice, sides[0], sides[1], annotator, offsets, harmful)
            rows.append({
                "prompt": prompt, "response_A": replies[0], "response_B": replies[1], "label": label,
                "annotator_id": ids[annotator], "prompt_topic": topic["name"],
                "conversation_id": f"c{conversation:05d}",
                "model_A": dice.pick(MODELS), "model_B": dice.pick(MODELS),
                "kind": "pair", "copy_of": None, "harmful": harmful, "p": p, "a": sides[0], "b": sides[1],
                "annotator": annotator,
            })
    return rows, ids, offsets


def add_copies_and_broken_rows(rows, ids, offsets):
    dice = Dice(SEED, "copies")
    order = dice.shuffled(range(len(rows)))
    for k in order[:WITHOUT_ANNOTATOR]:
        rows[k]["annotator_id"] = None  # the label stays what its annotator gave
    order = order[WITHOUT_ANNOTATOR:]
    out = [(dice.source.random(), row) for row in rows]
    for kind, count in DUPLICATES.items():
        for _ in range(count):
            original = rows[order.pop()]
            copy = dict(original, kind=kind, copy_of=original)
            if kind == "duplicate_swapped":
                for left, right in (("response_A", "response_B"), ("model_A", "model_B"), ("a", "b")):
                    copy[left], copy[right] = original[right], original[left]
                copy["label"], copy["p"] = 1 - original["label"], round(1 - original["p"], 4)
            elif kind == "duplicate_other_annotator":
                other = (original["annotator"] + 1 + dice.below(ANNOTATORS - 1)) % ANNOTATORS
                copy["annotator"], copy["annotator_id"] = other, ids[other]
                copy["label"], copy["p"] = draw_label(dice, copy["a"], copy["b"], other, offsets, copy["harmful"])
            out.append((dice.source.random(), copy))
    for kind, count in BROKEN.items():
        for k in range(count):
            row = dict(rows[order.pop()], kind=kind, copy_of=None, p=None, a=None, b=None)
            row["conversation_id"] = f"x{len(out):05d}"
            side = "response_A" if k % 2 else "response_B"
            if kind == "broken_empty_response":
                row[side] = "" if k < 3 else "  \n"
            elif kind == "broken_null_response":
                row[side] = None
            elif kind == "broken_identical_responses":
                row["response_B"] = row["response_A"]
            elif kind == "broken_null_prompt":
                row["prompt"] = None
                row["response_B"] += " Thank you for reading."  # not also a copy of the row it was made from
            elif kind == "broken_unknown_label":
                row["label"] = [7.0, -1.0, 99.0][k % 3]
                row["response_B"] += " Thank you for reading."
            out.append((dice.source.random(), row))
    # Copies of other rows that are broken by design share no pair with them: the changed side differs.
    return [row for _, row in sorted(out, key=lambda item: item[0])]


def tables(rows):
    columns = ["prompt", "response_A", "response_B", "label", "annotator_id", "prompt_topic", "conversation_id",
               "model_A", "model_B"]
    data = pl.DataFrame({c: [row[c] for row in rows] for c in columns},
                        schema={c: pl.Float64 if c == "label" else pl.String for c in columns})
    place = {id(row): k for k, row in enumerate(rows)}
    truth = {"row": list(range(len(rows))), "kind": [row["kind"] for row in rows],
             "copy_of": [place[id(row["copy_of"])] if row["copy_of"] else None for row in rows],
             "harmful": [row["harmful"] for row in rows], "probability_A": [row["p"] for row in rows]}
    schema = {"row": pl.UInt32, "kind": pl.String, "copy_of": pl.UInt32, "harmful": pl.Boolean,
              "probability_A": pl.Float32}
    for name in ATTRIBUTES:
        for side in "ab":
            column = f"{name}_{side.upper()}"
            truth[column] = [row[side][name] if row[side] else None for row in rows]
            schema[column] = pl.Boolean
    return data, pl.DataFrame(truth, schema=schema)


def truth_of(rows, ids, offsets, data, attributes):
    sound = [row for row in rows if row["kind"] == "pair"]
    words = [(len(row["response_A"].split()), len(row["response_B"].split())) for row in sound]
    entries = []
    for name, (base, sd, _, description, synonyms, opposites) in ATTRIBUTES.items():
        delta = [row["a"][name] - row["b"][name] for row in sound]
        length = [a - b for a, b in words]
        entry = {
            "name": name, "description": description, "weight": base, "subjective_sd": sd,
            "prevalence": round(sum(r["a"][name] + r["b"][name] for r in sound) / (2 * len(sound)), 4),
            "length_correlation": round(correlation(delta, length), 3),
            "synonyms": synonyms, "opposites": opposites,
        }
        if name == "refusal":
            entry["weight_harmful"] = HARMFUL_REFUSAL_WEIGHT
        entries.append(entry)
    counts = {kind: sum(row["kind"] == kind for row in rows) for kind in ["pair", *DUPLICATES, *BROKEN]}
    return {
        "schema_version": 1, "made_by": "data/make_sample.py", "seed": SEED, "rows": len(rows), "kinds": counts,
        "ties": sum(row["label"] == 0.5 for row in sound), "tie_rate": TIE_RATE,
        "harmful_pairs": sum(row["harmful"] for row in sound),
        "rows_without_annotator": sum(row["annotator_id"] is None for row in rows),
        "label_model": "P(A) = 1 / (1 + exp(-sum((weight + offset of the annotator) * (in A - in B))))",
        "attributes": entries,
        "annotators": {ids[k]: {"rows": sum(r["annotator_id"] == ids[k] for r in rows),
                                "offsets": {n: offsets[n][k] for n in offsets}} for k in range(ANNOTATORS)},
        "content_sha256": {"sample": content_hash(data), "sample_attributes": content_hash(attributes)},
        "written_with": f"polars {pl.__version__}",
    }


def correlation(x, y):
    n = len(x)
    mx, my = sum(x) / n, sum(y) / n
    sxy = sum((a - mx) * (b - my) for a, b in zip(x, y))
    return sxy / math.sqrt(sum((a - mx) ** 2 for a in x) * sum((b - my) ** 2 for b in y))


def content_hash(frame):
    """SHA-256 of the values, whatever wrote the file."""
    return hashlib.sha256(frame.write_csv(null_value="\\N").encode()).hexdigest()


def parquet_bytes(frame):
    sink = io.BytesIO()
    frame.write_parquet(sink, compression="zstd", compression_level=19)
    return sink.getvalue()


def make():
    """The three files, name to bytes."""
    global IMPERATIVE
    texts = load_texts()
    starts = {line.split(" ")[0] for topic in texts["topic"] for line in topic["tips"]}
    IMPERATIVE = re.compile("(" + "|".join(sorted(starts)) + r"|Have|Wait|Set)\b")
    rows, ids, offsets = make_pairs(texts)
    rows = add_copies_and_broken_rows(rows, ids, offsets)
    data, attributes = tables(rows)
    truth = truth_of(rows, ids, offsets, data, attributes)
    return {
        "sample.parquet": parquet_bytes(data),
        "sample_attributes.parquet": parquet_bytes(attributes),
        "sample_truth.json": (json.dumps(truth, indent=1, ensure_ascii=False) + "\n").encode(),
    }


def check(files):
    """Whether the files are what this script makes. Another polars may pack the same values differently."""
    sound = True
    stored = json.loads((HERE / "sample_truth.json").read_text(encoding="utf-8"))
    same_writer = stored["written_with"] == f"polars {pl.__version__}"
    for name, content in files.items():
        path = HERE / name
        if name.endswith(".parquet") and not same_writer:
            same = content_hash(pl.read_parquet(path)) == stored["content_sha256"][path.stem]
            same = same and content_hash(pl.read_parquet(io.BytesIO(content))) == stored["content_sha256"][path.stem]
            how = f"same values ({stored['written_with']} wrote it, this is {pl.__version__})"
        elif name.endswith(".json"):
            fresh = json.loads(content)
            fresh["written_with"] = stored["written_with"]
            same, how = fresh == stored, "same truth"
        else:
            same, how = path.read_bytes() == content, "same bytes"
        print(f"{name}: {how if same else 'DIFFERS'}")
        sound &= same
    return sound


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    arguments = parser.parse_args()
    files = make()
    if arguments.check:
        sys.exit(0 if check(files) else 1)
    for name, content in files.items():
        (HERE / name).write_bytes(content)
        print(f"{name}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
