"""Every case, kind by kind. A kind is a function that gives its cases; they share nothing but the files below."""

import csv as csvs
import gzip
import io
import json
import os
import random
import resource
import shutil
import socket
import struct
import tempfile

import pyarrow as pa
import servers
from data import (arrow_file, arrow_stream, containers, csv, damages, jsonl, nested, parquet, rows, table, vectors, zst)
from place import KEY, MEMORY_KB, Case

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FIXTURES = os.path.join(ROOT, "tests", "fixtures")
ANALYZE = ["--device", "cpu", "--quiet", "--features", "8", "--active", "2"]

# The finished run that cases are about, and what stands beside it.
TEMPLATE = [
    ["analyze", "d.jsonl", "--out", "run", *ANALYZE],
    ["analyze", "other.jsonl", "--out", "other", *ANALYZE],
    ["personalize", "run", "--no-evaluation", "--min-pairs", "4"],
    ["constitution", "run"],
    ["score", "run", "new.jsonl", "--out", "scored.parquet", "--quiet"],
    ["relabel", "run", "--rule", "refuses:avoid", "--out", "relabelled.jsonl"],
]


def common(place):
    (place / "d.jsonl").write_bytes(jsonl(rows(120)))
    (place / "other.jsonl").write_bytes(jsonl(rows(90)))
    (place / "new.jsonl").write_bytes(jsonl([{k: v for k, v in row.items() if k != "label"} for row in rows(30)]))


