"""Publishes by Crossbar.io's HTTP bridge with signed requests, as crossbarconnect does: crossbar_publish.py URL KEY SECRET TOPIC ARG..."""
import base64
import datetime
import hashlib
import hmac
import json
import random
import sys
import urllib.error
import urllib.parse
import urllib.request

url, key, secret, topic, *args = sys.argv[1:]


def query(seq, body):
    now = datetime.datetime.now(datetime.timezone.utc)
    fields = {
        "timestamp": "{0}Z".format(now.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]),
        "seq": str(seq),
        "key": key,
        "nonce": str(random.randint(0, 9007199254740992)),
    }
    hm = hmac.new(secret.encode(), None, hashlib.sha256)
    for field in ("key", "timestamp", "seq", "nonce"):
        hm.update(fields[field].encode())
    hm.update(body)
    fields["signature"] = base64.urlsafe_b64encode(hm.digest()).decode()
    return urllib.parse.urlencode(fields)


def post(address, body):
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, {"Content-type": "application/json", "User-agent": "crossbarconnect-python"})) as res:
            return res.status, res.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


for seq, arg in enumerate(args):
    body = json.dumps({"topic": topic, "args": [arg]}).encode()
    address = url + "?" + query(seq, body)
    status, text = post(address, body)
    print(status, "id" in json.loads(text), flush=True)
print(*post(address, body), flush=True)
