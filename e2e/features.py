"""Tries every advanced feature that Autobahn|Python has, and says "ok name" or "FAIL name: why" of each.

It cannot ask for its disclosure: the realm has to disclose callers and publishers always. It takes the revocation of a
subscription for a protocol violation, although it announces it.
"""
import asyncio
import sys

from autobahn.asyncio.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp import serializer
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallOptions, CallResult, PublishOptions, RegisterOptions, SubscribeOptions

url, realm, encoding = sys.argv[1:]
serializers = {"json": "JsonSerializer", "msgpack": "MsgPackSerializer", "cbor": "CBORSerializer"}
sessions = []  # of the check that runs


def same(got, want):
    assert got == want, f"got {got!r}, want {want!r}"


def future():
    return asyncio.get_running_loop().create_future()


class Session(ApplicationSession):
    """A session that says when it is joined and why it is over."""

    def __init__(self, config):
        super().__init__(config)
        self.joined, self.ended = future(), future()

    def onJoin(self, details):
        self.id = details.session
        self.joined.set_result(None)

    def onLeave(self, details):
        self.disconnect()
        if not self.ended.done():
            self.ended.set_result(details)

    def onUserError(self, fail, msg):
        """Handlers fail on purpose."""


async def join(name=encoding):
    runner = ApplicationRunner(url, realm, serializers=[getattr(serializer, serializers[name])()])
    _, protocol = await runner.run(Session, start_loop=False)
    await protocol.is_open
    session = protocol._session
    await session.joined
    sessions.append(session)
    return session


def publish(session, topic, *args, **options):
    """Publishes positional arguments, and waits for the acknowledgement."""
    return session.publish(topic, *args, options=PublishOptions(acknowledge=True, **options))


async def hear(session, topic, **options):
    """Subscribes, and returns a future of the next event."""
    event = future()

    def handler(*args, **kwargs):
        if not event.done():
            event.set_result((args, kwargs, kwargs.pop("details")))

    await session.subscribe(handler, topic, SubscribeOptions(details_arg="details", **options))
    return event


async def hears(session, topic):
    """Subscribes, and returns a future of the first arguments of all events there were, at the event "end"."""
    seen, end = [], future()
    await session.subscribe(lambda x: end.set_result(seen) if x == "end" else seen.append(x), topic)
    return end


async def fails(call):
    try:
        result = await call
    except ApplicationError as e:
        return e
    raise AssertionError(f"it did not fail: {result!r}")


def stuck():
    """Returns a procedure that does not answer, a future of its call and one of its interruption."""
    called, interrupted = future(), future()

    async def never():
        called.set_result(None)
        try:
            await future()
        except asyncio.CancelledError:
            interrupted.set_result(None)
            raise ApplicationError("wamp.error.canceled")  # Autobahn answers nothing to a bare one

    return never, called, interrupted


async def progressive_results_come_one_by_one(a, b):
    def progress(details):
        for n in (1, 2, 3):
            details.progress(n)
        return "done"

    parts = []
    await a.register(progress, "com.progress", RegisterOptions(details_arg="details"))
    result = await b.call("com.progress", options=CallOptions(on_progress=parts.append))
    same((parts, result), ([1, 2, 3], "done"))


async def who_did_not_ask_for_progress_gets_the_result_alone(a, b):
    await a.register(lambda details: details.progress is not None, "com.progress", RegisterOptions(details_arg="details"))
    same(await b.call("com.progress"), False)


async def a_canceled_call_interrupts_its_callee(a, b):
    never, called, interrupted = stuck()
    await a.register(never, "com.never")
    call = b.call("com.never")
    await called
    call.cancel()
    await interrupted
    same(b.id in await b.call("wamp.session.list"), True)


async def a_call_that_times_out_interrupts_its_callee(a, b):
    never, _, interrupted = stuck()
    await a.register(never, "com.never")
    same((await fails(b.call("com.never", options=CallOptions(timeout=50)))).error, "wamp.error.timeout")
    await interrupted


