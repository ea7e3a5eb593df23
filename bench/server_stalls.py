#!/usr/bin/env python3
"""usage: server_stalls.py PROGRAM [growth|load] [--mb N]

What large and odd requests cost a server, measured from outside with nano. Needs nothing but Python.

growth: the time of a request for bodies of many shapes at two sizes, one twice the other. A ratio of about 2 is linear,
        one of 4 quadratic. Exit status 1 if one is above 3 (and takes more than a tenth of a second).
load:   the median time of /health, and the pace of a stream, alone and while 8 clients send bodies of N MB (default: 60)
        without a pause. The clients run at the lowest priority, as if they were elsewhere.
"""

import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

CHAT, RESPONSES, MESSAGES, COMPLETIONS = ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions")


def chat(**fields):
    return json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1, **fields})


def raw(field, value):
    """A chat request with a field whose JSON is given as text."""
    return chat()[:-1] + ', "%s": %s}' % (field, value)


def tool(name, parameters=None):
    return {"type": "function", "function": {"name": name, "parameters": parameters or {"type": "object"}}}


def content(text):
    return lambda n: json.dumps({"messages": [{"role": "user", "content": (text * (n // len(text) + 1))[:n]}],
                                 "max_tokens": 1}, ensure_ascii=False)


def many(n, item):
    return [item] * max(1, n // len(json.dumps(item)))


def calls(n):
    call = {"id": "c%d", "type": "function", "function": {"name": "f", "arguments": "{\"a\": [1, {\"b\": 2}]}"}}
    count = n // 120
    return [{"role": "assistant", "tool_calls": [dict(call, id="c%d" % i) for i in range(count)]}] + [
        {"role": "tool", "tool_call_id": "c%d" % (count - i), "content": "r"} for i in range(count)]


SHAPES = {  # name: (path, body of about n bytes)
    "objects": (CHAT, lambda n: raw("x", "[" + ",".join(["{}"] * (n // 3)) + "]")),
    "arrays": (CHAT, lambda n: raw("x", "[" + ",".join(["[]"] * (n // 3)) + "]")),
    "numbers": (CHAT, lambda n: raw("x", "[" + ",".join(["0"] * (n // 2)) + "]")),
    "one long number": (CHAT, lambda n: raw("x", "1" * n)),
    "one long fraction": (CHAT, lambda n: raw("x", "0." + "1" * n)),
    "brackets": (CHAT, lambda n: raw("x", "[" * n)),
    "nested to the limit": (CHAT, lambda n: raw("x", "[" + ",".join(["[" * 190 + "]" * 190] * (n // 381)) + "]")),
    "keys": (CHAT, lambda n: raw("x", "{" + ",".join('"%d":0' % i for i in range(n // 10)) + "}")),
    "equal keys": (CHAT, lambda n: raw("x", "{" + ",".join(['"k":0'] * (n // 6)) + "}")),
    "fields": (CHAT, lambda n: chat(**{"f%d" % i: 0 for i in range(n // 12)})),
    "escapes": (CHAT, lambda n: raw("x", '"' + "\\ud83d" * (n // 6) + '"')),
    "messages": (CHAT, lambda n: chat(messages=many(n, {"role": "user", "content": "a"}))),
    "system messages": (CHAT, lambda n: chat(messages=many(n, {"role": "system", "content": "a"}))),
    "developer messages": (CHAT, lambda n: chat(messages=many(n, {"role": "developer", "content": "a"}) + [
        {"role": "user", "content": "a"}])),
    "turns": (CHAT, lambda n: chat(messages=[m for _ in range(n // 70) for m in (
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})] + [{"role": "user", "content": "c"}])),
    "parts": (CHAT, lambda n: chat(messages=[{"role": "user", "content": many(n, {"type": "text", "text": "a"})}])),
    "tools": (CHAT, lambda n: chat(tools=many(n, tool("f")))),
    "a large schema": (CHAT, lambda n: chat(tools=[tool("f", {"type": "object", "properties": {
        "p%d" % i: {"type": "string"} for i in range(n // 30)}})])),
    "tool_calls": (CHAT, lambda n: chat(messages=calls(n))),
    "large arguments": (CHAT, lambda n: chat(messages=[{"role": "assistant", "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps(
            {"a": "[" * 50, "k": {"p%d" % i: i for i in range(n // 16)}})}}]},
        {"role": "tool", "tool_call_id": "c", "content": "r"}])),
    "stop strings": (CHAT, lambda n: chat(stop=many(n, "abc"))),
    "logit_bias": (CHAT, lambda n: chat(logit_bias={str(i): 1 for i in range(n // 10)})),
    "metadata": (CHAT, lambda n: chat(metadata={"k%d" % i: "v" for i in range(n // 14)})),
    "no JSON": (CHAT, lambda n: "[" + " " * n),
    "newlines": (CHAT, content("\n")),
    "spaces": (CHAT, content(" ")),
    "digits": (CHAT, content("1234567890")),
    "one letter": (CHAT, content("a")),
    "words": (CHAT, content("the cat sat on a mat ")),
    "emoji": (CHAT, content("😀")),
    "marks": (CHAT, content("\u0301")),
    "Han": (CHAT, content("漢字")),
    "punctuation": (CHAT, content("=-/.,;")),
    "special tokens": (CHAT, content("<｜User｜>")),
    "no UTF-8": (CHAT, lambda n: chat().encode()[:-1] + b', "user": "' + b"\xff" * n + b'"}'),
    "a role": (CHAT, lambda n: chat(messages=[{"role": "x" * n, "content": "a"}])),
    "a part's type": (CHAT, lambda n: chat(messages=[{"role": "user", "content": [{"type": "x" * n}]}])),
    "a model's name": (CHAT, lambda n: chat(model="x" * n)),
    "an effort": (CHAT, lambda n: chat(reasoning_effort="x" * n)),
    "prompts": (COMPLETIONS, lambda n: json.dumps({"prompt": ["a " * (n // 128)] * 64, "max_tokens": 1})),
    "token ids": (COMPLETIONS, lambda n: json.dumps({"prompt": [7] * (n // 3), "max_tokens": 1})),
    "items": (RESPONSES, lambda n: json.dumps({"max_output_tokens": 1, "input": many(n, {
        "role": "user", "content": "a"})})),
    "item calls": (RESPONSES, lambda n: json.dumps({"max_output_tokens": 1, "input": [i for k in range(n // 160) for i in (
        {"type": "function_call", "call_id": "c%d" % k, "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c%d" % k, "output": "r"})]})),
    "reasoning items": (RESPONSES, lambda n: json.dumps({"max_output_tokens": 1, "input": many(n, {
        "type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}]}) + [{"role": "user", "content": "a"}]})),
    "response tools": (RESPONSES, lambda n: json.dumps({"max_output_tokens": 1, "input": "a", "tools": many(n, {
        "type": "function", "name": "f", "parameters": {"type": "object"}})})),
    "blocks": (MESSAGES, lambda n: json.dumps({"max_tokens": 1, "messages": [{"role": "user", "content": many(n, {
        "type": "text", "text": "a"})}]})),
    "block results": (MESSAGES, lambda n: json.dumps({"max_tokens": 1, "messages": [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c%d" % i, "name": "f", "input": {}}
                                          for i in range(n // 140)]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c%d" % i, "content": "r"}
                                     for i in range(n // 140)]}]})),
    "system blocks": (MESSAGES, lambda n: json.dumps({"max_tokens": 1, "system": many(n, {"type": "text", "text": "a"}),
                                                      "messages": [{"role": "user", "content": "a"}]})),
    "tokenize": ("/tokenize", lambda n: json.dumps({"content": "a\n" * (n // 3)})),
    "count_tokens": (MESSAGES + "/count_tokens", lambda n: json.dumps({"messages": [
        {"role": "user", "content": "word " * (n // 5)}]})),
}


class Server:
    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        log = open(os.path.join(self.folder.name, "log"), "w+")
        self.process = subprocess.Popen([sys.argv[1], "serve", "--port", "0", "--kv-dir", "off"], stderr=log)
        while not (found := re.search(r"http://127.0.0.1:(\d+)", open(log.name).read())):
            time.sleep(0.05)
        self.port = int(found[1])
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def ask(self, path, body=None):
        """(status, seconds)"""
        begin = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request("POST" if body else "GET", path, body)
            answer = connection.getresponse()
            answer.read()
            return answer.status, time.monotonic() - begin
        finally:
            connection.close()

    def pace(self, seconds):
        """Events a second of one stream."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request("POST", CHAT, chat(max_tokens=100000, ignore_eos=True, stream=True, temperature=0))
        answer = connection.getresponse()
        begin, count = None, 0
        while begin is None or time.monotonic() < begin + seconds:
            line = answer.readline()
            if not line:
                raise SystemExit("the stream was cut off")
            count += line.startswith(b"data")
            begin = begin or time.monotonic()
        took = time.monotonic() - begin
        connection.close()
        return count / took


def measure_growth(server, size):
    slow = []
    for name, (path, body) in SHAPES.items():
        bodies = [body(size), body(2 * size)]
        bodies = [b if isinstance(b, bytes) else b.encode() for b in bodies]
        times = [min((server.ask(path, b) for _ in range(2)), key=lambda r: r[1]) for b in bodies]
        ratio = times[1][1] / times[0][1]
        bad = ratio > 3 and times[1][1] > 0.1
        print("%-20s %4.1f MB %d %8.3f s   %5.1f MB %d %8.3f s   ratio %4.1f %s" % (
            name, len(bodies[0]) / 1e6, *times[0], len(bodies[1]) / 1e6, *times[1], ratio, "<--" if bad else ""), flush=True)
        slow += [name] if bad else []
    return slow


LOAD = ["newlines", "objects", "words", "messages", "one letter", "escapes", "keys", "parts"]


def send_forever(port, path, body):
    """Another process, so that Python's threads do not wait for each other."""
    os.nice(19)
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
            connection.request("POST", path, body)
            connection.getresponse().read()
            connection.close()
        except OSError:
            time.sleep(0.1)


def measure_load(server, size):
    requests = []  # made before anything is measured
    for shape in LOAD:
        path, make = SHAPES[shape]
        body = make(int(size * 1e6 / len(make(1_000_000))))  # so that it has the size as JSON
        requests.append((path, body if isinstance(body, bytes) else body.encode()))
    server.pace(3)
    alone = server.pace(20)
    clients = []
    for path, body in requests:
        pid = os.fork()
        if pid == 0:
            try:
                send_forever(server.port, path, body)
            finally:
                os._exit(0)
        clients.append(pid)
    time.sleep(5)
    health, beside = [], []
    stream = threading.Thread(target=lambda: beside.append(server.pace(20)))
    stream.start()
    while stream.is_alive() or len(health) < 50:
        health.append(server.ask("/health")[1])
        time.sleep(0.3)
    stream.join()
    for pid in clients:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    print("/health: median %.1f ms, worst of %d: %.1f ms" % (
        1e3 * statistics.median(health), len(health), 1e3 * max(health)))
    print("stream: %.1f events/s alone, %.1f beside 8 clients: %.0f %%" % (alone, beside[0], 100 * beside[0] / alone))
    return statistics.median(health) < 0.1 and beside[0] > 0.8 * alone


def main():
    what = sys.argv[2] if len(sys.argv) > 2 and not sys.argv[2].startswith("-") else "growth"
    size = float(sys.argv[sys.argv.index("--mb") + 1]) if "--mb" in sys.argv else 60 if what == "load" else 2
    with Server() as server:
        if what == "load":
            return 0 if measure_load(server, int(size * 1e6)) else 1
        slow = measure_growth(server, int(size * 1e6))
        print("not linear: %s" % ", ".join(slow) if slow else "all linear")
        return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
