"""How a request ends when it is not by its model's answer: refused, too late, or with nobody there to hear it."""

from typing import TYPE_CHECKING

from proxy.clock import monotonic_ns
from proxy.dataplane.evidence import NO_COIN
from proxy.dataplane.life import CLIENT_LEFT, DONE, FORWARDING, UNIT
from proxy.exchange import Flag
from proxy.model import FAULT_SENTENCES, FAULT_STATUS, Fault
from proxy.wire.response import build_reply

if TYPE_CHECKING:
    from proxy.dataplane.client import ClientConnection
    from proxy.dataplane.inflight import InFlight

__all__ = ["answer", "cut", "is_last", "leave_alone", "refuse", "refuse_large", "send_off", "time_out"]

_RETRY_AFTER_S = 1


def refuse(flight: "InFlight", status: int, sentence: str) -> None:
    """Answer ourselves, whatever the state; what has begun is cut."""
    if flight.state == FORWARDING:
        _drop_connection(flight)
        if not flight.fault:
            flight.coin = NO_COIN  # the client broke off, or the worker ends: no word about the model
        if flight.head_sent:
            cut(flight)
        else:
            answer(flight, status, sentence)
        flight.finish(monotonic_ns())
        return
    table = flight.table
    table.slots[table.slot_unrouted + status] += 1
    if flight.state == UNIT:
        table.undecided -= 1
    answer(flight, status, sentence)
    flight.state = DONE
    flight.held = None
    flight.client.on_answered(flight)


def refuse_large(flight: "InFlight") -> None:
    """The body is, or says it will be, larger than allowed."""
    flight.keep_alive = False
    refuse(flight, 413, "the request body is larger than limits.body")


def time_out(flight: "InFlight") -> None:
    """The route's time for the whole request is over."""
    flight.keep_alive = False
    if flight.state == FORWARDING:
        flight.fault = fault = Fault.REQUEST_TIMEOUT
        flight.table.slots[flight.serving.model.slot_faults + fault] += 1
        refuse(flight, FAULT_STATUS[fault], FAULT_SENTENCES[fault])
    elif flight.state == UNIT:
        refuse(flight, 408, "the request did not arrive within its route's timeout")


def send_off(client: "ClientConnection") -> None:
    """The worker ends: tell a client that waits for an answer, and cut one that has a part of it."""
    flight = client.current
    if flight is not None and flight.state in (UNIT, FORWARDING):
        flight.keep_alive = False
        refuse(flight, 503, "the proxy is shutting down")
    elif not client.closing:
        client.close()


def leave_alone(flight: "InFlight") -> None:
    """The client closed its connection: cancel the model's work at once."""
    if flight.state == FORWARDING:
        _drop_connection(flight)
        flight.flags |= Flag.CLIENT_LEFT
        if not flight.status:
            flight.status = CLIENT_LEFT
        flight.finish(monotonic_ns())
    elif flight.state == UNIT:
        flight.table.slots[flight.table.slot_unrouted + CLIENT_LEFT] += 1
        flight.table.undecided -= 1
    flight.state = DONE


def is_last(flight: "InFlight") -> bool:
    """Tell whether draining makes this answer the connection's last: not while pipelined requests wait for theirs."""
    return flight.worker.draining and not flight.client.waiting


def cut(flight: "InFlight") -> None:
    """The answer ends before it is whole, and the client must be able to tell."""
    flight.is_cut = True
    flight.flags |= Flag.CUT


def answer(flight: "InFlight", status: int, sentence: str) -> None:
    """Write a reply of our own."""
    flight.status = status
    if is_last(flight):
        flight.keep_alive = False
    reply = build_reply(
        status,
        sentence,
        flight.request_id,
        http11=flight.head.http11,
        keep_alive=flight.keep_alive,
        head_only=flight.head.method == b"HEAD",
        date=flight.worker.date_line,
        retry_after_s=_RETRY_AFTER_S if status == 503 else None,
    )
    flight.head_sent = True
    flight.client.write(reply)
    if flight.response_copy is not None:
        flight.response_head, _, body = reply.partition(b"\r\n\r\n")
        flight.response_copy = [body]
        flight.response_bytes = len(body)


def _drop_connection(flight: "InFlight") -> None:
    connection, flight.connection = flight.connection, None
    if connection is None:
        flight.serving.model.pool.forget(flight)
    elif connection.sink is flight:
        connection.give_up()
    else:
        connection.pool.release(connection)