async def a_leaving_caller_interrupts_its_callee(a, b):
    never, called, interrupted = stuck()
    await a.register(never, "com.never")
    b.call("com.never")
    await called
    b.leave()
    await interrupted


async def a_call_fails_when_its_callee_leaves(a, b):
    never, called, _ = stuck()
    await a.register(never, "com.never")
    call = b.call("com.never")
    await called
    a.leave()
    same((await fails(call)).error, "wamp.error.canceled")


async def callers_and_publishers_are_disclosed(a, b):
    def who(details):
        return [details.caller, details.caller_authid, details.caller_authrole]

    await a.register(who, "com.who", RegisterOptions(details_arg="details"))
    same(await b.call("com.who"), [b.id, b.authid, "anonymous"])
    event = await hear(a, "com.whose")
    await publish(b, "com.whose")
    details = (await event)[2]
    same([details.publisher, details.publisher_authid, details.publisher_authrole], [b.id, b.authid, "anonymous"])


async def the_most_specific_registration_is_called(a, b):
    for word, uri, match in (("prefix", "com.most", "prefix"), ("longer", "com.most.some", "prefix"),
                             ("exact", "com.most.some.thing", "exact"), ("wildcard", "com..wild", "wildcard")):
        await a.register(lambda details, word=word: [word, details.procedure], uri,
                         RegisterOptions(match=match, details_arg="details"))
    same(await b.call("com.most.x"), ["prefix", "com.most.x"])
    same(await b.call("com.most.some.x"), ["longer", "com.most.some.x"])
    same(await b.call("com.most.some.thing"), ["exact", "com.most.some.thing"])
    same(await b.call("com.some.wild"), ["wildcard", "com.some.wild"])
    same((await fails(b.call("com.some.other"))).error, "wamp.error.no_such_procedure")


async def subscriptions_by_a_pattern_get_the_topic(a, b):
    for match, pattern in (("prefix", "com.pattern"), ("wildcard", "com..topic")):
        event = await hear(a, pattern, match=match)
        await b.publish("com.pattern_x.topic", 1, k=2, options=PublishOptions(acknowledge=True))
        args, kwargs, details = await event
        same((args, kwargs, details.topic), ((1,), {"k": 2}, "com.pattern_x.topic"))


async def shared_registrations_are_called_in_turn(a, b):
    callees = [a, b, await join()]
    for s in callees:
        await s.register(lambda s=s: s.id, "com.shared", RegisterOptions(invoke="roundrobin"))
    same([await a.call("com.shared") for _ in range(6)], [s.id for s in callees * 2])
    other = await fails((await join()).register(lambda: None, "com.shared", RegisterOptions(invoke="random")))
    same(other.error, "wamp.error.procedure_already_exists")


async def first_and_last_are_called_by_their_place(a, b):
    for invoke in ("first", "last"):
        for s in (a, b):
            await s.register(lambda s=s: s.id, "com." + invoke, RegisterOptions(invoke=invoke))
    same([await a.call("com.first"), await a.call("com.last")], [a.id, b.id])


async def publishers_hear_themselves_only_if_they_say_so(a, b):
    seen = await hears(a, "com.me")
    await publish(a, "com.me", "excluded")
    await publish(a, "com.me", "mine", exclude_me=False)
    await publish(a, "com.me", "end", exclude_me=False)
    same(await seen, ["mine"])