def put(**files):
    """Files by name; `__` is a dot, a function is given the path."""
    def make(place):
        for name, what in files.items():
            path = place / name.replace("__", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            if callable(what):
                what(path)
            else:
                path.write_bytes(what.encode() if isinstance(what, str) else what)
    return make


SPOOL = tempfile.TemporaryDirectory(prefix="campaign-inputs-")


def file(name, what):
    """Large content waits on the disk: what this process holds would count as the program's memory."""
    if callable(what) or len(what) < 50_000:
        return lambda place: put(**{name: what})(place)
    kept = os.path.join(SPOOL.name, str(len(os.listdir(SPOOL.name))))
    with open(kept, "wb") as opened:
        opened.write(what.encode() if isinstance(what, str) else what)
    return lambda place: put(**{name: lambda path: shutil.copyfile(kept, path)})(place)


def inspect(kind, name, path, what, **more):
    more.setdefault("words", (path,) if more.get("codes") in (None, (2,)) else ())
    more.setdefault("codes", (0, 2))
    return Case(kind, name, ["inspect", path, *more.pop("argv", [])], file(path, what), **more)


# Datasets

def damaged_containers(_):
    for name, whole in containers().items():
        for damage, data in damages(whole, name).items():
            due = (2,) if damage in ("empty", "one byte", "the first 12 bytes") else (0, 2)
            yield inspect("damaged containers", f"{name}, {damage}", name, data, codes=due, words=(name,))
    whole = containers()
    for name, data in whole.items():
        for other in ("parquet", "arrow", "csv", "jsonl", "json", "jsonl.gz", "txt"):
            if not name.endswith("." + other):
                yield inspect("containers under another name", f"{name} as {other}", f"x.{other}", data, words=(f"x.{other}",))


def damaged_shapes(_):
    folder = os.path.join(FIXTURES, "shapes")
    for root, _, files in sorted(os.walk(folder)):
        for name in sorted(files):
            if name.endswith(".py"):
                continue
            with open(os.path.join(root, name), "rb") as opened:
                whole = opened.read()
            found = list(damages(whole, name).items())
            chance = random.Random(name)
            for damage, data in chance.sample(found[5:], 4):
                yield inspect("damaged datasets of the field", f"{os.path.basename(root)}/{name}, {damage}", name, data, words=(name,))


def cell(value):
    """A dataset of two good rows and one with this JSON text in a cell."""
    good = '{"chosen": "a long answer", "rejected": "b"}\n{"chosen": "c", "rejected": "d"}\n'
    return good + '{"chosen": "e", "rejected": "f", "x": ' + value + "}\n"


def extreme_json(_):
    kind = "extreme JSON"
    for levels in (63, 64, 65, 100, 400, 5_000, 400_000):
        due = (0, 2) if levels < 64 else (2,)
        for shape, value in {"lists": "[" * levels + "1" + "]" * levels, "objects": '{"a":' * levels + "1" + "}" * levels,
                             "open": "[" * levels, "both": '[{"a":' * (levels // 2) + "1" + "}]" * (levels // 2)}.items():
            yield inspect(kind, f"{levels} levels of {shape} in a cell", "x.jsonl", cell(value), codes=(0, 2) if shape in ("both", "open") else due)
            yield inspect(kind, f"{levels} levels of {shape}, whole", "x.json", value, codes=(2,), words=("x.json",))
        yield inspect(kind, f"{levels} levels in a text", "x.csv", csv([{"chosen": "[" * levels, "rejected": "b"}, {"chosen": "c", "rejected": "d"}]))
        talk = "[{'role': 'user', 'content': " * (levels // 2) + "'x'" + "}]" * (levels // 2)
        yield inspect(kind, f"{levels} levels of Python's in a text", "x.csv", csv([{"chosen": talk, "rejected": talk + " "}, {"chosen": "c", "rejected": "d"}]))
    values = {
        "a huge number": "1e999", "a tiny number": "1e-999", "400 digits": "1" * 400, "minus nothing": "-0", "a leading zero": "01",
        "NaN": "NaN", "-Infinity": "-Infinity", "half of a pair": '"\\ud83d"', "NUL": '"a\\u0000b"', "a raw NUL": '"a\x00b"',
        "a raw line break": '"a\nb"', "an unknown escape": '"\\q"', "a cut escape": '"\\u12', "an empty key": '{"": 1}',
        "the same key twice": '{"a": 1, "a": [2]}', "a key of NUL": '{"\\u0000": 1}', "a trailing comma": "[1,]", "a comment": "1 /* */",
        "true in capitals": "True", "None": "None", "empty list": "[]", "empty object": "{}", "mixed list": '[1, "a", null, {"b": []}]',
        "a key of a megabyte": '{"' + "k" * 1_000_000 + '": 1}', "a text of 4 MB": '"' + "x" * 4_000_000 + '"',
        "4 MB without a full stop": '"' + "word " * 800_000 + '"', "4 MB of full stops": '"' + "." * 4_000_000 + '"',
        "a million commas": "[" + "1," * 999_999 + "1]", "right to left": '"\u202e\u2066abc"', "20000 accents": '"a' + "\u0301" * 20_000 + '"',
        "a key like a command": '{"\\u001b]0;x\\u0007": 1}', "integers beyond 64 bits": str(2**64), "below": str(-2**63 - 1),
    }
    for name, value in values.items():
        yield inspect(kind, name + " in a cell", "x.jsonl", cell(value))
        yield inspect(kind, name + " as an answer", "x.jsonl", "".join(f'{{"chosen": {value}, "rejected": "b{i}"}}\n' for i in range(2)))
        yield inspect(kind, name + " as the label", "x.jsonl", "".join(f'{{"response_A": "a{i}", "response_B": "b{i}", "label": {value}}}\n' for i in range(2)))
        yield inspect(kind, name + ", whole", "x.json", value, words=("x.json",))
    whole = {
        "no rows": "[]", "empty objects": "[{}, {}]", "lists of lists": "[[1, 2], [3, 4]]", "one object": '{"a": 1}', "a word": "chosen",
        "rows without a comma": '[{"chosen": "a", "rejected": "b"} {"chosen": "c", "rejected": "d"}]',
        "two lists": '[{"chosen": "a", "rejected": "b"}]\n[{"chosen": "a", "rejected": "b"}]', "only a mark": "\ufeff", "marks": "\ufeff\ufeff{}",
        "100,000 empty rows": "{}\n" * 100_000, "a new column in each row": "".join(f'{{"c{i}": 1}}\n' for i in range(6000)),
        "100,000 columns": "{" + ",".join(f'"c{i}":1' for i in range(100_000)) + "}", "columns of unequal length": '{"chosen": ["a"], "rejected": ["b", "c"]}',
        "columns of many": '{"chosen": [' + ",".join(['"a"'] * 50_000) + '], "rejected": [' + ",".join(['"b"'] * 50_000) + "]}",
        "row numbers": '{"chosen": {"0": "a", "5": "b"}, "rejected": {"0": "c", "x": "d"}}', "a document of ours": '{"schema_version": 1, "principles": {}}',
        "annotated pairs, odd": '{"metadata": {}, "annotators": [], "comparisons": {"a": 1}}', "annotated pairs, empty": '{"metadata": {"version": "2.0"}, "annotators": {}, "comparisons": []}',
        "a million brackets": "[]," * 333_333, "\\r": '{"chosen": "a", "rejected": "b"}\r{"chosen": "c", "rejected": "d"}\r',
        "rows then garbage": jsonl(rows(20)).decode() + "\x00\x01\x02", "white space": " \n\t" * 100_000,
    }
    for name, value in whole.items():
        for ending in ("json", "jsonl"):
            yield inspect(kind, f"{name} as {ending}", f"x.{ending}", value, words=(f"x.{ending}",))


def extreme_csv(_):
    kind = "extreme CSV"
    head = "prompt,response_A,response_B,label\n"
    good = "".join(f"p{i},answer {i} is long,other {i},{i % 2}\n" for i in range(30))
    texts = {
        "a quote that never ends": head + 'p,"a,b,1\n' + good, "a quote in the middle": head + 'p,a"b"c,d,1\n' + good, "quotes only": '"' * 100_000,
        "10 MB of quotes": '"' * 10_000_000, "10 MB of commas": "," * 10_000_000, "10 MB of line breaks": "\n" * 10_000_000,
        "10 MB of one cell": head + "p," + "x" * 9_900_000 + ",b,1\n" + good, "too many cells": head + "p,a,b,1,2,3,4\n" + good,
        "too few cells": head + "p,a\n" + good, "no line break": head.strip(), "header only": head, "no header": good, "an empty name": ",response_A,response_B,label\n" + good,
        "the same name twice": "prompt,response_A,response_A,label\n" + good, "names with line breaks": '"a\nb",response_A,response_B,label\n' + good,
        "names that command": "\x1b]0;x\x07,\x1b[2J,response_B,label\n" + good, "names right to left": "\u202ea,response_A,response_B,label\n" + good,
        "a name of a megabyte": "x" * 1_000_000 + ",response_A,response_B,label\n" + good, "NUL": head + "p\0,a\0b,c,1\n" + good, "NUL only": "\0" * 10_000,
        "4,097 columns": ",".join(f"c{i}" for i in range(4097)) + "\n" + ",".join("1" * 4097) + "\n", "100,000 columns": ",".join(f"c{i}" for i in range(100_000)) + "\n",
        "a million columns": "a," * 1_000_000 + "\n1\n", "lone returns": (head + good).replace("\n", "\r"), "mixed line ends": head + good[:200] + good[200:].replace("\n", "\r\n"),
        "semicolons": (head + good).replace(",", ";"), "pipes": (head + good).replace(",", "|"), "two kinds": head + good.replace(",", ";"), "tabs in csv": (head + good).replace(",", "\t"),
        "a mark": "\ufeff" + head + good, "marks": "\ufeff\ufeff\ufeff" + head + good, "spaces": (head + good).replace(",", " , "), "blank lines": (head + good).replace("\n", "\n\n\n"),
        "sep=": "sep=;\n" + (head + good).replace(",", ";"), "comments": "# hello\n" + head + good, "a million short rows": "chosen,rejected\n" + "a,b\n" * 1_000_000,
        "2 million empty rows": "chosen,rejected\n" + ",\n" * 2_000_000, "backslashes": head + 'p,"a\\"b",c,1\n' + good, "a formula": head + '=cmd|"/c calc"!A1,@x,+1,-1\n' + good,
        "python, cut": head + "\"[{'role': 'user', 'content': 'x\",b,c,1\n" + good, "a surrogate": (head + good).encode() + b"p,\xed\xa0\xbd,b,1\n", "overlong": (head + good).encode() + b"p,\xc0\x80,b,1\n",
        "latin": (head + good).encode() + "é,è,ê,1\n".encode("latin-1"), "UTF-16": (head + good).encode("utf-16"), "UTF-16 without a mark": (head + good).encode("utf-16-le"),
        "UTF-32": (head + good).encode("utf-32"), "shift-jis": (head + good).encode() + "漢字,仮名,x,1\n".encode("shift-jis"), "only separators": ",,,,\n" * 1000, "an xlsx": b"PK\x03\x04" + bytes(200),
        "a page": "<!doctype html><html><body>404</body></html>", "a pickle": b"\x80\x04\x95" + bytes(50), "an SQLite file": b"SQLite format 3\0" + bytes(200), "LFS": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "a tar": b"x.csv".ljust(257, b"\0") + b"ustar\0" + bytes(300), "an xz": b"\xfd7zXZ\0" + bytes(50), "a bz2": b"BZh91AY&SY" + bytes(50),
    }
    for name, text in texts.items():
        yield inspect(kind, name, "x.csv", text, words=("x.csv",))
        if len(text) < 2_000_000:
            yield inspect(kind, name + " as TSV", "x.tsv", text.replace(",", "\t") if isinstance(text, str) else text, words=("x.tsv",))


def labels(_):
    kind = "label codes"
    words = [
        "A B", "a b tie", "model_a model_b tie tie(bothbad)", "1 2", "1 2 1.5", "0 1", "-1 0 1", "1 2 3 4 5", "-3 -2 -1 1 2 3", "A>B B>A", "A>>B B>>A A=B", "A>B>C B", "A≫B B≪A", "A≈B A",
        "response 1|response 2", "response_0|response_1", "first second", "left right both", "yes no", "true false", "True False None", "chosen rejected", "1e999 0", "nan nan", "NaN 1", "inf -inf", "0.5 0.5",
        "١ ٢", "１ ２", "一 二", "great awful", "x x", "A a", "A B A", "b b b", "['A'] ['B']", '"A" "B"', "[[A]] [[B]]", "100% 0%", "50% 70%", "1,5 2,5", "1/2 2/2", "+1 -1", "−1 1", "--1 1", "1. 2.", ".5 1",
        "0x1 0x2", "1_000 2", "1e0 2e0", "1.0000000001 2", "-0 1", "2147483648 1", "9223372036854775808 1", "1e308 -1e308", "4.9e-324 1", "Response A is slightly better|Response B is much better", "neither is worse than A|B",
        "not A|not B", "A is better than B is better than A|B", "prefer prefer", ">", "<", "= =", ">>>>", "A> >B", "[ ]", "[[[[ ]]]]", "% %", "- +", "response response", "response_99999999999999999999 B", "gpt-4 claude", "gpt-4 gpt-4 tie",
        "\u202eA B", "A\u0301 B", "ＡＢ Ｂ", "🅰 🅱", "ß SS", "İ i", "\x00 A", "'=A' B", "null null", "skip A B", "none none", "A" + "A" * 20_000 + " B", "🙂" * 3000 + " B",
    ]
    for text in words:
        values = text.split("|") if "|" in text else text.split(" ")
        records = [{"prompt": f"p{i}", "response_A": f"one {i}", "response_B": f"other {i} is long", "label": values[i % len(values)]} for i in range(24)]
        yield inspect(kind, text[:40], "x.csv", csv(records))
        if len(text) < 1000:
            yield inspect(kind, text[:40] + " in JSON", "x.jsonl", jsonl(records))
    good = csv([{**row, "label": "xyz"[i % 3]} for i, row in enumerate(rows(24))])
    for option in ["x=A,y=B,z=tie", "x=A", "x=A,y=A,z=A", "=", "x=", "=A", "x=A,x=B", "x=Q", ",", "x=A,,y=B", "x=A,y=B,z=tie,w=A", "", "x==A", "1e999=A", "x=a,y=b,z=skip", "\u202e=A", "x" * 5000 + "=A"]:
        yield inspect(kind, f"--label-map {option[:20]!r}", "x.csv", good, argv=["--label-map", option], words=())
    good = csv([{**row, "label": i % 5 - 2} for i, row in enumerate(rows(24))])
    for option in ["-2..2", "2..-2", "0..0", "..", "1..", "a..b", "nan..1", "-inf..inf", "1e308..-1e308", "0..1", "-1..1", "", "1...2", "2", "5e-324..1"]:
        yield inspect(kind, f"--label-scale {option!r}", "x.csv", good, argv=["--label-scale=" + option], words=())


def columns(_):
    kind = "columns and vectors"
    names = ["prompt", "nobody", "", " ", "\n", "response_A ", "RESPONSE_A", "\x1b[2J", "\u202e", "x" * 10_000, "é", "a,b", "*", "label", "response_B", "^.*$", "response_A\0" if False else "0"]
    for flag in ("--prompt-column", "--response-a-column", "--label-column", "--annotator-column", "--preference"):
        for name in names:
            yield inspect(kind, f"{flag} {name[:12]!r}", "x.jsonl", jsonl(rows(24)), argv=[flag, name], words=())
    for pair in ["a", "a,b", "ea,eb", "ea,ea", "eb,ea", ",", "ea,", "prompt,label", "ea,eb,ec", ""]:
        yield inspect(kind, f"--embedding-columns {pair}", "x.parquet", parquet(pa.Table.from_pylist(vectors())), argv=["--embedding-columns", pair], words=())
    nan, inf = float("nan"), float("inf")
    spoilers = {
        "one shorter": lambda i, row: row | ({"ea": [1.0]} if i == 17 else {}), "one empty": lambda i, row: row | ({"ea": []} if i == 3 else {}), "all empty": lambda i, row: row | {"ea": [], "eb": []},
        "one missing": lambda i, row: row | ({"ea": None} if i == 3 else {}), "all missing": lambda i, row: row | {"ea": None, "eb": None}, "nan": lambda i, row: row | ({"ea": [nan] * 6} if i < 5 else {}),
        "all nan": lambda i, row: row | {"ea": [nan] * 6}, "infinite": lambda i, row: row | ({"ea": [inf] * 6} if i == 1 else {}), "huge": lambda i, row: row | {"ea": [1e308] * 6}, "tiny": lambda i, row: row | {"ea": [5e-324] * 6, "eb": [0.0] * 6},
        "all the same": lambda i, row: row | {"ea": [1.0] * 6, "eb": [1.0] * 6}, "zeros": lambda i, row: row | {"ea": [0.0] * 6, "eb": [0.0] * 6}, "one dimension": lambda i, row: row | {"ea": [float(i)], "eb": [0.0]},
        "texts": lambda i, row: row | {"ea": ["x"] * 6}, "lists of lists": lambda i, row: row | {"ea": [[1.0]] * 6}, "integers": lambda i, row: row | {"ea": [i] * 6, "eb": [1] * 6}, "no list": lambda i, row: row | {"ea": 1.0, "eb": 2.0},
        "a null inside": lambda i, row: row | {"ea": [1.0, None, 2.0, 3.0, 4.0, 5.0]}, "of two lengths": lambda i, row: row | {"eb": [1.0] * 5},
    }
    for name, spoil in spoilers.items():
        for ending, write in {"parquet": lambda found: parquet(pa.Table.from_pylist(found)), "arrow": lambda found: arrow_file(pa.Table.from_pylist(found))}.items():
            yield Case(kind, f"vectors: {name} in {ending}", ["analyze", f"v.{ending}", "--embedding-columns", "ea,eb", "--out", "run2", *ANALYZE],
                       file(f"v.{ending}", write(vectors(spoil=spoil))), codes=(0, 2), writes=("run2",))
    long = pa.table({"response_A": [f"a {i}" for i in range(8)], "response_B": [f"b {i}" for i in range(8)], "label": [float(i % 2) for i in range(8)],
                     "ea": [[0.5] * 20_000] * 8, "eb": [[0.25] * 20_000] * 8})
    yield Case(kind, "20,000 dimensions", ["analyze", "v.parquet", "--embedding-columns", "ea,eb", "--out", "run2", *ANALYZE], file("v.parquet", parquet(long)), words=("v.parquet", "WIMHF_MAX_DIMENSIONS"))
    types = {
        "binary texts": pa.table({"chosen": [b"\xff\xfe", b"a"], "rejected": [b"b", b"c"]}), "numbers as answers": pa.table({"chosen": [1, 2], "rejected": [3, 4]}),
        "dates as answers": pa.table({"chosen": pa.array([1, 2], pa.timestamp("ns", "UTC")), "rejected": pa.array([1, 2], pa.date32())}), "all missing": pa.table({"chosen": pa.nulls(20), "rejected": pa.nulls(20)}),
        "decimals as labels": pa.table({"response_A": ["a", "b"], "response_B": ["c", "d"], "label": pa.array([1, 0], pa.decimal128(38, 10))}), "dictionaries": pa.table({"chosen": pa.array(["a", "b"]).dictionary_encode(), "rejected": pa.array(["c", "d"]).dictionary_encode()}),
        "maps": pa.table({"chosen": pa.array([[("a", 1)]] * 2, pa.map_(pa.string(), pa.int64())), "rejected": ["c", "d"]}), "large texts": pa.table({"chosen": pa.array(["a", "b"], pa.large_string()), "rejected": pa.array(["c", "d"], pa.string_view())}),
        "fixed lists": pa.table({"chosen": pa.array([["a", "b"]] * 2, pa.list_(pa.string(), 2)), "rejected": ["c", "d"]}), "half floats": pa.table({"response_A": ["a", "b"], "response_B": ["c", "d"], "label": pa.array([1, 0], pa.float16())}),
        "durations": pa.table({"response_A": ["a", "b"], "response_B": ["c", "d"], "label": pa.array([1, 0], pa.duration("s"))}), "an empty struct": pa.table({"chosen": pa.array([{}, {}], pa.struct([])), "rejected": ["c", "d"]}),
        "a union": pa.table({"chosen": ["a", "b"], "rejected": ["c", "d"], "u": pa.UnionArray.from_sparse(pa.array([0, 0], pa.int8()), [pa.array([1, 2])])}), "run ends": pa.table({"chosen": ["a", "b"], "rejected": ["c", "d"], "r": pa.RunEndEncodedArray.from_arrays([2], [1])}),
        "intervals": pa.table({"chosen": ["a", "b"], "rejected": ["c", "d"], "i": pa.array([(1, 2, 3)] * 2, pa.month_day_nano_interval())}), "no rows": table(0) if False else table(5).slice(0, 0), "no columns": pa.table({}),
        "fixed bytes": pa.table({"chosen": pa.array([b"ab", b"cd"], pa.binary(2)), "rejected": ["c", "d"]}), "lists deep": pa.table({"chosen": pa.array([[[[["a"]]]]] * 2), "rejected": ["c", "d"]}), "time": pa.table({"chosen": ["a", "b"], "rejected": ["c", "d"], "label": pa.array([1, 2], pa.time64("ns"))}),
    }
    for name, made in types.items():
        for ending, write in {"parquet": parquet, "arrow": arrow_file, "stream.arrow": arrow_stream}.items():
            try:
                data = write(made)
            except (pa.ArrowException, NotImplementedError):
                continue
            yield inspect(kind, f"{name} in {ending}", f"x.{ending}", data, words=(f"x.{ending}",))


def thrift_sizes(data, times):
    """A Parquet file whose footer counts more than there is: one number after the other made larger."""
    length = struct.unpack("<I", data[-8:-4])[0]
    start = len(data) - 8 - length
    for at in range(start, len(data) - 8, max(1, length // times)):
        yield at, data[:at] + b"\xff\xff\xff\xff\x7f"[: len(data) - 8 - at] + data[at + 5:]


def bombs(_):
    kind = "bombs"
    blocks = lambda size, what=b" ": b"".join(gzip.compress(what * (1 << 20), mtime=0) for _ in range(1)) * size
    gz = {
        "300 MB of spaces": blocks(300), "3 GB of spaces": blocks(3000), "300 MB of brackets": blocks(300, b"["), "300 MB of line breaks": blocks(300, b"\n"),
        "200 MB of empty objects": blocks(67, b"{}\n"), "1 GB of objects": blocks(110, b'{"chosen":"a","rejected":"b"}\n'[:10]), "a gzip in a gzip": gzip.compress(gzip.compress(jsonl(rows()))),
        "no end": gzip.compress(jsonl(rows()))[:-8], "another sum": gzip.compress(jsonl(rows()))[:-8] + b"\0" * 8, "a gzip and garbage": gzip.compress(jsonl(rows())) + b"garbage",
        "an empty gzip": gzip.compress(b""), "only a head": b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "a head with a name for ever": b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + b"x" * 1_000_000,
    }
    for name, data in gz.items():
        yield inspect(kind, name, "x.jsonl.gz", data, words=("x.jsonl.gz",))
    yield inspect(kind, "gzip of 300 MB as CSV", "x.csv.gz", blocks(300), codes=(2,), words=("x.csv.gz", "WIMHF_MAX_RATIO"))
    packed = {"300 MB": zst(b" " * (300 << 20)), "many frames": zst(b" " * (64 << 20)) * 40, "a frame that promises": b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 8 + b"\0\0\0", "skippable": b"\x50\x2a\x4d\x18\xff\xff\xff\x7f",
              "a window of 2 GB": b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\0\0", "a cut one": zst(jsonl(rows()))[:-5], "nothing": zst(b"")}
    for name, data in packed.items():
        yield inspect(kind, "zstd: " + name, "x.jsonl.zst", data, words=("x.jsonl.zst",))
    count = 10_000_000
    nulls = pa.table({"chosen": pa.nulls(count, pa.string()), "rejected": pa.nulls(count, pa.string())})
    yield inspect(kind, "20 million nulls in Parquet", "x.parquet", parquet(nulls), codes=(2,), words=("x.parquet", "WIMHF_MAX"))
    yield inspect(kind, "20 million nulls in Arrow, zstd", "x.arrow", arrow_file(nulls, "zstd"), words=("x.arrow",))
    yield inspect(kind, "20 million nulls in Arrow, lz4", "x.arrow", arrow_file(nulls, "lz4"), words=("x.arrow",))
    yield inspect(kind, "20 million nulls in an Arrow stream", "x.arrow", arrow_stream(nulls, compression="zstd"), words=("x.arrow",))
    long = pa.table({"chosen": pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), ["a" * 3_000_000]).cast(pa.large_string()) if False else pa.array(["a" * 1_000_000] * 400), "rejected": [str(i) for i in range(400)]})
    for name, data in {"x.parquet": parquet(long), "z.parquet": parquet(long, compression="zstd", use_dictionary=False)}.items():
        yield inspect(kind, f"400 times a megabyte in {name}", name, data, words=(name,))
    for codec in ("zstd", "lz4"):
        yield inspect(kind, f"400 times a megabyte in Arrow, {codec}", "x.arrow", arrow_file(long, codec), words=("x.arrow",))
        yield inspect(kind, f"400 times a megabyte in a stream, {codec}", "y.arrow", arrow_stream(long, compression=codec), words=("y.arrow",))
        # What a buffer says that it becomes, made larger.
        data = arrow_stream(pa.table({"chosen": ["a" * 1000] * 50, "rejected": ["b" * 1000] * 50}), compression=codec)
        sizes = [at for at in range(0, len(data) - 8, 8) if 200 <= struct.unpack("<q", data[at:at + 8])[0] <= 60_000]
        for at in sizes[:12]:
            for size in (1 << 33, 1 << 62, -2):
                yield inspect(kind, f"{codec} buffer of {size} at {at}", "x.arrow", data[:at] + struct.pack("<q", size) + data[at + 8:], words=("x.arrow",))
    small = parquet(table(20), compression="none")
    for at, data in thrift_sizes(small, 40):
        yield inspect(kind, f"Parquet: a count of the footer at {at}", "x.parquet", data, words=("x.parquet",))
    deep = pa.array([["a"]] * 3)
    for _ in range(60):
        deep = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), deep)
    try:
        yield inspect(kind, "lists of 60 levels in Parquet", "x.parquet", parquet(pa.table({"chosen": deep, "rejected": ["a"] * 3})), words=("x.parquet",))
        yield inspect(kind, "lists of 60 levels in Arrow", "x.arrow", arrow_file(pa.table({"chosen": deep, "rejected": ["a"] * 3})), words=("x.arrow",))
    except pa.ArrowException:
        pass
    wide = pa.table({f"c{i}": [1] for i in range(20_000)})
    for name, data in {"x.parquet": parquet(wide), "x.arrow": arrow_file(wide), "stream.arrow": arrow_stream(wide)}.items():
        yield inspect(kind, f"20,000 columns in {name}", name, data, codes=(2,), words=(name, "WIMHF_MAX_COLUMNS"))
    yield inspect(kind, "20,000 row groups", "x.parquet", parquet(table(20_000), row_group_size=1), words=("x.parquet",))


def ten_megabytes(_):
    """What has no more than 10 MB must do with 1 GB."""
    kind = "10 MB, 1 GB"
    pair = lambda i, text: json.dumps({"chosen": f"{text} {i}", "rejected": f"{i}"}) + "\n"
    texts = {
        "rows of two letters": "chosen,rejected\n" + "".join(f"{i},b\n" for i in range(1_000_000)),
        "rows of two letters in JSON": "".join(f'{{"chosen":"{i}","rejected":"b"}}\n' for i in range(260_000)),
        "empty objects": "{}\n" * 3_300_000, "one list": "[" + "{}," * 3_300_000 + "{}]", "lists of numbers": '{"chosen":"a","rejected":"b","x":[' + "1," * 4_900_000 + "1]}\n",
        "lists of lists": '{"chosen":"a","rejected":"b","x":[' + "[]," * 3_300_000 + "[]]}\n", "objects of objects": '{"chosen":"a","rejected":"b","x":[' + '{"a":{}},' * 1_100_000 + "{}]}\n",
        "messages": "".join(json.dumps({"chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": f"a{i}"}], "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}]}) + "\n" for i in range(55_000)),
        "one conversation of 100,000 turns": json.dumps({"chosen": [{"role": "user", "content": "q"}] * 120_000, "rejected": [{"role": "user", "content": "q"}] * 120_000}) + "\n",
        "60 levels": "".join('{"chosen":"a","rejected":"b","x":' + "[" * 60 + "]" * 60 + "}\n" for _ in range(64_000)),
        "objects in 60 levels": "".join('{"chosen":"a","rejected":"b","x":' + '{"a":' * 60 + "1" + "}" * 60 + "}\n" for _ in range(23_000)),
        "4,000 fields": ("{" + ",".join(f'"c{i}":1' for i in range(4000)) + "}\n") * 240, "a field here and there": "".join(f'{{"chosen":"a","rejected":"b","c{i % 4000}":1}}\n' for i in range(240_000)),
        "one text": json.dumps({"chosen": "x" * 9_900_000, "rejected": "b"}) + "\n", "words": json.dumps({"chosen": "word " * 1_900_000, "rejected": "b"}) + "\n",
        "4,000 columns of CSV": ",".join(f"c{i}" for i in range(4000)) + "\n" + (",".join("1" * 4000) + "\n") * 1200,
        "labels all different": "response_A,response_B,label\n" + "".join(f"a{i},b,label{i}\n" for i in range(430_000)),
        "annotators all different": "response_A,response_B,label,annotator_id\n" + "".join(f"a{i},b,{i % 2},w{i}\n" for i in range(430_000)),
        "one row per key": "{" + ",".join(f'"{i}":{{"chosen":"a","rejected":"b"}}' for i in range(240_000)) + "}",
        "scored answers": "".join(json.dumps({"prompt": "p", "response": f"r{i}", "score": i}) + "\n" for i in range(180_000)),
        "ranked answers": json.dumps({"prompt": "p", "answers": [{"answer": f"a{i}", "rank": i} for i in range(250_000)]}) + "\n",
        "completions": json.dumps({"instruction": "p", "completions": [{"response": f"a{i}", "overall_score": i} for i in range(160_000)]}) + "\n",
    }
    for name, text in texts.items():
        ending = "csv" if "," in text[:40] and not text.startswith(("{", "[")) else "json" if text.startswith("[") or name == "one row per key" else "jsonl"
        assert len(text) <= 10_000_000, (name, len(text))
        yield inspect(kind, name, f"x.{ending}", text, words=(f"x.{ending}",))
    sentences = {"one letter sentences": "A b. " * 900_000, "line breaks": "a\n" * 2_000_000, "bullets": "- a\n" * 1_200_000, "one word": "x" * 4_000_000, "brackets": "(" * 2_000_000, "backticks": "```\n" * 600_000,
                 "quotes": '"' * 2_000_000, "digits": "1. " * 900_000, "tables": "| a | b |\n" * 400_000, "emphasis": "**" * 1_500_000, "links": "[a](b " * 500_000, "html": "<a <b " * 500_000, "quotations": ">" * 2_000_000, "emoji": "🙂" * 500_000}
    for name, text in sentences.items():
        found = "".join(json.dumps({"prompt": f"p {i}", "chosen": f"An answer with number {i}.", "rejected": f"Sorry, no {i}."}) + "\n" for i in range(60))
        data = found + json.dumps({"prompt": "long", "chosen": text, "rejected": "b"}) + "\n"
        assert len(data.encode()) <= 10_000_000, name
        yield Case(kind, f"analysed: {name}", ["analyze", "x.jsonl", "--out", "run2", *ANALYZE], file("x.jsonl", data), codes=(0, 2), writes=("run2",), cpu=240)
    many = "prompt,chosen,rejected\n" + "".join(f"p{i},Yes {i}.,No {i % 7}.\n" for i in range(120_000))
    yield Case(kind, "analysed: 120,000 short pairs", ["analyze", "x.csv", "--out", "run2", *ANALYZE], file("x.csv", many), codes=(0, 2), writes=("run2",), cpu=400)


def places(_):
    kind = "pipes, devices, links, names"
    fifo = lambda path: os.mkfifo(path)
    link = lambda to: lambda path: path.symlink_to(to)

    def sock(path):
        # Its path may be longer than a socket's name.
        here = os.getcwd()
        one = socket.socket(socket.AF_UNIX)
        try:
            one.bind(f"/proc/self/fd/{os.open(path.parent, os.O_RDONLY)}/{path.name}")
        finally:
            one.close()

    odd = {"a pipe": fifo, "a link to /dev/zero": link("/dev/zero"), "a link to /dev/null": link("/dev/null"), "a link to a pipe": lambda path: (os.mkfifo(path.parent / "pipe-beside"), path.symlink_to("pipe-beside")),
           "a link to nothing": link("nowhere"), "a link to itself": lambda path: path.symlink_to(path.name), "a folder": lambda path: path.mkdir(), "a socket": sock, "a link to /proc/self/mem": link("/proc/self/mem"), "a link to /dev/urandom": link("/dev/urandom"), "a link to /dev/tty": link("/dev/tty")}
    for name, make in odd.items():
        for ending in ("parquet", "arrow", "csv", "json", "jsonl", "jsonl.gz", "jsonl.zst"):
            yield inspect(kind, f"{name} as .{ending}", f"x.{ending}", make, codes=(2,), words=(f"x.{ending}",))
            yield Case(kind, f"{name} as .{ending} in a folder", ["inspect", "in"], file(f"in/x.{ending}", make), codes=(2,), words=("in",))
        for beside in ("dataset_info.json", "state.json", "dataset_dict.json", "README.json", "refs/main", "metadata.json"):
            yield Case(kind, f"{name} as {beside} beside data", ["inspect", "in"], put(**{f"in/{beside}": make, "in/d.jsonl": jsonl(rows(20)), "in/snapshots/abc/d.jsonl": jsonl(rows(20))}), codes=(0, 2))
        for option in ("--config", "--concepts", "--prices", "--prompts"):
            yield Case(kind, f"{name} as {option}", ["analyze", "d.jsonl", "--out", "run2", *ANALYZE, option, "x.toml"], put(**{"d.jsonl": jsonl(rows(60)), "x.toml": make}),
                       codes=(0, 2) if option in ("--prices", "--prompts") or (name == "a link to /dev/null" and option != "--prompts") else (2,), writes=("run2",))
        yield Case(kind, f"{name} as concepts --concepts", ["concepts", "--concepts", "x.toml"], file("x.toml", make), codes=(2,), words=("x.toml",))
        yield Case(kind, f"{name} as concepts --read", ["concepts", "--read", "x.txt"], file("x.txt", make), codes=(2,), words=("x.txt",))
        yield Case(kind, f"{name} as relabel --rules", ["relabel", "run", "--rules", "x.toml", "--dry-run"], file("x.toml", make), run=True, codes=(2,), words=("x.toml",))
        yield Case(kind, f"{name} as relabel --cues", ["relabel", "run", "--preset", "safety", "--cues", "x.toml", "--dry-run"], file("x.toml", make), run=True, codes=(2,), words=("x.toml",))
        yield Case(kind, f"{name} as constitution --edit", ["constitution", "run", "--edit", "x.md", "--dry-run"], file("x.md", make), run=True, codes=(2,), words=("x.md",))
        yield Case(kind, f"{name} as personalize --update", ["personalize", "run", "--update", "x.parquet", "--dry-run"], file("x.parquet", make), run=True, codes=(2,), words=("x.parquet",))
        yield Case(kind, f"{name} as relabel --undo", ["relabel", "--undo", "x.jsonl", "--out", "y.jsonl"], file("x.jsonl", make), codes=(2,), words=("x.jsonl",))
        yield Case(kind, f"{name} as what is scored", ["score", "run", "x.jsonl", "--out", "y.parquet", "--quiet"], file("x.jsonl", make), run=True, codes=(2,), words=("x.jsonl",))
        yield Case(kind, f"{name} as a run", ["report", "x"], file("x", make), codes=(2,), words=("x",))
        for inner in ("run.json", "principles.json", "features.parquet", "stages/described.json", "sae.json"):
            def make_inner(place, make=make, inner=inner):
                path = place / "run" / inner
                path.unlink()
                make(path)
            yield Case(kind, f"{name} as RUN/{inner}", ["report", "run"], make_inner, run=True, codes=(0, 2), writes=("run/report.html",))
        for inner in ("config.json", "tokenizer.json", "model.safetensors", "modules.json"):
            def make_model(place, make=make, inner=inner):
                (place / "d.jsonl").write_bytes(jsonl(rows(30)))
                shutil.copytree(os.path.join(FIXTURES, "embed", "tiny", "bert"), place / "model")
                (place / "model" / inner).unlink()
                make(place / "model" / inner)
            yield Case(kind, f"{name} as {inner} of a model", ["analyze", "d.jsonl", "--out", "run2", "--embedder", "./model", *ANALYZE], make_model, codes=(0, 2), writes=("run2",))
    names = ["a\nb.jsonl", "\x1b[2J.jsonl", "-x.jsonl", "--help.jsonl", "é.jsonl", "\u202ea.jsonl", "x" * 245 + ".jsonl", " .jsonl", "a b.jsonl", "a`b.jsonl", "a'b.jsonl", "[x].jsonl", "*.jsonl", "?.jsonl", "~.jsonl", "$HOME.jsonl", "x.JSONL", "x.jsonl.", ".jsonl", "%s.jsonl", "{}.jsonl", "a:b.jsonl", "http.jsonl", "con.jsonl"]
    for name in names:
        yield Case(kind, f"a file named {name[:20]!r}", ["inspect", "--", name], file(name.replace("__", "."), jsonl(rows(20))), codes=(0, 2))
        yield Case(kind, f"no file named {name[:20]!r}", ["inspect", "--", name.replace("jsonl", "csv")], codes=(2,))
    yield Case(kind, "a name that is no UTF-8", ["inspect", b"\xff\xfe.jsonl"], lambda place: open(os.fsencode(place) + b"/\xff\xfe.jsonl", "wb").write(jsonl(rows(20))), codes=(0, 2))
    for name in ["", ".", "..", "/", "//", "/proc", "/dev", "/dev/stdin", "/proc/self/fd", "x" * 5000, "a/" * 2500 + "b", "[", "[]", "[!", "**", "***", "**/**/**/*.x", "{a,b}", "hf://", "hf://datasets/", "hf://datasets/../..", "hf://datasets/a/b/../../c", "http://x/y.csv", "file:///etc/passwd", "s3://a/b", "~", "-", "\\", "*/*/*/*/*.x"]:
        yield Case(kind, f"data named {name[:20]!r}", ["inspect", "--", name], codes=(0, 2) if name in ("..", "/", "//") else (2,))

    def loops(place):
        (place / "loop/in").mkdir(parents=True)
        (place / "loop/in/d.jsonl").write_bytes(jsonl(rows(20)))
        for name in "abcdef":
            (place / "loop/in" / name).symlink_to("../../loop")

    def empty_loops(place):
        loops(place)
        (place / "loop/in/d.jsonl").unlink()

    for pattern in ("loop", "loop/**/*.jsonl", "loop/*/*.jsonl", "loop/*/*/*/*/*.jsonl", "loop/in/a/in/b/in", "**"):
        yield Case(kind, f"links in circles: {pattern}", ["inspect", pattern], loops, codes=(0, 2))
        yield Case(kind, f"links in circles without data: {pattern}", ["inspect", pattern], empty_loops, codes=(2,))
    many = lambda place: [(place / "in").mkdir(), *[(place / "in" / f"{i:05}.jsonl").write_bytes(jsonl(rows(1))) for i in range(3000)]]
    yield Case(kind, "3,000 files", ["inspect", "in"], many, codes=(0, 2))
    yield Case(kind, "3,000 files, 100 allowed", ["inspect", "in"], many, env={"WIMHF_MAX_FILES": "100"}, words=("in", "WIMHF_MAX_FILES"))
    yield Case(kind, "3,000 files by a pattern, 100 allowed", ["inspect", "in/*.jsonl"], many, env={"WIMHF_MAX_FILES": "100"}, words=("in", "WIMHF_MAX_FILES"))
    mixed = {"in/a.jsonl": jsonl(rows(20)), "in/b.parquet": parquet(table()), "in/c.csv": csv(rows(5)), "in/readme.md": "x"}
    yield Case(kind, "files of several kinds", ["inspect", "in"], put(**mixed), codes=(0,))
    yield Case(kind, "shards that differ", ["inspect", "in"], put(**{"in/a.jsonl": jsonl(rows(20)), "in/b.jsonl": b'{"x": 1}\n'}), words=("b.jsonl",))
    yield Case(kind, "one shard damaged", ["inspect", "in"], put(**{"in/a.parquet": parquet(table()), "in/b.parquet": parquet(table())[:200]}), words=("b.parquet",))


# Outputs

def outputs(_):
    kind = "outputs"
    relabel = ["relabel", "run", "--rule", "refuses:avoid"]
    doors = {
        "relabel --out": lambda to: [*relabel, "--out", to], "relabel --trl": lambda to: [*relabel, "--out", "fresh.jsonl", "--trl", to],
        "export trl": lambda to: ["export", "run", "--format", "trl", "--out", to], "export csv": lambda to: ["export", "run", "--format", "csv", "--out", to],
        "export icai": lambda to: ["export", "run", "--format", "icai", "--out", to], "export annotated pairs": lambda to: ["export", "run", "--format", "annotated-pairs", "--out", to],
        "report --out": lambda to: ["report", "run", "--out", to], "report --anonymise": lambda to: ["report", "run", "--anonymise", "--out", to],
        "--save-embeddings": lambda to: ["analyze", "d.jsonl", "--out", "run2", *ANALYZE, "--save-embeddings", to], "--log": lambda to: ["analyze", "d.jsonl", "--out", "run2", *ANALYZE, "--log", to],
        "score --out": lambda to: ["score", "run", "new.jsonl", "--quiet", "--out", to], "undo --out": lambda to: ["relabel", "--undo", "relabelled.jsonl", "--out", to],
    }
    targets = {
        "the input": "d.jsonl", "the input by another way": "./run/../d.jsonl", "a link to the input": "link.jsonl", "a hard link to the input": "hard.jsonl", "a link to a device": "null.jsonl", "a link to nothing": "dangling.jsonl",
        "a device": "/dev/null", "a full device": "/dev/full", "a pipe": "pipe.jsonl", "a folder": "folder.jsonl", "another run's file": "other/principles.json", "in another run": "other/new.jsonl", "the record": "run/run.json", "the pairs": "run/pairs.parquet",
        "a stage's file": "run/stages/described.json", "the lock": "run/.lock", "a page of mine": "mine.html", "a text of mine": "mine.txt", "a picture of mine": "mine.png", "a missing folder": "nowhere/x.jsonl", "a file as a folder": "mine.txt/x.jsonl", "an empty name": "",
        "a name too long": "x" * 300 + ".jsonl", "a slash at the end": "x.jsonl/", "the folder above": "..", "the root": "/", "through a link to a folder": "way/principles.json", "the run itself": "run",
    }

    def make(place):
        (place / "link.jsonl").symlink_to("d.jsonl")
        os.link(place / "d.jsonl", place / "hard.jsonl")
        (place / "null.jsonl").symlink_to("/dev/null")
        (place / "dangling.jsonl").symlink_to("not-there.jsonl")
        os.mkfifo(place / "pipe.jsonl")
        (place / "folder.jsonl").mkdir()
        (place / "folder.jsonl/precious.txt").write_text("x")
        (place / "mine.html").write_text("Dear all,")
        (place / "mine.txt").write_text("=SUM(1)")
        (place / "mine.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
        (place / "way").symlink_to("other")

    for door, argv in doors.items():
        for what, to in targets.items():
            # `score` writes its lines to a device or a pipe? No: those are `-`'s.
            due = (2,)
            if door.startswith("relabel --out") and what in ("a slash at the end", "a name too long"):
                due = (0, 2)
            if door == "undo --out" and "input" in what:
                # What it restores is that very file.
                due = (0, 2)
            yield Case(kind, f"{door}: {what}", argv(to), make, run=True, codes=due, writes=("fresh.jsonl", "run2"))
    for what, to in {"the input": "d.jsonl", "another run's folder": "other", "inside a run": "run/inner", "a file": "mine.txt", "a link to a folder": "way", "under a file": "mine.txt/x", "a folder of mine": "folder.jsonl", "a device": "/dev/null", "an empty name": "", "a pipe": "pipe.jsonl"}.items():
        for force in ([], ["--force"]):
            yield Case(kind, f"analyze --out {' '.join(force)}: {what}", ["analyze", "new2.jsonl", *ANALYZE, *force, "--out", to], lambda place: (make(place), (place / "new2.jsonl").write_bytes(jsonl(rows(50)))), run=True,
                       codes=(0,) if force and what in ("another run's folder", "a link to a folder") else (2,), writes=("other/",) if force else ())
            yield Case(kind, f"personalize --out {' '.join(force)}: {what}", ["personalize", "run", "--no-evaluation", "--min-pairs", "4", *force, "--out", to], make, run=True, codes=(2,) if what not in ("a folder of mine", "inside a run") else (0, 2), writes=("folder.jsonl/", "run/inner"))
            yield Case(kind, f"constitution --out {' '.join(force)}: {what}", ["constitution", "run", "--out", to], make, run=True, codes=(2,) if what not in ("a folder of mine", "inside a run") else (0, 2), writes=("folder.jsonl/", "run/inner"))
            yield Case(kind, f"compare --out {' '.join(force)}: {what}", ["compare", "run", "other", "--out", to], make, run=True, codes=(2,) if what not in ("a folder of mine", "inside a run") else (0, 2), writes=("folder.jsonl/", "run/inner"))
    yield Case(kind, "a lock is no run", ["analyze", "d.jsonl", "--out", "mine", *ANALYZE, "--force"], put(**{"d.jsonl": jsonl(rows()), "mine/.lock": "a package manager's", "mine/pairs.parquet": "mine"}))
    yield Case(kind, "a lock that is a link", ["analyze", "d.jsonl", "--out", "mine", *ANALYZE], lambda place: put(**{"d.jsonl": jsonl(rows()), "precious.txt": "precious", "mine/.lock": lambda path: path.symlink_to("../precious.txt")})(place))
    yield Case(kind, "a lock that is a link in a run", ["analyze", "d.jsonl", "--out", "run", *ANALYZE], lambda place: ((place / "precious.txt").write_text("x"), (place / "run/.lock").unlink(), (place / "run/.lock").symlink_to("../precious.txt")), run=True, codes=(0, 2), writes=("run/",))
    for name in ("principles.json", "report.html", "stages", "constitution.md", "features.parquet", "sae.json"):
        def linked(place, name=name):
            path = place / "run" / name
            shutil.move(path, place / "elsewhere")
            path.symlink_to("../elsewhere")
        yield Case(kind, f"a run whose {name} is a link", ["analyze", "d.jsonl", "--out", "run", *ANALYZE, "--force"], linked, run=True, codes=(0, 2), writes=("run/",) if name != "stages" else ("run/", "elsewhere"))


FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(\"http://x\")", "＝1", " =1", "-3", "'=1", "\n=1"]


def is_formula(text):
    if not text.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")):
        return False
    try:
        float(text)
        return False
    except ValueError:
        return True


def formulas(_):
    kind = "formulas in tables"

    def data(at):
        found = rows(120)
        for i, row in enumerate(found):
            text = FORMULAS[i % len(FORMULAS)]
            if at == "texts":
                row |= {"prompt": text + row["prompt"], "response_A": text + row["response_A"], "response_B": text + row["response_B"]}
            elif at == "annotators":
                row["annotator_id"] = FORMULAS[i % 4]
            elif at == "broken rows" and i % 9 == 0:
                row["response_A"] = row["response_B"] = text
        return jsonl(found)

    def none(place, _):
        found = []
        for root, _, files in os.walk(place):
            for name in files:
                if name.endswith(".csv") and name != "d.csv":
                    with open(os.path.join(root, name), newline="") as opened:
                        bad = [one for row in csvs.reader(opened) for one in row if is_formula(one)]
                    if bad:
                        found.append(f"{name} holds the formula {bad[0]!r}")
        return found

    for at in ("texts", "annotators", "broken rows"):
        yield Case(kind, f"analyze: {at}", ["analyze", "d.jsonl", "--out", "run2", *ANALYZE], file("d.jsonl", data(at)), codes=(0,), writes=("run2",), after=none)
    for formula in FORMULAS:
        short = rows(80)
        for row in short:
            row["annotator_id"] = formula + row["annotator_id"]
            row["topic"] = formula
        yield Case(kind, f"a name of an annotator: {formula!r}", ["analyze", "d.jsonl", "--out", "run2", *ANALYZE, "--annotator-column", "annotator_id"], file("d.jsonl", jsonl(short)), codes=(0,), writes=("run2",), after=none)

    def relabel_names(place):
        record = json.loads((place / "run/principles.json").read_text())
        for principle in record["principles"]:
            principle["statement"] = "=cmd|' /C calc'!A0"
        (place / "run/principles.json").write_text(json.dumps(record))

    for argv in (["export", "run", "--format", "csv"], ["export", "run", "--format", "icai"], ["personalize", "run", "--no-evaluation", "--min-pairs", "4"], ["compare", "run", "other", "--out", "compared"], ["constitution", "run"]):
        yield Case(kind, " ".join(argv[:1] + argv[2:4]), argv, relabel_names, run=True, codes=(0, 2), writes=("run/", "compared"), after=none)


# The system

def system(_):
    kind = "limits of the system"
    mega = 1 << 20
    calls = {
        "inspect": (["inspect", "d.jsonl"], ()), "analyze": (["analyze", "d.jsonl", "--out", "run2", *ANALYZE], ("run2",)), "report": (["report", "run"], ("run/report.html",)),
        "score": (["score", "run", "new.jsonl", "--out", "scored2.parquet", "--quiet"], ("scored2",)), "relabel": (["relabel", "run", "--rule", "refuses:avoid", "--out", "again.jsonl"], ("again", "run/relabel")), "export": (["export", "run", "--format", "trl", "--out", "trl.jsonl"], ("trl",)),
        "personalize": (["personalize", "run", "--no-evaluation", "--min-pairs", "4"], ("run/",)), "constitution": (["constitution", "run"], ("run/",)), "concepts": (["concepts"], ()),
    }
    for name, (argv, writes) in calls.items():
        for size in (300, 400, 600, 1000, 2000, 4000):
            yield Case(kind, f"{name}: ulimit -v of {size} MB", argv, run=True, codes=(0, 2), limits=((resource.RLIMIT_AS, size * mega),), writes=writes)
        for size in (0, 1, 1024, 10_000, 100_000):
            yield Case(kind, f"{name}: files of at most {size} bytes", argv, run=True, codes=(0, 2), limits=((resource.RLIMIT_FSIZE, size),), writes=writes)
        for size in (256, 512, 1024, 8192):
            yield Case(kind, f"{name}: a stack of {size} kB", argv, run=True, codes=(0, 2), limits=((resource.RLIMIT_STACK, size * 1024),), writes=writes)
        for count in (4, 6, 8, 12, 16, 24):
            yield Case(kind, f"{name}: {count} open files", argv, run=True, codes=(0, 2), limits=((resource.RLIMIT_NOFILE, count),), writes=writes)
        for threads in ("1", "0", "-1", "x", "32", ""):
            # Each thread has memory of its own, and so many were asked for.
            memory = MEMORY_KB * 2 if threads == "32" else MEMORY_KB
            yield Case(kind, f"{name}: {threads!r} threads", argv, run=True, codes=(0, 2), env={"RAYON_NUM_THREADS": threads, "POLARS_MAX_THREADS": threads}, writes=writes, memory=memory)
    for name in ("inspect", "concepts", "report"):
        argv, writes = calls[name]
        for count in (1, 2, 3, 4):
            # 127: the system does not even start it.
            yield Case(kind, f"{name}: {count} processes and threads", argv, run=True, codes=(0, 2, 127), limits=((resource.RLIMIT_NPROC, count),), as_nobody=True, writes=writes)
    for name, (argv, writes) in calls.items():
        yield Case(kind, f"{name}: stdout is full", argv, run=True, codes=(0, 2), stdout_to="/dev/full", writes=writes)
        yield Case(kind, f"{name}: no home, no cache", argv, run=True, codes=(0, 2), env={"HOME": None, "WIMHF_CACHE_DIR": None, "XDG_CACHE_HOME": None}, writes=writes)
        yield Case(kind, f"{name}: the cache is a file", argv, run=True, codes=(0, 2), env={"WIMHF_CACHE_DIR": "d.jsonl"}, writes=writes)
        yield Case(kind, f"{name}: the cache is a device", argv, run=True, codes=(0, 2), env={"WIMHF_CACHE_DIR": "/dev/null/x"}, writes=writes)
    for name in ("WIMHF_MAX_JSON_DEPTH", "WIMHF_MAX_COLUMNS", "WIMHF_MAX_UNPACKED", "WIMHF_MAX_RATIO", "WIMHF_MAX_FILES", "WIMHF_MAX_RECORD", "WIMHF_MAX_LINE"):
        for value in ("0", "-1", "x", "99999999999999999999999", "1e9", "4 GB"):
            yield Case(kind, f"{name}={value}", ["inspect", "d.jsonl"], run=True, codes=(0, 2), env={name: value})


# Runs

def run_files(pristine):
    found = []
    for root, _, files in os.walk(pristine / "run"):
        found += [os.path.relpath(os.path.join(root, name), pristine) for name in files]
    return sorted(name for name in found if not name.endswith(".lock"))


READS = [["report", "run"], ["score", "run", "new.jsonl", "--out", "scored2.parquet", "--quiet"], ["export", "run", "--format", "trl", "--out", "trl2.jsonl"],
         ["relabel", "run", "--rule", "refuses:avoid", "--out", "again.jsonl"], ["constitution", "run"], ["personalize", "run", "--no-evaluation", "--min-pairs", "4"],
         ["analyze", "d.jsonl", "--out", "run", *ANALYZE], ["compare", "run", "other", "--out", "compared"], ["export", "run", "--format", "annotated-pairs", "--out", "ap.json"], ["export", "run", "--format", "csv"]]
MAY = ("run/", "scored2", "trl2", "again", "compared", "ap.json")


def mutated(value, chance):
    """A JSON value with one leaf or branch of it changed."""
    value = json.loads(json.dumps(value))
    holder, key, at = None, None, value
    while isinstance(at, (dict, list)) and at and (holder is None or chance.random() < 0.85):
        holder, key = at, chance.choice(sorted(at) if isinstance(at, dict) else range(len(at)))
        at = at[key]
    odd = [None, [], {}, "", "x" * 2000, -1, 0, 1e300, 2**63, -0.5, True, [[]], {"a": {}}, "\u202e\x1b[2J", "../../etc/passwd", "NaN", [None], 10**18]
    if holder is None:
        return chance.choice(odd)
    if chance.random() < 0.2:
        if isinstance(holder, dict):
            del holder[key]
        else:
            holder.append(holder[key])
    else:
        holder[key] = chance.choice(odd)
    return value


def damaged_runs(pristine):
    kind = "damaged runs"
    chance = random.Random(7)
    for number, name in enumerate(run_files(pristine)):
        whole = (pristine / name).read_bytes()
        found = {"gone": None, "empty": b"", "half": whole[:len(whole) // 2], "zeros": bytes(len(whole)), "noise": random.Random(name).randbytes(200), "another's": b'{"schema_version": 2}', "deep": b"[" * 100_000, "null": b"null", "a list": b"[]"}
        if name.endswith((".parquet", ".safetensors")):
            more = damages(whole, name)
            found |= {key: more[key] for key in ("every 50th byte inverted", "40 bits 0", "40 bits 1", "a number 0", "a number 3", "a length at the end", "without the last 9", "a bit 0", "a bit 1")}
            found["a file of other columns"] = parquet(table(5)) if name.endswith(".parquet") else struct.pack("<Q", 2) + b"{}"
        for at, (damage, data) in enumerate(found.items()):
            def make(place, name=name, data=data):
                if data is None:
                    (place / name).unlink()
                else:
                    (place / name).write_bytes(data)
            for argv in (READS[(number + at) % len(READS)], READS[(number * 3 + at * 7 + 1) % len(READS)]):
                yield Case(kind, f"{name} {damage}: {' '.join(argv[:4])}", argv, make, run=True, codes=(0, 2), writes=MAY)
    for name in run_files(pristine):
        if not name.endswith(".json"):
            continue
        whole = json.loads((pristine / name).read_bytes())
        for number in range(12):
            data = json.dumps(mutated(whole, chance)).encode()
            def make(place, name=name, data=data):
                (place / name).write_bytes(data)
            argv = READS[chance.randrange(len(READS))]
            yield Case("runs with a value changed", f"{name} {number}: {' '.join(argv[:4])}", argv, make, run=True, codes=(0, 2), writes=MAY)
    for name in ("features.parquet", "activations.parquet", "pairs.parquet"):
        whole = pa.parquet.read_table(pristine / "run" / name)
        changes = {"no rows": whole.slice(0, 0), "one row": whole.slice(0, 1), "twice": pa.concat_tables([whole, whole]), "first column gone": whole.drop_columns([whole.column_names[0]]),
                   "last column gone": whole.drop_columns([whole.column_names[-1]]), "all null": pa.table({n: pa.nulls(whole.num_rows, whole.schema.field(n).type) for n in whole.column_names}), "all texts": pa.table({n: ["x"] * whole.num_rows for n in whole.column_names})}
        for change, made in changes.items():
            data = parquet(made)
            def make(place, name=name, data=data):
                (place / "run" / name).write_bytes(data)
            for argv in READS:
                yield Case("runs with a value changed", f"{name} {change}: {' '.join(argv[:4])}", argv, make, run=True, codes=(0, 2), writes=MAY)
    for name in ("", "nowhere", "d.jsonl", "/", "/dev/null", "run/run.json", "run/", "./run", "x" * 5000, "run\n", "other/../run"):
        for argv in (["report", name], ["score", name, "new.jsonl", "--out", "y.parquet"], ["personalize", name, "--dry-run"], ["compare", name, "other"]):
            yield Case("damaged runs", f"{argv[0]} of {name[:20]!r}", argv, run=True, codes=(0, 2), writes=("run/report.html", "y.parquet", "compare", "run-vs", "run_"))


def scored(pristine):
    kind = "streams to score"
    argv = ["score", "run", "-", "--out", "out.parquet", "--quiet"]
    bare = [{name: value for name, value in row.items() if name != "label"} for row in rows(30)]
    stream = arrow_stream(pa.Table.from_pylist(bare))
    for damage, data in damages(stream, "stream").items():
        yield Case(kind, f"stdin, {damage}", argv, run=True, stdin=data, codes=(0, 2), writes=("out.parquet",))
    for compression in ("zstd", "lz4"):
        for damage, data in list(damages(arrow_stream(pa.Table.from_pylist(bare), compression=compression), compression).items())[9:]:
            yield Case(kind, f"stdin, {compression}, {damage}", argv, run=True, stdin=data, codes=(0, 2), writes=("out.parquet",))
    for name, data in {"lines": jsonl(bare), "csv": csv(bare), "Parquet": parquet(pa.Table.from_pylist(bare)), "an Arrow file": arrow_file(pa.Table.from_pylist(bare)), "noise": random.Random(1).randbytes(10_000), "zeros": bytes(1_000_000), "a mark alone": b"\xff" * 4,
                       "a promise": b"\xff\xff\xff\xff\xff\xff\xff\x7f", "a smaller promise": b"\xff\xff\xff\xff\x00\x00\x00\x40", "a negative one": b"\xff\xff\xff\xff\x00\x00\x00\x80", "nothing": b"", "other columns": arrow_stream(pa.table({"x": [1]})), "no rows": arrow_stream(pa.Table.from_pylist(bare).slice(0, 0)),
                       "numbers as answers": arrow_stream(pa.table({"prompt": [1], "response_A": [2], "response_B": [3]})), "nulls": arrow_stream(pa.table({"prompt": ["a"], "response_A": pa.nulls(1, pa.string()), "response_B": ["b"]}))}.items():
        yield Case(kind, f"stdin: {name}", argv, run=True, stdin=data, codes=(0, 2), writes=("out.parquet",))
    whole = {"d.parquet": parquet(pa.Table.from_pylist(bare)), "d.jsonl": jsonl(bare), "stream.arrow": stream}
    for name, data in whole.items():
        for damage, bad in damages(data, name + "s").items():
            yield Case(kind, f"{name}, {damage}", ["score", "run", name, "--out", "out.parquet", "--quiet"], file(name, bad), run=True, codes=(0, 2), words=(name,), writes=("out.parquet",))
    lines = {"deep": '{"response_A": ' + "[" * 10_000 + "}\n", "not an object": "[1]\n", "another column later": '{"response_A": "a", "response_B": "b"}\n{"response_A": "a", "response_B": "b", "c": 1}\n', "another type later": '{"response_A": "a", "response_B": "b"}\n{"response_A": 1, "response_B": [2]}\n',
             "5 MB in a line": json.dumps({"response_A": "x " * 2_500_000, "response_B": "b"}) + "\n", "no columns": "{}\n", "NUL": '{"response_A": "a\\u0000", "response_B": "\x00"}\n', "not UTF-8": b'{"response_A": "\xff", "response_B": "b"}\n', "half a pair": '{"response_A": "\\ud83d", "response_B": "b"}\n',
             "NaN": '{"response_A": NaN, "response_B": "b"}\n', "an answer missing": '{"response_A": "a"}\n', "both empty": '{"response_A": "", "response_B": ""}\n', "100,000 columns": "{" + ",".join(f'"c{i}":1' for i in range(100_000)) + "}\n", "columns with our names": '{"response_A": "a", "response_B": "b", "p_a": 3, "probability": "x"}\n'}
    for name, text in lines.items():
        yield Case(kind, f"lines: {name}", ["score", "run", "x.jsonl", "--out", "out.parquet", "--quiet"], file("x.jsonl", text), run=True, codes=(0, 2), writes=("out.parquet",))
    nulls = pa.table({"response_A": pa.nulls(1_000_000, pa.string()), "response_B": pa.nulls(1_000_000, pa.string())})
    many = pa.table({name: pa.nulls(10_000_000, pa.string()) for name in ("response_A", "response_B")})
    yield Case(kind, "20 million nulls in Parquet", ["score", "run", "x.parquet", "--out", "out.parquet", "--quiet"], file("x.parquet", parquet(many)), run=True, codes=(2,), words=("x.parquet",))
    yield Case(kind, "2 million nulls on stdin", argv, run=True, stdin=arrow_stream(nulls, compression="zstd"), codes=(0, 2), writes=("out.parquet",), cpu=240)
    update = {"of other columns": table(5), "no rows": pa.table({"annotator_id": pa.array([], pa.string()), "label": pa.array([], pa.float64())}), "wrong types": pa.table({"annotator_id": [1], "label": ["x"], "length_delta": ["y"]}), "labels beyond": pa.table({"annotator_id": ["a"], "label": [7.0], "length_delta": [0.0]}),
              "not finite": pa.table({"annotator_id": ["a"], "label": [float("nan")], "length_delta": [float("inf")]})}
    for name, made in update.items():
        yield Case(kind, f"personalize --update: {name}", ["personalize", "run", "--update", "u.parquet", "--dry-run"], file("u.parquet", parquet(made)), run=True, codes=(0, 2))
    for damage, data in damages((pristine / "scored.parquet").read_bytes(), "update").items():
        yield Case(kind, f"personalize --update: {damage}", ["personalize", "run", "--update", "u.parquet", "--dry-run"], file("u.parquet", data), run=True, codes=(0, 2))


# Settings, concepts, models

def settings(_):
    kind = "settings, concepts, rules"
    deep = "a = " + "[" * 50_000 + "]" * 50_000
    common_texts = {"empty": "", "not UTF-8": b"\xff\xfe\x00", "noise": random.Random(3).randbytes(300), "NUL": "\0\0\0", "deep": deep, "deep tables": "a = " + "{a=" * 3000 + "1" + "}" * 3000, "dots": "a" + ".a" * 20_000 + " = 1", "a number": "1", "a mark": "\ufeffseed = 1", "twice": "seed = 1\nseed = 2",
                    "10 MB": "x = '" + "y" * 10_000_000 + "'", "JSON": '{"seed": 1}', "a million keys": "".join(f"k{i} = 1\n" for i in range(500_000)), "headers": "".join(f"[a{i}]\n" for i in range(100_000)), "control": "\x1b[2J = 1", "cut": "seed = [1, 2"}
    base = {"d.jsonl": jsonl(rows(60))}
    for name, text in common_texts.items():
        blank = (0, 2) if name in ("empty", "a mark", "headers") else (2,)
        yield Case(kind, f"--config: {name}", ["inspect", "d.jsonl", "--config", "x.toml"], put(**base, **{"x.toml": text}), codes=blank, words=("x.toml",))
        yield Case(kind, f"--concepts: {name}", ["concepts", "--concepts", "x.toml"], put(**{"x.toml": text}), codes=(0, 2), words=("x.toml",))
        yield Case(kind, f"--rules: {name}", ["relabel", "run", "--rules", "x.toml", "--dry-run"], put(**{"x.toml": text}), run=True, codes=(0, 2), words=("x.toml",))
        yield Case(kind, f"--cues: {name}", ["relabel", "run", "--preset", "safety", "--cues", "x.toml", "--dry-run"], put(**{"x.toml": text}), run=True, codes=(0, 2), words=("x.toml",))
        yield Case(kind, f"--edit: {name}", ["constitution", "run", "--edit", "x.md", "--dry-run"], put(**{"x.md": text}), run=True, codes=(0, 2))
        yield Case(kind, f"--read: {name}", ["concepts", "--read", "x.txt"], put(**{"x.txt": text}), codes=(0, 2), cpu=120)
    values = {"seed": ["-1", "1e99", "'x'", "[]", "nan", "18446744073709551616"], "split": ["[0.5]", "[1, 0, 0]", "[nan, 0, 1]", "[-1, 1, 1]", "'x'", "[0.3, 0.3, 0.4, 0]"], "nobody": ["1"], "sae": ["1", "{}", "{features = 0}", "{features = -1}", "{features = 99999999999}", "{active = 0}", "{mode = 'x'}", "{features = 8, active = 9}"],
              "embed": ["1", "{embedder = ''}", "{concurrency = 0}", "{batch_texts = 0}", "{timeout_seconds = -1}", "{dimensions = 0}", "{dimensions = 9999999999}"], "pairing": ["'x'"], "concepts": ["'nowhere.toml'", "1"]}
    for name, found in values.items():
        for value in found:
            yield Case(kind, f"--config: {name} = {value}", ["analyze", "d.jsonl", "--out", "run2", *ANALYZE[:3], "--config", "x.toml"], put(**base, **{"x.toml": f"{name} = {value}\n"}), codes=(0, 2), writes=("run2",))
    concept = lambda **more: "[[concept]]\n" + "".join(f"{key} = {value}\n" for key, value in ({"id": "'x_one'", "short": "'x'", "description": "'does x'"} | more).items())
    patterns = ["(a{1000}){1000}", "((a{100}){100}){100}", "(a*)*b", "[", "(?P<x", "\\", "", ".*", "^", "(?i)(?i)(?i)", "\\p{L}{5000}", "(x|x)*" * 200, "a{99999999}", "(?:" * 5000 + ")" * 5000, "\\b" * 5000, "[\\w--a]", "(?=a)", "\\1", "x" * 100_000, "\\u{110000}", "[^\\x00-\\x{10ffff}]", "(" * 300 + ")" * 300]
    for key in ("patterns", "words", "phrases", "any", "find"):
        for pattern in patterns if key == "patterns" else patterns[:4]:
            yield Case(kind, f"a concept's {key} {pattern[:20]!r}", ["concepts", "--concepts", "x.toml"], put(**{"x.toml": concept(**{key: json.dumps([pattern])})}), codes=(0, 2), words=("x.toml",), cpu=60)
    for value in ["''", "'A B'", "'../x'", "3", "'refuses'", "'" + "x" * 5000 + "'", "'é'"]:
        yield Case(kind, f"a concept's id {value[:12]}", ["concepts", "--concepts", "x.toml"], put(**{"x.toml": concept(id=value)}), codes=(0, 2), words=("x.toml",))
    rules = ["[[rule]]\n", "[[rule]]\nfeature = 'nobody'\nside = 'avoid'\n", "[[rule]]\nfeature = 'refuses'\nside = 'x'\n", "rule = 1\n", "[[rule]]\nfeature = 99999999999\nside = 'prefer'\n", "[[rule]]\nfeature = 'refuses'\nside = 'avoid'\nwhen = {}\n", "[[rule]]\nfeature = 'refuses'\nside='avoid'\nprompt = '(a{1000}){1000}'\n"]
    for number, text in enumerate(rules):
        yield Case(kind, f"rules {number}", ["relabel", "run", "--rules", "x.toml", "--dry-run"], put(**{"x.toml": text}), run=True, codes=(0, 2), words=("x.toml",))
    for rule in ["", ":", "refuses", "refuses:", ":avoid", "refuses:x", "nobody:avoid", "-1:avoid", "0:avoid", "99999999999999999999:avoid", "refuses:avoid:avoid", "\x1b:avoid", "x" * 5000 + ":avoid", "1e9:prefer"]:
        yield Case(kind, f"--rule {rule[:16]!r}", ["relabel", "run", f"--rule={rule}", "--dry-run"], run=True, codes=(2,))
    numbers = ["-1", "0", "1", "99999999999999999999", "nan", "inf", "1e9", "x", "", "1.5", "0x10", " 1"]
    options = {"--seed": [], "--features": [], "--active": ["--features", "8"], "--split": [], "--dimensions": [], "--concurrency": [], "--price": [], "--max-calls": [], "--max-cost": [], "--timeout": []}
    for option, more in options.items():
        for number in numbers:
            argv = [one for one in ANALYZE if option not in ("--features", "--active") or one not in ("--features", "8", "--active", "2")]
            yield Case(kind, f"{option}={number}", ["analyze", "d.jsonl", "--out", "run2", *argv, *more, f"{option}={number}"], put(**base), codes=(0, 2), writes=("run2",), cpu=180)
    for option, argv in {"--min-pairs": ["personalize", "run", "--no-evaluation", "--dry-run"], "--principles": ["constitution", "run", "--dry-run"], "--top": ["relabel", "run", "--rule", "refuses:avoid", "--dry-run"], "--min-score": ["relabel", "run", "--rule", "refuses:avoid", "--dry-run"], "--weight": ["relabel", "run", "--rule", "refuses:avoid", "--action", "weight", "--dry-run"]}.items():
        for number in numbers:
            yield Case(kind, f"{option}={number}", [*argv, f"{option}={number}"], run=True, codes=(0, 2))
    for sweep in ["features=0", "features=x", "mode=both", "seeds=0", "seeds=99999999999", "features=8 features=16", "x=1", "=", "features=", "active=9 features=8 seeds=1", ",", "features=8,8,8 active=2 seeds=1"]:
        yield Case(kind, f"--sweep={sweep}", ["analyze", "d.jsonl", "--out", "run2", "--device", "cpu", "--quiet", f"--sweep={sweep}"], put(**base), codes=(0, 2), writes=("run2",), cpu=120)
    for argv in ([], ["x"], ["analyze"], ["--help"], ["--version"], ["analyze", "--help"], ["inspect"], ["completions", "x"], ["completions", "bash"], ["man"], ["cache"], ["cache", "clear"], ["concepts"], ["dictionary", "list"], ["dictionary", "read", "A text."], ["dictionary", "show", "nobody"], ["dictionary", "find", "x"], ["dictionary", "rename", "nowhere", "--names", "x"], ["analyze", "d.jsonl", "--nobody"], ["analyze", b"\xff", "--out", b"\xff"], ["inspect", "d.jsonl", "--config", b"\xff"]):
        yield Case(kind, f"typed: {argv}", argv, put(**base), codes=(0, 2), needs_hint=False)


def models(_):
    kind = "damaged embedders"
    tiny = os.path.join(FIXTURES, "embed", "tiny")
    argv = ["analyze", "d.jsonl", "--out", "run2", "--embedder", "./model", *ANALYZE]

    def case(model, name, change):
        def make(place):
            (place / "d.jsonl").write_bytes(jsonl(rows(30)))
            shutil.copytree(os.path.join(tiny, model), place / "model")
            change(place / "model")
        return Case(kind, f"{model}: {name}", argv, make, codes=(0, 2), writes=("run2",))

    def swap(name, what):
        def change(folder):
            path = folder / name
            path.write_bytes(what(path.read_bytes()) if callable(what) else what)
        return change

    for model in sorted(os.listdir(tiny)):
        folder = os.path.join(tiny, model)
        if not os.path.isdir(folder):
            continue
        for name in ("config.json", "tokenizer.json", "model.safetensors", "modules.json", "1_Pooling/config.json"):
            if not os.path.exists(os.path.join(folder, name)):
                continue
            yield case(model, f"{name} gone", lambda folder, name=name: (folder / name).unlink())
            with open(os.path.join(folder, name), "rb") as opened:
                found = damages(opened.read(), model + name)
            for damage in ("empty", "the first half", "every 50th byte inverted", "40 bits 0", "a number 0", "a number 3", "zeros in the middle"):
                yield case(model, f"{name}, {damage}", swap(name, found[damage]))
            if name.endswith(".json"):
                yield case(model, f"{name}, deep", swap(name, b"[" * 200_000))
                yield case(model, f"{name}, a list", swap(name, b"[]"))
        if model in ("bert", "modernbert", "qwen3"):
            with open(os.path.join(folder, "config.json")) as opened:
                config = json.load(opened)
            for key, value in config.items():
                if not isinstance(value, (int, float)) or isinstance(value, bool):
                    continue
                for other in (0, -1, 2**40, 3):
                    yield case(model, f"{key} = {other}", swap("config.json", json.dumps(config | {key: other}).encode()))
    header = {"promises": struct.pack("<Q", 1 << 62) + b"{}", "a header of 90 MB": struct.pack("<Q", 90_000_000) + b"{" + b" " * 100, "overlaps": None, "no tensors": struct.pack("<Q", 2) + b"{}", "offsets beyond": None, "deep": struct.pack("<Q", 100_000) + b"[" * 100_000}
    for name, data in header.items():
        if data is None:
            one = {"dtype": "F32", "shape": [2**31, 2**31] if name == "overlaps" else [4], "data_offsets": [0, 16 if name == "overlaps" else 1 << 60]}
            text = json.dumps({"embeddings.word_embeddings.weight": one}).encode()
            data = struct.pack("<Q", len(text)) + text + bytes(16)
        yield case("bert", f"safetensors: {name}", swap("model.safetensors", data))


def served(_):
    kind = "hostile servers"
    for name, behaviour in servers.BEHAVIOURS.items():
        for option in ("embedder", "describer"):
            more = ["--embedder", "openai:m"] if option == "embedder" else ["--describer", "model", "--writer", "w", "--judge", "j"]
            yield Case(kind, f"{option}: {name}", ["analyze", "d.jsonl", "--out", "run2", *ANALYZE, "--concurrency", "2", "--timeout", "5", "--base-url", "URL", *more], file("d.jsonl", jsonl(rows(40))),
                       codes=(0, 2), writes=("run2",), server=lambda behaviour=behaviour: servers.start(behaviour), cpu=120)
    for url in ["", "x", "http://", "http://:80", "http://a b", "ftp://x", "http://127.0.0.1:1", "http://127.0.0.1:99999", "http://[::1", "http://u:p@127.0.0.1:1/v1", f"http://127.0.0.1:1/?key={KEY}", "http://127.0.0.1:1/" + "x" * 10_000, "http://\u202e/", "file:///etc/passwd", "http://127.0.0.1:1/v1#x", "HTTP://127.0.0.1:1", "https://127.0.0.1:1"]:
        yield Case(kind, f"--base-url {url[:24]!r}", ["analyze", "d.jsonl", "--out", "run2", *ANALYZE, "--embedder", "openai:m", "--base-url", url], file("d.jsonl", jsonl(rows(40))), codes=(2,), writes=("run2",), cpu=60)
    for name, value in {"empty": "", "a line break": "sk-a\nb", "control": "sk-\x01", "not ASCII": "sk-é", "huge": "s" * 100_000}.items():
        yield Case(kind, f"a key: {name}", ["analyze", "d.jsonl", "--out", "run2", *ANALYZE, "--embedder", "openai:m", "--base-url", "URL"], file("d.jsonl", jsonl(rows(40))), codes=(0, 2), writes=("run2",), env={"OPENAI_API_KEY": value}, server=lambda: servers.start(servers.BEHAVIOURS["an empty body"]))


KINDS = [damaged_containers, damaged_shapes, extreme_json, extreme_csv, labels, columns, bombs, ten_megabytes, places, outputs, formulas, system, damaged_runs, scored, settings, models, served]


def all_cases(pristine):
    return [case for kind in KINDS for case in kind(pristine)]


def a_third(found):
    """Every case of small kinds, and a third of those that only vary where the damage falls."""
    counts = {}
    for case in found:
        counts[case.kind] = counts.get(case.kind, 0) + 1
    seen = dict.fromkeys(counts, 0)
    chosen = []
    for case in found:
        seen[case.kind] += 1
        if counts[case.kind] < 60 or seen[case.kind] % 3 == 1:
            chosen.append(case)
    return chosen


def some(found):
    """A few of each kind, cheap ones: what `.ci/run` has time for."""
    kinds = {}
    for case in found:
        if case.kind not in ("10 MB, 1 GB", "hostile servers"):
            kinds.setdefault(case.kind, []).append(case)
    return [case for kind, cases in sorted(kinds.items()) for case in random.Random(kind).sample(cases, min(6, len(cases)))]
