"""Events reach a broker that another client listens to; windows do not."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from amqtt.broker import Broker
from amqtt.client import MQTTClient

from asd.detector.live import mqtt
from asd.detector.live.mqtt import Mqtt
from asd.errors import UserError
from tests.support.patience import PATIENCE_S, wait_for

EVENTS = [{"event": "alarm", "at_s": 3.0}, {"event": "window", "at_s": 4.0}, {"event": "alarm_end", "at_s": 5.0}]


async def heard(port: int) -> list[tuple[str, Any]]:
    """What a subscriber hears of the events."""
    address = f"127.0.0.1:{port}"
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = Broker({"listeners": {"default": {"type": "tcp", "bind": address}}, "plugins": plugins})
    await broker.start()
    listener = MQTTClient()
    await listener.connect(f"mqtt://{address}/")
    await listener.subscribe([("hall/press/#", 1)])
    sender = Mqtt(f"mqtt://{address}/hall/press")
    for event in EVENTS:
        sender.publish(event)
    found = []
    for _ in range(2):
        message = await listener.deliver_message(timeout_duration=60)
        assert message is not None
        found.append((message.topic, json.loads(message.data or b"")))
    await asyncio.to_thread(sender.close)
    await listener.disconnect()
    await broker.shutdown()
    return found


def test_events_reach_a_broker() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert asyncio.run(heard(port)) == [("hall/press/alarm", EVENTS[0]), ("hall/press/alarm_end", EVENTS[2])]


async def outlive(port: int, log: pytest.LogCaptureFixture) -> None:
    """Events are made while the broker has fallen, and another one comes in its place."""
    address = f"127.0.0.1:{port}"
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    brokers = [Broker({"listeners": {"default": {"type": "tcp", "bind": address}}, "plugins": plugins}) for _ in "12"]
    await brokers[0].start()
    sender = Mqtt(f"mqtt://{address}/hall")
    await asyncio.to_thread(wait_for, sender._client.is_connected)
    await brokers[0].shutdown()
    await asyncio.to_thread(wait_for, lambda: any("events wait until it is there" in line for line in log.messages))
    for event in EVENTS:
        sender.publish(event)
    await brokers[1].start()
    await asyncio.to_thread(wait_for, lambda: f"mqtt://{address}: connected" in log.messages)
    await asyncio.to_thread(sender.close)
    await brokers[1].shutdown()


def test_events_wait_for_a_broker_that_fell(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(mqtt, "FLUSH_S", PATIENCE_S)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    asyncio.run(outlive(port, caplog))
    told = [line for line in caplog.messages if line.startswith("mqtt://")]
    assert told[-1].endswith(": connected"), "no event is lost: closing would say so"


@pytest.mark.parametrize(
    "url", ["mqtt://host", "http://host/x", "mqtt:///x", "mqtt://host/a/#", "mqtt://host:99999/x", "mqtt://host:port/x"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UserError, match=r"^--mqtt: .*give mqtt://host:1883/topic"):
        Mqtt(url)


def test_a_broker_that_is_away_holds_nothing_up_and_what_it_misses_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mqtt, "MAX_WAITING", 2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        broker = f"mqtt://127.0.0.1:{free.getsockname()[1]}"
        sender = Mqtt(f"{broker}/x")
        wait_for(lambda: caplog.messages == [f"{broker}: no broker answers; up to 2 events wait until it is there"])
        for _ in range(3):
            sender.publish(EVENTS[0])
        sender.close()
    assert caplog.messages[1:] == [
        f"{broker}: 2 events wait for the broker: this one is lost: {EVENTS[0]}",
        f"{broker}: 2 events have not reached it and are lost",
    ]
