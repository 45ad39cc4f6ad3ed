"""Makes a planted preference set of the kind the reference was measured on (REFERENCE.md, section 1).

    python planted.py OUT.parquet [--pairs 20000] [--seed 0] [--kind known|unknown]

Twelve independent attributes per response, each present with probability .35, labels from a logistic
model with the weights below. Topics and wordings are few, so that every attribute can be read off the
embedding: with all-MiniLM-L6-v2 and ridge regression on the difference the correlations come out
between .6 and .95, as they do in the reference's set. Beside OUT.parquet it writes
OUT_attributes.parquet with columns NAME_a and NAME_b (0/1). `--kind unknown` plants attributes that no bank of
concepts knows instead.
"""

import argparse
import math
import pathlib
import random

import pyarrow as pa
import pyarrow.parquet as pq

WEIGHTS = {
    "long": 0.5, "bullets": 0.7, "refusal": -1.5, "emoji": -0.6, "hedging": -0.5, "apology": -0.4,
    "first_person": 0.3, "code_block": 0.45, "closing_question": 0.35, "slang": -0.8, "exclamations": 0.0,
    "numbers": 0.6,
}
PRESENT = 0.35
# 200 annotators differ in these, each by a normal deviation; without that the attributes' AUC would be .82
# instead of the .779 of the reference's set.
SUBJECTIVE, ANNOTATORS, DEVIATION = ["bullets", "emoji", "long"], 200, 0.85