async def lists_say_who_gets_an_event(a, b):
    seen = await hears(a, "com.lists")
    want = []
    for attribute, mine, other in (("", a.id, b.id), ("_authid", a.authid, "nobody"), ("_authrole", "anonymous", "nobody")):
        await publish(b, "com.lists", "excluded", **{"exclude" + attribute: [mine]})
        await publish(b, "com.lists", "not eligible", **{"eligible" + attribute: [other]})
        await publish(b, "com.lists", "nobody", **{"eligible" + attribute: []})
        await publish(b, "com.lists", "not excluded" + attribute, **{"exclude" + attribute: other})
        await publish(b, "com.lists", "eligible" + attribute, **{"eligible" + attribute: [mine, other]})
        want += ["not excluded" + attribute, "eligible" + attribute]
    await publish(b, "com.lists", "end")
    same(await seen, want)


async def acknowledged_publications_have_the_id_of_their_event(a, b):
    event = await hear(a, "com.acknowledged")
    publication = await publish(b, "com.acknowledged")
    same((await event)[2].publication, publication.id)
    same((await fails(publish(b, "wamp.session.on_join"))).error, "wamp.error.invalid_uri")


async def retained_events_are_there_for_who_asks(a, b):
    await publish(b, "com.retained", "old", retain=True)
    await publish(b, "com.retained", "kept", retain=True)
    await publish(b, "com.retained", "passing")
    unasked = await hears(b, "com.retained")
    args, _, details = await (await hear(a, "com.retained", get_retained=True))
    same((args, details.retained), (("kept",), True))
    await publish(a, "com.retained", "end")
    same(await unasked, [])


async def sessions_are_counted_listed_and_described(a, b):
    same(b.id in await a.call("wamp.session.list"), True)
    same(await a.call("wamp.session.list", ["nobody"]), [])
    same(await a.call("wamp.session.count", ["nobody"]), 0)
    same(await a.call("wamp.session.count") >= 2, True)
    got = await a.call("wamp.session.get", b.id)
    same([got[k] for k in ("session", "authid", "authrole", "authmethod")], [b.id, b.authid, "anonymous", "anonymous"])
    same((await fails(a.call("wamp.session.get", 1))).error, "wamp.error.no_such_session")


async def joining_and_leaving_are_heard(a, b):
    joined = await hear(a, "wamp.session.on_join")
    c = await join()
    same((await joined)[0][0]["session"], c.id)
    left = future()
    await a.subscribe(lambda *args: args[0] == c.id and left.set_result(args), "wamp.session.on_leave")
    c.leave()
    same(await left, (c.id, c.authid, "anonymous"))


async def a_killed_session_learns_why(a, b):
    c, d = await join(), await join()
    await a.call("wamp.session.kill", b.id)
    same((await b.ended).reason, "wamp.close.killed")
    await a.call("wamp.session.kill", c.id, reason="com.example.enough", message="bye")
    details = await c.ended
    same((details.reason, details.message), ("com.example.enough", "bye"))
    same(await a.call("wamp.session.kill_by_authid", d.authid), [d.id])
    same((await d.ended).reason, "wamp.close.killed")
    same((await fails(a.call("wamp.session.kill", a.id))).error, "wamp.error.no_such_session")


async def registrations_are_found_and_described(a, b):
    registration = await b.register(lambda: 1, "com.meta", RegisterOptions(invoke="roundrobin"))
    pattern = await b.register(lambda: 1, "com.meta_", RegisterOptions(match="prefix"))
    lists = await a.call("wamp.registration.list")
    same([registration.id in lists["exact"], pattern.id in lists["prefix"], lists["wildcard"]], [True, True, []])
    same(await a.call("wamp.registration.lookup", "com.meta"), registration.id)
    same(await a.call("wamp.registration.lookup", "com.meta_", {"match": "prefix"}), pattern.id)
    same(await a.call("wamp.registration.lookup", "com.meta_"), None)
    same(await a.call("wamp.registration.match", "com.meta_x"), pattern.id)
    got = await a.call("wamp.registration.get", registration.id)
    same([got[k] for k in ("uri", "match", "invoke")], ["com.meta", "exact", "roundrobin"])
    same(await a.call("wamp.registration.list_callees", registration.id), [b.id])
    same(await a.call("wamp.registration.count_callees", registration.id), 1)
    same((await fails(a.call("wamp.registration.get", 1 << 30))).error, "wamp.error.no_such_registration")


