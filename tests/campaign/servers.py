"""Servers that do everything a server should not; one behaviour each, on a socket, below HTTP's manners."""

import base64
import json
import socket
import threading
import urllib.parse

from place import KEY


def head(status=200, kind="application/json", length=None, more=""):
    size = "" if length is None else f"content-length: {length}\r\n"
    return f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{size}connection: close\r\n{more}\r\n".encode()


def whole(body, status=200, kind="application/json", more=""):
    body = body if isinstance(body, bytes) else body.encode()
    return head(status, kind, len(body), more) + body


def error(text, status=401):
    return whole(json.dumps({"error": {"message": text}}), status)


def vectors(body, make=lambda i, text: [float(len(text) % 7), 1.0, float(text.count("e"))], **more):
    texts = json.loads(body).get("input", []) if body else []
    return json.dumps({"data": [{"index": i, "embedding": make(i, text)} for i, text in enumerate(texts)], **more})


def chat(content, **more):
    return json.dumps({"choices": [{"message": {"content": content} | more, "finish_reason": "stop"}]})


def either(body, content):
    """Vectors where vectors are asked for, else an answer."""
    return vectors(body) if b'"input"' in body else chat(content)


def flood(send, what, times):
    for _ in range(times):
        send(what)


def chunks(send, what, times):
    send(head(more="transfer-encoding: chunked\r\n"))
    for _ in range(times):
        send(f"{len(what):x}\r\n".encode() + what + b"\r\n")


