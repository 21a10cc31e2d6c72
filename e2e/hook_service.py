"""An HTTP service that knows nothing of WAMP. It offers procedures, is sent events, and publishes by HTTP what it hears."""
import json
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, gateway = int(sys.argv[1]), sys.argv[2]


class Service(BaseHTTPRequestHandler):
    def answer(self, status, body, kind="application/json"):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/healthz":
            return self.answer(200, "well")
        hooks = {name: {"procedure": "com.example." + name, "url": "/" + name} for name in ("sum", "fail", "slow", "count")}
        hooks["news"] = {"topic": "com.example.news", "url": "/news"}
        self.answer(200, {"hooks": hooks})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        args = body.get("args", [])
        if self.path == "/sum":
            self.answer(200, {"args": [sum(args)]})
        elif self.path == "/fail":
            self.answer(409, {"title": "Bad", "wamp": {"error": "com.example.bad", "args": ["why"]}}, "application/problem+json")
        elif self.path == "/slow":
            print("slow", flush=True)
            time.sleep(60)
        elif self.path == "/count":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for n in range(3):
                self.wfile.write(b"data: " + json.dumps({"args": [n]}).encode() + b"\n\n")
                self.wfile.flush()
            self.wfile.write(b'event: result\ndata: {"args": ["done"]}\n\n')
        elif self.path == "/news":
            print("news", *args, flush=True)
            echo = urllib.request.Request(gateway + "/v1/publish/com.example.echo", json.dumps({"args": args}).encode(),
                                          {"Content-Type": "application/json"})
            urllib.request.urlopen(echo).read()
            self.answer(200, {})

    def log_message(self, *_):
        pass


ThreadingHTTPServer.allow_reuse_address = True
server = ThreadingHTTPServer(("127.0.0.1", port), Service)
print("ready", flush=True)
server.serve_forever()