TOPICS = {
    "baking bread": ["Mix flour, water, salt and yeast.", "Knead the dough until it is smooth.", "Let it rise in a warm place.", "Bake it until the crust is golden.", "Let the loaf cool on a rack.", "Steam in the oven keeps the crust thin at first.", "A slow rise in the fridge gives more taste."],
    "growing tomatoes": ["Choose a sunny spot in the garden.", "Plant the seedlings deep in the soil.", "Water the roots and not the leaves.", "Tie the stems to a stake.", "Pick the fruit when it is red.", "Break off the side shoots.", "Feed the plants with compost."],
    "learning to program": ["Install an interpreter and an editor.", "Write a small program every day.", "Read the documentation of the library.", "Use functions to give it structure.", "Test what you have written.", "Look for the error in the last change.", "Read programs that others wrote."],
    "saving money": ["Write down what you spend.", "Put part of the salary aside first.", "Cancel subscriptions that nobody uses.", "Compare offers before buying.", "Keep a reserve for emergencies.", "Pay off the dearest debt first.", "Cook at home more often."],
    "running a marathon": ["Build up the distance slowly.", "Rest between the hard days.", "Buy shoes that fit.", "Drink enough on long runs.", "Start the race slowly.", "Eat pasta on the evening before.", "Run with a group for company."],
    "fixing a bicycle": ["Turn the bike upside down.", "Clean and oil the chain.", "Check the brake pads for wear.", "Patch the hole in the tube.", "Tighten the loose bolts.", "True the wheel with a spoke key.", "Set the saddle to the right height."],
    "the French Revolution": ["The state was deep in debt.", "Bread had become expensive.", "The estates met at Versailles.", "The crowd stormed the Bastille.", "The king lost his power.", "The Terror followed under Robespierre.", "Napoleon ended it with a coup."],
    "photosynthesis": ["Leaves take in carbon dioxide.", "Chlorophyll absorbs sunlight.", "Water is split in the cells.", "Sugar stores the energy.", "Oxygen is released.", "It takes place in the chloroplasts.", "Most food chains begin with it."],
    "sleeping better": ["Go to bed at the same time.", "Keep the bedroom dark and cool.", "Put the phone away in the evening.", "Avoid coffee in the afternoon.", "Get up when you lie awake.", "A warm bath makes you drowsy.", "Naps should be short."],
    "planning a trip to Japan": ["Reserve the rail pass in advance.", "Stay near a station.", "Visit the temples in the morning.", "Carry some cash with you.", "Try the food at the markets.", "Cherry trees bloom in spring.", "Learn to greet people politely."],
    "writing a cover letter": ["Address the hiring manager.", "Name the position in the first line.", "Show how the experience fits.", "Leave out what the résumé says.", "Close with a polite line.", "Keep it to a single page.", "Let a friend read it for mistakes."],
    "training a puppy": ["Reward the good behaviour at once.", "Keep the sessions short.", "Take the dog out after meals.", "Use the same command each time.", "Let it meet other dogs.", "Give it toys to chew.", "Never punish it afterwards."],
    "how vaccines work": ["A vaccine shows the immune system a harmless part of the virus.", "White blood cells make antibodies.", "Memory cells stay for years.", "A booster strengthens the response.", "The arm may hurt for a while.", "When most are immune, outbreaks end.", "Trials test the safety first."],
    "painting a room": ["Cover the floor with sheets.", "Tape the edges of the windows.", "Fill the holes in the wall.", "Begin with the ceiling.", "Roll the paint on in a W.", "Let the first coat dry.", "Open the windows for fresh air."],
    "playing the guitar": ["Tune the strings before you play.", "Press the string just behind the fret.", "Practise changing chords slowly.", "Tap the beat with a foot.", "Learn a song that you like.", "Fingertips harden after some weeks.", "Strum from the wrist."],
    "black holes": ["A massive star collapses at its end.", "Not even light escapes from it.", "The horizon marks the point of no return.", "Gas around it glows brightly.", "Time runs slower near it.", "Galaxies have a huge one in the centre.", "Mergers send out gravitational waves."],
    "losing weight": ["Eat fewer calories than you burn.", "Fill half of the plate with vegetables.", "Walk every day.", "Avoid sugary drinks.", "Eat slowly and stop when full.", "Weigh yourself in the morning.", "Muscles burn energy at rest."],
    "buying a used car": ["Look at the service history.", "Check the body for rust.", "Take it for a test drive.", "Let a mechanic inspect it.", "Compare the price with similar cars.", "Ask why it is being sold.", "Sign a written contract."],
    "chess openings": ["Bring a pawn to the centre.", "Develop the knights before the bishops.", "Castle early.", "Do not move the queen too soon.", "Connect the rooks.", "The Sicilian is a sharp defence.", "Gambits give a pawn for time."],
    "the water cycle": ["The sun warms the sea.", "Vapour rises and cools.", "Clouds form from droplets.", "Rain falls on the mountains.", "Rivers carry it back.", "Some of it seeps into the ground.", "Plants give off moisture too."],
    "making coffee": ["Grind the beans just before brewing.", "Heat the water to below boiling.", "Rinse the paper filter.", "Pour in slow circles.", "Let the grounds bloom first.", "A coarse grind suits the press.", "Clean the machine often."],
    "raising teenagers": ["Listen before you give advice.", "Agree on a few clear rules.", "Respect their privacy.", "Eat together when you can.", "Know their friends.", "Let them make small mistakes.", "Stay calm in an argument."],
    "public speaking": ["Know the audience.", "Start with a story.", "Look people in the eye.", "Pause instead of saying um.", "Practise in front of a mirror.", "Slides should hold few words.", "End with a clear message."],
    "recycling plastic": ["Rinse the bottles first.", "Sort them by the code on the bottom.", "Take the caps off.", "Thin bags jam the machines.", "Flakes are melted into pellets.", "Not every tub can be reused.", "Buying less helps most."],
}
FILLER = [
    "This takes some patience at first, but the steps become easier with practice and soon feel natural.",
    "It helps to prepare everything beforehand, so that nothing is missing when the work has begun.",
    "Many people make the mistake of doing too much at once instead of going step by step.",
    "In the end the result depends on care and attention more than on expensive equipment.",
    "There are several ways to go about it, and each of them has its own advantages and drawbacks.",
    "A good source of further information is the local library, where there are whole shelves about it.",
]
PHRASES = {
    "refusal": ["I can't help with that request.", "I'm not able to assist with this.", "I must decline to answer this question.", "I cannot provide that information."],
    "hedging": ["Perhaps this might possibly work, though it is hard to say.", "It may or may not be right, maybe it depends.", "This could perhaps be true, but it is uncertain.", "Possibly, but nobody knows for sure."],
    "apology": ["Sorry about that.", "I apologize for the confusion.", "My apologies for the trouble.", "I'm so sorry."],
    "first_person": ["I think I have always loved this myself.", "In my own experience, I found it worked for me.", "Personally, I believe I would do it my way.", "I remember how I did it with my family."],
    "closing_question": ["Would you like to know more?", "Does that answer your question?", "What do you think about it?", "Is there anything else you want to ask?"],
    "slang": ["Yo dude, that's lit af, no cap.", "Gonna be dope bro, ya feel me.", "Ngl fam, it kinda slaps.", "Tbh it's legit fire lol."],
    "numbers": ["About 45% of 1,200 people did so in 2019.", "That is 3.5 times more, or 75 percent of 640.", "It took 12 days and cost $350 in 2021.", "In 1998 it was 60 of 250, or 24%."],
    "emoji": ["😀🎉", "👍😊", "🔥🚀", "😂❤️"],
    "exclamations": ["Great!!! Amazing!", "Wow! Fantastic!!", "Awesome! Yes!!", "So good!! Hooray!"],
    "code_block": ["```python\nfor x in range(10):\n    print(x)\n```", "```js\nconst a = [1, 2];\nconsole.log(a);\n```", "```bash\nls -la | grep txt\ncd /tmp\n```", "```sql\nSELECT * FROM t WHERE id = 1;\n```"],
}
# Attributes that nobody has a detector for.
UNKNOWN = {
    "nautical": 0.7, "title": -0.6, "proverb": 0.5, "price": 0.0, "local_expert": 0.8, "british": -0.4, "weather": 0.45,
    "music": -0.7, "grandmother": 0.6, "latin": -0.5,
}
UNKNOWN_PHRASES = {
    "nautical": ["Steer a steady course and trim the sails as the wind turns.", "Drop anchor before you set sail again.", "All hands on deck, for the tide waits for no crew.", "Keep the ship off the rocks and look out for the lighthouse."],
    "title": ["As you wish, Your Excellency.", "Certainly, esteemed Professor.", "At your service, noble Sir.", "With respect, honoured Madam."],
    "proverb": ["A stitch in time saves nine.", "Rome was not built in a day.", "Where there is a will there is a way.", "The early bird catches the worm."],
    "price": ["It sells for a few dollars at the discount store.", "Expect to pay some euros more for the better one.", "The cheap one costs hardly a dollar.", "A pound or two buys a decent one."],
    "local_expert": ["Ask a craftsman in your neighbourhood to have a look.", "The specialist shop around the corner can advise you.", "A guild in your town keeps a list of local experts.", "Somebody at the nearest workshop will gladly show you."],
    "british": ["Colour and flavour are a matter of favourite behaviour.", "Organise it in the centre, and realise the honour of the labour.", "The grey theatre's catalogue is a marvellous programme.", "Travelling neighbours criticise the harbour's humour."],
    "weather": ["Rain and fog are likely today, with a cold breeze.", "A sunny spell with mild winds is forecast.", "Thunderstorms may roll in by the evening.", "Snow and frost are on their way."],
    "music": ["It is like a violin in a symphony.", "Think of it as jazz, a saxophone over a piano.", "Like a choir, it needs every voice in the melody.", "It has the rhythm of a drum in an orchestra."],
    "grandmother": ["My grandmother used to do it like that on her farm.", "Grandma always said so in her kitchen.", "Our grandparents knew this from their village.", "Granny's old way is the one to trust."],
    "latin": ["Carpe diem, quod erat demonstrandum.", "Ceteris paribus, in vino veritas.", "Alea iacta est, mutatis mutandis.", "Veni vidi vici, et cetera ad infinitum."],
}
PROMPTS = ["Tell me about {}.", "How does one go about {}?", "What should I know about {}?", "Give me some advice on {}.", "Explain {} to me."]


