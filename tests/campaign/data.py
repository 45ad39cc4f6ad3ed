"""Datasets in every container, and ways to damage bytes."""

import gzip
import io
import json
import random

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet

TOPICS = ["tea", "rain", "maps", "bread", "trains", "moss", "violins", "salt", "clouds", "chess"]


def text(i, side):
    base = f"Here is what to know about {TOPICS[(i + side) % 10]} number {i}, told the {side} way."
    more = ["\n- first point\n- second point", " I'm sorry, but I can't help with that.",
            " It goes on and on with more detail about everything." * (1 + i % 3), " Isn't that great? Wow!", ""]
    return base + more[(i * 7 + side * 3) % 5]


def rows(count=60):
    return [{"prompt": f"Tell me about {TOPICS[i % 10]} ({i})", "response_A": text(i, 0), "response_B": text(i, 1),
             "label": 1.0 if i % 3 == 0 else 0.0, "annotator_id": f"ann_{i % 4}"} for i in range(count)]


def jsonl(records):
    return "".join(json.dumps(row) + "\n" for row in records).encode()


def csv(records, separator=","):
    quoted = lambda cell: '"' + str(cell).replace('"', '""') + '"'
    lines = [separator.join(records[0])] + [separator.join(quoted(cell) for cell in row.values()) for row in records]
    return ("\n".join(lines) + "\n").encode()


def parquet(table, **more):
    out = io.BytesIO()
    pa.parquet.write_table(table, out, **more)
    return out.getvalue()


def arrow_file(table, compression="uncompressed"):
    out = io.BytesIO()
    pa.feather.write_feather(table, out, compression=compression)
    return out.getvalue()


def arrow_stream(table, **more):
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(**more)) as writer:
        writer.write_table(table)
    return out.getvalue()


def zst(data):
    return pa.compress(data, codec="zstd", asbytes=True)


def table(count=60):
    return pa.Table.from_pylist(rows(count))


def nested(count=40):
    """Conversations as lists of records, and vectors."""
    talk = lambda i, side: [{"role": "user", "content": f"q {i}"}, {"role": "assistant", "content": text(i, side)}]
    return pa.Table.from_pylist([{"chosen": talk(i, 0), "rejected": talk(i, 1), "score": i * 0.5, "when": None} for i in range(count)])


def vectors(count=40, size=6, spoil=None):
    found = []
    for i, row in enumerate(rows(count)):
        row |= {"ea": [float((i * k) % 7) for k in range(size)], "eb": [float((i + k) % 5) for k in range(size)]}
        found.append(spoil(i, row) if spoil else row)
    return found


def containers():
    """Name of a file → its bytes, all of them whole."""
    flat, lines, plain = table(), jsonl(rows()), csv(rows())
    return {
        "d.parquet": parquet(flat, compression="snappy"),
        "plain.parquet": parquet(flat, compression="none", use_dictionary=False, write_statistics=False),
        "zstd.parquet": parquet(flat, compression="zstd", data_page_version="2.0", row_group_size=16),
        "nested.parquet": parquet(nested()),
        "d.arrow": arrow_file(flat),
        "lz4.feather": arrow_file(flat, "lz4"),
        "zstd.arrow": arrow_file(nested(), "zstd"),
        "stream.arrow": arrow_stream(flat),
        "d.csv": plain,
        "d.tsv": csv(rows(), "\t"),
        "d.jsonl": lines,
        "d.json": json.dumps(rows(), indent=1).encode(),
        "columns.json": json.dumps({name: [row[name] for row in rows()] for name in rows()[0]}).encode(),
        "d.jsonl.gz": gzip.compress(lines, mtime=0),
        "d.csv.gz": gzip.compress(plain, mtime=0),
        "d.jsonl.zst": zst(lines),
    }


def damages(data, seed):
    """Name → damaged bytes; the same for the same seed."""
    chance, middle = random.Random(seed), len(data) // 2
    some = lambda: chance.randrange(len(data))

    def flipped(count):
        out = bytearray(data)
        for _ in range(count):
            out[some()] ^= 1 << chance.randrange(8)
        return bytes(out)

    def overwritten(what):
        at = some()
        return data[:at] + what + data[at + len(what):]

    def spliced():
        a, b = sorted((some(), some()))
        return data[:a] + data[b:] if chance.random() < 0.5 else data[:b] + data[a:]

    found = {
        "empty": b"",
        "one byte": data[:1],
        "the first 12 bytes": data[:12],
        "the first half": data[:middle],
        "the second half": data[middle:],
        "without the last byte": data[:-1],
        "without the last 9": data[:-9],
        "twice": data + data,
        "backwards": data[::-1],
        "zeros for the first 16": bytes(16) + data[16:],
        "zeros for the last 16": data[:-16] + bytes(16),
        "zeros in the middle": data[:middle] + bytes(64) + data[middle + 64:],
        "ones in the middle": data[:middle] + b"\xff" * 64 + data[middle + 64:],
        "every 50th byte inverted": bytes(b ^ 0xFF if i % 50 == 49 else b for i, b in enumerate(data)),
        "something after it": data + b"PAR1ARROW1{}[]\x00\xff,",
        "zeros between": data.replace(b"e", b"e\x00"),
        "a length at the end": data[:-8] + b"\xff\xff\xff\x7f" + data[-4:],
    }
    for number in range(5):
        found[f"a bit {number}"] = flipped(1)
    for number in range(3):
        found[f"40 bits {number}"] = flipped(40)
    for number in range(2):
        found[f"a piece gone or twice {number}"] = spliced()
    for number, what in enumerate([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\xff" * 8, b"\x7f" * 9]):
        found[f"a number {number}"] = overwritten(what)
    return found