NAN = '{"data": [{"index": 0, "embedding": [NaN]}]}'
BEHAVIOURS = {
    "401 with the key": lambda send, body: send(error(f"Incorrect API key provided: {KEY}.")),
    "the key across the cut": lambda send, body: send(error("x" * 170 + KEY)),
    "the key across another cut": lambda send, body: send(error("y" * 470 + " " + KEY + " z")),
    "the key far behind": lambda send, body: send(error("z" * 9_990 + KEY)),
    "the key with escapes": lambda send, body: send(whole('{"error": "' + "".join(f"\\u{ord(c):04x}" for c in KEY) + '"}', 400)),
    "the key as a name": lambda send, body: send(whole(json.dumps({KEY: KEY, "error": {KEY: [KEY]}}), 400)),
    "the key in plain text": lambda send, body: send(whole(f"Bearer {KEY}", 403, "text/plain")),
    "the key on a page": lambda send, body: send(whole(f"<html><body>{KEY}</body></html>", 502, "text/html")),
    "the key in a header": lambda send, body: send(whole("{}", 429, more=f"x-key: {KEY}\r\nretry-after: 0\r\n")),
    "the key in the status": lambda send, body: send(f"HTTP/1.1 400 {KEY}\r\ncontent-length: 0\r\n\r\n".encode()),
    "the key in a redirect": lambda send, body: send(whole("", 302, more=f"location: http://127.0.0.1:1/?k={KEY}\r\n")),
    "a redirect elsewhere": lambda send, body: send(whole("", 307, more="location: http://127.0.0.2:9/v1\r\n")),
    "a redirect to itself": lambda send, body: send(whole("", 307, more="location: /v1\r\n")),
    "a redirect to a file": lambda send, body: send(whole("", 302, more="location: file:///etc/passwd\r\n")),
    "the key with a NUL": lambda send, body: send(whole(b'{"error": "\x00' + KEY.encode() + b'\xff"}', 400)),
    "the key in an answer": lambda send, body: send(whole(either(body, f"the key is {KEY}"))),
    "the key in a description": lambda send, body: send(whole(either(body, json.dumps({"concept": KEY, KEY: "A"})))),
    "the key in a refusal": lambda send, body: send(whole(vectors(body) if b'"input"' in body else chat(None, refusal=f"No, {KEY}"))),
    "the key beside vectors": lambda send, body: send(whole(vectors(body, model=KEY, usage={"total_tokens": KEY}))),
    "an empty body": lambda send, body: send(whole("")),
    "no body at all": lambda send, body: None,
    "half a head": lambda send, body: send(b"HTTP/1.1 200 OK\r\ncontent-le"),
    "no HTTP": lambda send, body: send(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "another version": lambda send, body: send(b"HTTP/9.9 200 OK\r\n\r\n{}"),
    "a status of 999": lambda send, body: send(whole("{}", 999)),
    "a status of 100 only": lambda send, body: send(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "less than it says": lambda send, body: send(head(length=1000) + b"{}"),
    "more than it says": lambda send, body: send(head(length=2) + b'{"data": []}'),
    "a length below nothing": lambda send, body: send(b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n{}"),
    "a length beyond all": lambda send, body: send(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n{}"),
    "two lengths": lambda send, body: send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 200\r\n\r\n{}"),
    "a million headers": lambda send, body: (send(b"HTTP/1.1 200 OK\r\n"), flood(send, b"x-y: z\r\n" * 1000, 1000)),
    "a header of 50 MB": lambda send, body: (send(b"HTTP/1.1 200 OK\r\nx: "), flood(send, b"x" * (1 << 20), 50)),
    "512 MB": lambda send, body: (send(head(length=512 << 20)), flood(send, b" " * (1 << 20), 512)),
    "512 MB without a length": lambda send, body: (send(head()), flood(send, b"[" * (1 << 20), 512)),
    "512 MB in chunks": lambda send, body: chunks(send, b" " * (1 << 20), 512),
    "an error of 512 MB": lambda send, body: (send(head(400, length=512 << 20)), flood(send, b"e" * (1 << 20), 512)),
    "a chunk that is none": lambda send, body: send(head(more="transfer-encoding: chunked\r\n") + b"zz\r\n{}\r\n"),
    "a chunk beyond all": lambda send, body: send(head(more="transfer-encoding: chunked\r\n") + b"ffffffffffffffff\r\n{}\r\n"),
    "gzip that is none": lambda send, body: send(whole(b"nonsense", more="content-encoding: gzip\r\n")),
    "a gzip bomb": lambda send, body: send(whole(__import__("gzip").compress(b" " * (300 << 20), 6), more="content-encoding: gzip\r\n")),
    "deep lists": lambda send, body: send(whole("[" * 1_000_000)),
    "deep objects": lambda send, body: send(whole('{"data":' * 100_000)),
    "deep vectors": lambda send, body: send(whole('{"data": [{"index": 0, "embedding": ' + "[" * 100_000 + "]" * 100_000 + "}]}")),
    "a list": lambda send, body: send(whole("[]")),
    "null": lambda send, body: send(whole("null")),
    "not UTF-8": lambda send, body: send(whole(b'{"data": "\xff\xfe"}')),
    "NaN": lambda send, body: send(whole(NAN)),
    "no vectors": lambda send, body: send(whole('{"data": []}')),
    "one vector for all": lambda send, body: send(whole('{"data": [{"index": 0, "embedding": [1.0, 2.0]}]}')),
    "vectors of no length": lambda send, body: send(whole(vectors(body, lambda i, text: []))),
    "vectors of odd lengths": lambda send, body: send(whole(vectors(body, lambda i, text: [1.0] * (1 + i % 3)))),
    "vectors of 20,000": lambda send, body: send(whole(vectors(body, lambda i, text: [0.5] * 20_000))),
    "vectors of zeros": lambda send, body: send(whole(vectors(body, lambda i, text: [0.0, 0.0]))),
    "infinite vectors": lambda send, body: send(whole(vectors(body).replace("1.0", "1e999"))),
    "vectors of texts": lambda send, body: send(whole(vectors(body, lambda i, text: ["x"]))),
    "places beyond": lambda send, body: send(whole(vectors(body).replace('"index": 0', '"index": 99999999999'))),
    "places below nothing": lambda send, body: send(whole(vectors(body).replace('"index": 0', '"index": -1'))),
    "the same place twice": lambda send, body: send(whole(vectors(body).replace('"index": 1,', '"index": 0,'))),
    "vectors in base64": lambda send, body: send(whole(vectors(body, lambda i, text: base64.b64encode(b"\0\0\x80?" * 3).decode()))),
    "tokens beyond": lambda send, body: send(whole(vectors(body, usage={"total_tokens": 2**64, "prompt_tokens": -1}))),
    "an answer of control characters": lambda send, body: send(whole(either(body, "\x1b]0;x\x07\x1b[2J\u202e"))),
    "an answer in place of JSON": lambda send, body: send(whole(either(body, "{" * 100_000))),
    "an answer of a megabyte": lambda send, body: send(whole(either(body, "A" * 1_000_000))),
    "an answer of formulas": lambda send, body: send(whole(either(body, '{"concept": "=cmd|calc"}'))),
    "an error of control characters": lambda send, body: send(error("\x1b]0;x\x07\x1b[2J\u202e\x00 evil", 400)),
    "an error of 5 MB": lambda send, body: send(error("word " * 1_000_000, 400)),
    "an error that is a number": lambda send, body: send(whole('{"error": 1e999}', 400)),
    "retry after a century": lambda send, body: send(whole("{}", 429, more="retry-after: 3153600000\r\n")),
    "retry after nonsense": lambda send, body: send(whole("{}", 400, more="retry-after: \xff\r\n")),
    "a byte order mark": lambda send, body: send(whole(b"\xef\xbb\xbf" + either(body, "A").encode())),
    "a stream of events": lambda send, body: send(whole(f"data: {KEY}\n\ndata: [DONE]\n\n", kind="text/event-stream")),
    "a page with the key": lambda send, body: send(whole(f"<html><title>{KEY}</title></html>", kind="text/html")),
    "NaN among vectors": lambda send, body: send(whole(vectors(body, lambda i, text: [float("nan") if i == 1 else 1.0, 2.0]))),
    "a batch limit of nothing": lambda send, body: send(error("the maximum batch size is 0", 413)),
    "a batch limit beyond all": lambda send, body: send(error("the maximum batch size is 99999999999999999999", 413)),
    "no credit": lambda send, body: send(error(f"pay first, {KEY}", 402)),
    "not implemented": lambda send, body: send(error("no", 501)),
    "a cookie": lambda send, body: send(whole(either(body, "A"), more="set-cookie: a=b\r\n")),
}


def start(behaviour):
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    over = threading.Event()

    def serve(one):
        try:
            with one:
                one.settimeout(30)
                data = b""
                while b"\r\n\r\n" not in data:
                    part = one.recv(1 << 16)
                    if not part:
                        return
                    data += part
                top, body = data.split(b"\r\n\r\n", 1)
                length = next((int(line.split(b":")[1]) for line in top.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
                while len(body) < length:
                    part = one.recv(1 << 20)
                    if not part:
                        return
                    body += part
                behaviour(one.sendall, body)
        except OSError:
            pass

    def accept():
        while not over.is_set():
            try:
                one, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(one,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()

    def stop():
        over.set()
        listener.close()

    return f"http://127.0.0.1:{listener.getsockname()[1]}/v1", stop
