"""Registers com.example.add, and on com.example.news calls that and says the result on com.example.echo.

The URL is ws://host:port/path, tcp://host:port, tls://host:port or unix:/path; an encoding that ends in .batched packs its messages.
"""
import asyncio
import sys

from autobahn.asyncio import rawsocket
from autobahn.asyncio.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp import serializer
from autobahn.wamp.types import ComponentConfig

url, encoding = sys.argv[1:]
name, _, batched = encoding.partition(".")
classes = {"json": "JsonSerializer", "msgpack": "MsgPackSerializer", "cbor": "CBORSerializer"}
encoder = getattr(serializer, classes[name])(batched=batched == "batched")


class Component(ApplicationSession):
    async def onJoin(self, details):
        await self.register(lambda a, b: a + b, "com.example.add")
        await self.subscribe(self.news, "com.example.news")
        print("ready", flush=True)

    async def news(self, *args):
        self.publish("com.example.echo", await self.call("com.example.add", *args))

    def onDisconnect(self):
        print("ended", flush=True)


class Protocol(rawsocket.WampRawSocketClientProtocol):
    """Autobahn 22 looks for the details when a session joins, and forgets them; and it fails at the first PING."""

    transport_details = None

    def ping(self, data):
        self.transport.write((2 << 24 | len(data)).to_bytes(4, "big") + data)
        print("pinged", flush=True)


async def main():
    if url.startswith("ws"):
        await ApplicationRunner(url, "realm1", serializers=[encoder]).run(Component, start_loop=False)
    else:
        factory = rawsocket.WampRawSocketClientFactory(lambda: Component(ComponentConfig("realm1")), encoder)
        factory.protocol = Protocol
        loop = asyncio.get_running_loop()
        if url.startswith("unix:"):
            await loop.create_unix_connection(factory, url.removeprefix("unix:"))
        else:
            scheme, address = url.split("://")
            host, port = address.split(":")
            await loop.create_connection(factory, host, int(port), ssl=scheme == "tls")
    await asyncio.Event().wait()


asyncio.run(main())
