"""Registers com.example.add, and says on com.example.echo what it hears on com.example.news."""
import sys

from autobahn.asyncio import rawsocket
from autobahn.asyncio.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp import serializer

url, encoding = sys.argv[1:]


class Component(ApplicationSession):
    async def onJoin(self, details):
        await self.register(lambda a, b: a + b, "com.example.add")
        await self.subscribe(lambda *args: self.publish("com.example.echo", *args), "com.example.news")
        print("ready", flush=True)


# Autobahn 22 looks for this when a session joins, and forgets it over RawSocket.
rawsocket.WampRawSocketClientProtocol.transport_details = None

name = {"json": "JsonSerializer", "msgpack": "MsgPackSerializer", "cbor": "CBORSerializer"}[encoding]
ApplicationRunner(url, "realm1", serializers=[getattr(serializer, name)()]).run(Component)
