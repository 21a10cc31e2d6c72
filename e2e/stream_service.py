"""A service without a port that knows nothing of WAMP. It offers procedures and hears of a topic by streams, and answers by requests."""
import json
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

gateway = sys.argv[1]
ready = threading.Semaphore(0)


def say(*words):
    """Prints a line, whole: print writes its end apart, and others come between."""
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


def send(path, body):
    request = urllib.request.Request(gateway + "/v1/" + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as e:
        return e.code


def answer(call):
    name, args, id = call["procedure"].rsplit(".", 1)[1], call.get("args", []), call["invocation"]
    if name == "sum":
        send("yield/" + id, {"args": [sum(args)]})
    elif name == "fail":
        send("error/" + id, {"error": "com.example.bad", "args": ["why"]})
    elif name == "count":
        for n in range(3):
            send("yield/" + id, {"args": [n], "options": {"progress": True}})
        send("yield/" + id, {"args": ["done"]})
    elif name == "slow":
        say("slow")


def event(kind, data):
    if kind == "invocation":
        threading.Thread(target=answer, args=(data,), daemon=True).start()
    elif kind == "interrupt":
        say("interrupt", data["reason"])
    elif kind == "" and data["topic"] == "com.example.news":
        say("news", *data["args"])
        send("publish/com.example.echo", {"args": data["args"]})


def read(path):
    """Reads a stream for ever, as an EventSource does."""
    last, first = "", True
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(gateway + path, headers={"Last-Event-ID": last} if last else {})) as stream:
                kind, data = "", ""
                for line in stream:
                    name, _, value = line.decode().rstrip("\n").partition(": ")
                    if name == "id":
                        last = value
                    elif name == "event":
                        kind = value
                    elif name == "data":
                        data = value
                    elif line == b"\n":
                        if kind == "wamp.ready":
                            say("resume", json.loads(data)["resume"])
                            if first:
                                ready.release()
                            first = False
                        elif data:
                            event(kind, json.loads(data))
                        kind, data = "", ""
        except (OSError, ValueError):
            pass
        time.sleep(0.1)


paths = ["/v1/register/com.example." + name for name in ("sum", "fail", "slow", "count")] + ["/v1/subscribe/com.example.news"]
for path in paths:
    threading.Thread(target=read, args=(path,), daemon=True).start()
for _ in paths:
    ready.acquire()
say("ready")
threading.Event().wait()