async def tells(listener, what, session, names):
    """Returns a future of what a session does to registrations or subscriptions, up to its delete."""
    told, end = [], future()

    def handler(name):
        def note(who, it):
            if who == session.id:
                told.append((name, it["id"] if isinstance(it, dict) else it))
                if name == "delete":
                    end.set_result(told)

        return note

    for name in names:
        await listener.subscribe(handler(name), f"wamp.{what}.on_{name}")
    return end


async def what_becomes_of_registrations_is_heard(a, b):
    names = ["create", "register", "unregister", "delete"]
    told = await tells(a, "registration", b, names)
    registration = await b.register(lambda: 1, "com.meta")
    await registration.unregister()
    same(await told, [(name, registration.id) for name in names])


async def subscriptions_are_found_and_described(a, b):
    subscription = await b.subscribe(lambda: None, "com.meta")
    pattern = await b.subscribe(lambda: None, "com..meta", SubscribeOptions(match="wildcard"))
    lists = await a.call("wamp.subscription.list")
    same([subscription.id in lists["exact"], lists["prefix"], pattern.id in lists["wildcard"]], [True, [], True])
    same(await a.call("wamp.subscription.lookup", "com.meta"), subscription.id)
    same(await a.call("wamp.subscription.lookup", "com..meta", {"match": "wildcard"}), pattern.id)
    same(await a.call("wamp.subscription.match", "com.x.meta"), [pattern.id])
    same(await a.call("wamp.subscription.match", "com.nobody"), None)
    got = await a.call("wamp.subscription.get", pattern.id)
    same([got[k] for k in ("uri", "match")], ["com..meta", "wildcard"])
    same(await a.call("wamp.subscription.list_subscribers", subscription.id), [b.id])
    same(await a.call("wamp.subscription.count_subscribers", subscription.id), 1)


async def what_becomes_of_subscriptions_is_heard(a, b):
    names = ["create", "subscribe", "unsubscribe", "delete"]
    told = await tells(a, "subscription", b, names)
    subscription = await b.subscribe(lambda: None, "com.meta")
    await subscription.unsubscribe()
    same(await told, [(name, subscription.id) for name in names])


async def registrations_are_taken_away(a, b):
    registration = await b.register(lambda: 1, "com.revoked")
    await a.call("wamp.registration.remove_callee", registration.id, b.id, reason="com.example.enough")
    same((await fails(a.call("com.revoked"))).error, "wamp.error.no_such_procedure")
    same(b.id in await b.call("wamp.session.list"), True)


async def testaments_are_published_at_the_end_of_their_session(a, b):
    left, killed = await join(), await join()
    for s in (left, killed):
        event = await hear(a, "com.will")
        await s.call("wamp.session.add_testament", "com.will", ["gone"], {"who": s.id})
        if s is left:
            s.leave()
        else:
            await b.call("wamp.session.kill", s.id)
        args, kwargs, _ = await event
        same((args, kwargs), (("gone",), {"who": s.id}))


async def flushed_testaments_are_not_published(a, b):
    seen = await hears(a, "com.will")
    await b.call("wamp.session.add_testament", "com.will", ["flushed"], {})
    await b.call("wamp.session.flush_testaments")
    await b.call("wamp.session.add_testament", "com.will", ["end"], {})
    b.leave()
    same(await seen, [])


