"""Tries every advanced feature that Autobahn|Python has, and says "ok name" or "FAIL name: why" of each."""
import asyncio
import sys

from autobahn.asyncio.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp import serializer
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallOptions, PublishOptions, RegisterOptions, SubscribeOptions

url, encoding = sys.argv[1:]
serializers = {"json": "JsonSerializer", "msgpack": "MsgPackSerializer", "cbor": "CBORSerializer"}
ACK = {"acknowledge": True}


def same(got, want):
    assert got == want, f"got {got!r}, want {want!r}"


def heard():
    done = asyncio.get_running_loop().create_future()

    def handler(*args, **kwargs):
        if not done.done():
            done.set_result((args, kwargs))

    return handler, done


async def progressive_results(a, b):
    async def progress(details):
        for n in (1, 2, 3):
            details.progress(n)
        return "done"

    parts = []
    await a.register(progress, "com.progress", RegisterOptions(details_arg="details"))
    result = await b.call("com.progress", options=CallOptions(on_progress=parts.append))
    same((parts, result), ([1, 2, 3], "done"))


async def patterns(a, b):
    def name(details):
        return details.procedure

    await a.register(name, "com.prefix", RegisterOptions(match="prefix", details_arg="details"))
    same(await b.call("com.prefix.x"), "com.prefix.x")
    handler, event = heard()
    await a.subscribe(handler, "com..topic", SubscribeOptions(match="wildcard", details_arg="details"))
    await b.publish("com.some.topic", 1, k=2, options=PublishOptions(**ACK))
    args, kwargs = await event
    same((args, kwargs["k"], kwargs["details"].topic), ((1,), 2, "com.some.topic"))


async def shared_registration(a, b):
    for s in (a, b):
        await s.register(lambda s=s: s._session_id, "com.shared", RegisterOptions(invoke="roundrobin"))
    who = [await a.call("com.shared") for _ in range(3)]
    same((who[0] == who[1], who[0] == who[2]), (False, True))


async def lists(a, b):
    seen = []
    end = asyncio.get_running_loop().create_future()

    def handler(x):
        seen.append(x)
        if x == "end":
            end.set_result(None)

    await a.subscribe(handler, "com.lists")
    for word, options in (
        ("no", {"exclude": [a._session_id]}),
        ("others", {"eligible_authrole": ["nobody"]}),
        ("mine", {"eligible": [a._session_id]}),
    ):
        await b.publish("com.lists", word, options=PublishOptions(**ACK, **options))
    await a.publish("com.lists", "excluded", options=PublishOptions(**ACK))
    await a.publish("com.lists", "end", options=PublishOptions(**ACK, exclude_me=False))
    await end
    same(seen, ["mine", "end"])


async def retained_events(a, b):
    await b.publish("com.retained", "kept", options=PublishOptions(**ACK, retain=True))
    handler, event = heard()
    await a.subscribe(handler, "com.retained", SubscribeOptions(get_retained=True, details_arg="details"))
    args, kwargs = await event
    same((args, kwargs["details"].retained), (("kept",), True))


async def meta_api(a, b):
    same(b._session_id in await a.call("wamp.session.list"), True)
    same((await a.call("wamp.session.get", b._session_id))["session"], b._session_id)
    registration = await b.register(lambda: 1, "com.meta")
    same(await a.call("wamp.registration.match", "com.meta"), registration.id)
    same(await a.call("wamp.registration.list_callees", registration.id), [b._session_id])
    handler, event = heard()
    await a.subscribe(handler, "wamp.registration.on_unregister")
    await registration.unregister()
    same((await event)[0], (b._session_id, registration.id))


async def testaments(a, b):
    handler, event = heard()
    await a.subscribe(handler, "com.will")
    other = await join()
    await other.call("wamp.session.add_testament", "com.will", ["gone"], {})
    await b.call("wamp.session.kill", other._session_id, reason="com.example.enough")
    same((await event)[0], ("gone",))


async def history(a, b):
    subscription = await a.subscribe(lambda *args: None, "com.history")
    for n in (1, 2, 3):
        await b.publish("com.history", n, options=PublishOptions(**ACK))
    past = await a.call("wamp.subscription.get_events", subscription.id, limit=2, reverse=True)
    same([e["args"] for e in past.results], [[3], [2]])


async def errors(a, b):
    def fail():
        raise ApplicationError("com.example.failed", 1, "x", k="v")

    await a.register(fail, "com.fail")
    try:
        await b.call("com.fail")
        raise AssertionError("it did not fail")
    except ApplicationError as e:
        same((e.error, e.args, e.kwargs["k"]), ("com.example.failed", (1, "x"), "v"))


async def timeouts(a, b):
    async def never():
        await asyncio.get_running_loop().create_future()

    await a.register(never, "com.never")
    try:
        await b.call("com.never", options=CallOptions(timeout=50))
        raise AssertionError("it did not fail")
    except ApplicationError as e:
        same(e.error, "wamp.error.timeout")


async def binary_and_large_integers(a, b):
    await a.register(lambda *args: list(args), "com.echo")
    values = [b"\x00\x01\xff", 2**53 + 1, -(2**63), 2**64 - 1, 1.5]
    same(await b.call("com.echo", *values), values)


CHECKS = [progressive_results, patterns, shared_registration, lists, retained_events, meta_api, testaments, history,
          errors, timeouts, binary_and_large_integers]


async def join():
    joined = asyncio.get_running_loop().create_future()

    class Session(ApplicationSession):
        def onJoin(self, details):
            joined.set_result(self)

    runner = ApplicationRunner(url, "realm1", serializers=[getattr(serializer, serializers[encoding])()])
    await runner.run(Session, start_loop=False)
    return await joined


async def main():
    a, b = await join(), await join()
    for check in CHECKS:
        try:
            await asyncio.wait_for(check(a, b), 10)
            print("ok", check.__name__, flush=True)
        except Exception as e:
            print(f"FAIL {check.__name__}: {type(e).__name__} {e}", flush=True)
    print("end", flush=True)


asyncio.run(main())
