"""Registers procedures of the namespace com.example, and says "ready"; says "cancelled" when a call of hold is."""
import asyncio
import sys

from autobahn.asyncio.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp import serializer
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallResult, RegisterOptions

url, encoding = sys.argv[1:]
name = {"json": "JsonSerializer", "msgpack": "MsgPackSerializer", "cbor": "CBORSerializer"}[encoding]


class Component(ApplicationSession):
    calls = 0

    async def onJoin(self, details):
        options = RegisterOptions(details_arg="details")
        for procedure in (self.echo, self.count, self.hold, self.fail):
            await self.register(procedure, "com.example." + procedure.__name__, options=options)
        print("ready", flush=True)

    def echo(self, *args, details, **kwargs):
        self.calls += 1
        print("called", self.calls, flush=True)
        return CallResult(*args, **kwargs)

    async def count(self, n, details):
        for i in range(n):
            if details.progress:
                details.progress(i)
            await asyncio.sleep(0)
        return n

    async def hold(self, details):
        print("held", flush=True)
        try:
            if details.progress:
                details.progress("holding")
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            print("cancelled", flush=True)
            raise

    async def fail(self, n, details):
        if details.progress:
            details.progress(n)
        raise ApplicationError("com.example.error", "no such thing", http_status=n)


ApplicationRunner(url, "realm1", serializers=[getattr(serializer, name)()]).run(Component)