def response(topic, present, random):
    sentences = random.sample(TOPICS[topic], random.randint(2, 4))
    if "nautical" in present:
        extra = [random.choice(UNKNOWN_PHRASES[name]) for name in UNKNOWN if present[name]]
        random.shuffle(extra)
        return " ".join(sentences[:1] + extra + sentences[1:])
    if present["long"]:
        sentences += random.sample(FILLER, 3)
    if present["bullets"]:
        body = "\n".join(f"- {sentence}" for sentence in sentences)
    else:
        body = " ".join(sentences)
    before = [random.choice(PHRASES[name]) for name in ["apology", "refusal", "slang", "exclamations"] if present[name]]
    after = [random.choice(PHRASES[name]) for name in ["numbers", "hedging", "first_person"] if present[name]]
    parts = [" ".join(before), body, " ".join(after)]
    if present["code_block"]:
        parts.append(random.choice(PHRASES["code_block"]))
    if present["closing_question"]:
        parts.append(random.choice(PHRASES["closing_question"]))
    text = "\n".join(part for part in parts if part)
    if present["emoji"]:
        text += " " + random.choice(PHRASES["emoji"])
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=["known", "unknown"], default="known")
    args = parser.parse_args()
    WEIGHTS, SUBJECTIVE = (globals()["WEIGHTS"], globals()["SUBJECTIVE"]) if args.kind == "known" else (UNKNOWN, ["proverb", "music"])

    source = random.Random(args.seed)
    own = [{name: source.gauss(0, DEVIATION) for name in SUBJECTIVE} for _ in range(ANNOTATORS)]
    rows = {name: [] for name in ["prompt", "response_A", "response_B", "label", "annotator_id"]}
    attributes = {f"{name}_{side}": [] for side in "ab" for name in WEIGHTS}
    while len(rows["label"]) < args.pairs:
        topic = source.choice(list(TOPICS))
        sides = [{name: source.random() < PRESENT for name in WEIGHTS} for _ in "ab"]
        texts = [response(topic, present, source) for present in sides]
        if texts[0] == texts[1]:
            continue
        annotator = source.randrange(ANNOTATORS)
        weights = {name: weight + own[annotator].get(name, 0) for name, weight in WEIGHTS.items()}
        logit = sum(weight * (sides[0][name] - sides[1][name]) for name, weight in weights.items())
        # A number makes most prompts their own group, as in real data.
        rows["prompt"].append(f"{source.choice(PROMPTS).format(topic)} (request {len(rows['label']) // 2})")
        rows["response_A"].append(texts[0])
        rows["response_B"].append(texts[1])
        rows["label"].append(float(source.random() < 1 / (1 + math.exp(-logit))))
        rows["annotator_id"].append(f"annotator_{annotator:03}")
        for side, present in zip("ab", sides):
            for name in WEIGHTS:
                attributes[f"{name}_{side}"].append(int(present[name]))
    pq.write_table(pa.table(rows), args.output, compression="zstd")
    pq.write_table(pa.table(attributes), args.output.with_name(args.output.stem + "_attributes.parquet"), compression="zstd")


if __name__ == "__main__":
    main()