async def past_events_are_found(a, b):
    id = (await a.subscribe(lambda *args, **kwargs: None, "com.history")).id
    published = []
    for n in (1, 2, 3):
        published.append((await b.publish("com.history", n, k=n, options=PublishOptions(acknowledge=True))).id)
    past = (await a.call("wamp.subscription.get_events", id)).results
    same([(e["publication"], e["subscription"], e["args"], e["kwargs"]) for e in past],
         [(p, id, [n], {"k": n}) for n, p in enumerate(published, 1)])
    newest = await a.call("wamp.subscription.get_events", id, limit=2, reverse=True)
    same([e["args"] for e in newest.results], [[3], [2]])
    after = await a.call("wamp.subscription.get_events", id, after_publication=published[0])
    same([e["args"] for e in after.results], [[2], [3]])


async def results_and_errors_have_arguments_and_keywords(a, b):
    def fail():
        raise ApplicationError("com.example.failed", 1, "x", k="v")

    await a.register(lambda *args, **kwargs: CallResult(*args, **kwargs), "com.echo")
    result = await b.call("com.echo", 1, "x", k=["v"])
    same((result.results, result.kwresults), ((1, "x"), {"k": ["v"]}))
    await a.register(fail, "com.fail")
    e = await fails(b.call("com.fail"))
    same((e.error, e.args, e.kwargs["k"]), ("com.example.failed", (1, "x"), "v"))


async def binary_and_large_integers_cross_encodings(a, b):
    values = [b"\x00\x01\xff", b"", 2**53 + 1, -(2**63), 2**64 - 1, 1.5]
    got = future()

    def echo(*args):
        if not got.done():
            got.set_result(list(args))
        return list(args)

    await a.register(echo, "com.echo")
    for name in serializers:
        same(await (await join(name)).call("com.echo", *values), values)
    same(await got, values)


async def definitions_are_found_and_listed(a, b):
    await a.call("wamp.reflect.define", "com.defined", {"type": "procedure", "doc": "text"})
    same(await b.call("wamp.reflect.describe", "com.defined"), {"type": "procedure", "doc": "text"})
    same("com.defined" in await b.call("wamp.reflection.procedure.list"), True)
    same((await b.call("wamp.reflection.procedure.describe", "com.defined"))["definition"]["doc"], "text")
    same(await b.call("wamp.reflection.topic.describe", "com.defined"), None)
    same((await fails(b.call("wamp.reflect.define", "com.defined", None))).error, "wamp.error.not_authorized")


CHECKS = [
    progressive_results_come_one_by_one, who_did_not_ask_for_progress_gets_the_result_alone,
    a_canceled_call_interrupts_its_callee, a_call_that_times_out_interrupts_its_callee,
    a_leaving_caller_interrupts_its_callee, a_call_fails_when_its_callee_leaves, callers_and_publishers_are_disclosed,
    the_most_specific_registration_is_called, subscriptions_by_a_pattern_get_the_topic,
    shared_registrations_are_called_in_turn, first_and_last_are_called_by_their_place,
    publishers_hear_themselves_only_if_they_say_so, lists_say_who_gets_an_event,
    acknowledged_publications_have_the_id_of_their_event, retained_events_are_there_for_who_asks,
    sessions_are_counted_listed_and_described, joining_and_leaving_are_heard, a_killed_session_learns_why,
    registrations_are_found_and_described, what_becomes_of_registrations_is_heard,
    subscriptions_are_found_and_described, what_becomes_of_subscriptions_is_heard, registrations_are_taken_away,
    testaments_are_published_at_the_end_of_their_session, flushed_testaments_are_not_published, past_events_are_found,
    results_and_errors_have_arguments_and_keywords, binary_and_large_integers_cross_encodings,
    definitions_are_found_and_listed,
]


async def run(check):
    await check(await join(), await join())
    for session in sessions:
        if session.is_attached() and not session.ended.done():
            session.leave()
        await session.ended


async def main():
    status = 0
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        try:
            await asyncio.wait_for(run(check), 10)
            print("ok", name, flush=True)
        except Exception as e:
            status = 1
            print(f"FAIL {name}: {type(e).__name__} {e}", flush=True)
        sessions.clear()
    print("end", flush=True)
    return status


sys.exit(asyncio.run(main()))
