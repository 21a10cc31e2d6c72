"""Logs in by a method, and says who it is then."""
import sys

from autobahn.asyncio.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp import auth, serializer

url, encoding, method, authid, secret = sys.argv[1:]
keys = {"ticket": "ticket", "wampcra": "secret", "cryptosign": "privkey"}
authenticator = auth.create_authenticator(method, authid=authid, **{keys[method]: secret})


class Component(ApplicationSession):
    def onConnect(self):
        self.join("realm1", authmethods=[method], authid=authid, authextra=authenticator.authextra)

    def onChallenge(self, challenge):
        return authenticator.on_challenge(self, challenge)

    def onJoin(self, details):
        print("in", details.authid, details.authrole, details.authmethod, flush=True)
        self.leave()

    def onLeave(self, details):
        print("out", details.reason, flush=True)
        self.disconnect()


name = {"json": "JsonSerializer", "msgpack": "MsgPackSerializer", "cbor": "CBORSerializer"}[encoding]
ApplicationRunner(url, "realm1", serializers=[getattr(serializer, name)()]).run(Component)
